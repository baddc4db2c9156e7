//! Tests of what a restore may bring back.

mod interrupted;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::plan::carried;
use super::*;
use crate::directory::is_sealed;
use crate::directory::testing::{QUICKSTART, World};
use crate::reconcile::cluster::secret::SecretObject;
use crate::reconcile::issue::seal_one;
use crate::resources::{
    Cause, CredentialClient, CredentialEntry, CredentialMemory, CredentialOwner, CredentialSpec,
    Kind, LocalRef, Moment,
};
use crate::tokens::TokenHash;

const NOW: &str = "2026-03-01T00:00:00Z";
const ISSUED: &str = "2026-02-01T00:00:00Z";

fn at(moment: &str) -> Timestamp {
    moment.parse().unwrap()
}

/// A backup of a client and a token, and the objects after the restore.
struct Case {
    world: World,
    key: MacKey,
    client: Credential,
    token: Credential,
    client_secret: Option<Value>,
    token_secret: Option<Value>,
    more: Vec<Credential>,
}

impl Case {
    /// Returns a world in which everything came back with other uids.
    fn restored() -> Self {
        let recreated = QUICKSTART
            .replace(
                "{name: shop, namespace: blue}",
                "{name: shop, namespace: blue, uid: client-2}",
            )
            .replace(
                "{name: nightly, namespace: blue}",
                "{name: nightly, namespace: blue, uid: token-2}",
            );
        let key = MacKey::from_bytes(&[7; 32]).unwrap();
        let mut case = Self {
            world: World::new(&recreated),
            client: credential(OwnerKind::OAuthClient, "shop", "client-1"),
            token: credential(OwnerKind::ServiceAccessToken, "nightly", "token-1"),
            client_secret: Some(secret("OAuthClient/shop", "client-secret", "c1")),
            token_secret: Some(secret("ServiceAccessToken/nightly", "token", "t1")),
            more: Vec::new(),
            key,
        };
        case.record("client", "c1", |_| {});
        case.record("token", "t1", |_| {});
        case
    }

    /// Adds an entry to one of the two Credentials.
    fn record(&mut self, whose: &str, text: &str, edit: impl FnOnce(&mut CredentialEntry)) {
        let (credential, principal) = match whose {
            "client" => (&mut self.client, "blue.shop"),
            _ => (&mut self.token, "blue:robot"),
        };
        let mut entry = CredentialEntry {
            epoch: 1,
            token_id: "A".repeat(16),
            hash: TokenHash::of(text).to_string(),
            client: CredentialClient {
                name: "shop".into(),
                uid: "client-1".into(),
            },
            principal: principal.into(),
            scopes: vec!["orders.read".into()],
            issued_at: Moment(at(ISSUED)),
            expires_at: Some(Moment(at("2026-05-01T00:00:00Z"))),
            not_after: None,
            nonce: None,
            cause: Cause::Initial,
            mac: String::new(),
        };
        edit(&mut entry);
        credential.spec.tokens.push(entry);
        seal_one(credential, credential.spec.tokens.len() - 1, &self.key);
    }

    fn items(&self) -> Vec<Item> {
        let mut credentials = vec![self.client.clone(), self.token.clone()];
        credentials.extend(self.more.iter().cloned());
        self.items_of(credentials)
    }

    fn items_of(&self, credentials: Vec<Credential>) -> Vec<Item> {
        let directory = &self.world.directory;
        let evidence: Vec<_> = credentials
            .iter()
            .map(|credential| {
                owner_secret(directory, credential)?;
                let secret = self.secret_of(credential.spec.owner.kind);
                Some(Evidence::of(directory, credential, secret.as_ref()))
            })
            .collect();
        let identity = ObjectKey::new("platform", "main");
        plan_all(
            directory,
            &identity,
            credentials,
            &evidence,
            &self.key,
            at(NOW),
        )
    }

