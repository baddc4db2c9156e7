//! How a person signed in, as tokens tell it.

use std::time::Duration;

use jiff::Timestamp;

use super::acr::Acr;
use crate::directory::Barred;
use crate::directory::tables::record::{ClientRecord, InteractiveRecord};
use crate::people::grant::Grant;
use crate::tokens::TokenId;

/// How a person signed in.
#[derive(Clone, Copy, Debug)]
pub struct SignIn<'a> {
    /// The session (`sid`).
    pub session: TokenId,
    /// When.
    pub at: Timestamp,
    /// How strongly: the value of `acr`.
    pub acr: Option<&'a str>,
    /// The values of `amr` (RFC 8176), separated by spaces.
    pub methods: &'a str,
}

impl<'a> From<&'a Grant> for SignIn<'a> {
    fn from(grant: &'a Grant) -> Self {
        Self {
            session: grant.session,
            at: grant.authenticated_at,
            acr: Some(&grant.acr),
            methods: &grant.methods,
        }
    }
}

/// Checks that the sign-in of a grant is still what a client demands: `minimumAcr` and `maxAuthAge` count at every use,
/// so that a stricter registration also stops the grants from before.
///
/// # Errors
/// [`Barred::SignInInsufficient`].
pub fn check(client: &ClientRecord, grant: &Grant, now: Timestamp) -> Result<(), Barred> {
    // What the person did, not what the client asked to be told of it (`Grant::acr`).
    check_sign_in(client, &grant.methods, grant.authenticated_at, now)
}

/// Checks a sign-in by these methods at this time, as [`check`] does.
///
/// # Errors
/// [`Barred::SignInInsufficient`].
pub fn check_sign_in(
    client: &ClientRecord,
    methods: &str,
    authenticated_at: Timestamp,
    now: Timestamp,
) -> Result<(), Barred> {
    let Some(record) = client.interactive.as_deref() else {
        return Ok(());
    };
    let reached = Acr::of_methods(methods);
    let is_too_weak = record
        .minimum_acr
        .is_some_and(|least| reached < least.into());
    let most = max_auth_age(record);
    let is_too_old = most.is_some_and(|most| age(authenticated_at, now) > most);
    if is_too_weak || is_too_old {
        return Err(Barred::SignInInsufficient);
    }
    Ok(())
}

/// Returns the longest time since the sign-in that a client takes.
pub fn max_auth_age(record: &InteractiveRecord) -> Option<Duration> {
    record.max_auth_age.and_then(|age| age.try_into().ok())
}

/// Returns how long ago a person signed in. The clocks of replicas differ: a sign-in from the future has no age.
pub fn age(authenticated_at: Timestamp, now: Timestamp) -> Duration {
    let age = now.duration_since(authenticated_at);
    Duration::try_from(age).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use rstest::rstest;

    use super::*;
    use crate::directory::ObjectKey;
    use crate::directory::testing::{PEOPLE, QUICKSTART, World};
    use crate::people::testing::{at, grant};

    #[rstest]
    #[case::nothing_demanded("", "pwd", 9000, true)]
    #[case::strong_enough("minimumAcr: Mfa", "pwd otp mfa", 9000, true)]
    #[case::stronger("minimumAcr: Mfa", "hwk user", 9000, true)]
    #[case::too_weak("minimumAcr: Mfa", "pwd", 0, false)]
    #[case::young_enough("maxAuthAge: 1h", "pwd", 3600, true)]
    #[case::too_old("maxAuthAge: 1h", "pwd", 3601, false)]
    #[case::from_a_clock_ahead("maxAuthAge: 1h", "pwd", -5, true)]
    fn a_grant_serves_only_while_its_sign_in_meets_the_demands_of_now(
        #[case] demand: &str,
        #[case] methods: &str,
        #[case] seconds: i64,
        #[case] is_good: bool,
    ) {
        let own = "  clientId: demo-app\n";
        let text = PEOPLE.replace(own, &format!("{own}  {demand}\n"));
        let world = World::new(&format!("{QUICKSTART}---\n{text}"));
        let identity = ObjectKey::new("platform", "main");
        let client = world
            .directory
            .active_client(&identity, "demo-app")
            .unwrap();
        let grant = Grant {
            // What the client is told never counts for more.
            acr: "phr".to_owned(),
            methods: methods.to_owned(),
            ..grant()
        };
        let now = at(0) + SignedDuration::from_secs(seconds);
        let wanted = if is_good {
            Ok(())
        } else {
            Err(Barred::SignInInsufficient)
        };
        assert_eq!(check(client.client.record, &grant, now), wanted);
    }
}
