//! A sign-in with a password: the gate against guessing, the comparison, and the session.
//!
//! Every attempt takes the same steps, whether the name belongs to a person or not: a look-up, a reservation, a hash.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use super::People;
use crate::directory::Barred;
use crate::people::account::{Account, AccountId};
use crate::people::attempt::{Attempt, Person, Subject};
use crate::people::guessing::Gate;
use crate::people::later;
use crate::people::password::{Comparison, Password, Phc};
use crate::people::session::{Session, SessionLimits};
use crate::server::networks;
use crate::store::StoreError;
use crate::tokens::{
    Entropy as _, Kind, Minted, Prefix, SecretString, SystemEntropy, TokenHash, TokenId, reference,
};

/// The method of a password (RFC 8176 section 2).
pub const PASSWORD: &str = "pwd";
/// An owner that has no account. It is looked up if no person has the name, so that the attempt takes as long as any other.
const NO_OWNER: &str = "";
/// When to try again if too many passwords are being hashed.
pub const BUSY: Duration = Duration::from_secs(2);

/// The person that a name belongs to.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What the account belongs to.
    pub owner: String,
    /// The subject.
    pub subject: String,
}

/// An attempt to sign in.
#[derive(Clone, Debug)]
pub struct Tried<'a> {
    /// The name, in its canonical form.
    pub name: &'a str,
    /// The person that it belongs to.
    pub candidate: Option<Candidate>,
    /// The password; `None` if it is too long to be one.
    pub password: Option<Password>,
    /// The caller's address, if it is known.
    pub address: Option<IpAddr>,
    /// The cookie of known browsers.
    pub known: Option<&'a str>,
    /// The session that the browser has.
    pub present: Option<(TokenId, TokenHash)>,
    /// Whether the person wants to stay signed in.
    pub is_remembered: bool,
    /// How long sessions last.
    pub limits: SessionLimits,
    /// The start of the cookie.
    pub prefix: Prefix,
}

/// Who has proved the password, and how the session is to begin.
#[derive(Debug)]
pub struct Proved {
    account: Account,
    gates: Vec<(Subject, Gate)>,
    known: Option<String>,
    present: Option<(TokenId, TokenHash)>,
    is_remembered: bool,
    limits: SessionLimits,
    prefix: Prefix,
}

/// Why no one is signed in.
#[derive(Debug)]
pub enum Failed {
    /// The name or the password is wrong, or the person may not sign in. The reason is for the log.
    Wrong(Wrong),
    /// There were too many attempts.
    TooMany {
        /// How long until another one is admitted.
        wait: Duration,
    },
    /// Too many passwords are being hashed.
    Busy,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// The name belongs to no one.
    Name,
    /// The password is wrong, or there is none.
    Password,
    /// The person may not sign in.
    Barred(Barred),
    /// The account was revoked during the attempt.
    Revoked,
}

impl Wrong {
    /// Returns the name used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "unknown_name",
            Self::Password => "wrong_password",
            Self::Barred(barred) => barred.as_str(),
            Self::Revoked => "account_revoked",
        }
    }
}

/// A person who has signed in.
#[derive(Debug)]
pub struct SignedIn {
    /// The account.
    pub account: Account,
    /// The session that began, or was renewed.
    pub session: TokenId,
    /// The new cookie of the session.
    pub cookie: SecretString,
    /// The new cookie of known browsers.
    pub known: String,
    /// The sessions that ended because this one began. Their clients are told.
    pub ended: Vec<EndedSession>,
}

/// A session that ended because another one began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndedSession {
    /// The session.
    pub session: TokenId,
    /// Whose it was.
    pub account: AccountId,
    /// Why, for the log.
    pub reason: &'static str,
}

/// Returns a name in its canonical form: composed, in lower case, without spaces around it.
pub fn canonical(name: &str) -> String {
    let name: String = name.trim().nfc().collect();
    name.to_lowercase()
}

