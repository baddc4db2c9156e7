//! Tokens that were revoked one by one, RFC 7009: `credentials/status.revoked` lists their public ids.
//!
//! A server adds an id, and from then on no server accepts that token. The operator then gives the token an end in
//! the spec, so that it stays revoked for older releases and after a restore without a status. An id can only take
//! access away, so it needs no seal. Not here: who may revoke what (`oauth::revocation`), and the writes.

use serde_json::Value;

use crate::directory::ObjectKey;
use crate::directory::tables::Directory;
use crate::directory::tables::record::CredentialRecord;
use crate::resources::Credential;
use crate::tokens::TokenId;

/// What to do to a Credential to revoke one of its tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Nothing: the Credential does not record the token.
    NotRecorded,
    /// Nothing: the token is already revoked.
    Done,
    /// Set `status.revoked` to this list. It keeps the existing ids whose tokens are still recorded.
    Add(Vec<String>),
}

/// Returns whether a token of a Credential was revoked by its public id.
pub fn is_token_revoked(credential: &Credential, token_id: &str) -> bool {
    let mut revoked = credential.status.iter().flat_map(|status| &status.revoked);
    revoked.any(|id| id == token_id)
}

/// Returns what to write to revoke a token. The list is never longer than the few recorded tokens.
pub fn revocation(credential: &Credential, token_id: &TokenId) -> Revocation {
    let mut recorded = credential.spec.tokens.iter();
    if !recorded.any(|entry| entry.token_id == token_id.as_str()) {
        return Revocation::NotRecorded;
    }
    if is_token_revoked(credential, token_id.as_str()) {
        return Revocation::Done;
    }
    let recorded = credential.spec.tokens.iter().map(|entry| &entry.token_id);
    let mut revoked: Vec<String> = recorded
        .filter(|id| is_token_revoked(credential, id))
        .cloned()
        .collect();
    revoked.push(token_id.to_string());
    Revocation::Add(revoked)
}

/// Returns the ids in a raw status. No id is missed, whatever else the status contains.
pub(super) fn revoked_ids(status: &Value) -> Vec<String> {
    let ids = status["revoked"].as_array().into_iter().flatten();
    ids.filter_map(Value::as_str).map(str::to_owned).collect()
}

impl CredentialRecord {
    /// Refuses the tokens whose ids match.
    fn refuse(&mut self, is_meant: impl Fn(&TokenId) -> bool) {
        let entries = self.entries.iter();
        let meant: Vec<TokenId> = entries
            .map(|entry| entry.token_id)
            .filter(is_meant)
            .collect();
        if meant.is_empty() {
            return;
        }
        let entries = std::mem::take(&mut self.entries).into_iter();
        self.entries = entries
            .filter(|entry| !meant.contains(&entry.token_id))
            .collect();
        self.revoked = self.revoked.iter().copied().chain(meant).collect();
    }

    /// Refuses what the known version of this very Credential had revoked: a watch may still deliver an older
    /// version.
    pub(in crate::directory) fn keep_revoked(&mut self, known: &Self) {
        if known.uid == self.uid {
            self.refuse(|id| known.revoked.contains(id));
        }
    }
}

