//! Last use: when a use is worth a report, what a report adds to what is known, and when a previous token has been
//! unused for long enough.
//!
//! While the last report is fresh, a use costs one comparison. A report never influences whether a token is accepted.
//! Not here: who reports and who writes.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::revoked::revoked_ids;
use crate::directory::judge::desired::{DEFAULT_QUIET_PERIOD, quiet_period_of_secrets};
use crate::directory::tables::record::{
    CredentialRecord, EntryRecord, RotationRecord, SecretRecord, Used,
};
use crate::directory::{Directory, OwnerRecord, ends};
use crate::resources::{Credential, CredentialStatus, Moment, OwnerKind, Retire, TokenUse};

/// Time between two reports of a token that stays in use.
const USUALLY: SignedDuration = SignedDuration::from_hours(24);
/// The same while the owner has more than one accepted token.
const IN_OVERLAP: SignedDuration = SignedDuration::from_mins(10);
/// No use is reported again sooner, however short the quiet period is.
const SOONEST: SignedDuration = SignedDuration::from_secs(10);
/// Number of reports that fit into a quiet period.
const IN_QUIET_PERIOD: i32 = 6;
/// The intervals of replicas and tokens differ by up to one part in this many, so that they do not all report at
/// once.
const SPREAD: i32 = 8;
/// A report from further in the future than this says nothing: a clock was wrong.
const CLOCKS: SignedDuration = SignedDuration::from_mins(5);

/// A use to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UseSeen {
    /// Number of the token.
    pub epoch: i64,
    /// Time of the use.
    pub at: Timestamp,
    /// Current interval between reports of this token.
    pub every: SignedDuration,
}

impl CredentialRecord {
    /// Returns the last reported use of a token.
    pub fn last_used(&self, epoch: i64) -> Option<Timestamp> {
        let used = self.uses.iter().find(|used| used.epoch == epoch)?;
        Timestamp::from_second(used.last).ok()
    }
}

impl Directory {
    /// Returns the use to report if a token that is used now needs a report. `share` is the caller's place in the
    /// spread; it should differ by replica and token.
    pub fn use_to_report(
        &self,
        credential: &CredentialRecord,
        entry: &EntryRecord,
        share: u8,
        now: Timestamp,
    ) -> Option<UseSeen> {
        let age = credential
            .last_used(entry.epoch)
            .map(|last| now.duration_since(last));
        if age.is_some_and(|age| -CLOCKS < age && age < SOONEST / 2) {
            return None;
        }
        let every = if overlaps(credential, now) {
            in_overlap(self.quiet_period_of(&credential.owner))
        } else {
            USUALLY
        };
        let is_fresh = |age: SignedDuration| -CLOCKS < age && age < spread(every, share);
        (!age.is_some_and(is_fresh)).then_some(UseSeen {
            epoch: entry.epoch,
            at: now,
            every,
        })
    }

    /// Returns whether a report of the newest token's use may show that an older token, which retires when it is
    /// quiet, is unused. Reads reports only: the operator's directory has no entries, since it has no key to verify
    /// them.
    pub fn proves_silence(&self, before: &CredentialRecord, after: &CredentialRecord) -> bool {
        let Some(newest) = after.uses.iter().max_by_key(|used| used.epoch) else {
            return false;
        };
        if before.uses.contains(newest) {
            return false;
        }
        let Some(quiet_period) = self.quiet_period_of(&after.owner) else {
            return false;
        };
        // Each older token is retired by itself, whatever the others are used for. A token that was never used has no
        // report.
        let older = after.uses.iter().filter(|used| used.epoch < newest.epoch);
        let mut silences = older.map(|used| newest.last - used.last).peekable();
        silences.peek().is_none() || silences.any(|silence| silence >= quiet_period.as_secs())
    }

