//! The state of an Identity's tokens and secrets, for metrics. A census visits all owners with two look-ups each:
//! take one from time to time, not at every scrape.

use jiff::{SignedDuration, Timestamp};

use crate::directory::judge::desired::renew_before;
use crate::directory::tables::record::{CredentialRecord, Object, SecretRecord};
use crate::directory::{Directory, Lifetime, ObjectKey, ends};
use crate::resources::RotationPolicy;

/// State of the newest token or secret of an owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// It is valid.
    Live,
    /// It is valid, but less than a tenth of its lifetime is left, or less than half of `renewBefore`: it should have
    /// been renewed by now.
    Expiring,
    /// It has expired, and none has replaced it.
    Expired,
    /// The owner is revoked or disabled.
    Revoked,
    /// The owner has none yet.
    Waiting,
}

impl TokenState {
    /// All states.
    pub const ALL: [Self; 5] = [
        Self::Live,
        Self::Expiring,
        Self::Expired,
        Self::Revoked,
        Self::Waiting,
    ];

    /// Returns the value of the label in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Waiting => "waiting",
        }
    }
}

/// Periods within which a token expires, with their names in metrics.
pub const WITHIN: [(&str, SignedDuration); 5] = [
    ("1h", SignedDuration::from_hours(1)),
    ("6h", SignedDuration::from_hours(6)),
    ("1d", SignedDuration::from_hours(24)),
    ("7d", SignedDuration::from_hours(7 * 24)),
    ("30d", SignedDuration::from_hours(30 * 24)),
];

/// Numbers of owners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// ServiceAccessTokens, in the order of [`TokenState::ALL`].
    pub service_tokens: [usize; TokenState::ALL.len()],
    /// OAuthClients, in the same order. One without a secret counts as waiting, even if it needs none.
    pub clients: [usize; TokenState::ALL.len()],
    /// Owners of either kind whose newest secret is valid and expires within each of [`WITHIN`].
    pub ending: [usize; WITHIN.len()],
    /// When the first valid token of the ServiceAccessTokens expires.
    pub soonest_token: Option<Timestamp>,
    /// When the first valid secret of the OAuthClients expires.
    pub soonest_client: Option<Timestamp>,
}

impl Census {
    /// Counts what an Identity's server knows at `now`.
    pub fn take(directory: &Directory, identity: &ObjectKey, now: Timestamp) -> Self {
        let mut census = Self::default();
        for object in directory.clients() {
            let record = object.record();
            if record.and_then(|record| record.identity.as_ref()) != Some(identity) {
                continue;
            }
            let standing = if record.is_some_and(|record| record.disabled) {
                NewestToken::REVOKED
            } else {
                let credential = credential(directory, identity, object);
                let secret = record.map(|record| &record.secret);
                NewestToken::of(credential, secret, RotationPolicy::Manual, now)
            };
            census.clients[standing.state as usize] += 1;
            census.ends_in(standing.left(now));
            census.soonest_client = sooner(census.soonest_client, standing.end);
        }
        for object in directory.service_tokens() {
            let Some(record) = object.record() else {
                continue;
            };
            let client = directory.client(&record.client);
            let client = client.and_then(|client| client.record());
            if client.and_then(|client| client.identity.as_ref()) != Some(identity) {
                continue;
            }
            let standing = if record.revoked || client.is_some_and(|client| client.disabled) {
                NewestToken::REVOKED
            } else {
                let credential = credential(directory, identity, object);
                NewestToken::of(credential, Some(&record.secret), RotationPolicy::Auto, now)
            };
            census.service_tokens[standing.state as usize] += 1;
            census.ends_in(standing.left(now));
            census.soonest_token = sooner(census.soonest_token, standing.end);
        }
        census
    }

    fn ends_in(&mut self, left: Option<SignedDuration>) {
        for (count, (_, within)) in self.ending.iter_mut().zip(WITHIN) {
            *count += usize::from(left.is_some_and(|left| left <= within));
        }
    }
}

fn sooner(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

fn credential<'d, T>(
    directory: &'d Directory,
    identity: &ObjectKey,
    owner: &Object<T>,
) -> Option<&'d CredentialRecord> {
    let key = ObjectKey {
        namespace: identity.namespace.clone(),
        name: owner.uid.clone(),
    };
    directory.credential(&key).map(|record| &**record)
}

struct NewestToken {
    state: TokenState,
    /// When it expires, if it is valid and does expire.
    end: Option<Timestamp>,
}

impl NewestToken {
    const REVOKED: Self = Self {
        state: TokenState::Revoked,
        end: None,
    };

    /// Returns the standing of an owner. `default` is the policy of a secret that sets none.
    fn of(
        credential: Option<&CredentialRecord>,
        secret: Option<&SecretRecord>,
        default: RotationPolicy,
        now: Timestamp,
    ) -> Self {
        let newest = credential.and_then(|credential| credential.entries.last());
        let Some(entry) = newest else {
            return Self {
                state: TokenState::Waiting,
                end: None,
            };
        };
        let Some(end) = ends(entry) else {
            return Self {
                state: TokenState::Live,
                end: None,
            };
        };
        let left = end.duration_since(now);
        let life = end.duration_since(entry.issued_at);
        let renew_before = secret.and_then(|it| renew_before(it, Lifetime::For(life), default));
        let late = renew_before.map_or(life / 10, |before| (life / 10).min(before / 2));
        let state = if !left.is_positive() {
            TokenState::Expired
        } else if left < late {
            TokenState::Expiring
        } else {
            TokenState::Live
        };
        Self {
            state,
            end: left.is_positive().then_some(end),
        }
    }