impl Directory {
    /// Refuses a token of a Credential from now on, after its revocation has become durable.
    pub fn revoke(&mut self, credential: &ObjectKey, token_id: &TokenId) {
        let Some(known) = self.credential(credential) else {
            return;
        };
        let mut record = (**known).clone();
        record.refuse(|id| id == token_id);
        self.put_credential(record);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::usage::credential_of;
    use super::*;
    use crate::directory::testing::{QUICKSTART, World};
    use crate::directory::{Change, Invalid, Row, admit, sealed};
    use crate::resources::{Cause, CredentialStatus, Kind, OwnerKind};
    use crate::tokens::{MacKey, SeededEntropy, TokenHash, mac, reference};

    fn now() -> Timestamp {
        "2026-02-01T00:00:00Z".parse().unwrap()
    }

    fn identity() -> ObjectKey {
        ObjectKey::new("platform", "main")
    }

    /// Returns a Credential that records these tokens; those in `revoked` are revoked.
    fn credential(recorded: &[TokenId], revoked: &[&str]) -> Credential {
        let tokens: Vec<Value> = recorded
            .iter()
            .map(|id| {
                serde_json::json!({
                    "epoch": 1, "tokenId": id.as_str(), "hash": "", "client": {"name": "", "uid": ""},
                    "principal": "", "scopes": [], "issuedAt": now(), "cause": "Initial", "mac": "",
                })
            })
            .collect();
        let spec = serde_json::json!({
            "identity": {"name": "main"},
            "owner": {"kind": "OAuthClient", "namespace": "", "name": "", "uid": ""},
            "high": 1, "tokens": tokens,
        });
        let mut credential = Credential::new("uid", serde_json::from_value(spec).unwrap());
        credential.status = Some(CredentialStatus {
            revoked: revoked.iter().map(ToString::to_string).collect(),
            ..CredentialStatus::default()
        });
        credential
    }

    fn ids<const COUNT: usize>() -> [TokenId; COUNT] {
        let mut entropy = SeededEntropy::new(1);
        std::array::from_fn(|_| TokenId::random(&mut entropy))
    }

    #[test]
    fn an_id_is_added_to_those_that_are_there_and_unknown_ones_go() {
        let [one, two, other] = ids();
        let known = credential(&[one, two], &[one.as_str(), "gone"]);
        let both = vec![one.to_string(), two.to_string()];
        assert_eq!(revocation(&known, &two), Revocation::Add(both));
        assert_eq!(revocation(&known, &one), Revocation::Done);
        assert_eq!(revocation(&known, &other), Revocation::NotRecorded);
    }

    #[test]
    fn as_many_ids_are_kept_as_tokens_are_recorded() {
        let recorded: [TokenId; 8] = ids();
        let mut known = credential(&recorded, &["x"; 8]);
        for (number, id) in (1..).zip(&recorded) {
            let Revocation::Add(revoked) = revocation(&known, id) else {
                panic!("{id:?} is not revoked yet");
            };
            assert_eq!(revoked.len(), number);
            known.status.as_mut().unwrap().revoked = revoked;
        }
    }

    #[test]
    fn nothing_else_in_a_status_hides_an_id() {
        let status = serde_json::json!({"uses": "?", "revoked": [1, "a", null, "b"]});
        assert_eq!(revoked_ids(&status), ["a", "b"]);
        let mut raw = serde_json::to_value(credential(&ids::<1>(), &[])).unwrap();
        raw["status"] = status;
        let read = credential_of(raw).unwrap();
        assert!(is_token_revoked(&read, "a") && is_token_revoked(&read, "b"));
        for odd in [serde_json::json!({}), serde_json::json!({"revoked": {}})] {
            assert!(revoked_ids(&odd).is_empty());
        }
    }

    /// Client secrets and imported secrets are refused too, though servers revoke only tokens.
    #[test]
    fn what_the_status_names_is_refused_and_its_neighbour_is_not() {
        let recorded: [TokenId; 2] = ids();
        let mut known = credential(&recorded, &[]);
        known.metadata.namespace = Some("platform".into());
        known.spec.owner.uid = "uid".into();
        for place in 0..2 {
            let entry = &mut known.spec.tokens[place];
            entry.hash = TokenHash::of(&place.to_string()).to_string();
            if place == 1 {
                entry.cause = Cause::Imported;
            }
        }
        let key = MacKey::from_bytes(&[1; 32]).unwrap();
        for place in 0..2 {
            let entry = &known.spec.tokens[place];
            let hash = entry.hash.parse().unwrap();
            let seal = mac::seal(&key, &sealed(&known, entry, &hash).unwrap()).to_string();
            known.spec.tokens[place].mac = seal;
        }
        let served = |credential: &Credential| {
            let record = admit::credential(credential, Some(&key)).unwrap();
            let ids: Vec<TokenId> = record.entries.iter().map(|entry| entry.token_id).collect();
            (ids, record.revoked.to_vec())
        };
        assert_eq!(served(&known), (recorded.to_vec(), vec![]));
        for (place, id) in recorded.iter().enumerate() {
            let revoked = vec![id.to_string(), "notRecorded00000".to_owned()];
            known.status.as_mut().unwrap().revoked = revoked;
            let kept = recorded[1 - place];
            assert_eq!(served(&known), (vec![kept], vec![*id]));
        }
        // The operator has no key, and still reads the revoked ids.
        let record = admit::credential(&known, None).unwrap();
        assert_eq!(
            (record.entries.len(), &*record.revoked),
            (0, &recorded[1..])
        );
    }

    #[test]
    fn a_token_counts_as_revoked_while_its_owner_exists_and_only_in_its_namespace() {
        let mut world = World::new(QUICKSTART);
        let kind = OwnerKind::ServiceAccessToken;
        let token = world.issue(kind, "blue", "nightly", now());
        let id = reference::parse(token.expose()).unwrap().id;
        let mut directory = world.directory;
        let found = directory.issued_entry(&identity(), &id).unwrap();
        let before = found.0.clone();
        let is_revoked = |directory: &Directory, namespace: &str| {
            directory.has_revoked(&identity(), namespace, &id)
        };
        assert!(!is_revoked(&directory, "blue"));
        directory.revoke(&before.key, &id);
        assert!(is_revoked(&directory, "blue"));
        assert!(!is_revoked(&directory, "red"));
        let owner = before.owner.key.clone();
        let mut ownerless = directory.clone();
        ownerless.apply(Change::Delete(Kind::ServiceAccessToken, owner));
        assert!(!is_revoked(&ownerless, "blue"));
        directory.apply(Change::Delete(Kind::Credential, before.key));
        assert!(!is_revoked(&directory, "blue"));
    }

    #[test]
    fn a_revoked_token_is_refused_whatever_the_watch_still_brings() {
        let mut world = World::new(QUICKSTART);
        let kind = OwnerKind::ServiceAccessToken;
        let token = world.issue(kind, "blue", "nightly", now());
        let presented = reference::parse(token.expose()).unwrap();
        let found = world.directory.issued_entry(&identity(), &presented.id);
        let before = found.unwrap().0.clone();
        let mut directory = world.directory;
        let refusal = |directory: &Directory| {
            let identity = identity();
            let accepted = directory.service_token_presented(&identity, &presented, now());
            accepted.map(|_| ()).err()
        };
        assert_eq!(refusal(&directory), None);
        directory.revoke(&before.key, &presented.id);
        assert_eq!(refusal(&directory), Some(Invalid::UnknownToken));
        directory.apply(Change::Upsert(Row::Credential(Box::new(before.clone()))));
        assert_eq!(refusal(&directory), Some(Invalid::UnknownToken), "late");
        // Another Credential of that name, as after a restore.
        let other = CredentialRecord {
            uid: Some("another".into()),
            ..before
        };
        directory.apply(Change::Upsert(Row::Credential(Box::new(other))));
        assert_eq!(refusal(&directory), None);
    }
}