    fn quiet_period_of(&self, owner: &OwnerRecord) -> Option<SignedDuration> {
        match owner.kind {
            OwnerKind::OAuthClient => {
                let object = self.client(&owner.key)?;
                let rotation = adopting(&object.record()?.secret)?;
                rotation.quiet_period.or_else(|| {
                    let client = self.accepted_client(object).ok()?;
                    Some(quiet_period_of_secrets(&client))
                })
            }
            OwnerKind::ServiceAccessToken => {
                let rotation = adopting(&self.service_token(&owner.key)?.record()?.secret)?;
                Some(rotation.quiet_period.unwrap_or(DEFAULT_QUIET_PERIOD))
            }
        }
    }
}

/// Returns the rotation of a secret whose previous token retires early. With any other rotation nothing waits for
/// reports of use.
fn adopting(secret: &SecretRecord) -> Option<&RotationRecord> {
    Some(secret.rotation()).filter(|rotation| rotation.retire == Retire::WhenAdopted)
}

/// Returns whether more than one token of an owner is accepted.
fn overlaps(credential: &CredentialRecord, now: Timestamp) -> bool {
    let entries = credential.entries.iter();
    credential.entries.len() > 1
        && entries
            .filter(|entry| ends(entry).is_none_or(|end| now < end))
            .nth(1)
            .is_some()
}

/// Returns the interval between reports during an overlap.
fn in_overlap(quiet_period: Option<SignedDuration>) -> SignedDuration {
    quiet_period.map_or(IN_OVERLAP, |quiet| {
        (quiet / IN_QUIET_PERIOD).clamp(SOONEST, IN_OVERLAP)
    })
}

/// Returns the interval between two reports for a caller at `share` of the spread.
fn spread(every: SignedDuration, share: u8) -> SignedDuration {
    every - every / SPREAD / 256 * i32::from(share)
}

/// Returns when a token that has been silent since `silent_since` has certainly been unused for a quiet period,
/// although reports are sparse. `heard` is the last report of the token that replaced it. Silence proves nothing
/// while no one reports; `None` means that the reports do not prove it yet.
pub fn quiet_from(
    silent_since: Timestamp,
    heard: Timestamp,
    quiet_period: SignedDuration,
) -> Option<Timestamp> {
    let every = in_overlap(Some(quiet_period));
    let silence = later(silent_since, quiet_period);
    // When reports come again after an outage, those of the older token may arrive a little later.
    (silence <= heard).then(|| later(silence, every).max(later(heard, every / 2)))
}

