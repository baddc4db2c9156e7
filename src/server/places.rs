//! A table of places, bounded in total and for each caller, and the choice of the place that makes room for a newcomer.
//! Pure.
//!
//! A full table takes a place from the caller that holds most: the one that has been idle for longest. It refuses a
//! newcomer only if no caller that holds at least as many places has an idle one. Trusted proxies forward for many
//! callers: their share is not limited, and they lose places last. A caller is an IPv4 address or an IPv6 /64.
//!
//! One attacker can have very many addresses, usually of one wider network (IPv4 /24, IPv6 /48). A table may therefore
//! take places first from the wider network that holds most, once that holds more than a share.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::throttle::network;

/// A caller that holds places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    network: IpAddr,
    is_trusted: bool,
}

impl Caller {
    /// Returns the caller at an address; `is_trusted` says whether it is a proxy that the Identity trusts.
    pub fn new(address: IpAddr, is_trusted: bool) -> Self {
        Self {
            network: network(address),
            is_trusted,
        }
    }
}

/// The rule for which callers' places a newcomer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// From callers that hold as many places or more, including its own: the newest is the most likely to be used. A
    /// newcomer of a trusted proxy takes from any caller.
    NewestFirst,
    /// Only from callers that hold at least as many places as the newcomer's caller even after the exchange. A caller
    /// that has no place takes from any caller.
    FairOnly,
}

/// Why a newcomer gets no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// All places are taken and in use.
    All,
    /// The caller's share is taken and in use.
    Share,
}

/// A place that a newcomer got.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entered<T> {
    /// Identifies the place for [`Places::leave`].
    pub id: u64,
    /// The previous holder, which lost the place and must now end.
    pub ended: Option<T>,
}

/// Places and their holders. The functions `since` return the time, by any clock, since which a holder has been idle,
/// or `None` if it is in use and keeps its place.
#[derive(Debug)]
pub(super) struct Places<T> {
    most: usize,
    share: usize,
    rule: Rule,
    count: usize,
    next: u64,
    callers: HashMap<IpAddr, Held<T>>,
    /// The places that a wider network may hold before its callers lose places first.
    wide_share: usize,
    /// The places that each wider network holds.
    wide: HashMap<IpAddr, usize>,
}

/// How much a caller holds. The heaviest caller loses a place first; trusted proxies come last.
type Weight = (bool, usize);
/// The same, with whether it is in the wider network that loses places first.
type WideWeight = (bool, bool, usize);
/// The time since which a place has been idle, and the ID of the place.
type Idle = (u64, u64);

#[derive(Debug)]
struct Held<T> {
    is_trusted: bool,
    places: HashMap<u64, T>,
}

impl<T> Held<T> {
    /// Returns the place that has been idle for longest.
    fn idlest(&self, since: &impl Fn(&T) -> Option<u64>) -> Option<Idle> {
        let places = self.places.iter();
        places
            .filter_map(|(id, held)| Some((since(held)?, *id)))
            .min()
    }

    /// Returns the heaviest place for which `since` returns a time, with its weight. Places without weight do not
    /// count.
    fn heaviest(
        &self,
        weigh: &impl Fn(&T) -> usize,
        since: &impl Fn(&T) -> Option<u64>,
    ) -> Option<(usize, Reverse<u64>)> {
        let places = self.places.iter();
        places
            .filter(|(_, held)| since(held).is_some())
            .map(|(id, held)| (weigh(held), Reverse(*id)))
            .filter(|(weight, _)| *weight > 0)
            .max()
    }
}

impl<T> Places<T> {
    pub fn new(most: usize, share: usize, rule: Rule) -> Self {
        Self {
            most,
            share,
            rule,
            count: 0,
            next: 0,
            callers: HashMap::new(),
            wide_share: usize::MAX,
            wide: HashMap::new(),
        }
    }

    /// Takes places first from the wider network that holds most, if that holds more than `share`.
    pub fn with_wide_share(mut self, share: usize) -> Self {
        self.wide_share = share;
        self
    }