impl People {
    /// Lets a person prove the password. `barred` says why the candidate may not sign in. It is asked last: the account was
    /// read before, so a session of a person who is barred later ends with the account's epoch.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn prove(
        &self,
        tried: Tried<'_>,
        now: Timestamp,
        barred: impl Fn(&Candidate) -> Option<Barred> + Send + Sync,
    ) -> Result<Result<Proved, Failed>, StoreError> {
        // It costs no hash, so it takes no place at a gate: else a stranger could close the gates of networks for nothing.
        let Some(password) = tried.password.clone() else {
            return Ok(Err(Failed::Wrong(Wrong::Password)));
        };
        let owner = tried.candidate.as_ref().map(|person| &*person.owner);
        let found = self.store.credentials(owner.unwrap_or(NO_OWNER)).await?;
        // No account belongs to the empty owner.
        let found = found.filter(|_| tried.candidate.is_some());
        let gates = self.gates(&tried, found.as_ref().map(|(account, _)| account), now);
        if !self.store.reserve_attempt(gates.clone(), now).await? {
            let wait = self.wait(&gates, now).await?;
            return Ok(Err(Failed::TooMany { wait }));
        }
        let stored = found.as_ref().and_then(|(_, hash)| hash.as_deref());
        let stored = stored.and_then(|hash| Phc::parse(hash).ok());
        let has_password = stored.is_some();
        let account = found.as_ref().map(|(account, _)| account.id);
        let gate = self.attempts.sign_ins;
        if let Some(account) = account
            && let Err(wait) = self.recent.reserve(account, gate, now)
        {
            self.store.refund_attempt(gates).await?;
            return Ok(Err(Failed::TooMany { wait }));
        }
        let compared = self
            .passwords
            .compare(tried.address, password.clone(), stored);
        let compared = compared.await;
        let is_right = matches!(compared, Ok(Comparison::Right { .. }));
        if let Some(account) = account.filter(|_| !is_right) {
            self.recent.refund(account, gate);
        }
        let Ok(compared) = compared else {
            self.store.refund_attempt(gates).await?;
            return Ok(Err(Failed::Busy));
        };
        let Some(candidate) = &tried.candidate else {
            return Ok(Err(Failed::Wrong(Wrong::Name)));
        };
        match (compared, found) {
            (Comparison::Right { is_outdated }, Some((account, Some(hash)))) if has_password => {
                if let Some(barred) = barred(candidate) {
                    return Ok(Err(Failed::Wrong(Wrong::Barred(barred))));
                }
                if is_outdated {
                    self.renew_hash(&tried, &account, &hash, password, now)
                        .await?;
                }
                Ok(Ok(Proved {
                    account,
                    gates,
                    known: tried.known.map(str::to_owned),
                    present: tried.present,
                    is_remembered: tried.is_remembered,
                    limits: tried.limits,
                    prefix: tried.prefix,
                }))
            }
            _ => Ok(Err(Failed::Wrong(Wrong::Password))),
        }
    }

    /// Reserves a hash for a person who proves no password.
    ///
    /// # Errors
    /// There were too many: how long until another one is admitted.
    pub fn may_hash(&self, account: AccountId, now: Timestamp) -> Result<(), Duration> {
        self.recent.reserve(account, self.attempts.sign_ins, now)
    }

    fn gates(
        &self,
        tried: &Tried<'_>,
        account: Option<&Account>,
        now: Timestamp,
    ) -> Vec<(Subject, Gate)> {
        let person = match (account, &tried.candidate) {
            (Some(account), _) => Person::Account(account.id),
            // All names of a person without an account count together, too.
            (None, Some(candidate)) => Person::Account(
                self.keys
                    .account_for(&candidate.owner, Some(&candidate.subject)),
            ),
            (None, None) => Person::Unknown(tried.name),
        };
        let known = account.and_then(|account| self.keys.browsers.find(tried.known, account, now));
        let attempt = Attempt {
            person,
            address: tried.address.map(networks::address),
            known,
        };
        attempt.gates(&self.attempts)
    }

    /// Returns how long until every gate admits an attempt.
    async fn wait(
        &self,
        gates: &[(Subject, Gate)],
        now: Timestamp,
    ) -> Result<Duration, StoreError> {
        let mut wait = Duration::from_secs(1);
        for (subject, gate) in gates {
            if let Some(stored) = self.store.attempts(*subject).await? {
                let next = later(stored, gate.interval);
                let missing = next.duration_since(gate.at(now).ceiling);
                wait = wait.max(missing.try_into().unwrap_or_default());
            }
        }
        Ok(wait)
    }

    /// Hashes a password again that was just proved right by an outdated hash. It is not worth refusing the sign-in.
    async fn renew_hash(
        &self,
        tried: &Tried<'_>,
        account: &Account,
        outdated: &str,
        password: Password,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let renewed = self.passwords.renew(tried.address, password).await;
        if let Ok(hash) = renewed {
            self.store
                .renew_password(account, outdated, &hash, now)
                .await?;
        }
        Ok(())
    }

    /// Begins a session, or renews the one that the browser has of this person, whose ID stays (`sid`). Its cookie is
    /// new in any case. Ends the session of another person in the browser, and the oldest ones of too many.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn begin(
        &self,
        proved: Proved,
        now: Timestamp,
    ) -> Result<Result<SignedIn, Failed>, StoreError> {
        let Proved {
            account,
            gates,
            known,
            present,
            is_remembered,
            limits,
            prefix,
        } = proved;
        let present = match present {
            Some((id, hash)) => self.store.use_session(id, hash, limits, now).await?,
            None => None,
        };
        let entropy = &mut SystemEntropy;
        let (own, replaced) = match present {
            Some((session, holder)) if holder.id == account.id => (Some(session.id), None),
            Some((session, holder)) => (None, Some((session.id, holder))),
            None => (None, None),
        };
        let id = own.unwrap_or_else(|| TokenId::random(entropy));
        let mut secret = Zeroizing::new([0; 32]);
        entropy.fill(&mut *secret);
        let Minted { token, hash, .. } =
            reference::with_secret(&prefix, Kind::Session, id, &secret);
        let session = Session {
            id,
            hash,
            account: account.id,
            epoch: account.epoch,
            created_at: now,
            used_at: now,
            authenticated_at: now,
            methods: PASSWORD.to_owned(),
            expires_at: later(
                now,
                if is_remembered {
                    limits.remembered
                } else {
                    limits.absolute
                },
            ),
            ended_at: None,
            is_remembered,
        };
        let surplus = if own.is_some() {
            let renewed = self.store.renew_session(session).await?;
            if renewed {
                self.store.refund_attempt(gates).await?;
            }
            renewed.then(Vec::new)
        } else {
            self.store.begin_session(session, gates).await?
        };
        let Some(surplus) = surplus else {
            return Ok(Err(Failed::Wrong(Wrong::Revoked)));
        };
        let mut ended = Vec::new();
        for session in surplus {
            ended.push(EndedSession {
                session,
                account: account.id,
                reason: "too_many_sessions",
            });
        }
        if let Some((session, holder)) = replaced {
            self.end_session(session, now).await?;
            ended.push(EndedSession {
                session,
                account: holder.id,
                reason: "another_person",
            });
        }
        let known = known.as_deref();
        let browsers = &self.keys.browsers;
        let known = browsers.remember(known, &account, now, &mut SystemEntropy);
        Ok(Ok(SignedIn {
            account,
            session: id,
            cookie: token,
            known,
            ended,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_canonical_form() {
        assert_eq!(canonical(" Alice "), "alice");
        assert_eq!(canonical("Jose\u{301}"), "jos\u{e9}");
        assert_eq!(canonical("ALICE@Example.COM"), "alice@example.com");
    }
}
