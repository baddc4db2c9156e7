//! A table of places, bounded in total and for each caller, and the choice of the place that makes room for a newcomer.
//! Pure.
//!
//! A full table takes a place from the site that holds most, there from the network that holds most, and there from the
//! address that holds most: the place that has been idle for longest. A site counts only if it holds more than an eighth
//! of the places, since many customers may share one. The table refuses a newcomer only if no one that holds at least as
//! many places has an idle one. Trusted proxies forward for many callers: their share is not limited, they lose places
//! last, and each is a caller of its own beside the others in its network ([`networks`]).

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};
use std::net::IpAddr;

use super::networks;

/// The divisor of the whole that gives what a site may hold before its places go first.
const OF_A_SITE: usize = 8;

/// A caller that holds places, or a group of callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Caller {
    address: IpAddr,
    is_trusted: bool,
}

/// The kinds of groups, one within the other: sites, networks, and single addresses.
const LEVELS: usize = 3;
const SITE: usize = 0;
const NETWORK: usize = 1;
const ADDRESS: usize = 2;

/// The groups of a caller, from its site to its address.
type Path = [Caller; LEVELS];

impl Caller {
    /// Returns the caller at an address; `is_trusted` says whether it is a proxy that the Identity trusts.
    pub fn new(address: IpAddr, is_trusted: bool) -> Self {
        Self {
            address: networks::address(address),
            is_trusted,
        }
    }

    fn path(self) -> Path {
        if self.is_trusted {
            return [self; LEVELS];
        }
        let group = |address| Self { address, ..self };
        let (site, network) = (
            networks::site(self.address),
            networks::network(self.address),
        );
        [group(site), group(network), self]
    }
}

/// The rule for which callers' places a newcomer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// From callers that hold as many places or more, including its own: the newest is the most likely to be used. A
    /// newcomer of a trusted proxy takes from any caller.
    NewestFirst,
    /// Only from callers that hold at least as many places as the newcomer's caller even after the exchange. A caller
    /// that has no place takes from any caller. At a full share, a caller also takes its own.
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
/// or `None` if it is in use and keeps its place. The functions `or_since` return it for a holder that seems to be in
/// use, and loses its place only to a caller that holds at least two fewer.
#[derive(Debug)]
pub(super) struct Places<T> {
    most: usize,
    share: usize,
    rule: Rule,
    next: u64,
    root: Group<T>,
}

/// The places of callers whose addresses begin alike.
#[derive(Debug)]
struct Group<T> {
    count: usize,
    /// The narrower groups in it.
    parts: HashMap<Caller, Group<T>>,
    /// The places of a single address, by their IDs.
    places: HashMap<u64, T>,
}

/// How heavy the groups of a place are. The heaviest loses a place first; trusted proxies come last.
type Rank = (bool, [usize; LEVELS]);
/// How urgently a place is chosen among those of its address, and its ID.
type Choice = (u64, Reverse<u64>);

/// Which places of a group a newcomer may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    /// The newcomer belongs to the group, or neither holds enough to compare. Narrower groups decide.
    Undecided,
    /// Idle ones, and those that seem to be in use.
    May { idle: bool, in_use: bool },
}

/// What decides which places may be taken.
#[derive(Clone, Copy, Debug)]
struct Newcomer {
    rule: Rule,
    /// `None` if any caller may lose a place.
    path: Option<Path>,
    /// What its groups hold.
    held: [usize; LEVELS],
    takes_own: bool,
}

impl Newcomer {
    /// Returns the places that it may take from a group that holds `count`.
    fn takes_from(&self, level: usize, group: Caller, count: usize) -> Taking {
        let own = self.path.and_then(|path| path.get(level).copied());
        let held = self.held.get(level).copied().unwrap_or_default();
        if own == Some(group) || (level == SITE && held == 0 && count == 0) {
            return Taking::Undecided;
        }
        let has_more = count >= held + 2;
        match self.rule {
            Rule::NewestFirst if own.is_some_and(|own| own.is_trusted) => Taking::May {
                idle: true,
                in_use: has_more || !group.is_trusted,
            },
            Rule::NewestFirst => Taking::May {
                idle: count >= held,
                in_use: has_more,
            },
            Rule::FairOnly => Taking::May {
                idle: has_more || held == 0,
                in_use: has_more,
            },
        }
    }
}

