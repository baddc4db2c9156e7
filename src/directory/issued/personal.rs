//! Personal access tokens: which people may have them of a client, and when they end. The client's and the Identity's
//! present settings also apply to existing tokens.

use jiff::Timestamp;

use super::verify::Invalid;
use crate::directory::Person;
use crate::directory::tables::record::{ClientRecord, IdentityRecord};
use crate::resources::{ReferenceTokens, Role};

impl Person<'_> {
    /// Returns whether the person may have personal access tokens of a client, by its `referenceTokens`. Whether the
    /// person may use the client at all is another question.
    pub fn may_have_tokens(&self, client: &ClientRecord) -> bool {
        match client.reference_tokens {
            ReferenceTokens::None => false,
            ReferenceTokens::AuthenticatedUsers => true,
            ReferenceTokens::AdministratorsOnly => self.role == Role::Administrator,
        }
    }
}

/// Returns when a personal access token ends; `None` if it never does.
///
/// # Errors
/// [`Invalid::LimitExceeded`] if it never expires and the Identity does not allow that (any more), and
/// [`Invalid::Expired`].
pub fn personal_token_end(
    identity: &IdentityRecord,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Timestamp>, Invalid> {
    let Some(expires_at) = expires_at else {
        let is_allowed = identity.personal_tokens.may_never_expire;
        return is_allowed.then_some(None).ok_or(Invalid::LimitExceeded);
    };
    let ceiling = created_at.saturating_add(identity.personal_tokens.max_lifetime);
    let end = ceiling.map_or(expires_at, |ceiling| expires_at.min(ceiling));
    if end <= now {
        return Err(Invalid::Expired);
    }
    Ok(Some(end))
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use rstest::rstest;

    use super::*;
    use crate::directory::ObjectKey;
    use crate::directory::judge::person::testing::alice;
    use crate::directory::testing::{PEOPLE, QUICKSTART, World};

    fn hours(count: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(count)
    }

    #[rstest]
    #[case::until_its_end("", Some(10), 9, Ok(Some(10)))]
    #[case::its_end("", Some(10), 10, Err(Invalid::Expired))]
    #[case::a_ceiling_that_was_lowered("maxPersonalTokenLifetime: 5h", Some(10), 4, Ok(Some(5)))]
    #[case::beyond_the_ceiling("maxPersonalTokenLifetime: 5h", Some(10), 5, Err(Invalid::Expired))]
    #[case::never("", None, 1, Err(Invalid::LimitExceeded))]
    #[case::never_where_allowed("neverExpiringPersonalTokens: Allow", None, 99_999, Ok(None))]
    #[case::tokens_of_machines_are_another_matter(
        "neverExpiringTokens: Allow",
        None,
        1,
        Err(Invalid::LimitExceeded)
    )]
    fn a_personal_token_ends_within_the_present_limits(
        #[case] limits: &str,
        #[case] expires_at: Option<i64>,
        #[case] now: i64,
        #[case] end: Result<Option<i64>, Invalid>,
    ) {
        let issuer = "  issuer: https://id.example.com/id\n";
        let people = PEOPLE.replace(issuer, &format!("{issuer}  limits: {{{limits}}}\n"));
        let world = World::new(&format!("{QUICKSTART}---\n{people}"));
        let key = ObjectKey::new("platform", "main");
        let client = world.directory.active_client(&key, "demo-app").unwrap();
        let found = personal_token_end(
            client.identity.record,
            hours(0),
            expires_at.map(hours),
            hours(now),
        );
        assert_eq!(found, end.map(|end| end.map(hours)));
    }

    #[rstest]
    #[case("None", Role::Administrator, false)]
    #[case("AuthenticatedUsers", Role::User, true)]
    #[case("AdministratorsOnly", Role::User, false)]
    #[case("AdministratorsOnly", Role::Administrator, true)]
    fn the_client_says_whose_tokens_it_takes(
        #[case] policy: &str,
        #[case] role: Role,
        #[case] may: bool,
    ) {
        let own = "  clientId: demo-app\n";
        let people = PEOPLE.replace(own, &format!("{own}  referenceTokens: {policy}\n"));
        let world = World::new(&format!("{QUICKSTART}---\n{people}"));
        let key = ObjectKey::new("platform", "main");
        let client = world.directory.active_client(&key, "demo-app").unwrap();
        let person = Person { role, ..alice() };
        assert_eq!(person.may_have_tokens(client.client.record), may);
    }

    #[rstest]
    #[case("None", "", None)]
    #[case(
        "AuthenticatedUsers",
        "",
        Some("each of them may have personal access tokens of it, for at most 8784h")
    )]
    #[case(
        "AdministratorsOnly",
        "maxPersonalTokenLifetime: 720h, neverExpiringPersonalTokens: Allow",
        Some(
            "those whose User has role Administrator may have personal access tokens of it, for at most 720h, or for ever"
        )
    )]
    fn explain_tells_whose_tokens_a_client_takes(
        #[case] policy: &str,
        #[case] limits: &str,
        #[case] expected: Option<&str>,
    ) {
        let own = "  clientId: demo-app\n";
        let people = PEOPLE.replace(own, &format!("{own}  referenceTokens: {policy}\n"));
        let issuer = "  issuer: https://id.example.com/id\n";
        let people = people.replace(issuer, &format!("{issuer}  limits: {{{limits}}}\n"));
        let world = World::new(&format!("{QUICKSTART}---\n{people}"));
        let key = ObjectKey::new("platform", "demo-app");
        let steps = world.directory.explain_client(&key, None);
        let told = steps.iter().find(|step| step.rule == "personal-tokens");
        let told = told.map(|step| step.message.as_str());
        assert_eq!(told, expected, "{steps:?}");
    }
}