    /// Returns the number of places that are taken.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes a place for `caller`; if the table is full, ends another caller's place.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter(
        &mut self,
        caller: Caller,
        holder: T,
        since: impl Fn(&T) -> Option<u64>,
    ) -> Result<Entered<T>, Full> {
        self.enter_or(caller, holder, since, |_| None)
    }

    /// Takes a place like [`Places::enter`]. A caller that holds at least two more and no idle place loses one for
    /// which `or_since` returns a time.
    ///
    /// # Errors
    /// [`Full`].
    pub fn enter_or(
        &mut self,
        caller: Caller,
        holder: T,
        since: impl Fn(&T) -> Option<u64>,
        or_since: impl Fn(&T) -> Option<u64>,
    ) -> Result<Entered<T>, Full> {
        let own = self.callers.get(&caller.network);
        let held = own.map_or(0, |own| own.places.len());
        // If a newcomer cannot take a place of its own caller, the share binds only when places get scarce.
        let is_bound = match self.rule {
            Rule::NewestFirst => true,
            Rule::FairOnly => self.count >= self.most - self.most / 4,
        };
        let ended = if held >= self.share && is_bound && !caller.is_trusted {
            let idlest = match self.rule {
                Rule::NewestFirst => own.and_then(|own| own.idlest(&since)),
                Rule::FairOnly => None,
            };
            let (_, id) = idlest.ok_or(Full::Share)?;
            self.leave(caller, id)
        } else if self.count >= self.most {
            let least = match self.rule {
                Rule::NewestFirst if caller.is_trusted => 1,
                Rule::NewestFirst => held.max(1),
                Rule::FairOnly if held == 0 => 1,
                Rule::FairOnly => held + 2,
            };
            let ended = self.end_idlest(least, since, held + 2, or_since);
            Some(ended.ok_or(Full::All)?)
        } else {
            None
        };
        self.next += 1;
        self.count += 1;
        let own = self.callers.entry(caller.network).or_insert_with(|| Held {
            is_trusted: false,
            places: HashMap::new(),
        });
        own.is_trusted = caller.is_trusted;
        own.places.insert(self.next, holder);
        *self.wide.entry(wider(caller.network)).or_default() += 1;
        Ok(Entered {
            id: self.next,
            ended,
        })
    }

    /// Returns a place to the table. Does nothing if another holder has taken it.
    pub fn leave(&mut self, caller: Caller, id: u64) -> Option<T> {
        let own = self.callers.get_mut(&caller.network)?;
        let holder = own.places.remove(&id)?;
        if own.places.is_empty() {
            self.callers.remove(&caller.network);
        }
        self.count -= 1;
        let wider = wider(caller.network);
        if let Some(count) = self.wide.get_mut(&wider) {
            *count -= 1;
            if *count == 0 {
                self.wide.remove(&wider);
            }
        }
        Some(holder)
    }

    /// Returns the wider network that holds most, if that is more than its share.
    fn heaviest_wide(&self) -> Option<IpAddr> {
        let wide = self.wide.iter().map(|(network, held)| (*held, *network));
        let beyond = wide.filter(|(held, _)| *held > self.wide_share);
        beyond.max().map(|(_, network)| network)
    }

    /// Frees the place that has been idle for longest, of the caller that holds most. Only callers with at least
    /// `least` places count. A caller with at least `fair` places and no idle one loses one for which `or_since`
    /// returns a time.
    pub fn end_idlest(
        &mut self,
        least: usize,
        since: impl Fn(&T) -> Option<u64>,
        fair: usize,
        or_since: impl Fn(&T) -> Option<u64>,
    ) -> Option<T> {
        let mut best: Option<(WideWeight, Reverse<Idle>, IpAddr)> = None;
        let wide = self.heaviest_wide();
        for (network, held) in &self.callers {
            let count = held.places.len();
            let is_wide = wide.is_some_and(|wide| wide == wider(*network));
            let weight = (!held.is_trusted, is_wide, count);
            if count < least || best.is_some_and(|best| weight < best.0) {
                continue;
            }
            let or_idle = || held.idlest(&or_since).filter(|_| count >= fair);
            if let Some(idle) = held.idlest(&since).or_else(or_idle) {
                best = best.max(Some((weight, Reverse(idle), *network)));
            }
        }
        let (_, Reverse((_, id)), network) = best?;
        self.end(network, id)
    }

    /// Frees the heaviest place of the caller whose places weigh most: an idle one, or else one for which `or_since`
    /// returns a time.
    pub fn end_heaviest(
        &mut self,
        weigh: impl Fn(&T) -> usize,
        since: impl Fn(&T) -> Option<u64>,
        or_since: impl Fn(&T) -> Option<u64>,
    ) -> Option<T> {
        let mut best: Option<(Weight, (usize, Reverse<u64>), IpAddr)> = None;
        for (network, held) in &self.callers {
            let total: usize = held.places.values().map(&weigh).sum();
            let weight = (!held.is_trusted, total);
            if best.is_some_and(|best| weight < best.0) {
                continue;
            }
            let heaviest = held
                .heaviest(&weigh, &since)
                .or_else(|| held.heaviest(&weigh, &or_since));
            if let Some(heaviest) = heaviest {
                best = best.max(Some((weight, heaviest, *network)));
            }
        }
        let (_, (_, Reverse(id)), network) = best?;
        self.end(network, id)
    }

    /// Frees up to `most` places and returns what they held. Each time it takes the caller whose remaining places weigh
    /// most, untrusted callers first, and frees its heaviest place for which `since` returns a time. Places without
    /// weight stay.
    pub fn end_many(
        &mut self,
        most: usize,
        weigh: impl Fn(&T) -> usize,
        since: impl Fn(&T) -> Option<u64>,
    ) -> Vec<T> {
        let mut callers = BinaryHeap::new();
        for (network, held) in &self.callers {
            let total: usize = held.places.values().map(&weigh).sum();
            let mut may_end: Vec<_> = held
                .places
                .iter()
                .filter(|(_, held)| since(held).is_some())
                .map(|(id, held)| (weigh(held), Reverse(*id)))
                .filter(|(weight, _)| *weight > 0)
                .collect();
            may_end.sort_unstable();
            callers.push(((!held.is_trusted, total), *network, may_end));
        }
        let mut ended = Vec::new();
        while ended.len() < most
            && let Some(((is_first, total), network, mut may_end)) = callers.pop()
        {
            let Some((weight, Reverse(id))) = may_end.pop() else {
                continue;
            };
            ended.extend(self.end(network, id));
            callers.push(((is_first, total.saturating_sub(weight)), network, may_end));
        }
        ended
    }

    fn end(&mut self, network: IpAddr, id: u64) -> Option<T> {
        let caller = Caller {
            network,
            is_trusted: false,
        };
        self.leave(caller, id)
    }
}