/// A search for the place that becomes free.
struct Search<W, C> {
    newcomer: Newcomer,
    /// Returns how heavy a group of a level is.
    weigh: W,
    /// Chooses a place of an address; the flags say whether it may be an idle one, and one that seems to be in use.
    choose: C,
    best: Option<(Rank, Choice, Caller)>,
}

impl<W, C> Search<W, C> {
    /// Looks for the place in the groups of this level.
    fn visit<T>(&mut self, level: usize, within: &Group<T>, rank: Rank, taking: Taking)
    where
        W: Fn(usize, &Group<T>) -> usize,
        C: Fn(&Group<T>, bool, bool) -> Option<Choice>,
    {
        for (key, group) in &within.parts {
            let weight = (self.weigh)(level, group);
            let mut rank = rank;
            rank.0 = !key.is_trusted;
            if let Some(own) = rank.1.get_mut(level) {
                *own = weight;
            }
            if self.best.is_some_and(|(best, ..)| rank < best) {
                continue;
            }
            let taking = match taking {
                Taking::Undecided => self.newcomer.takes_from(level, *key, weight),
                decided @ Taking::May { .. } => decided,
            };
            let (idle, in_use) = match taking {
                Taking::Undecided => (self.newcomer.takes_own, false),
                Taking::May { idle, in_use } => (idle, in_use),
            };
            if level < ADDRESS {
                self.visit(level + 1, group, rank, taking);
            } else if let Some(choice) = (self.choose)(group, idle, in_use) {
                self.best = self.best.max(Some((rank, choice, *key)));
            }
        }
    }
}

/// The weights of groups that are not known yet.
const UNKNOWN: Rank = (true, [usize::MAX; LEVELS]);

impl<T> Default for Group<T> {
    fn default() -> Self {
        Self {
            count: 0,
            parts: HashMap::new(),
            places: HashMap::new(),
        }
    }
}

impl<T> Group<T> {
    fn insert(&mut self, path: &[Caller], id: u64, holder: T) {
        self.count += 1;
        match path {
            [] => drop(self.places.insert(id, holder)),
            [part, narrower @ ..] => {
                let part = self.parts.entry(*part).or_default();
                part.insert(narrower, id, holder);
            }
        }
    }

    fn remove(&mut self, path: &[Caller], id: u64) -> Option<T> {
        let removed = match path {
            [] => self.places.remove(&id)?,
            [key, narrower @ ..] => {
                let part = self.parts.get_mut(key)?;
                let removed = part.remove(narrower, id)?;
                if part.count == 0 {
                    self.parts.remove(key);
                }
                removed
            }
        };
        self.count -= 1;
        Some(removed)
    }

    /// Returns the group in it that this path leads to.
    fn at(&self, path: &[Caller]) -> Option<&Self> {
        path.iter()
            .try_fold(self, |group, key| group.parts.get(key))
    }

    /// Returns the sum of the weights of its places.
    fn total(&self, weigh: &impl Fn(&T) -> usize) -> usize {
        let own: usize = self.places.values().map(weigh).sum();
        let parts = self.parts.values().map(|part| part.total(weigh));
        own + parts.sum::<usize>()
    }

    /// Chooses the place that has been idle for longest.
    fn idlest(&self, since: &impl Fn(&T) -> Option<u64>) -> Option<Choice> {
        let places = self.places.iter();
        places
            .filter_map(|(id, held)| Some((u64::MAX - since(held)?, Reverse(*id))))
            .max()
    }