    fn secret_of(&self, kind: OwnerKind) -> Option<SecretObject> {
        let manifest = match kind {
            OwnerKind::OAuthClient => &self.client_secret,
            OwnerKind::ServiceAccessToken => &self.token_secret,
        };
        let manifest = manifest.as_ref().and_then(Value::as_object).cloned();
        manifest.map(SecretObject::new)
    }

    fn verdict(&self, uid: &str) -> RestoreVerdict {
        let items = self.items();
        let mut found = items
            .into_iter()
            .filter(|item| item.credential.spec.owner.uid == uid);
        found.next().unwrap().verdict
    }

    fn bound(&self, uid: &str) -> Rebinding {
        match self.verdict(uid) {
            RestoreVerdict::Rebind(rebinding) => *rebinding,
            other => panic!("{uid}: {other:?}"),
        }
    }

    #[track_caller]
    fn refused(&self, uid: &str, why: NotRebound) {
        assert_eq!(self.verdict(uid), RestoreVerdict::Refused(why), "{uid}");
    }
}

fn credential(kind: OwnerKind, name: &str, uid: &str) -> Credential {
    let mut credential = Credential::new(
        uid,
        CredentialSpec {
            identity: LocalRef {
                name: "main".into(),
            },
            owner: CredentialOwner {
                kind,
                namespace: "blue".into(),
                name: name.into(),
                uid: uid.into(),
            },
            high: 4,
            base: None,
            tokens: Vec::new(),
            memory: CredentialMemory::default(),
        },
    );
    credential.metadata.namespace = Some("platform".into());
    credential
}

fn secret(owner: &str, key: &str, text: &str) -> Value {
    json!({
        "metadata": {"namespace": "blue", "name": "any", "annotations": {"symbolon.dev/owner": owner}},
        "data": {"issuer": STANDARD.encode("https://id.example.com/id"), key: STANDARD.encode(text)},
    })
}

#[test]
fn live_tokens_are_bound_to_the_new_uids_and_nothing_else_changes() {
    let case = Case::restored();
    let Rebinding {
        credential,
        dropped,
    } = case.bound("token-1");
    let entry = &credential.spec.tokens[0];
    assert_eq!(credential.metadata.name.as_deref(), Some("token-2"));
    assert_eq!(credential.metadata.namespace.as_deref(), Some("platform"));
    assert_eq!(credential.spec.owner.uid, "token-2");
    assert_eq!(
        (&*entry.client.uid, &*entry.client.name),
        ("client-2", "shop")
    );
    assert!(is_sealed(&case.key, &credential, entry));
    assert_eq!((credential.spec.high, dropped), (4, 0), "epochs continue");
    let mut before = case.token.spec.tokens[0].clone();
    before.client.uid.clone_from(&entry.client.uid);
    before.mac.clone_from(&entry.mac);
    assert_eq!(*entry, before);
    let client = case.bound("client-1").credential;
    assert_eq!(client.spec.tokens[0].client.uid, "client-2");
    assert!(is_sealed(&case.key, &client, &client.spec.tokens[0]));
}

#[test]
fn without_changed_uids_there_is_nothing_to_do() {
    let mut case = Case::restored();
    case.world = World::new(
        &QUICKSTART
            .replace("name: shop,", "name: shop, uid: client-1,")
            .replace("name: nightly,", "name: nightly, uid: token-1,"),
    );
    assert_eq!(case.verdict("token-1"), RestoreVerdict::Current);
    assert_eq!(case.verdict("client-1"), RestoreVerdict::Current);
}

#[test]
fn a_revoked_owner_stays_revoked() {
    let mut case = Case::restored();
    case.world.apply(
        "
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {name: nightly, namespace: blue, uid: token-2}
spec: {clientRef: {name: shop}, scopes: [orders.read], revoked: true}
",
    );
    case.refused("token-1", NotRebound::OwnerRevoked);
}

