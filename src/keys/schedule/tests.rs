//! Rules of every schedule, and walkthroughs of the usual ones.

use std::collections::{BTreeMap, BTreeSet};

use Algorithm::{ES256, EdDSA};
use Phase::{Active, Published, Retiring};
use proptest::prelude::*;

use super::*;
use crate::keys::fixtures::at;
use crate::keys::generate;

const MINUTE: i64 = 60;
const HOUR: i64 = 3600;

fn secs(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

fn settings(algorithms: &[Algorithm]) -> KeySettings {
    KeySettings {
        algorithms: algorithms.to_vec(),
        rotate_every: secs(100 * HOUR),
        publish_ahead: secs(10 * HOUR),
        longest_token: secs(5 * HOUR),
        staleness: secs(0),
        distrusted: Vec::new(),
        emergency: None,
    }
}

/// A key set, its memory, and the operator that plans it.
#[derive(Clone, Default)]
struct Keys {
    set: KeySet,
    memory: Option<Memory>,
    made: usize,
    writes: usize,
}

impl Keys {
    /// Runs one pass of the operator and returns when the next is due.
    fn pass(&mut self, settings: &KeySettings, now: i64) -> Option<i64> {
        let plan = plan(&self.set, self.memory.as_ref(), settings, at(now));
        let made = plan.makes().into_iter().map(|it| generate(it).unwrap());
        let made: Vec<_> = made.collect();
        self.made += made.len();
        self.writes += usize::from(plan.is_change);
        self.set = plan.apply(&self.set, made).unwrap();
        // The memory is stored as JSON.
        let text = serde_json::to_string(&plan.memory).unwrap();
        self.memory = Some(serde_json::from_str(&text).unwrap());
        plan.next.map(Timestamp::as_second)
    }

    /// Runs a pass whenever one is due, until `end`.
    fn run(&mut self, settings: &KeySettings, start: i64, end: i64) {
        let mut now = start;
        while now <= end {
            now = self.pass(settings, now).unwrap_or(i64::MAX);
        }
        self.pass(settings, end);
    }

    /// The hours of creation, activation and retirement of each key, in the set's order.
    fn hours(&self) -> Vec<(Algorithm, i64, i64, Option<i64>)> {
        let hours = |time: Timestamp| time.as_second() / HOUR;
        let records = self.set.records().iter();
        records
            .map(|it| {
                let end = it.retired_at.map(hours);
                let algorithm = it.key.algorithm();
                (algorithm, hours(it.created_at), hours(it.active_from), end)
            })
            .collect()
    }

    fn signer(&self, settings: &KeySettings, now: i64) -> Option<(Algorithm, String)> {
        let algorithm = self.set.default_algorithm(&settings.algorithms, at(now))?;
        let signer = self.set.active(algorithm, at(now))?;
        Some((algorithm, signer.key.kid().to_owned()))
    }
}

#[test]
fn the_first_keys_sign_at_once_and_the_next_are_published_ahead() {
    let (mut keys, settings) = (Keys::default(), settings(&[EdDSA]));
    assert_eq!(keys.pass(&settings, 0), Some(90 * HOUR));
    assert_eq!(keys.hours(), [(EdDSA, 0, 0, None)]);
    assert_eq!(keys.pass(&settings, 90 * HOUR), Some(100 * HOUR));
    let rotated = [(EdDSA, 0, 0, Some(106)), (EdDSA, 90, 100, None)];
    assert_eq!(
        keys.hours(),
        rotated,
        "5 h token lifetime, 1 h clock margin"
    );
    assert_eq!(keys.pass(&settings, 100 * HOUR), Some(106 * HOUR));
    assert_eq!(keys.hours(), rotated);
    assert_eq!(keys.pass(&settings, 106 * HOUR), Some(190 * HOUR));
    assert_eq!(keys.hours(), [(EdDSA, 90, 100, None)]);
}

#[test]
fn a_replaced_key_stays_published_for_the_staleness_of_servers_up_to_a_day() {
    // Staleness in hours, and the hour at which the first key retires: 100, 5 h token lifetime, 1 h clock margin, the
    // staleness.
    for (staleness, end) in [(0, 106), (3, 109), (24, 130), (48, 130)] {
        let mut keys = Keys::default();
        let settings = KeySettings {
            staleness: secs(staleness * HOUR),
            ..settings(&[EdDSA])
        };
        keys.pass(&settings, 0);
        keys.pass(&settings, 90 * HOUR);
        assert_eq!(keys.hours()[0].3, Some(end), "{staleness} h");
    }
}

#[test]
fn a_late_pass_still_publishes_ahead() {
    let (mut keys, settings) = (Keys::default(), settings(&[EdDSA]));
    keys.pass(&settings, 0);
    keys.pass(&settings, 500 * HOUR);
    assert_eq!(
        keys.hours(),
        [(EdDSA, 0, 0, Some(516)), (EdDSA, 500, 510, None)]
    );
}

#[test]
fn the_next_rotation_is_the_published_key_or_the_one_that_is_due() {
    let (mut keys, settings) = (Keys::default(), settings(&[EdDSA, ES256]));
    let hours = |keys: &Keys, settings: &KeySettings, now: i64| {
        let next = rotates_at(&keys.set, settings, at(now * HOUR))?;
        Some(next.as_second() / HOUR)
    };
    assert_eq!(hours(&keys, &settings, 0), None, "no key yet");
    keys.pass(&settings, 0);
    assert_eq!(hours(&keys, &settings, 0), Some(100));
    assert_eq!(hours(&keys, &settings, 150), Some(100), "overdue for 50 h");
    keys.pass(&settings, 150 * HOUR);
    assert_eq!(hours(&keys, &settings, 150), Some(160), "published now");
    assert_eq!(hours(&keys, &settings, 160), Some(260));
    let sooner = KeySettings {
        rotate_every: secs(20 * HOUR),
        ..settings
    };
    assert_eq!(hours(&keys, &sooner, 161), Some(180));
}

#[test]
fn keys_of_other_algorithms_do_not_move_the_next_rotation() {
    let mut keys = Keys::default();
    keys.pass(&settings(&[EdDSA]), 0);
    let changed = settings(&[ES256]);
    keys.run(&changed, 20 * HOUR, 31 * HOUR);
    assert_eq!(
        keys.hours(),
        [(ES256, 20, 30, None), (EdDSA, 0, 0, Some(36))]
    );
    let next = rotates_at(&keys.set, &changed, at(31 * HOUR)).unwrap();
    assert_eq!(
        next.as_second() / HOUR,
        130,
        "100 h after ES256 began to sign"
    );
}

#[test]
fn an_undisturbed_schedule_makes_one_key_and_two_writes_a_period() {
    let (mut keys, settings) = (Keys::default(), settings(&[EdDSA, ES256]));
    keys.run(&settings, 0, 1000 * HOUR);
    assert_eq!(keys.made, 2 * (1 + 10));
    // One write to publish and one to remove, both algorithms at once; an activation writes nothing.
    assert_eq!(keys.writes, 1 + 10 + 9);
    let writes = keys.writes;
    for now in 1001..1005 {
        keys.pass(&settings, now * HOUR);
    }
    assert_eq!(keys.writes, writes, "the steady state writes nothing");
}

#[test]
fn an_algorithm_that_replaces_another_signs_after_its_key_was_published_ahead() {
    let mut keys = Keys::default();
    keys.pass(&settings(&[EdDSA]), 0);
    let changed = settings(&[ES256]);
    keys.pass(&changed, 20 * HOUR);
    assert_eq!(
        keys.hours(),
        [(ES256, 20, 30, None), (EdDSA, 0, 0, Some(36))]
    );
    let default = |now: i64| {
        let wanted = &changed.algorithms;
        keys.set.default_algorithm(wanted, at(now * HOUR)).unwrap()
    };
    assert_eq!(
        [default(20), default(29)],
        [EdDSA; 2],
        "EdDSA continues meanwhile"
    );
    assert_eq!([default(30), default(100)], [ES256; 2]);
    keys.run(&changed, 20 * HOUR, 36 * HOUR);
    assert_eq!(keys.hours(), [(ES256, 20, 30, None)]);
}

#[test]
fn a_removed_algorithm_is_published_until_its_tokens_expire() {
    let mut keys = Keys::default();
    keys.pass(&settings(&[EdDSA, ES256]), 0);
    keys.pass(&settings(&[EdDSA]), 20 * HOUR);
    keys.pass(&settings(&[EdDSA]), 21 * HOUR);
    assert_eq!(
        keys.hours(),
        [(ES256, 0, 0, Some(26)), (EdDSA, 0, 0, None)],
        "5 h token lifetime, 1 h clock margin, after the removal"
    );
    let mut regretted = keys.clone();
    regretted.pass(&settings(&[EdDSA, ES256]), 22 * HOUR);
    assert_eq!(
        regretted.hours(),
        [(ES256, 0, 0, None), (EdDSA, 0, 0, None)],
        "wanted again: the key stays"
    );
    keys.pass(&settings(&[EdDSA]), 26 * HOUR);
    assert_eq!(keys.hours(), [(EdDSA, 0, 0, None)]);
}

#[test]
fn each_emergency_value_replaces_all_keys_at_once() {
    let mut keys = Keys::default();
    let calm = settings(&[EdDSA, ES256]);
    keys.pass(&calm, 0);
    keys.pass(&calm, 90 * HOUR);
    let emergency = |value: &str| KeySettings {
        emergency: Some(value.to_owned()),
        ..calm.clone()
    };
    keys.pass(&emergency("leak"), 95 * HOUR);
    let fresh = [(ES256, 95, 95, None), (EdDSA, 95, 95, None)];
    assert_eq!(keys.hours(), fresh, "even keys that were only published");
    keys.pass(&emergency("leak"), 96 * HOUR);
    keys.pass(&calm, 97 * HOUR);
    keys.pass(&emergency("leak"), 98 * HOUR);
    assert_eq!(keys.hours(), fresh, "each new value acts once");
    keys.pass(&emergency("another"), 99 * HOUR);
    assert_eq!(keys.hours(), [(ES256, 99, 99, None), (EdDSA, 99, 99, None)]);
}

#[test]
fn a_new_identity_with_the_annotation_has_its_keys_made_once() {
    let mut keys = Keys::default();
    let settings = KeySettings {
        emergency: Some("x".into()),
        ..settings(&[EdDSA])
    };
    keys.pass(&settings, 0);
    keys.pass(&settings, 1);
    assert_eq!(keys.made, 1);
}

#[test]
fn the_published_key_or_a_new_one_replaces_a_distrusted_signer_at_once() {
    let mut keys = Keys::default();
    let calm = settings(&[EdDSA]);
    keys.pass(&calm, 0);
    let distrust = |keys: &Keys, now: i64| KeySettings {
        distrusted: vec![keys.signer(&calm, now * HOUR).unwrap().1],
        ..calm.clone()
    };
    let mut early = keys.clone();
    early.pass(&distrust(&keys, 20), 20 * HOUR);
    assert_eq!(early.hours(), [(EdDSA, 20, 20, None)]);
    keys.pass(&calm, 90 * HOUR);
    let distrusted = distrust(&keys, 95);
    keys.pass(&distrusted, 95 * HOUR);
    assert_eq!(keys.hours(), [(EdDSA, 90, 95, None)]);
    keys.pass(&distrusted, 96 * HOUR);
    assert_eq!(keys.hours(), [(EdDSA, 90, 95, None)]);
}

#[test]
fn the_published_key_of_a_new_algorithm_signs_at_once_when_the_old_signer_is_distrusted() {
    let mut keys = Keys::default();
    let old = settings(&[EdDSA]);
    keys.pass(&old, 0);
    keys.pass(&settings(&[ES256]), 20 * HOUR);
    let distrusting = KeySettings {
        distrusted: vec![keys.signer(&old, 21 * HOUR).unwrap().1],
        ..settings(&[ES256])
    };
    keys.pass(&distrusting, 21 * HOUR);
    assert_eq!(keys.hours(), [(ES256, 20, 21, None)], "not only at hour 30");
}

#[test]
fn a_retiring_key_never_signs_again_when_its_successor_is_distrusted() {
    let mut keys = Keys::default();
    let calm = settings(&[EdDSA]);
    keys.run(&calm, 0, 101 * HOUR);
    let (_, first) = keys.signer(&calm, 99 * HOUR).unwrap();
    let (_, second) = keys.signer(&calm, 101 * HOUR).unwrap();
    let distrusting = KeySettings {
        distrusted: vec![second],
        ..calm
    };
    // The servers see the distrust first: no key signs.
    let left = keys.set.without(&distrusting.distrusted, at(101 * HOUR));
    let signs = |now: i64| left.active(EdDSA, at(now * HOUR)).is_some();
    assert!(!signs(101) && !signs(105), "{first} verifies only");
    assert_eq!(left.published(at(101 * HOUR)).count(), 1);
    let told = phases(&left, &[EdDSA], at(101 * HOUR));
    assert_eq!(told[0].1, Retiring);
    // Then the operator makes a key that signs at once.
    keys.pass(&distrusting, 101 * HOUR);
    let made = [(EdDSA, 0, 0, Some(107)), (EdDSA, 101, 101, None)];
    assert_eq!(keys.hours(), made, "5 h token lifetime, 1 h clock margin");
    // An algorithm that is no longer wanted gets a key too: that key marks the first one as superseded.
    keys.pass(&settings(&[ES256]), 102 * HOUR);
    let third = keys.set.records().last().unwrap().key.kid().to_owned();
    let gone = KeySettings {
        distrusted: vec![third],
        ..settings(&[ES256])
    };
    keys.pass(&gone, 103 * HOUR);
    keys.pass(&settings(&[EdDSA]), 104 * HOUR);
    let (_, fourth) = keys.signer(&settings(&[EdDSA]), 104 * HOUR).unwrap();
    assert_ne!(fourth, first);
}

#[test]
fn a_lowered_token_limit_is_remembered_until_the_longer_tokens_expire() {
    let mut keys = Keys::default();
    let generous = settings(&[EdDSA]);
    let tight = KeySettings {
        longest_token: secs(HOUR),
        ..generous.clone()
    };
    keys.pass(&generous, 0);
    keys.pass(&generous, 90 * HOUR);
    let mut calm = keys.clone();
    calm.pass(&tight, 99 * HOUR);
    assert_eq!(calm.hours()[0].3, Some(106), "an end only moves later");

    let mut keys = Keys::default();
    keys.pass(&generous, 0);
    keys.pass(&tight, 89 * HOUR);
    keys.pass(&tight, 90 * HOUR);
    assert_eq!(keys.hours()[0].3, Some(102), "100 + 1 + 1");
    let mut keys = Keys::default();
    keys.pass(&generous, 0);
    // The old tokens expire at 104; add one hour of clock margin.
    keys.pass(&tight, 99 * HOUR);
    let gone = KeySettings {
        algorithms: vec![ES256],
        ..tight
    };
    keys.pass(&gone, 99 * HOUR);
    assert_eq!(keys.hours()[1].3, Some(111), "109 + 1 + 1 is later");
}

#[test]
fn a_raised_token_limit_keeps_retiring_keys_longer() {
    let mut keys = Keys::default();
    keys.pass(&settings(&[EdDSA]), 0);
    keys.pass(&settings(&[EdDSA]), 90 * HOUR);
    let loose = KeySettings {
        longest_token: secs(50 * HOUR),
        ..settings(&[EdDSA])
    };
    keys.pass(&loose, 105 * HOUR);
    assert_eq!(keys.hours()[0].3, Some(156), "105 + 50 + 1");
    let writes = keys.writes;
    keys.pass(&loose, 106 * HOUR);
    assert_eq!(keys.writes, writes);
}

#[test]
fn a_schedule_that_needs_too_many_keys_waits() {
    let mut keys = Keys::default();
    let hasty = KeySettings {
        rotate_every: secs(HOUR),
        publish_ahead: secs(10 * MINUTE),
        longest_token: secs(24 * HOUR),
        ..settings(&[EdDSA])
    };
    keys.run(&hasty, 0, 300 * HOUR);
    assert!(keys.set.records().len() <= MAX_KEYS);
    assert!(keys.made > 50, "rotation continues: {}", keys.made);
}

#[test]
fn phases_tell_which_key_signs() {
    let mut keys = Keys::default();
    let both = [EdDSA, ES256];
    keys.pass(&settings(&both), 0);
    keys.pass(&settings(&both), 90 * HOUR);
    let phases = |keys: &Keys, wanted: &[Algorithm], now: i64| {
        let phases = phases(&keys.set, wanted, at(now * HOUR)).into_iter();
        let phases = phases.map(|(record, phase)| (record.key.algorithm(), phase));
        phases.collect::<Vec<_>>()
    };
    let of_two = |first, second| {
        vec![
            (ES256, first),
            (ES256, second),
            (EdDSA, first),
            (EdDSA, second),
        ]
    };
    assert_eq!(phases(&keys, &both, 90), of_two(Active, Published));
    assert_eq!(phases(&keys, &both, 100), of_two(Retiring, Active));

    let mut keys = Keys::default();
    keys.pass(&settings(&[EdDSA]), 0);
    keys.pass(&settings(&[ES256]), HOUR);
    let change = |now| phases(&keys, &[ES256], now);
    assert_eq!(change(1), [(ES256, Published), (EdDSA, Active)]);
    assert_eq!(change(11), [(ES256, Active), (EdDSA, Retiring)]);

    // A key that leaves before it signs is not the next one.
    let records = keys.set.records().iter().cloned().map(|record| KeyRecord {
        retired_at: Some(at(200 * HOUR)),
        ..record
    });
    let leaving = Keys {
        set: KeySet::from_records(records).unwrap(),
        ..Keys::default()
    };
    assert_eq!(
        phases(&leaving, &[EdDSA], 1),
        [(ES256, Retiring), (EdDSA, Active)]
    );
}

// --- any schedule

#[derive(Clone, Debug)]
enum Event {
    Algorithms(Vec<Algorithm>),
    RotateEvery(i64),
    PublishAhead(i64),
    LongestToken(i64),
    DistrustSigner,
    Emergency,
    /// The clock is behind by this from now on.
    ClockBehind(i64),
    Wait(i64),
}

fn event(clock: bool) -> impl Strategy<Value = Event> {
    let behind = if clock { 0..=HOUR } else { 0..=0 };
    prop_oneof![
        2 => prop::sample::select(vec![vec![EdDSA], vec![ES256], vec![ES256, EdDSA], vec![EdDSA, ES256]])
            .prop_map(Event::Algorithms),
        1 => (1..200i64).prop_map(|hours| Event::RotateEvery(hours * HOUR)),
        1 => (10..3000i64).prop_map(|minutes| Event::PublishAhead(minutes * MINUTE)),
        2 => (1..3000i64).prop_map(|minutes| Event::LongestToken(minutes * MINUTE)),
        1 => Just(Event::DistrustSigner),
        1 => Just(Event::Emergency),
        1 => behind.prop_map(Event::ClockBehind),
        6 => (1..20_000i64).prop_map(|minutes| Event::Wait(minutes * MINUTE)),
    ]
}

/// The lag of a server behind what is published, from caches and mounted files.
const LATE: i64 = 5 * MINUTE;

/// The operator, the servers and the tokens in use. Times are true times unless they are read from a clock.
struct World {
    now: i64,
    behind: i64,
    settings: KeySettings,
    keys: Keys,
    due: i64,
    /// The published key sets, with their settings and the time of publication.
    history: Vec<(i64, KeySet, KeySettings)>,
    /// The key and the expiry of each token in use, by the clock.
    tokens: BTreeSet<(String, i64)>,
    /// When each key was published, and for how long it must be published before it signs.
    published: BTreeMap<String, (i64, i64)>,
    /// Keys that may sign without it: the first, and the replacements of distrusted keys.
    excused: BTreeSet<String>,
    distrusted: BTreeSet<String>,
    is_disturbed: bool,
    /// The keys that have signed with each algorithm, in this order.
    signers: BTreeMap<Algorithm, Vec<String>>,
    /// Whether the clock may go back, which also moves due times.
    clock_moves: bool,
}

impl World {
    fn new(clock_moves: bool) -> Self {
        let mut world = Self {
            clock_moves,
            now: 1_000_000,
            behind: 0,
            settings: settings(&[EdDSA]),
            keys: Keys::default(),
            due: 0,
            history: Vec::new(),
            tokens: BTreeSet::new(),
            published: BTreeMap::new(),
            excused: BTreeSet::new(),
            distrusted: BTreeSet::new(),
            is_disturbed: true,
            signers: BTreeMap::new(),
        };
        world.operate();
        world
    }

    fn clock(&self) -> i64 {
        self.now - self.behind
    }

    fn operate(&mut self) {
        let before = self.kids();
        let next = self.keys.pass(&self.settings, self.clock());
        let after = self.kids();
        // Planning again changes nothing.
        let again = plan(
            &self.keys.set,
            self.keys.memory.as_ref(),
            &self.settings,
            at(self.clock()),
        );
        assert!(!again.is_change && again.makes().is_empty(), "{again:?}");
        assert_eq!(again.next.map(Timestamp::as_second), next);
        self.due = next.unwrap_or(i64::MAX).saturating_add(self.behind);
        let ahead = self.settings.publish_ahead.as_secs();
        for kid in after.difference(&before) {
            self.published.insert(kid.clone(), (self.now, ahead));
        }
        if std::mem::take(&mut self.is_disturbed) {
            self.excused.extend(after.iter().cloned());
            let gone = before.difference(&after).cloned();
            self.distrusted.extend(gone);
        }
        let state = (self.now, self.keys.set.clone(), self.settings.clone());
        self.history.push(state);
    }

    fn kids(&self) -> BTreeSet<String> {
        let records = self.keys.set.records().iter();
        records.map(|it| it.key.kid().to_owned()).collect()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Algorithms(algorithms) => self.settings.algorithms = algorithms,
            Event::RotateEvery(every) => {
                self.settings.rotate_every = secs(every).max(self.settings.publish_ahead + secs(1));
            }
            Event::PublishAhead(ahead) => {
                self.settings.publish_ahead = secs(ahead).min(self.settings.rotate_every - secs(1));
            }
            Event::LongestToken(longest) => self.settings.longest_token = secs(longest),
            Event::DistrustSigner => {
                let signer = self.keys.signer(&self.settings, self.clock()).unwrap().1;
                self.settings.distrusted = vec![signer];
                self.is_disturbed = true;
            }
            Event::Emergency => {
                self.settings.emergency = Some(self.now.to_string());
                self.is_disturbed = true;
            }
            Event::ClockBehind(behind) => self.behind = behind,
            Event::Wait(time) => return self.wait(time),
        }
        self.operate();
        self.look();
        self.wait(LATE);
    }

    /// The operator wakes when due; the rules are checked then and in between.
    fn wait(&mut self, time: i64) {
        let end = self.now + time;
        while self.now < end {
            let step = (time / 7).max(MINUTE);
            self.now = (self.now + step).min(end).min(self.due.max(self.now + 1));
            if self.now >= self.due {
                self.operate();
            }
            self.look();
        }
    }

    /// The key set and the settings that a late server has.
    fn late(&self) -> (&KeySet, &KeySettings) {
        let known = self.history.iter().rev();
        let mut known = known.filter(|(since, ..)| *since <= self.now - LATE);
        let (_, set, settings) = known.next().unwrap_or(&self.history[0]);
        (set, settings)
    }

    fn look(&mut self) {
        let clock = self.clock();
        for algorithm in &self.settings.algorithms {
            let signs = self.keys.set.active(*algorithm, at(clock));
            assert!(signs.is_some(), "{algorithm} signs at every moment");
        }
        let count = self.keys.set.records().len();
        assert!(count <= 2 * MAX_KEYS, "{count}");
        self.sign();
        self.verify();
        if !self.clock_moves {
            self.go_forward();
        }
    }

    /// A key's phase only moves forward. A key that stopped signing never signs again, neither for the operator nor at
    /// a server that has an older set and removes the distrusted keys of today.
    fn go_forward(&mut self) {
        let now = at(self.clock());
        let late = self.late().0.without(&self.settings.distrusted, now);
        for algorithm in Algorithm::ALL {
            let signers = self.signers.entry(algorithm).or_default();
            let signer = |set: &KeySet| {
                let since = set.signs_since(algorithm, now);
                let signer = set.active(algorithm, now).filter(|_| since.is_some());
                signer.map(|signer| signer.key.kid().to_owned())
            };
            if let Some(kid) = signer(&self.keys.set)
                && signers.last() != Some(&kid)
            {
                assert!(!signers.contains(&kid), "{kid} signs again");
                signers.push(kid);
            }
            let before = signers.len().saturating_sub(2);
            if let Some(kid) = signer(&late) {
                let over = &signers[..before];
                assert!(!over.contains(&kid), "a late server signs with {kid} again");
            }
        }
    }

    fn sign(&mut self) {
        let clock = self.clock();
        let fresh = (&self.keys.set, &self.settings);
        let mut tokens = Vec::new();
        for (set, settings) in [fresh, self.late()] {
            let default = set
                .default_algorithm(&settings.algorithms, at(clock))
                .unwrap();
            let kid = set.active(default, at(clock)).unwrap().key.kid().to_owned();
            let (since, ahead) = self.published[&kid];
            assert!(
                self.now - since >= ahead || self.excused.contains(&kid) || self.clock_moves,
                "{kid} of {default} signs {} s after it was published, not {ahead}",
                self.now - since
            );
            let asked = settings.algorithms.iter();
            let asked = asked.filter_map(|it| set.active(*it, at(clock)));
            let asked = asked.map(|record| record.key.kid().to_owned());
            for kid in asked.chain([kid]) {
                tokens.push((kid, clock + settings.longest_token.as_secs()));
            }
        }
        self.tokens.extend(tokens);
    }

    fn verify(&mut self) {
        let clock = self.clock();
        let distrusted = &self.distrusted;
        self.tokens
            .retain(|(kid, end)| *end > clock - HOUR && !distrusted.contains(kid));
        let published: BTreeSet<_> = {
            let published = self.keys.set.published(at(clock));
            published.map(|it| it.key.kid().to_owned()).collect()
        };
        for (kid, end) in self.tokens.iter().filter(|(_, end)| *end > clock) {
            assert!(
                published.contains(kid),
                "{kid} has a token for {} s more",
                end - clock
            );
        }
        // A resource server with an old copy verifies what is signed now, except by keys that could not be published
        // ahead.
        let (late, _) = self.late();
        let known: BTreeSet<_> = late.records().iter().map(|it| it.key.kid()).collect();
        let signer = self.keys.signer(&self.settings, clock).unwrap().1;
        assert!(
            known.contains(signer.as_str()) || self.excused.contains(&signer) || self.clock_moves,
            "a late server does not know {signer}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn in_every_schedule_keys_are_published_then_used_then_retired(
        events in proptest::collection::vec(event(false), 1..25),
    ) {
        let mut world = World::new(false);
        for event in events {
            world.happen(event);
        }
    }

    #[test]
    fn a_clock_that_goes_back_an_hour_breaks_no_verification(
        events in proptest::collection::vec(event(true), 1..25),
    ) {
        let mut world = World::new(true);
        for event in events {
            world.happen(event);
        }
    }
}
