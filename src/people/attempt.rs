//! Which gates an attempt to sign in passes: a pure plan, in front of every way in that takes a secret a person chose.
//!
//! All ways in count together, per account. The caller reserves an attempt at every gate of the plan before it hashes
//! the password, and refunds it if the password is right, so only failures count. A name that belongs to no account has
//! a gate like any other: limits do not tell which accounts exist. A browser that proves an earlier sign-in of the
//! account passes a gate of its own instead, so that no one else can lock its person out.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use super::account::AccountId;
use super::guessing::Gate;
use super::known_browser::BrowserId;
use crate::tokens::fields;

/// What attempts are counted for: a hash of its kind and name.
pub type Subject = [u8; 32];

/// An attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Who tries to sign in.
    pub person: Person<'a>,
    /// The caller's address. `None` if it is not known: then the network does not count.
    pub address: Option<IpAddr>,
    /// The ID of the browser, if it proved an earlier sign-in of this account.
    pub known: Option<BrowserId>,
}

/// Who tries to sign in.
#[derive(Clone, Copy, Debug)]
pub enum Person<'a> {
    /// The account that the name belongs to, whether the person gave a username or an address. So a pause after failures
    /// at one of them holds at the other, which tells that both are of one person. To count them apart would double the
    /// guesses at an account, and to hide the pause would mean to call a right password wrong.
    Account(AccountId),
    /// A name, in its canonical form, that belongs to no account.
    Unknown(&'a str),
}

/// How many failures are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptLimits {
    /// For an account, from all browsers that are not known.
    pub account: Gate,
    /// For an account, from one known browser.
    pub known: Gate,
    /// For an IPv4 address or a /64 of IPv6, over all accounts.
    pub network: Gate,
    /// For a /48 of IPv6, over all accounts: a customer often has one, which is 65,536 networks.
    pub site: Gate,
    /// For a /32 of IPv6, over all accounts: one customer of a provider may have several sites.
    pub provider: Gate,
    /// Not failures, but sign-ins of an account that succeed, at each server: each costs it a hash.
    pub sign_ins: Gate,
}

impl Default for AttemptLimits {
    /// At most 106 guesses for an account in its first day, and 96 in each further one (NIST SP 800-63B section 3.2.2
    /// allows 100 in a row).
    fn default() -> Self {
        let gate = |burst, interval| Gate { burst, interval };
        Self {
            account: gate(10, Duration::from_mins(15)),
            known: gate(10, Duration::from_mins(15)),
            network: gate(100, Duration::from_secs(10)),
            site: gate(300, Duration::from_secs(5)),
            provider: gate(2000, Duration::from_millis(500)),
            sign_ins: gate(20, Duration::from_secs(5)),
        }
    }
}

impl Attempt<'_> {
    /// Returns the gates that must all admit the attempt, each with what it counts for.
    pub fn gates(&self, limits: &AttemptLimits) -> Vec<(Subject, Gate)> {
        match (self.person, self.known) {
            (Person::Account(account), Some(browser)) => {
                let known = [account.0.as_bytes(), &browser[..]].concat();
                vec![(subject("known", &known), limits.known)]
            }
            (Person::Account(account), None) => self.with_network(of_account(account), limits),
            // No browser is known for a name without an account.
            (Person::Unknown(name), _) => self.with_network(of_name(name), limits),
        }
    }

    fn with_network(&self, person: Subject, limits: &AttemptLimits) -> Vec<(Subject, Gate)> {
        let mut gates = vec![(person, limits.account)];
        match self.address.map(|address| address.to_canonical()) {
            None => {}
            Some(IpAddr::V4(address)) => {
                gates.push((subject("ipv4", &address.octets()), limits.network));
            }
            Some(IpAddr::V6(address)) => {
                gates.push((subject("ipv6/64", &start(address, 8)), limits.network));
                gates.push((subject("ipv6/48", &start(address, 6)), limits.site));
                gates.push((subject("ipv6/32", &start(address, 4)), limits.provider));
            }
        }
        gates
    }
}

/// Returns what attempts at an account are counted for, to list and clear them.
pub fn of_account(account: AccountId) -> Subject {
    subject("account", account.0.as_bytes())
}

/// Returns what attempts at a name without an account are counted for.
pub fn of_name(name: &str) -> Subject {
    subject("name", name.as_bytes())
}

fn start(address: Ipv6Addr, bytes: usize) -> Vec<u8> {
    address.octets()[..bytes].to_vec()
}