    /// Returns the places for which `since` returns a time, with their weights. Places without weight do not count.
    fn weighed(
        &self,
        weigh: &impl Fn(&T) -> usize,
        since: &impl Fn(&T) -> Option<u64>,
    ) -> impl Iterator<Item = Choice> {
        let places = self.places.iter();
        places
            .filter(|(_, held)| since(held).is_some())
            .map(|(id, held)| (weigh(held) as u64, Reverse(*id)))
            .filter(|(weight, _)| *weight > 0)
    }
}

impl<T> Places<T> {
    pub fn new(most: usize, share: usize, rule: Rule) -> Self {
        Self {
            most,
            share,
            rule,
            next: 0,
            root: Group::default(),
        }
    }

    /// Returns the number of places that are taken.
    pub fn count(&self) -> usize {
        self.root.count
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

    /// Takes a place like [`Places::enter`]. A group that holds at least two more, and whose heaviest address has no
    /// idle place, loses one for which `or_since` returns a time.
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
        let path = caller.path();
        let counts = |level: usize| {
            let group = path.get(..=level).and_then(|path| self.root.at(path));
            group.map_or(0, |group| self.count_of(level, group))
        };
        let held = [counts(SITE), counts(NETWORK), counts(ADDRESS)];
        // If a newcomer cannot take a place of its own caller, the share binds only when places get scarce.
        let is_bound = match self.rule {
            Rule::NewestFirst => true,
            Rule::FairOnly => self.count() >= self.most - self.most / 4,
        };
        let is_share_full = held[NETWORK] >= self.share && is_bound && !caller.is_trusted;
        let newcomer = Newcomer {
            rule: self.rule,
            path: Some(path),
            held,
            takes_own: is_share_full || self.rule == Rule::NewestFirst,
        };
        let ended = if is_share_full {
            let own = &path[..=NETWORK];
            let ended = self.find_idlest(newcomer, own, since, or_since);
            Some(ended.ok_or(Full::Share)?)
        } else if self.count() >= self.most {
            let ended = self.find_idlest(newcomer, &[], since, or_since);
            Some(ended.ok_or(Full::All)?)
        } else {
            None
        };
        let ended = ended.and_then(|(caller, id)| self.leave(caller, id));
        self.next += 1;
        self.root.insert(&path, self.next, holder);
        Ok(Entered {
            id: self.next,
            ended,
        })
    }

    /// Returns a place to the table. Does nothing if another holder has taken it.
    pub fn leave(&mut self, caller: Caller, id: u64) -> Option<T> {
        self.root.remove(&caller.path(), id)
    }

    /// Frees the place that has been idle for longest, of the caller that holds most. A caller with at least two places
    /// and no idle one loses one for which `or_since` returns a time.
    pub fn end_idlest(
        &mut self,
        since: impl Fn(&T) -> Option<u64>,
        or_since: impl Fn(&T) -> Option<u64>,
    ) -> Option<T> {
        let (caller, id) = self.find_idlest(ANY, &[], since, or_since)?;
        self.leave(caller, id)
    }

    /// Finds the place that makes room, in the group at `within`.
    fn find_idlest(
        &self,
        newcomer: Newcomer,
        within: &[Caller],
        since: impl Fn(&T) -> Option<u64>,
        or_since: impl Fn(&T) -> Option<u64>,
    ) -> Option<(Caller, u64)> {
        let group = self.root.at(within)?;
        let choose = |group: &Group<T>, idle: bool, in_use: bool| {
            let idlest = idle.then(|| group.idlest(&since)).flatten();
            idlest.or_else(|| in_use.then(|| group.idlest(&or_since)).flatten())
        };
        let mut search = Search {
            newcomer,
            weigh: |level, group: &Group<T>| self.count_of(level, group),
            choose,
            best: None,
        };
        search.visit(within.len(), group, UNKNOWN, Taking::Undecided);
        let (_, (_, Reverse(id)), caller) = search.best?;
        Some((caller, id))
    }

    /// Returns how many places a group holds; 0 for a site with a usual number.
    fn count_of(&self, level: usize, group: &Group<T>) -> usize {
        let is_usual = level == SITE && is_usual(group.count, self.most);
        if is_usual { 0 } else { group.count }
    }

