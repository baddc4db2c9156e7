//! Sessions: a browser in which a person has signed in.

use std::time::Duration;

use jiff::Timestamp;

use super::account::{Account, AccountId};
use super::later;
use crate::tokens::{TokenHash, TokenId};

/// The largest number of sessions of one person. One more ends the oldest.
pub const MAX_SESSIONS: u16 = 50;
/// The last use is recorded at most this often within the idle limit, so that most uses write nothing.
const TOUCHES: u32 = 16;

/// A session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its ID, which is also the `sid` of tokens. It proves nothing.
    pub id: TokenId,
    /// The hash of the cookie.
    pub hash: TokenHash,
    /// The person.
    pub account: AccountId,
    /// The account's epoch in which it began.
    pub epoch: i64,
    /// When it began.
    pub created_at: Timestamp,
    /// A recent use.
    pub used_at: Timestamp,
    /// When the person last proved who they are.
    pub authenticated_at: Timestamp,
    /// How the person proved it: the values of `amr` (RFC 8176), separated by spaces.
    pub methods: String,
    /// Its absolute end.
    pub expires_at: Timestamp,
    /// When it was revoked.
    pub ended_at: Option<Timestamp>,
    /// Whether the person chose to stay signed in.
    pub is_remembered: bool,
}

/// How long a session lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Without use.
    pub idle: Duration,
    /// In total. A shorter limit also ends existing sessions; a longer one does not extend them.
    pub absolute: Duration,
    /// In total, used or not, if the person chose to stay signed in.
    pub remembered: Duration,
}

/// What a presented cookie means for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionVerdict {
    /// The session is valid.
    Valid {
        /// Whether this use must be recorded.
        touch: bool,
    },
    /// The secret part is wrong: the caller knows only the public ID.
    Guessed,
    /// It was revoked, by itself or with the account.
    Ended,
    /// It was not used for too long, or has reached its absolute end.
    Lapsed,
}

/// Judges a cookie whose hash is `presented`.
pub fn judge(
    session: &Session,
    account: &Account,
    presented: &TokenHash,
    limits: SessionLimits,
    now: Timestamp,
) -> SessionVerdict {
    if session.hash != *presented {
        return SessionVerdict::Guessed;
    }
    if session.ended_at.is_some() || !account.allows(session.epoch) {
        return SessionVerdict::Ended;
    }
    let total = if session.is_remembered {
        limits.remembered
    } else {
        limits.absolute
    };
    let end = session.expires_at.min(later(session.created_at, total));
    let is_idle = !session.is_remembered && now >= later(session.used_at, limits.idle);
    if now >= end || is_idle {
        return SessionVerdict::Lapsed;
    }
    let touch = now >= later(session.used_at, limits.idle / TOUCHES);
    SessionVerdict::Valid { touch }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SessionLimits = SessionLimits {
        idle: Duration::from_secs(160),
        absolute: Duration::from_secs(1000),
        remembered: Duration::from_secs(5000),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn rows() -> (Session, Account) {
        let account = AccountId(uuid::Uuid::nil());
        let session = Session {
            id: "AAAAAAAAAAAAAAAA".parse().unwrap(),
            hash: TokenHash::of("cookie"),
            account,
            epoch: 3,
            created_at: at(100),
            used_at: at(100),
            authenticated_at: at(100),
            methods: "pwd".to_owned(),
            expires_at: at(1100),
            ended_at: None,
            is_remembered: false,
        };
        let account = Account {
            id: account,
            owner: "user:1".to_owned(),
            created_at: at(0),
            valid_after: at(0),
            epoch: 3,
        };
        (session, account)
    }

    fn verdict(
        session: &Session,
        account: &Account,
        limits: SessionLimits,
        now: i64,
    ) -> SessionVerdict {
        let cookie = TokenHash::of("cookie");
        judge(session, account, &cookie, limits, at(now))
    }

    #[test]
    fn a_remembered_session_lasts_without_use_until_its_own_end() {
        let (mut session, account) = rows();
        (session.is_remembered, session.expires_at) = (true, at(6000));
        let seen = |session: &Session, now| verdict(session, &account, LIMITS, now);
        assert!(matches!(seen(&session, 5099), SessionVerdict::Valid { .. }));
        assert_eq!(seen(&session, 5100), SessionVerdict::Lapsed);
        session.expires_at = at(300);
        assert_eq!(seen(&session, 300), SessionVerdict::Lapsed);
    }

    #[test]
    fn a_session_lapses_when_idle_and_at_its_absolute_end() {
        let (mut session, account) = rows();
        let seen = |session: &Session, now| verdict(session, &account, LIMITS, now);
        assert_eq!(seen(&session, 109), SessionVerdict::Valid { touch: false });
        assert_eq!(seen(&session, 110), SessionVerdict::Valid { touch: true });
        assert_eq!(seen(&session, 259), SessionVerdict::Valid { touch: true });
        assert_eq!(seen(&session, 260), SessionVerdict::Lapsed);
        session.used_at = at(1090);
        assert_eq!(seen(&session, 1099), SessionVerdict::Valid { touch: false });
        assert_eq!(seen(&session, 1100), SessionVerdict::Lapsed);
    }

    #[test]
    fn a_tightened_limit_acts_on_present_sessions() {
        let (session, account) = rows();
        let tight = SessionLimits {
            absolute: Duration::from_secs(20),
            ..LIMITS
        };
        assert_eq!(
            verdict(&session, &account, tight, 120),
            SessionVerdict::Lapsed
        );
        let wide = SessionLimits {
            idle: Duration::MAX,
            absolute: Duration::MAX,
            ..LIMITS
        };
        assert_eq!(
            verdict(&session, &account, wide, 1100),
            SessionVerdict::Lapsed
        );
    }

    #[test]
    fn a_revoked_session_and_a_guessed_cookie_are_refused() {
        let (mut session, mut account) = rows();
        let guess = judge(&session, &account, &TokenHash::of("x"), LIMITS, at(101));
        assert_eq!(guess, SessionVerdict::Guessed);
        account.epoch = 4;
        assert_eq!(
            verdict(&session, &account, LIMITS, 101),
            SessionVerdict::Ended
        );
        account.epoch = 3;
        session.ended_at = Some(at(101));
        assert_eq!(
            verdict(&session, &account, LIMITS, 101),
            SessionVerdict::Ended
        );
    }
}