fn later(moment: Timestamp, wait: SignedDuration) -> Timestamp {
    moment.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// Returns the known uses of a Credential's tokens with one use added; `None` if another server has reported the same
/// use since, or if the token is no longer recorded.
pub fn merged(credential: &Credential, token_id: &str, seen: &UseSeen) -> Option<Vec<TokenUse>> {
    let tokens = &credential.spec.tokens;
    let is_recorded = |epoch: i64| tokens.iter().any(|entry| entry.epoch == epoch);
    tokens
        .iter()
        .find(|entry| entry.epoch == seen.epoch && entry.token_id == token_id)?;
    let known = credential.status.iter().flat_map(|status| &status.uses);
    let mut uses: Vec<TokenUse> = known.filter(|it| is_recorded(it.epoch)).cloned().collect();
    let at = Moment(Timestamp::from_second(seen.at.as_second()).unwrap_or(seen.at));
    match uses.iter_mut().find(|it| it.epoch == seen.epoch) {
        None => uses.push(TokenUse {
            epoch: seen.epoch,
            first_used: at,
            last_used: at,
        }),
        Some(known) => {
            let age = at.0.duration_since(known.last_used.0);
            if -CLOCKS < age && age < spread(seen.every, u8::MAX) {
                return None;
            }
            known.last_used = at;
        }
    }
    uses.sort_by_key(|it| it.epoch);
    Some(uses)
}

/// Returns whether the owner's status must show a change in the known uses: `Some(true)` for a first use,
/// `Some(false)` for a use on another day.
pub fn to_be_told(before: &[Used], after: &[Used]) -> Option<bool> {
    let day = |used: &Used| used.last.div_euclid(24 * 60 * 60);
    let known = |epoch| before.iter().find(|used| used.epoch == epoch);
    let told = after.iter().filter_map(|used| match known(used.epoch) {
        None => Some(true),
        Some(known) => (day(known) != day(used)).then_some(false),
    });
    told.max()
}

/// Decodes a Credential. A status that this release cannot decode hides no token, and its revoked ids are still read.
///
/// # Errors
/// The object is not a Credential that this release can decode.
pub fn credential_of(mut raw: Value) -> serde_json::Result<Credential> {
    let status = raw.as_object_mut().and_then(|raw| raw.remove("status"));
    let mut credential: Credential = serde_json::from_value(raw)?;
    credential.status = status.and_then(|status| {
        let revoked = revoked_ids(&status);
        let decoded = serde_json::from_value::<CredentialStatus>(status).ok();
        let uses = Vec::new();
        decoded.or_else(|| (!revoked.is_empty()).then_some(CredentialStatus { uses, revoked }))
    });
    Ok(credential)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::directory::testing::{QUICKSTART, World};
    use crate::directory::{Change, ObjectKey, Row};
    use crate::resources::OwnerKind;

    fn now() -> Timestamp {
        "2026-01-01T12:00:00Z".parse().unwrap()
    }

    fn ago(minutes: i64) -> Timestamp {
        now() - SignedDuration::from_mins(minutes)
    }

    /// Returns the Credential of the quickstart's token. `older` holds the end of each older token, and `used` the
    /// minutes since the last report of each token that was used, oldest first.
    fn known(world: &World, older: &[i64], used: &[Option<i64>]) -> CredentialRecord {
        let mut record = (**world
            .directory
            .credentials()
            .find(|it| it.owner.kind == OwnerKind::ServiceAccessToken)
            .unwrap())
        .clone();
        let newest = record.entries[0].clone();
        let mut entries = Vec::new();
        for (epoch, end) in (1..).zip(older) {
            let not_after = Some(now() + SignedDuration::from_mins(*end));
            entries.push(EntryRecord {
                epoch,
                not_after,
                ..newest.clone()
            });
        }
        let epoch = i64::try_from(older.len()).unwrap() + 1;
        entries.push(EntryRecord { epoch, ..newest });
        record.entries = entries.into();
        let uses = (1..).zip(used).filter_map(|(epoch, minutes)| {
            let last = ago((*minutes)?).as_second();
            Some(Used { epoch, last })
        });
        record.uses = uses.collect();
        record
    }

    fn world(rotation: &str) -> World {
        let mut world = World::new(QUICKSTART);
        world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
        let token = format!(
            "apiVersion: symbolon.dev/v1alpha1\nkind: ServiceAccessToken\nmetadata: {{name: nightly, namespace: blue}}\nspec: {{clientRef: {{name: shop}}, scopes: [orders.read], rotation: {rotation}}}\n"
        );
        world.apply(&token);
        world
    }

    /// Name, rotation, ends of older entries (minutes from now), reported uses (minutes ago), the server's share, and
    /// whether a use now needs a report.
    type Case = (
        &'static str,
        &'static str,
        &'static [i64],
        &'static [Option<i64>],
        u8,
        bool,
    );

    const DAY: i64 = 24 * 60;
    const CASES: &[Case] = &[
        ("first", "{}", &[], &[None], 0, true),
        ("a moment ago", "{}", &[], &[Some(0)], 0, false),
        ("an hour ago", "{}", &[], &[Some(60)], 0, false),
        ("nearly a day ago", "{}", &[], &[Some(DAY - 1)], 0, false),
        ("a day ago", "{}", &[], &[Some(DAY)], 0, true),
        (
            "nearly a day ago, for the caller with the shortest interval",
            "{}",
            &[],
            &[Some(DAY - 179)],
            255,
            true,
        ),
        (
            "three hours earlier, for no caller",
            "{}",
            &[],
            &[Some(DAY - 180)],
            255,
            false,
        ),
        ("a clock far ahead", "{}", &[], &[Some(-60)], 0, true),
        ("a clock a little ahead", "{}", &[], &[Some(-4)], 0, false),
        (
            "in an overlap, first",
            "{}",
            &[60],
            &[Some(1), None],
            0,
            true,
        ),
        (
            "in an overlap, nine minutes ago",
            "{}",
            &[60],
            &[None, Some(9)],
            0,
            false,
        ),
        (
            "in an overlap, ten minutes ago",
            "{}",
            &[60],
            &[None, Some(10)],
            0,
            true,
        ),
        (
            "after the overlap",
            "{}",
            &[-1],
            &[None, Some(10)],
            0,
            false,
        ),
        (
            "a long quiet period",
            "{retire: WhenAdopted, quietPeriod: 720h}",
            &[60],
            &[None, Some(9)],
            0,
            false,
        ),
        (
            "a short quiet period",
            "{retire: WhenAdopted, quietPeriod: 12m}",
            &[60],
            &[None, Some(1)],
            0,
            false,
        ),
        (
            "a short quiet period's share",
            "{retire: WhenAdopted, quietPeriod: 12m}",
            &[60],
            &[None, Some(2)],
            0,
            true,
        ),
        (
            "a short quiet period that nothing waits for",
            "{quietPeriod: 12m}",
            &[60],
            &[None, Some(2)],
            0,
            false,
        ),
        (
            "a use of another epoch",
            "{}",
            &[],
            &[None, Some(1)],
            0,
            true,
        ),
    ];

    #[test]
    fn the_first_use_is_reported_at_once_and_others_when_the_last_report_is_old() {
        for (name, rotation, older, used, share, reported) in CASES {
            let world = world(rotation);
            let record = known(&world, older, used);
            let newest = record.entries.last().unwrap();
            let found = world
                .directory
                .use_to_report(&record, newest, *share, now());
            assert_eq!(found.is_some(), *reported, "{name}: {found:?}");
            assert!(found.is_none_or(|it| it.epoch == newest.epoch && it.at == now()));
        }
    }

    fn credential(uses: serde_json::Value) -> Credential {
        let mut world = World::new(QUICKSTART);
        world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
        let entry = |epoch: i64, id: &str| {
            json!({"epoch": epoch, "tokenId": id, "hash": "", "client": {"name": "", "uid": ""}, "principal": "",
                "scopes": [], "issuedAt": now(), "cause": "Initial", "mac": ""})
        };
        credential_of(json!({
            "apiVersion": "symbolon.dev/v1alpha1", "kind": "Credential",
            "metadata": {"name": "u", "namespace": "platform", "uid": "c"},
            "spec": {
                "identity": {"name": "main"}, "high": 2, "tokens": [entry(1, "one"), entry(2, "two")],
                "owner": {"kind": "OAuthClient", "namespace": "blue", "name": "shop", "uid": "u"},
            },
            "status": {"uses": uses},
        }))
        .unwrap()
    }

    fn use_of(epoch: i64, first: i64, last: i64) -> serde_json::Value {
        json!({"epoch": epoch, "firstUsed": ago(first), "lastUsed": ago(last)})
    }

    #[test]
    fn a_report_adds_to_what_others_reported() {
        let every = IN_OVERLAP;
        let seen = |epoch| UseSeen {
            epoch,
            at: now(),
            every,
        };
        for (name, known, token, epoch, expected) in [
            ("first", json!([]), "two", 2, Some(json!([use_of(2, 0, 0)]))),
            (
                "beside another",
                json!([use_of(1, 60, 60)]),
                "two",
                2,
                Some(json!([use_of(1, 60, 60), use_of(2, 0, 0)])),
            ),
            (
                "before another",
                json!([use_of(2, 60, 60)]),
                "one",
                1,
                Some(json!([use_of(1, 0, 0), use_of(2, 60, 60)])),
            ),
            (
                "again",
                json!([use_of(2, 60, 20)]),
                "two",
                2,
                Some(json!([use_of(2, 60, 0)])),
            ),
            (
                "another replica was faster",
                json!([use_of(2, 60, 1)]),
                "two",
                2,
                None,
            ),
            (
                "a clock was far ahead",
                json!([use_of(2, 60, -600)]),
                "two",
                2,
                Some(json!([use_of(2, 60, 0)])),
            ),
            (
                "a use of a token that is not recorded",
                json!([use_of(9, 60, 60)]),
                "two",
                2,
                Some(json!([use_of(2, 0, 0)])),
            ),
            (
                "a token that is not recorded any more",
                json!([]),
                "three",
                3,
                None,
            ),
            (
                "another token of that number, as after a restore",
                json!([]),
                "else",
                2,
                None,
            ),
        ] {
            let merged = merged(&credential(known), token, &seen(epoch));
            assert_eq!(merged.map(|uses| json!(uses)), expected, "{name}");
        }
    }

    #[test]
    fn a_status_that_cannot_be_decoded_hides_no_token() {
        let read = credential(json!("yesterday"));
        assert_eq!((read.spec.tokens.len(), read.status), (2, None));
    }

    #[test]
    fn the_status_shows_first_uses_and_days() {
        let at = |epoch, hours: i64| Used {
            epoch,
            last: hours * 3600,
        };
        for (before, after, told) in [
            (&[][..], &[][..], None),
            (&[], &[at(1, 1)], Some(true)),
            (&[at(1, 1)], &[at(1, 23)], None),
            (&[at(1, 23)], &[at(1, 24)], Some(false)),
            (&[at(1, 23)], &[at(1, 24), at(2, 24)], Some(true)),
            (&[at(1, 23), at(2, 23)], &[at(2, 23)], None),
        ] {
            assert_eq!(to_be_told(before, after), told, "{before:?} -> {after:?}");
        }
    }

    #[test]
    fn a_report_matters_to_an_owner_whose_older_token_has_been_silent_for_long() {
        const WHEN_ADOPTED: &str = "{retire: WhenAdopted, quietPeriod: 60m}";
        // Minutes ago: the older token's last use, and the newer one's before and after the report.
        for (name, rotation, older, [before, heard], expected) in [
            (
                "silent for the quiet period",
                WHEN_ADOPTED,
                Some(60),
                [10, 0],
                true,
            ),
            ("used since", WHEN_ADOPTED, Some(59), [10, 0], false),
            ("never used", WHEN_ADOPTED, None, [10, 0], true),
            ("silent, and no news", WHEN_ADOPTED, Some(90), [0, 0], false),
            ("retired at its deadline", "{}", Some(90), [10, 0], false),
        ] {
            let world = world(rotation);
            // The operator's directory has no entries.
            let with = |newest: i64| CredentialRecord {
                entries: Box::default(),
                ..known(&world, &[60], &[older, Some(newest)])
            };
            let found = world.directory.proves_silence(&with(before), &with(heard));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn one_older_token_in_use_does_not_hide_that_another_is_silent() {
        let world = world("{retire: WhenAdopted, quietPeriod: 60m}");
        let with = |newest: i64| CredentialRecord {
            entries: Box::default(),
            ..known(&world, &[60, 60], &[Some(90), Some(5), Some(newest)])
        };
        assert!(world.directory.proves_silence(&with(10), &with(0)));
    }

    /// No answer about a token depends on what servers report.
    #[test]
    fn a_report_changes_nothing_but_what_is_known_of_uses() {
        let mut world = world("{}");
        let record = known(&world, &[], &[Some(1)]);
        let key: ObjectKey = record.key.clone();
        let before = world.directory.credential(&key).unwrap().clone();
        world
            .directory
            .apply(Change::Upsert(Row::Credential(Box::new(record))));
        let after = world.directory.credential(&key).unwrap();
        assert_eq!(before.entries, after.entries);
        assert_eq!(after.last_used(1), Some(ago(1)));
        assert_eq!(after.last_used(2), None);
    }
}