#[test]
fn an_object_recreated_to_drop_a_token_does_not_get_it_back() {
    // The operator issued another token for the new object before it was stopped.
    let mut case = Case::restored();
    case.token_secret = Some(secret("ServiceAccessToken/nightly", "token", "t2"));
    case.refused("token-1", NotRebound::NotHeld);
    // Or the Secret of the old object still waits for the garbage collector.
    let mut stale = secret("ServiceAccessToken/nightly", "token", "t1");
    stale["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "symbolon.dev/v1alpha1", "kind": "ServiceAccessToken", "name": "nightly",
        "uid": "token-1", "controller": true,
    }]);
    case.token_secret = Some(stale);
    case.refused("token-1", NotRebound::SecretStale);
    case.token_secret = None;
    case.refused("token-1", NotRebound::SecretMissing);
}

#[test]
fn another_owners_secret_proves_nothing() {
    let mut case = Case::restored();
    case.token_secret = Some(secret("ServiceAccessToken/other", "token", "t1"));
    case.refused("token-1", NotRebound::SecretForeign);
}

#[test]
fn a_token_of_a_client_that_was_replaced_stays_dead() {
    // The client was recreated, the token was not.
    let mut case = Case::restored();
    case.world.apply(
        "
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {name: nightly, namespace: blue, uid: token-1}
spec: {clientRef: {name: shop}, scopes: [orders.read]}
",
    );
    case.refused("token-1", NotRebound::ClientReplaced);

    // The client's own Secret holds none of the old client's secrets.
    let mut case = Case::restored();
    case.client_secret = Some(secret("OAuthClient/shop", "client-secret", "another"));
    case.refused("token-1", NotRebound::ClientUnknown);
    case.refused("client-1", NotRebound::NotHeld);

    // The client was already replaced before the backup was made.
    let mut case = Case::restored();
    case.token.spec.tokens.clear();
    case.record("token", "t1", |entry| entry.client.uid = "client-0".into());
    case.refused("token-1", NotRebound::ClientUnknown);
}

#[test]
fn ended_entries_are_left_out_and_ends_stay() {
    let mut case = Case::restored();
    let soon = Some(Moment(at("2026-03-01T01:00:00Z")));
    case.record("token", "over", |entry| {
        entry.not_after = Some(Moment(at("2026-02-28T00:00:00Z")));
    });
    case.record("token", "before", |entry| entry.not_after = soon);
    case.record("token", "of-another-client", |entry| {
        entry.client.uid = "client-0".into();
    });
    case.record("token", "of-another-principal", |entry| {
        entry.principal = "blue:other".into();
    });
    let Rebinding {
        credential,
        dropped,
    } = case.bound("token-1");
    let kept = credential.spec.tokens.iter();
    let kept: Vec<_> = kept
        .map(|entry| (entry.hash.clone(), entry.not_after))
        .collect();
    let hash = |text: &str| TokenHash::of(text).to_string();
    assert_eq!(kept, [(hash("t1"), None), (hash("before"), soon)]);
    assert_eq!(dropped, 3);
}

#[test]
fn a_token_in_the_secret_that_has_ended_revives_nothing() {
    let mut case = Case::restored();
    case.record("token", "t2", |entry| {
        entry.expires_at = Some(Moment(at("2026-02-28T00:00:00Z")));
    });
    case.token_secret = Some(secret("ServiceAccessToken/nightly", "token", "t2"));
    case.refused("token-1", NotRebound::Ended);
}

#[test]
fn tokens_from_before_revoke_issued_before_stay_dead() {
    let mut case = Case::restored();
    case.world.apply(
        "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: platform}
spec:
  issuer: https://id.example.com/id
  access: {clients: {from: All}, scopes: {from: All}}
  revokeIssuedBefore: 2026-02-15T00:00:00Z
",
    );
    case.refused("token-1", NotRebound::Ended);
    case.refused("client-1", NotRebound::Ended);
}

