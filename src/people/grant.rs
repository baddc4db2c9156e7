//! Grants: what a person allowed one client, once. Codes, refresh tokens and access tokens belong to a grant and end
//! with it.

use jiff::Timestamp;

use super::account::{Account, AccountId};
use crate::tokens::TokenId;

/// The largest number of grants that a person has with one client, without those whose codes wait to be redeemed. Beyond it,
/// those go first that have ended, then those without refresh tokens, then the oldest.
pub const MOST_OF_CLIENT: u32 = 100;
/// The largest number of grants of a person and client whose codes wait to be redeemed. One more ends the oldest. They have a
/// bound of their own, and end no other grant: once the person has consented, any page that the person visits can begin
/// them.
pub const MOST_UNREDEEMED: u32 = 20;

/// A client as its resource is now: the authenticated one, or the one that a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'a> {
    /// The client's ID.
    pub id: &'a str,
    /// The uid of its resource, which changes when the client is recreated.
    pub uid: &'a str,
}

/// What else ends a grant, besides its own revocation and the account's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndsWith {
    /// The revocation of the session in which the person allowed it. A session that merely lapses ends no grant.
    Session,
    /// Nothing.
    Grant,
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its ID.
    pub id: TokenId,
    /// The person.
    pub account: AccountId,
    /// The account's epoch in which it began.
    pub epoch: i64,
    /// The session in which the person allowed it.
    pub session: TokenId,
    /// What else ends it.
    pub ends_with: EndsWith,
    /// The client's ID.
    pub client: String,
    /// The uid of the client's resource, so that a recreated client inherits nothing.
    pub client_uid: String,
    /// The granted scopes, separated by spaces.
    pub scopes: String,
    /// The resource indicators (RFC 8707), separated by spaces; empty if none was named.
    pub resources: String,
    /// When the person had proved who they are, in the sign-in in which they allowed it: the `auth_time` of all its
    /// tokens. A later sign-in in the same session changes no grant (OpenID Connect Core section 12.2).
    pub authenticated_at: Timestamp,
    /// The `acr` of all its tokens.
    pub acr: String,
    /// How the person had proved it: the values of `amr` (RFC 8176), separated by spaces.
    pub methods: String,
    /// The claims that the authorization request asked for one by one, and those that the person allowed to release, in
    /// the form that the caller chose; `None` if it named none and any may be released.
    pub claims: Option<String>,
    /// When it began.
    pub created_at: Timestamp,
    /// When everything that was issued from it has expired.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub ended_at: Option<Timestamp>,
}

impl Grant {
    /// Returns whether the grant was given to this client, and the client was not recreated since.
    pub fn is_of(&self, client: Client<'_>) -> bool {
        self.client == client.id && self.client_uid == client.uid
    }
}

/// A grant with the facts that decide whether it has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantStanding {
    /// The grant.
    pub grant: Grant,
    /// Its account.
    pub account: Account,
    /// When its session was revoked.
    pub session_ended_at: Option<Timestamp>,
}

/// Why a grant has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// It was given to another client, or to one of the same ID that was deleted since.
    Client,
    /// It was revoked.
    Revoked,
    /// Its session was revoked, and the grant ends with it.
    Session,
    /// The account's sessions and grants were revoked.
    Account,
    /// It has expired.
    Expired,
}

impl GrantStanding {
    /// Judges the grant for `client` at `now`.
    ///
    /// # Errors
    /// Why it has ended, or does not serve this client.
    pub fn judge(&self, client: Client<'_>, now: Timestamp) -> Result<&Grant, Ended> {
        let grant = &self.grant;
        if !grant.is_of(client) {
            return Err(Ended::Client);
        }
        if grant.ended_at.is_some() {
            return Err(Ended::Revoked);
        }
        if grant.ends_with == EndsWith::Session && self.session_ended_at.is_some() {
            return Err(Ended::Session);
        }
        if !self.account.allows(grant.epoch) {
            return Err(Ended::Account);
        }
        if now >= grant.expires_at {
            return Err(Ended::Expired);
        }
        Ok(grant)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{SHOP, at, grant};
    use super::*;

    fn standing() -> GrantStanding {
        GrantStanding {
            grant: Grant {
                expires_at: at(200),
                ..grant()
            },
            account: Account {
                id: grant().account,
                owner: "user:1".to_owned(),
                created_at: at(0),
                valid_after: at(50),
                epoch: 3,
            },
            session_ended_at: None,
        }
    }

    #[test]
    fn a_grant_ends_by_itself_with_its_session_with_its_account_and_in_time() {
        assert!(standing().judge(SHOP, at(199)).is_ok());
        assert_eq!(standing().judge(SHOP, at(200)), Err(Ended::Expired));
        let mut revoked = standing();
        revoked.grant.ended_at = Some(at(150));
        assert_eq!(revoked.judge(SHOP, at(150)), Err(Ended::Revoked));
        let mut signed_out = standing();
        signed_out.session_ended_at = Some(at(150));
        assert_eq!(signed_out.judge(SHOP, at(150)), Err(Ended::Session));
        let mut everywhere = standing();
        everywhere.account.epoch = 4;
        assert_eq!(everywhere.judge(SHOP, at(150)), Err(Ended::Account));
    }

    #[test]
    fn a_grant_of_its_own_outlives_the_session_but_not_the_account() {
        let mut device = standing();
        device.grant.ends_with = EndsWith::Grant;
        device.session_ended_at = Some(at(150));
        assert!(device.judge(SHOP, at(150)).is_ok());
        device.account.epoch = 4;
        assert_eq!(device.judge(SHOP, at(150)), Err(Ended::Account));
    }

    #[test]
    fn a_grant_serves_no_other_client_and_no_recreated_one() {
        for (id, uid) in [("shop", "2"), ("other", "1"), ("", "")] {
            let client = Client { id, uid };
            assert_eq!(standing().judge(client, at(150)), Err(Ended::Client));
        }
    }
}