fn subject(kind: &str, name: &[u8]) -> Subject {
    fields::sha256([&b"symbolon.dev/attempt"[..], kind.as_bytes(), name])
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use jiff::Timestamp;
    use rstest::rstest;
    use uuid::Uuid;

    use super::*;
    use crate::tokens::Hex;

    const ALICE: Person<'_> = Person::Account(AccountId(Uuid::from_u128(1)));
    const BOB: Person<'_> = Person::Account(AccountId(Uuid::from_u128(2)));

    fn attempt(person: Person<'static>, address: &str) -> Attempt<'static> {
        Attempt {
            person,
            address: Some(address.parse().unwrap()),
            known: None,
        }
    }

    fn subjects(attempt: Attempt<'_>) -> BTreeSet<Subject> {
        let gates = attempt.gates(&AttemptLimits::default());
        gates.into_iter().map(|(subject, _)| subject).collect()
    }

    fn shared(one: Attempt<'_>, other: Attempt<'_>) -> usize {
        subjects(one).intersection(&subjects(other)).count()
    }

    #[rstest]
    #[case::same_account("192.0.2.1", "198.51.100.7", 1)]
    #[case::same_account_and_address("192.0.2.1", "192.0.2.1", 2)]
    #[case::mapped_address("192.0.2.1", "::ffff:192.0.2.1", 2)]
    #[case::same_64("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", 4)]
    #[case::same_48("2001:db8:1:2::1", "2001:db8:1:3::1", 3)]
    #[case::same_32("2001:db8:1:2::1", "2001:db8:9::1", 2)]
    #[case::other_32("2001:db8::1", "2001:db9::1", 1)]
    fn an_account_counts_from_everywhere_and_a_network_over_all_accounts(
        #[case] one: &str,
        #[case] other: &str,
        #[case] count: usize,
    ) {
        assert_eq!(shared(attempt(ALICE, one), attempt(ALICE, other)), count);
        assert_eq!(shared(attempt(ALICE, one), attempt(BOB, other)), count - 1);
    }

    /// Another hash would forget every count.
    #[test]
    fn the_hashes_of_subjects_are_fixed() {
        let of = |subject: Subject| Hex(&subject).to_string();
        assert_eq!(
            of(of_account(AccountId(Uuid::from_u128(1)))),
            "0c010ce9125b460b3ea4a9bd97f2384415273cd79adb4d3d8eb0569b19b23947"
        );
        assert_eq!(
            of(of_name("alice")),
            "2d89b8e9ddedc50cdf6f968c2f16220a36482687abfa9c94cd0a19cece01dbca"
        );
    }

    #[test]
    fn a_name_without_an_account_is_limited_like_one_with() {
        let limits = AttemptLimits::default();
        let gates = |attempt: Attempt<'_>| {
            let gates = attempt.gates(&limits).into_iter();
            gates.map(|(_, gate)| gate).collect::<Vec<_>>()
        };
        let unknown = attempt(Person::Unknown("mallory"), "192.0.2.1");
        assert_eq!(gates(unknown), gates(attempt(ALICE, "192.0.2.1")));
        assert_eq!(shared(unknown, attempt(ALICE, "192.0.2.1")), 1);
        let other = attempt(Person::Unknown("eve"), "192.0.2.1");
        assert_eq!(shared(unknown, other), 1);
        // A cookie helps no name without an account.
        let claimed = Attempt {
            known: Some([1; 16]),
            ..unknown
        };
        assert_eq!(subjects(claimed), subjects(unknown));
    }

    #[test]
    fn without_an_address_only_the_account_counts() {
        let attempt = Attempt {
            address: None,
            ..attempt(ALICE, "192.0.2.1")
        };
        assert_eq!(
            subjects(attempt),
            [of_account(AccountId(Uuid::from_u128(1)))].into()
        );
    }

    /// A store in memory.
    #[derive(Default)]
    struct Stored(BTreeMap<Subject, Timestamp>);

    impl Stored {
        fn reserve(&mut self, attempt: Attempt<'_>, second: i64) -> bool {
            let now = Timestamp::from_second(second).unwrap();
            let next: Option<Vec<_>> = attempt
                .gates(&AttemptLimits::default())
                .into_iter()
                .map(|(subject, gate)| {
                    let next = gate.at(now).reserve(self.0.get(&subject).copied())?;
                    Some((subject, next))
                })
                .collect();
            let is_admitted = next.is_some();
            self.0.extend(next.into_iter().flatten());
            is_admitted
        }
    }

    #[test]
    fn an_attacker_locks_an_account_for_others_but_not_for_a_known_browser() {
        let mut stored = Stored::default();
        let botnet = |n: u32| attempt(ALICE, &std::net::Ipv4Addr::from(n).to_string());
        let admitted = (0..1000).filter(|n| stored.reserve(botnet(*n), 0)).count();
        assert_eq!(admitted, 10);
        let known = Attempt {
            known: Some([1; 16]),
            ..botnet(5)
        };
        let admitted = (0..1000).filter(|_| stored.reserve(known, 0)).count();
        assert_eq!(admitted, 10, "a stolen cookie has a limit too");
        let another = Attempt {
            known: Some([2; 16]),
            ..known
        };
        assert!(stored.reserve(another, 0));
        assert!(stored.reserve(attempt(BOB, "192.0.2.1"), 0));
    }

    #[test]
    fn a_day_of_guessing_at_one_account_is_a_hundred_guesses() {
        let mut stored = Stored::default();
        let day = (0..86_400).step_by(10);
        let admitted = day.filter(|second| stored.reserve(attempt(ALICE, "192.0.2.1"), *second));
        assert_eq!(admitted.count(), 105);
    }

    /// An attacker with one site must not keep the whole provider from signing in.
    #[test]
    fn one_network_cannot_try_many_accounts() {
        let mut stored = Stored::default();
        let spray = |n: u128, address: &str| Attempt {
            person: Person::Account(AccountId(Uuid::from_u128(n))),
            ..attempt(ALICE, address)
        };
        let admitted = (0..500).filter(|n| stored.reserve(spray(*n, "2001:db8::1"), 0));
        assert_eq!(admitted.count(), 100);
        let address = |n: u128| Ipv6Addr::from((0x2001_0db8 << 96) | n).to_string();
        let mut admitted = |shift: u32| {
            let tried = 1000..5000;
            let admitted = tried.filter(|n| stored.reserve(spray(*n, &address(n << shift)), 0));
            admitted.count()
        };
        assert_eq!(admitted(64), 200, "each from another /64 of the same site");
        assert_eq!(
            admitted(80),
            1700,
            "each from another site of the same provider"
        );
    }
}