#[test]
fn without_the_seal_of_the_restored_key_nothing_is_believed() {
    let mut case = Case::restored();
    case.key = MacKey::from_bytes(&[8; 32]).unwrap();
    case.refused("token-1", NotRebound::NotSealed);

    let mut case = Case::restored();
    case.token.spec.tokens[0].scopes.push("orders.write".into());
    case.refused("token-1", NotRebound::NotSealed);
    case.record("token", "honest", |_| {});
    case.refused("token-1", NotRebound::NotHeld);
}

#[test]
fn a_token_never_acts_as_another_principal() {
    let mut case = Case::restored();
    case.world.apply(
        "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: shop, namespace: blue, uid: client-2}
spec:
  identityRef: {name: main, namespace: platform}
  grantTypes: [ClientCredentials]
  scopes: [orders.read]
  systemUser: {name: admin}
  referenceTokens: AdministratorsOnly
",
    );
    case.refused("token-1", NotRebound::PrincipalChanged);
}

#[test]
fn missing_owners_and_clients_are_told_apart() {
    let mut case = Case::restored();
    case.world.delete(Kind::OAuthClient, "blue", "shop");
    case.refused("token-1", NotRebound::ClientMissing);
    case.refused("client-1", NotRebound::OwnerMissing);
    case.world
        .delete(Kind::ServiceAccessToken, "blue", "nightly");
    case.refused("token-1", NotRebound::OwnerMissing);
}

#[test]
fn a_second_run_finishes_what_the_first_began_and_undoes_nothing_that_came_after() {
    let mut case = Case::restored();
    let mut successor = case.bound("token-1").credential;
    case.more = vec![successor.clone()];
    assert_eq!(case.verdict("token-1"), done(0));
    assert_eq!(case.verdict("token-2"), RestoreVerdict::Current);
    // The operator has started and continued from there.
    successor.spec.tokens.clear();
    case.more = vec![successor];
    case.refused("token-1", NotRebound::IssuedAnew);
}

fn done(revoked: usize) -> RestoreVerdict {
    RestoreVerdict::Done {
        successor: ObjectKey::new("platform", "token-2"),
        revoked,
    }
}

/// The first run was interrupted. What was revoked in the old Credential must not stay accepted in the new one.
#[test]
fn a_second_run_sees_what_the_successor_still_accepts() {
    let mut case = Case::restored();
    let successor = case.bound("token-1").credential;
    case.more = vec![successor.clone()];
    case.token.status.get_or_insert_default().revoked = vec!["A".repeat(16)];
    assert_eq!(case.verdict("token-1"), done(1));
    // Even if the Secret holds another token now.
    case.token_secret = Some(secret("ServiceAccessToken/nightly", "token", "t2"));
    assert_eq!(case.verdict("token-1"), done(1));
    // Nothing accepts the token any more.
    case.more[0].status = case.token.status.clone();
    case.refused("token-1", NotRebound::NotHeld);
    case.token_secret = Some(secret("ServiceAccessToken/nightly", "token", "t1"));
    case.refused("token-1", NotRebound::Ended);
}

#[test]
fn what_ends_in_the_old_credential_ends_in_the_new_one() {
    let mut case = Case::restored();
    case.record("token", "t2", |entry| entry.token_id = "B".repeat(16));
    let successor = case.bound("token-1").credential;
    let carry = |old: &Credential| carried(old, &successor, &case.key, at(NOW));
    assert!(carry(&case.token).is_none(), "nothing has happened");
    let mut old = case.token.clone();
    old.status.get_or_insert_default().revoked = vec!["B".repeat(16)];
    let end = at("2026-03-01T01:00:00Z");
    old.spec.tokens[0].not_after = Some(Moment(end));
    seal_one(&mut old, 0, &case.key);
    let next = carry(&old).unwrap();
    assert_eq!(next.revoked, 1);
    let tokens = &next.credential.spec.tokens;
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].not_after, Some(Moment(end)));
    assert!(is_sealed(&case.key, &next.credential, &tokens[0]));
    assert!(carried(&old, &next.credential, &case.key, at(NOW)).is_none());
    // A token that the operator has issued since stays, and a forged end of the old one counts for nothing.
    let mut forged = case.token.clone();
    forged.spec.tokens[0].not_after = Some(Moment(at(ISSUED)));
    assert!(carry(&forged).is_none());
}