    /// Returns the rest of its lifetime, if it is valid and does expire.
    fn left(&self, now: Timestamp) -> Option<SignedDuration> {
        self.end.map(|end| end.duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::testing::{QUICKSTART, World};
    use crate::resources::OwnerKind;

    const LIFE: SignedDuration = SignedDuration::from_hours(2160);

    fn taken(world: &World, now: Timestamp) -> Census {
        Census::take(&world.directory, &ObjectKey::new("platform", "main"), now)
    }

    fn only(state: TokenState) -> [usize; TokenState::ALL.len()] {
        TokenState::ALL.map(|it| usize::from(it == state))
    }

    #[test]
    fn a_token_is_live_then_expiring_then_expired() {
        let mut world = World::new(QUICKSTART);
        let issued: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        assert_eq!(
            taken(&world, issued).service_tokens,
            only(TokenState::Waiting)
        );
        world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", issued);
        for (passed, state, ending) in [
            (SignedDuration::ZERO, TokenState::Live, [0, 0, 0, 0, 0]),
            (LIFE * 8 / 10, TokenState::Live, [0, 0, 0, 0, 1]),
            (LIFE * 19 / 20, TokenState::Expiring, [0, 0, 0, 1, 1]),
            (
                LIFE - SignedDuration::from_mins(30),
                TokenState::Expiring,
                [1, 1, 1, 1, 1],
            ),
            (LIFE, TokenState::Expired, [0, 0, 0, 0, 0]),
        ] {
            let census = taken(&world, issued + passed);
            assert_eq!(census.service_tokens, only(state), "{passed:?}");
            assert_eq!(census.ending, ending, "{passed:?}");
        }
    }

    #[test]
    fn a_token_with_a_short_renew_before_is_expiring_once_its_renewal_is_overdue() {
        let issued: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        let week = SignedDuration::from_hours(168);
        for (rotation, late) in [
            ("renewBefore: 168h", week / 2),
            ("renewBefore: 2000h", LIFE / 10),
            ("policy: Auto", LIFE / 10),
            ("policy: Manual", LIFE / 10),
            // No one renews it then.
            ("policy: Manual, renewBefore: 168h", LIFE / 10),
        ] {
            let scopes = "scopes: [orders.read]\n";
            let yaml = QUICKSTART.trim_end().strip_suffix(scopes.trim_end());
            let yaml = format!(
                "{}{scopes}  rotation: {{{rotation}}}\n",
                yaml.unwrap_or_default()
            );
            let mut world = World::new(&yaml);
            world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", issued);
            let second = SignedDuration::from_secs(1);
            for (left, state) in [
                (late, TokenState::Live),
                (late - second, TokenState::Expiring),
            ] {
                let census = taken(&world, issued + LIFE - left);
                assert_eq!(census.service_tokens, only(state), "{rotation}: {left:?}");
            }
        }
    }

    #[test]
    fn the_first_of_those_in_time_ends_soonest() {
        let mut world = World::new(QUICKSTART);
        let issued: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        assert_eq!(taken(&world, issued).soonest_token, None);
        let second = QUICKSTART.rsplit("---").next().unwrap();
        world.apply(&second.replace("name: nightly", "name: weekly"));
        let hour = SignedDuration::from_hours(1);
        for (name, at) in [("nightly", issued), ("weekly", issued + hour)] {
            world.issue(OwnerKind::ServiceAccessToken, "blue", name, at);
        }
        let census = taken(&world, issued + hour);
        assert_eq!(census.soonest_token, Some(issued + LIFE));
        assert_eq!(census.soonest_client, None, "a secret without an end");
        let census = taken(&world, issued + LIFE);
        assert_eq!(census.soonest_token, Some(issued + hour + LIFE));
        assert_eq!(taken(&world, issued + hour + LIFE).soonest_token, None);
    }

    #[test]
    fn revoked_and_disabled_owners_have_nothing_to_renew() {
        let now: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        let mut world = World::new(&QUICKSTART.replace(
            "scopes: [orders.read]\n",
            "scopes: [orders.read]\n  revoked: true\n",
        ));
        assert_eq!(taken(&world, now).service_tokens, only(TokenState::Revoked));
        assert_eq!(taken(&world, now).clients, only(TokenState::Waiting));
        world.apply(&QUICKSTART.replace("grantTypes", "disabled: true\n  grantTypes"));
        let census = taken(&world, now);
        assert_eq!(census.service_tokens, only(TokenState::Revoked));
        assert_eq!(census.clients, only(TokenState::Revoked));
    }

    #[test]
    fn tokens_of_other_identities_are_not_counted() {
        let world = World::new(QUICKSTART);
        let now: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        let other = ObjectKey::new("platform", "other");
        let census = Census::take(&world.directory, &other, now);
        assert_eq!(census, Census::default());
    }
}