    /// Frees the heaviest place of the caller whose places weigh most: an idle one, or else one for which `or_since`
    /// returns a time.
    pub fn end_heaviest(
        &mut self,
        weigh: impl Fn(&T) -> usize,
        since: impl Fn(&T) -> Option<u64>,
        or_since: impl Fn(&T) -> Option<u64>,
    ) -> Option<T> {
        let all = self.root.total(&weigh);
        let total = |level: usize, group: &Group<T>| {
            let total = group.total(&weigh);
            let is_usual = level == SITE && is_usual(total, all);
            if is_usual { 0 } else { total }
        };
        let choose = |group: &Group<T>, _: bool, _: bool| {
            let idle = group.weighed(&weigh, &since).max();
            idle.or_else(|| group.weighed(&weigh, &or_since).max())
        };
        let mut search = Search {
            newcomer: ANY,
            weigh: total,
            choose,
            best: None,
        };
        search.visit(SITE, &self.root, UNKNOWN, Taking::Undecided);
        let (_, (_, Reverse(id)), caller) = search.best?;
        self.leave(caller, id)
    }

    /// Frees up to `most` places and returns what they held. Each time it takes the site, network and address whose
    /// remaining places weigh most, untrusted callers first, and frees the heaviest place for which `since` returns a
    /// time. Places without weight stay.
    pub fn end_many(
        &mut self,
        most: usize,
        weigh: impl Fn(&T) -> usize,
        since: impl Fn(&T) -> Option<u64>,
    ) -> Vec<T> {
        let all = self.root.total(&weigh);
        let mut heap = BinaryHeap::new();
        for (site, group) in &self.root.parts {
            let site = Ranked::new(SITE, *site, group, &weigh, &since);
            if is_usual(site.total, all) {
                heap.extend(site.parts);
            } else {
                heap.push(site);
            }
        }
        let mut ended = Vec::new();
        while ended.len() < most
            && let Some(mut heaviest) = heap.pop()
        {
            let Some((caller, id)) = heaviest.pop() else {
                continue;
            };
            if heaviest.level == SITE && is_usual(heaviest.total, all) {
                heap.extend(heaviest.parts);
            } else {
                heap.push(heaviest);
            }
            ended.extend(self.leave(caller, id));
        }
        ended
    }
}

/// Any caller may lose a place.
const ANY: Newcomer = Newcomer {
    rule: Rule::NewestFirst,
    path: None,
    held: [0; LEVELS],
    takes_own: true,
};

/// Returns whether a site with this part of the whole has a usual number of customers.
const fn is_usual(part: usize, whole: usize) -> bool {
    part <= whole / OF_A_SITE
}

/// A group whose places become free, the heaviest first.
struct Ranked {
    caller: Caller,
    level: usize,
    total: usize,
    parts: BinaryHeap<Ranked>,
    /// The places that may become free, the heaviest last.
    places: Vec<Choice>,
}

impl Ranked {
    fn new<T>(
        level: usize,
        caller: Caller,
        group: &Group<T>,
        weigh: &impl Fn(&T) -> usize,
        since: &impl Fn(&T) -> Option<u64>,
    ) -> Self {
        let parts = group.parts.iter();
        let parts = parts.map(|(key, part)| Self::new(level + 1, *key, part, weigh, since));
        let mut places: Vec<_> = group.weighed(weigh, since).collect();
        places.sort_unstable();
        Self {
            caller,
            level,
            total: group.total(weigh),
            parts: parts.collect(),
            places,
        }
    }

    /// Takes its heaviest place out.
    fn pop(&mut self) -> Option<(Caller, u64)> {
        if let Some((weight, Reverse(id))) = self.places.pop() {
            let weight = usize::try_from(weight).unwrap_or(usize::MAX);
            self.total = self.total.saturating_sub(weight);
            return Some((self.caller, id));
        }
        while let Some(mut part) = self.parts.pop() {
            let before = part.total;
            if let Some(found) = part.pop() {
                self.total = self.total.saturating_sub(before - part.total);
                self.parts.push(part);
                return Some(found);
            }
        }
        None
    }