#[test]
fn a_clients_credential_stays_while_a_token_may_still_need_it() {
    let mut case = Case::restored();
    let stays = |case: &Case| {
        let items = case.items();
        items.last().unwrap().is_witness
    };
    assert!(!stays(&case));
    case.token_secret = None;
    assert!(stays(&case), "the Secret may be restored later");
}

#[test]
fn a_restored_imported_secret_is_proved_by_its_label_and_value() {
    const IMPORTED: &str = "correct-Horse7battery_Staple.q2VxZ9rT4mKd";
    let mut case = Case::restored();
    case.world.apply(
        "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: shop, namespace: blue, uid: client-2}
spec:
  identityRef: {name: main, namespace: platform}
  grantTypes: [ClientCredentials]
  scopes: [orders.read]
  systemUser: {name: robot}
  referenceTokens: AdministratorsOnly
  authentication: {secret: {existingRef: {name: any, key: password}}}
",
    );
    case.client.spec.tokens.clear();
    case.record("client", IMPORTED, |entry| entry.cause = Cause::Imported);
    let imported = |labels: Value, text: &str| {
        Some(json!({
            "metadata": {"namespace": "blue", "name": "any", "labels": labels},
            "data": {"password": STANDARD.encode(text), "more": STANDARD.encode(IMPORTED)},
        }))
    };
    let labelled = json!({"symbolon.dev/client": "shop"});
    case.client_secret = imported(labelled.clone(), &format!("{IMPORTED}\n"));
    let client = case.bound("client-1").credential;
    assert!(is_sealed(&case.key, &client, &client.spec.tokens[0]));
    assert_eq!(
        case.bound("token-1").credential.spec.tokens[0].client.uid,
        "client-2",
        "the Credential proves the client of the tokens"
    );
    case.client_secret = imported(
        labelled.clone(),
        "another-Horse7battery_Staple.q2VxZ9rT4mKd",
    );
    case.refused("client-1", NotRebound::NotHeld);
    let managed = json!({"symbolon.dev/client": "shop", "symbolon.dev/managed": "true"});
    for labels in [json!({}), json!({"symbolon.dev/client": "other"}), managed] {
        case.client_secret = imported(labels, IMPORTED);
        case.refused("client-1", NotRebound::SecretUnlabelled);
    }
    case.client_secret = None;
    case.refused("client-1", NotRebound::SecretMissing);
}

/// The backup has the status, and was made before the operator recorded the end in the spec.
#[test]
fn a_token_revoked_by_its_id_is_not_rebound() {
    let mut case = Case::restored();
    case.record("token", "t2", |entry| entry.token_id = "B".repeat(16));
    case.token.status.get_or_insert_default().revoked = vec!["B".repeat(16)];
    let bound = case.bound("token-1");
    let ids: Vec<&str> = bound
        .credential
        .spec
        .tokens
        .iter()
        .map(|entry| &*entry.token_id)
        .collect();
    assert_eq!((ids, bound.dropped), (vec!["A".repeat(16).as_str()], 1));
    case.token.status.get_or_insert_default().revoked = vec!["A".repeat(16)];
    case.refused("token-1", NotRebound::Ended);
}

/// The operator would record the same value again.
#[test]
fn a_revoked_imported_secret_is_remembered_as_revoked() {
    let mut case = Case::restored();
    case.record("client", "c2", |entry| {
        entry.token_id = "B".repeat(16);
        entry.cause = Cause::Imported;
    });
    case.client.status.get_or_insert_default().revoked = vec!["B".repeat(16)];
    let bound = case.bound("client-1");
    assert_eq!(bound.dropped, 1);
    let imported = &bound.credential.spec.memory.imported;
    assert_eq!(imported.len(), 1);
    assert!(imported[0].revoked && imported[0].hash == TokenHash::of("c2").to_string());
}