/// Returns the wider network of a caller.
fn wider(network: IpAddr) -> IpAddr {
    match network {
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & 0xffff_ff00).into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 80 << 80).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of them holds one place, so by caller alone the honest ones would be the idlest.
    #[test]
    fn a_flood_from_the_addresses_of_one_wider_network_takes_places_from_itself() {
        let honest = |last: u8| Caller::new([10, 0, last, 1].into(), false);
        for hostile in [
            |number: u16| IpAddr::from([0x2001, 0xdb8, 0, number, 0, 0, 0, 1]),
            |number: u16| IpAddr::from([192, 0, 2, number.to_be_bytes()[1]]),
        ] {
            let mut places = Places::new(16, 4, Rule::NewestFirst).with_wide_share(2);
            for last in 0..8 {
                let held = u64::from(last) * 2 + 1;
                assert_eq!(enter(&mut places, honest(last), held), Ok(None));
            }
            for number in 0..200_u16 {
                let held = 1001 + 2 * u64::from(number);
                let flood = Caller::new(hostile(number), false);
                let ended = enter(&mut places, flood, held).unwrap();
                let expected = number.checked_sub(8).map(|it| 1001 + 2 * u64::from(it));
                assert_eq!(ended, expected);
            }
            let ended = enter(&mut places, honest(9), 21).unwrap();
            assert!(ended.is_some_and(|ended| ended > 1000));
            assert_eq!(places.wide.values().sum::<usize>(), 16);
        }
    }

    #[test]
    fn a_wider_network_within_its_share_counts_by_its_callers_alone() {
        let mut places = Places::new(4, 4, Rule::NewestFirst).with_wide_share(2);
        for (who, holder) in [([10, 0, 0, 1], 3), ([10, 0, 0, 2], 5), ([10, 0, 1, 1], 1)] {
            let caller = Caller::new(who.into(), false);
            assert_eq!(enter(&mut places, caller, holder), Ok(None));
        }
        let far = |last| Caller::new([10, 9, 9, last].into(), false);
        assert_eq!(enter(&mut places, far(1), 7), Ok(None));
        assert_eq!(enter(&mut places, far(2), 9), Ok(Some(1)), "the idlest");
    }

    fn caller(last: u8) -> Caller {
        Caller::new([10, 0, 0, last].into(), false)
    }

    /// A holder is the time since which it has been idle. Even numbers are in use.
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "a table lends its holders"
    )]
    fn since(holder: &u64) -> Option<u64> {
        (holder % 2 == 1).then_some(*holder)
    }

    fn enter(places: &mut Places<u64>, who: Caller, holder: u64) -> Result<Option<u64>, Full> {
        places
            .enter(who, holder, since)
            .map(|entered| entered.ended)
    }

    fn full(most: usize, held: &[(u8, u64)]) -> Places<u64> {
        let mut places = Places::new(most, most, Rule::NewestFirst);
        for (who, holder) in held {
            assert_eq!(enter(&mut places, caller(*who), *holder), Ok(None));
        }
        places
    }

    #[test]
    fn a_full_table_ends_the_idlest_place_of_the_caller_that_holds_most() {
        let mut places = full(4, &[(1, 1), (2, 7), (2, 5), (2, 9)]);
        assert_eq!(enter(&mut places, caller(3), 11), Ok(Some(5)));
        assert_eq!(enter(&mut places, caller(3), 13), Ok(Some(7)));
        assert_eq!(
            enter(&mut places, caller(4), 15),
            Ok(Some(11)),
            "now caller 3 holds most"
        );
        assert_eq!(
            enter(&mut places, caller(5), 17),
            Ok(Some(1)),
            "all hold one: the idlest of all"
        );
    }

    #[test]
    fn a_place_in_use_is_never_taken() {
        let mut places = full(3, &[(1, 2), (1, 4), (2, 1)]);
        assert_eq!(enter(&mut places, caller(3), 6), Ok(Some(1)));
        assert_eq!(enter(&mut places, caller(4), 8), Err(Full::All));
    }

    #[test]
    fn a_caller_takes_no_place_from_one_that_holds_fewer() {
        let mut places = full(4, &[(1, 2), (1, 4), (1, 6), (2, 1)]);
        assert_eq!(enter(&mut places, caller(1), 8), Err(Full::All));
        assert_eq!(enter(&mut places, caller(2), 3), Ok(Some(1)));
        let proxy = Caller::new([10, 0, 0, 9].into(), true);
        let mut places = full(3, &[(1, 1), (2, 5)]);
        assert_eq!(enter(&mut places, proxy, 2), Ok(None));
        assert_eq!(
            enter(&mut places, proxy, 4),
            Ok(Some(1)),
            "a trusted proxy takes from any caller"
        );
        assert_eq!(enter(&mut places, proxy, 6), Ok(Some(5)));
    }

    #[test]
    fn a_caller_that_holds_two_more_loses_even_a_place_that_it_seems_to_use() {
        let seemingly = |holder: &u64| holder.is_multiple_of(4).then_some(*holder);
        let mut places = full(4, &[(1, 2), (1, 8), (1, 4), (2, 1)]);
        let mut enter = |who: u8, holder| {
            let entered = places.enter_or(caller(who), holder, since, seemingly);
            entered.map(|entered| entered.ended)
        };
        assert_eq!(
            enter(3, 12),
            Ok(Some(4)),
            "not the idle place of the caller that holds fewer"
        );
        assert_eq!(enter(4, 16), Ok(Some(8)));
        assert_eq!(enter(5, 20), Ok(Some(1)), "all hold one");
        assert_eq!(enter(6, 24), Err(Full::All));
    }

    #[test]
    fn beyond_its_share_a_caller_takes_only_its_own_places() {
        let mut places = Places::new(10, 2, Rule::NewestFirst);
        for holder in [3, 1] {
            assert_eq!(enter(&mut places, caller(1), holder), Ok(None));
        }
        assert_eq!(enter(&mut places, caller(1), 2), Ok(Some(1)));
        assert_eq!(enter(&mut places, caller(1), 4), Ok(Some(3)));
        assert_eq!(enter(&mut places, caller(1), 6), Err(Full::Share));
        assert_eq!(enter(&mut places, caller(2), 6), Ok(None));
    }

    #[test]
    fn trusted_proxies_have_no_share_and_lose_places_last() {
        let proxy = Caller::new([10, 0, 0, 9].into(), true);
        let mut places = Places::new(4, 1, Rule::NewestFirst);
        for holder in [1, 3, 5] {
            assert_eq!(enter(&mut places, proxy, holder), Ok(None));
        }
        assert_eq!(enter(&mut places, caller(1), 7), Ok(None));
        assert_eq!(enter(&mut places, caller(2), 8), Ok(Some(7)));
        assert_eq!(
            enter(&mut places, caller(3), 9),
            Ok(Some(1)),
            "no one else has an idle place"
        );
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_caller_and_mapped_addresses_are_ipv4() {
        let address = |text: &str| Caller::new(text.parse().unwrap(), false);
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:2"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:10.0.0.1"), caller(1));
    }

    #[test]
    fn under_the_fair_rule_a_newcomer_takes_only_from_callers_that_hold_more() {
        let mut places = Places::new(3, 3, Rule::FairOnly);
        for holder in [1, 3, 5] {
            assert_eq!(enter(&mut places, caller(1), holder), Ok(None));
        }
        assert_eq!(enter(&mut places, caller(1), 7), Err(Full::Share));
        assert_eq!(enter(&mut places, caller(2), 7), Ok(Some(1)));
        assert_eq!(enter(&mut places, caller(2), 9), Err(Full::All));
        let mut places = Places::new(8, 2, Rule::FairOnly);
        for holder in 0..6 {
            assert_eq!(
                enter(&mut places, caller(1), holder),
                Ok(None),
                "places are free"
            );
        }
        assert_eq!(enter(&mut places, caller(1), 7), Err(Full::Share));
        assert_eq!(enter(&mut places, caller(2), 7), Ok(None));
    }

    #[test]
    fn callers_with_one_place_each_do_not_keep_a_newcomer_out() {
        let mut places = Places::new(3, 3, Rule::FairOnly);
        for (who, holder) in [(1, 5), (2, 1), (3, 3)] {
            assert_eq!(enter(&mut places, caller(who), holder), Ok(None));
        }
        assert_eq!(enter(&mut places, caller(4), 7), Ok(Some(1)));
        assert_eq!(enter(&mut places, caller(4), 9), Err(Full::All));
    }

    #[test]
    fn a_place_that_was_taken_is_not_returned_twice() {
        let mut places = full(1, &[]);
        let first = places.enter(caller(1), 1, since).unwrap();
        let second = places.enter(caller(2), 3, since).unwrap();
        assert_eq!(second.ended, Some(1));
        assert_eq!(places.leave(caller(1), first.id), None);
        assert_eq!(places.leave(caller(2), second.id), Some(3));
        assert_eq!((places.count, places.callers.len()), (0, 0));
    }

    #[test]
    fn memory_is_freed_from_the_caller_that_weighs_most() {
        let mut places = full(5, &[(1, 101), (2, 61), (2, 71), (2, 80), (3, 99)]);
        let weigh = |holder: &u64| usize::try_from(*holder).unwrap();
        let mut end = || places.end_heaviest(weigh, since, |_| None);
        assert_eq!(end(), Some(71));
        assert_eq!(end(), Some(61));
        assert_eq!(end(), Some(101));
        assert_eq!(end(), Some(99));
        assert_eq!(end(), None, "80 is in use");
    }

    #[test]
    fn the_caller_that_weighs_most_loses_places_before_others_even_if_it_seems_to_use_them() {
        let mut places = full(4, &[(1, 101), (2, 80), (2, 84), (2, 82)]);
        let weigh = |holder: &u64| usize::try_from(*holder).unwrap();
        let seemingly = |holder: &u64| holder.is_multiple_of(4).then_some(*holder);
        let mut end = || places.end_heaviest(weigh, since, seemingly);
        assert_eq!(end(), Some(84));
        assert_eq!(end(), Some(80));
        assert_eq!(end(), Some(101));
        assert_eq!(end(), None);
    }
}