    /// Untrusted callers come first, then sites that hold too much, then the heaviest.
    fn rank(&self) -> (bool, bool, usize) {
        (!self.caller.is_trusted, self.level == SITE, self.total)
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.rank() == other.rank()
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    fn at(address: &str) -> Caller {
        Caller::new(address.parse().unwrap(), false)
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_have_one_share() {
        let mut places = Places::new(10, 2, Rule::NewestFirst);
        for address in ["2001:db8::1", "2001:db8::2"] {
            assert_eq!(enter(&mut places, at(address), 2), Ok(None));
        }
        let third = enter(&mut places, at("2001:db8::3"), 2);
        assert_eq!(third, Err(Full::Share));
        assert_eq!(enter(&mut places, at("2001:db8:0:1::1"), 2), Ok(None));
    }

    /// Each of the hostile networks holds one place, which it seems to use.
    #[test]
    fn the_networks_of_one_site_do_not_keep_others_out() {
        let seemingly = |holder: &u64| Some(*holder);
        for rule in [Rule::NewestFirst, Rule::FairOnly] {
            let mut places = Places::new(16, 16, rule);
            let mut enter = |who: Caller, holder| {
                let entered = places.enter_or(who, holder, since, seemingly);
                entered.map(|entered| entered.ended)
            };
            for honest in 0..8_u8 {
                let who = Caller::new([10, 0, honest, 1].into(), false);
                assert_eq!(enter(who, 1), Ok(None));
            }
            for number in 0..100_u64 {
                let who = at(&format!("2001:db8:1:{number:x}::1"));
                let free = if number < 8 { Ok(None) } else { Err(Full::All) };
                assert_eq!(enter(who, 100 + 2 * number), free);
            }
            let ended = enter(at("2001:db8:2::1"), 300).unwrap();
            assert!(ended.is_some_and(|ended| ended >= 100), "{rule:?}");
        }
    }

    /// By network alone, the honest ones would be the idlest.
    #[test]
    fn a_flood_from_the_networks_of_one_site_takes_places_from_itself() {
        let hostile: [fn(u8) -> IpAddr; 2] = [
            |number| IpAddr::from([0x2001, 0xdb8, 1, number.into(), 0, 0, 0, 1]),
            |number| IpAddr::from([192, 0, 2, number]),
        ];
        for hostile in hostile {
            let mut places = Places::new(16, 4, Rule::NewestFirst);
            for last in 0..8 {
                let honest = Caller::new([10, 0, last, 1].into(), false);
                let entered = enter(&mut places, honest, u64::from(last) * 2 + 1);
                assert_eq!(entered, Ok(None));
            }
            for number in 0..200 {
                let flood = Caller::new(hostile(number), false);
                let own = |number: u8| 1001 + 2 * u64::from(number);
                let ended = enter(&mut places, flood, own(number));
                assert_eq!(ended, Ok(number.checked_sub(8).map(own)));
            }
        }
    }

    #[test]
    fn a_site_with_up_to_an_eighth_of_the_places_counts_by_its_callers_alone() {
        let mut places = Places::new(16, 16, Rule::NewestFirst);
        let honest = |last: u8| Caller::new([10, 0, 0, last].into(), false);
        for holder in 0..14 {
            let far = Caller::new([10, 9, u8::try_from(holder).unwrap(), 1].into(), false);
            let ended = enter(&mut places, far, 11 + 2 * holder);
            assert_eq!(ended, Ok(None));
        }
        assert_eq!(enter(&mut places, honest(1), 51), Ok(None));
        assert_eq!(enter(&mut places, honest(2), 53), Ok(None));
        assert_eq!(enter(&mut places, at("2001:db8::1"), 55), Ok(Some(11)));
        assert_eq!(enter(&mut places, honest(3), 57), Ok(Some(13)));
        let ended = enter(&mut places, at("2001:db8:1::1"), 59);
        assert_eq!(ended, Ok(Some(51)), "three of 16");
    }

    #[test]
    fn a_trusted_proxy_is_no_part_of_its_network() {
        let proxy = Caller::new("2001:db8::1".parse().unwrap(), true);
        let mut places = Places::new(4, 2, Rule::NewestFirst);
        for holder in [1, 3, 5] {
            assert_eq!(enter(&mut places, proxy, holder), Ok(None));
        }
        let stranger = at("2001:db8::2");
        assert_eq!(enter(&mut places, stranger, 7), Ok(None));
        assert_eq!(enter(&mut places, stranger, 9), Ok(Some(7)));
        assert_eq!(enter(&mut places, at("2001:db8::3"), 11), Ok(Some(9)));
        assert_eq!(enter(&mut places, proxy, 13), Ok(Some(11)));
        assert_eq!(places.count(), 4);
    }

    #[test]
    fn a_trusted_proxy_takes_even_a_place_that_a_stranger_seems_to_use() {
        let proxy = Caller::new([10, 0, 0, 9].into(), true);
        let mut places = full(2, &[(1, 2), (2, 4)]);
        let mut enter = |holder| {
            let entered = places.enter_or(proxy, holder, since, |holder| Some(*holder));
            entered.map(|entered| entered.ended)
        };
        assert_eq!(enter(6), Ok(Some(2)));
        assert_eq!(enter(8), Ok(Some(4)));
        assert_eq!(enter(10), Err(Full::All), "never its own in use");
    }

    #[test]
    fn at_a_full_share_the_address_that_holds_most_loses_a_place_to_its_neighbour() {
        let mut places = Places::new(4, 3, Rule::FairOnly);
        for holder in [2, 4, 6] {
            assert_eq!(enter(&mut places, at("2001:db8::1"), holder), Ok(None));
        }
        let mut enter = |address: &str, holder| {
            let entered = places.enter_or(at(address), holder, since, |it| Some(*it));
            entered.map(|entered| entered.ended)
        };
        assert_eq!(enter("2001:db8::1", 8), Err(Full::Share), "all in use");
        assert_eq!(enter("2001:db8::2", 8), Ok(Some(2)));
        assert_eq!(enter("2001:db8::3", 10), Ok(Some(4)));
        assert_eq!(enter("2001:db8::4", 12), Err(Full::Share), "one each");
    }

    #[test]
    fn under_the_fair_rule_a_newcomer_takes_only_from_callers_that_hold_more() {
        let mut places = Places::new(3, 3, Rule::FairOnly);
        for holder in [1, 3, 5] {
            assert_eq!(enter(&mut places, caller(1), holder), Ok(None));
        }
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
        assert_eq!(enter(&mut places, caller(2), 7), Ok(None));
        for ended in [1, 3, 5] {
            let own = enter(&mut places, caller(1), 8);
            assert_eq!(own, Ok(Some(ended)), "at its share, its own");
        }
        assert_eq!(enter(&mut places, caller(1), 8), Err(Full::Share));
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
        assert_eq!((places.count(), places.root.parts.len()), (0, 0));
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

    #[test]
    fn memory_is_freed_from_the_site_that_weighs_most_and_there_from_its_heaviest_address() {
        let mut places = Places::new(99, 99, Rule::NewestFirst);
        let heavy = [("2001:db8:1:1::1", 301), ("2001:db8:1:2::1", 311)];
        let light = [("10.0.0.1", 401), ("2001:db8:2::1", 9)];
        let few = [("10.1.0.1", 1), ("10.2.0.1", 3)];
        for (address, holder) in heavy.into_iter().chain(light).chain(few) {
            assert_eq!(enter(&mut places, at(address), holder), Ok(None));
        }
        let weigh = |holder: &u64| usize::try_from(*holder).unwrap();
        assert_eq!(places.end_heaviest(weigh, since, |_| None), Some(311));
        assert_eq!(enter(&mut places, at("2001:db8:1:2::1"), 311), Ok(None));
        let ended = places.end_many(5, weigh, since);
        assert_eq!(ended, [311, 401, 301, 9, 3]);
        assert_eq!(places.count(), 1);
    }
}
