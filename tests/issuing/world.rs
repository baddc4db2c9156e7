//! A simulation of an API server, operators, users and faults: a small state, and all states that may follow it.
//!
//! A version is a number that stands for uid and `resourceVersion` together. Only equality of versions matters, so they
//! are renumbered after every step. The passage of time is a step too: an overlap ends, a token expires. A recreated
//! owner has another uid.

use std::hash::{Hash, Hasher};

use crate::real::{
    Asked, BASE_ELSEWHERE, BASE_NONE, BASE_OTHER, BASE_READ, BUSY, CLOSING, DEAD, EDITED, EXPIRED,
    GARBAGE, LIVE, NOTHING, OwnerSeen, QUIET, RETYPED, Real, SOUND, STRIPPED, SecretSeen, Seen,
    UNKNOWN, UNUSED,
};

const ENTRIES: usize = 6;
/// Rotation leaves at most so many valid tokens.
const MAX_BY_ROTATION: usize = 4;
/// Content of a Secret that no operator wrote.
const FOREIGN: u8 = 99;

/// A broken invariant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// I1: our Secret holds a token that the server refuses.
    HoldsDead,
    /// I2: everything is at rest, and the Secret does not hold exactly one accepted token.
    NotConverged,
    /// I3: more than four committed tokens are alive, or more than two have no end.
    TooManyLive,
    /// I4: a token that was refused is accepted again.
    Revived,
    /// I5: a token in use ended without overlap.
    KilledInUse,
    /// I6: too many tokens were issued or written, or the operators never come to rest.
    NoFixpoint,
    /// I7: an older token was written after a newer one.
    WentBack,
    /// I8: the sweeper deleted the Credential of an existing owner.
    SweptPresent,
    /// I9: the Secret was deleted to revoke its token, and the token is still accepted.
    LeakedLives,
    /// I10: a status was written to another owner.
    WrongStatus,
    /// I11: a request for rotation was lost.
    RequestLost,
    /// `high` of a Credential decreased.
    HighWentBack,
    /// I12: everything is at rest, and a token that was revoked by its id has no end in the spec.
    RevocationForgotten,
}

/// A rule that a test can switch off to see the search fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// The plan sees the Credential's `base`, and so fences.
    Fence,
    /// The Credential is read before the Secret.
    CredentialFirst,
    /// A Credential is replaced only on condition of the version that was read.
    CredentialVersion,
    /// A Secret is replaced only on condition of the version that was read.
    SecretVersion,
    /// The Secret is written only after the write of the Credential succeeded.
    RecordBeforeReveal,
    /// A status is written only to the owner with the uid that was read.
    StatusUid,
    /// The sweeper reads owners from the API server, not from its cache.
    LiveSweep,
    /// The plan sees which older tokens are in use.
    Quiet,
    /// The plan sees that the Secret is being recreated.
    Announced,
    /// The plan sees which tokens a server revoked by their ids.
    Revoked,
}

impl Rule {
    /// The rules that matter without adoption too.
    pub const ALL: [Self; 9] = [
        Self::Fence,
        Self::CredentialFirst,
        Self::CredentialVersion,
        Self::SecretVersion,
        Self::RecordBeforeReveal,
        Self::StatusUid,
        Self::LiveSweep,
        Self::Announced,
        Self::Revoked,
    ];

    fn holds(self, without: Option<Self>) -> bool {
        without != Some(self)
    }
}

/// How far the search goes.
#[allow(
    clippy::struct_excessive_bools,
    reason = "each includes one sort of step in the search"
)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// The most actions of users, administrators and time.
    pub actions: u8,
    /// The most faults: crashes, requests without a reply, and very slow operators.
    pub faults: u8,
    /// Whether deleting the Secret revokes its token.
    pub revoke_on_delete: bool,
    /// Whether the previous token ends early once it is quiet and the newest is in use. Servers then report uses.
    pub adoption: bool,
    /// Whether, from some moment on, no token may be issued.
    pub refusals: bool,
    /// Whether users take only those actions that matter together with a revocation by id, which makes room for more of
    /// them.
    pub revocations: bool,
    pub without: Option<Rule>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Debug)]
struct Token {
    mint: u8,
    epoch: u8,
    state: u8,
    nonce: u8,
    used: u8,
    /// Whether a server revoked it by its id, which is in the status.
    revoked: bool,
}

impl Token {
    /// Whether the spec alone leaves it valid.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "for iterators")]
    fn is_recorded_alive(&self) -> bool {
        self.state == LIVE || self.state == CLOSING
    }

    /// Whether servers accept it: the spec and the status leave it valid.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "for iterators")]
    fn is_alive(&self) -> bool {
        self.is_recorded_alive() && !self.revoked
    }
}

/// A Credential; uid 0: absent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Debug)]
struct Cred {
    uid: u8,
    version: u8,
    count: u8,
    tokens: [Token; ENTRIES],
    high: u8,
    base: u8,
    /// The uid of the Secret that `base` is a version of.
    base_uid: u8,
    /// Whether the Secret is being recreated.
    replacing: bool,
}

impl Cred {
    fn tokens(&self) -> &[Token] {
        &self.tokens[..usize::from(self.count)]
    }

    fn add(&mut self, token: Token) {
        self.tokens[usize::from(self.count)] = token;
        self.count += 1;
    }

    fn is_full(&self) -> bool {
        usize::from(self.count) == ENTRIES
    }
}

/// The owner; uid 0: absent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Debug)]
struct Owner {
    uid: u8,
    revoked: bool,
    nonce: u8,
    status_epoch: u8,
    status_nonce: u8,
}

/// The Secret; owner 0: absent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Debug)]
struct Sec {
    owner: u8,
    uid: u8,
    version: u8,
    token: u8,
    epoch: u8,
    by_user: bool,
    is_placeholder: bool,
    flaw: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Debug)]
enum Write {
    #[default]
    None,
    Placeholder,
    DeleteSecret,
    Credential,
    Reveal,
    Fence,
    Repair,
    Status,
}

/// A write in flight.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Debug)]
struct Op {
    write: Write,
    uid: u8,
    /// The Secret's version that it is conditioned on.
    version: u8,
    mint: u8,
    epoch: u8,
    nonce: u8,
    push: bool,
    create: bool,
    cred: Cred,
}

impl Op {
    /// Whether the pass continues after this write without reading again.
    #[allow(
        clippy::trivially_copy_pass_by_ref,
        reason = "it is not trivially small"
    )]
    fn goes_on(&self) -> bool {
        matches!(self.write, Write::Placeholder | Write::DeleteSecret)
            || self.write == Write::Credential && self.cred.replacing
    }
}

/// An operator in the middle of a pass.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Debug)]
struct Operator {
    /// The number of reads done; 3: about to write.
    stage: u8,
    uid: u8,
    cred: Cred,
    sec: Sec,
    owner: Owner,
    /// Whether no token could be issued when it read.
    refused: bool,
    /// The number of writes after which the pass continued.
    successes: u8,
    op: Op,
}

/// The state of the whole simulation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct State {
    owner: Owner,
    last_uid: u8,
    sec: Sec,
    creds: [Cred; 3],
    operators: [Operator; 2],
    /// A request in flight whose sender no longer waits for it.
    delayed: Op,
    secret_versions: u8,
    secret_uids: u8,
    cred_versions: u8,
    sweep_cache: u8,
    sweep_uid: u8,
    sweep_version: u8,
    copy: Sec,
    mints: u8,
    commits: u8,
    causes: u8,
    faults: u8,
    /// The tokens that were ever in the Secret, one bit each.
    revealed: u16,
    /// The tokens whose end was not the operator's decision.
    excused: u16,
    dead: u16,
    /// The tokens of a Secret that was deleted.
    leaked: u16,
    /// Whether no token may be issued now.
    refused: bool,
    highest_commit: u8,
    broken: u8,
}

fn bit(mint: u8) -> u16 {
    if mint < 16 { 1 << mint } else { 0 }
}

pub struct World {
    pub real: Real,
    pub bounds: Bounds,
}

/// The state after a step, and the name of the step.
pub type Step = (State, &'static str);

impl State {
    pub fn initial() -> Self {
        Self {
            last_uid: 1,
            owner: Owner {
                uid: 1,
                ..Owner::default()
            },
            ..Self::default()
        }
    }

    pub fn fingerprint(&self) -> u64 {
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// Whether a request is in flight that no one waits for.
    pub fn has_delayed(&self) -> bool {
        self.delayed.write != Write::None
    }

    fn cred(&self, uid: u8) -> Cred {
        if uid == 0 {
            Cred::default()
        } else {
            self.creds[usize::from(uid) - 1]
        }
    }

    fn accepts(&self, mint: u8) -> bool {
        let is_known = |token: &Token| token.mint == mint && token.is_alive();
        self.owner.uid != 0
            && !self.owner.revoked
            && self.cred(self.owner.uid).tokens().iter().any(is_known)
    }

    fn new_secret_version(&mut self) -> u8 {
        self.secret_versions += 1;
        self.secret_versions
    }

    fn new_secret_uid(&mut self) -> u8 {
        self.secret_uids += 1;
        self.secret_uids
    }

    fn break_it(&mut self, what: Broken) {
        if self.broken == 0 {
            self.broken = what as u8 + 1;
        }
    }

    /// Executes a write as the API server does. Returns whether it succeeded, and the token that it recorded.
    fn execute(&mut self, without: Option<Rule>, op: &Op) -> (bool, u8) {
        match op.write {
            Write::None => (true, 0),
            Write::Placeholder => {
                if self.sec.owner != 0 {
                    return (false, 0);
                }
                let version = self.new_secret_version();
                self.sec = Sec {
                    owner: op.uid,
                    uid: self.new_secret_uid(),
                    version,
                    is_placeholder: true,
                    ..Sec::default()
                };
                (true, 0)
            }
            Write::DeleteSecret => {
                let done = self.sec.owner != 0 && self.sec.version == op.version;
                if done {
                    self.sec = Sec::default();
                }
                (done, 0)
            }
            Write::Credential => self.write_credential(without, op),
            Write::Reveal => self.reveal(without, op),
            Write::Fence | Write::Repair => {
                if self.sec.owner == 0 || self.sec.version != op.version {
                    return (false, 0);
                }
                self.sec.version = self.new_secret_version();
                if op.write == Write::Repair {
                    self.sec.flaw = SOUND;
                    self.sec.owner = op.uid;
                }
                (true, 0)
            }
            Write::Status => self.write_status(without, op),
        }
    }

    fn write_credential(&mut self, without: Option<Rule>, op: &Op) -> (bool, u8) {
        let place = usize::from(op.uid) - 1;
        let current = self.creds[place];
        let refused = if op.create {
            current.uid != 0
        } else {
            current.uid == 0
                || Rule::CredentialVersion.holds(without) && current.version != op.cred.version
        };
        if refused {
            return (false, 0);
        }
        let mut new = op.cred;
        if new.replacing && self.sec.version != op.version {
            // The user changed the Secret before the operator announced that it will replace it.
            self.excused |= self.leaked;
            self.leaked = 0;
        }
        let mut is_busy = false;
        for token in &mut new.tokens[..usize::from(new.count)] {
            // An end is a moment: it may have passed while the write was in flight.
            if let Some(old) = current.tokens().iter().find(|old| old.mint == token.mint) {
                let is_replaced = old.state == CLOSING && !old.revoked;
                if token.state == DEAD && is_replaced && old.used == BUSY {
                    is_busy = true;
                }
                token.state = token.state.max(old.state);
                // The status is not part of the write.
                (token.used, token.revoked) = (old.used, old.revoked);
            }
        }
        if is_busy {
            self.break_it(Broken::KilledInUse);
        }
        for old in current.tokens().iter().filter(|old| old.is_alive()) {
            let is_kept = new.tokens().iter().any(|token| token.mint == old.mint);
            let is_in_use = self.revealed & !(self.excused | self.leaked) & bit(old.mint) != 0;
            if !is_kept && is_in_use && self.owner.uid == op.uid && !self.owner.revoked {
                self.break_it(Broken::KilledInUse);
            }
        }
        let mut mint = 0;
        if op.push {
            self.mints += 1;
            mint = self.mints;
            new.add(Token {
                mint,
                epoch: op.epoch,
                state: LIVE,
                nonce: op.nonce,
                used: UNUSED,
                revoked: false,
            });
            new.high = op.epoch;
        }
        if current.uid != 0 && new.high < current.high {
            self.break_it(Broken::HighWentBack);
        }
        if new
            .tokens()
            .iter()
            .filter(|token| token.state == LIVE)
            .count()
            > 2
        {
            self.break_it(Broken::TooManyLive);
        }
        new.uid = op.uid;
        self.cred_versions += 1;
        new.version = self.cred_versions;
        self.creds[place] = new;
        (true, mint)
    }

    fn reveal(&mut self, without: Option<Rule>, op: &Op) -> (bool, u8) {
        if self.sec.owner == 0
            || Rule::SecretVersion.holds(without) && self.sec.version != op.version
        {
            return (false, 0);
        }
        let version = self.new_secret_version();
        self.sec = Sec {
            owner: op.uid,
            uid: self.sec.uid,
            version,
            token: op.mint,
            ..Sec::default()
        };
        if self.owner.uid == op.uid {
            self.commits += 1;
            if self.excused & bit(op.mint) == 0 {
                if op.epoch <= self.highest_commit {
                    self.break_it(Broken::WentBack);
                }
                self.highest_commit = op.epoch;
            }
            self.revealed |= bit(op.mint);
        }
        (true, 0)
    }

    fn write_status(&mut self, without: Option<Rule>, op: &Op) -> (bool, u8) {
        if self.owner.uid == 0 {
            return (false, 0);
        }
        if self.owner.uid != op.uid {
            if Rule::StatusUid.holds(without) {
                return (false, 0);
            }
            self.break_it(Broken::WrongStatus);
        }
        self.owner.status_epoch = op.epoch;
        self.owner.status_nonce = op.nonce;
        (true, 0)
    }

    /// Checks the invariants of every state, and updates the records that they need.
    pub fn check(&mut self) -> Option<Broken> {
        for mint in 1..=self.mints.min(15) {
            if self.revealed & bit(mint) != 0 {
                let accepted = self.accepts(mint);
                if accepted && self.dead & bit(mint) != 0 {
                    return Some(Broken::Revived);
                }
                if !accepted {
                    self.dead |= bit(mint);
                }
            }
        }
        if self.broken != 0 {
            return Some(BROKEN[usize::from(self.broken) - 1]);
        }
        let sec = self.sec;
        let is_ours = sec.token != NOTHING
            && sec.token != FOREIGN
            && !sec.by_user
            && self.owner.uid == sec.owner;
        if is_ours
            && !self.owner.revoked
            && self.excused & bit(sec.token) == 0
            && !self.accepts(sec.token)
        {
            return Some(Broken::HoldsDead);
        }
        let counted = self.revealed & !self.excused & !self.leaked;
        if (1..=self.mints.min(15))
            .filter(|mint| counted & bit(*mint) != 0 && self.accepts(*mint))
            .count()
            > MAX_BY_ROTATION
        {
            return Some(Broken::TooManyLive);
        }
        let due = 1 + self.causes;
        (self.commits > due || self.mints > 2 * due + 2 * self.faults || self.mints > 15)
            .then_some(Broken::NoFixpoint)
    }

    /// Renumbers versions, and drops those that no one can see again.
    pub fn canonical(&mut self) {
        (self.copy.version, self.copy.uid) = (0, 0);
        let [a, b] = &self.operators;
        let known = [self.sec.uid, a.sec.uid, b.sec.uid];
        let [a, b] = &mut self.operators;
        let [c1, c2, c3] = &mut self.creds;
        let bases = [
            &mut c1.base_uid,
            &mut c2.base_uid,
            &mut c3.base_uid,
            &mut a.cred.base_uid,
            &mut b.cred.base_uid,
            &mut a.op.cred.base_uid,
            &mut b.op.cred.base_uid,
            &mut self.delayed.cred.base_uid,
        ];
        for base in bases {
            if !known.contains(base) {
                *base = 0;
            }
        }
        self.secret_uids = rename(&mut [
            &mut self.sec.uid,
            &mut a.sec.uid,
            &mut b.sec.uid,
            &mut c1.base_uid,
            &mut c2.base_uid,
            &mut c3.base_uid,
            &mut a.cred.base_uid,
            &mut b.cred.base_uid,
            &mut a.op.cred.base_uid,
            &mut b.op.cred.base_uid,
            &mut self.delayed.cred.base_uid,
        ]);
        let [a, b] = &self.operators;
        let held = [
            self.sec.version,
            a.sec.version,
            b.sec.version,
            a.op.version,
            b.op.version,
            self.delayed.version,
        ];
        let [a, b] = &mut self.operators;
        let [c1, c2, c3] = &mut self.creds;
        let bases = [
            &mut c1.base,
            &mut c2.base,
            &mut c3.base,
            &mut a.cred.base,
            &mut b.cred.base,
            &mut a.op.cred.base,
            &mut b.op.cred.base,
            &mut self.delayed.cred.base,
        ];
        for base in bases {
            if !held.contains(base) {
                *base = 0;
            }
        }
        let [a, b] = &mut self.operators;
        let [c1, c2, c3] = &mut self.creds;
        self.secret_versions = rename(&mut [
            &mut self.sec.version,
            &mut c1.base,
            &mut c2.base,
            &mut c3.base,
            &mut a.cred.base,
            &mut b.cred.base,
            &mut a.sec.version,
            &mut b.sec.version,
            &mut a.op.version,
            &mut b.op.version,
            &mut a.op.cred.base,
            &mut b.op.cred.base,
            &mut self.delayed.version,
            &mut self.delayed.cred.base,
        ]);
        self.cred_versions = rename(&mut [
            &mut c1.version,
            &mut c2.version,
            &mut c3.version,
            &mut a.cred.version,
            &mut b.cred.version,
            &mut a.op.cred.version,
            &mut b.op.cred.version,
            &mut self.delayed.cred.version,
            &mut self.sweep_version,
        ]);
        if self.operators[1] < self.operators[0] {
            self.operators.swap(0, 1);
        }
    }
}

const BROKEN: [Broken; 13] = [
    Broken::HoldsDead,
    Broken::NotConverged,
    Broken::TooManyLive,
    Broken::Revived,
    Broken::KilledInUse,
    Broken::NoFixpoint,
    Broken::WentBack,
    Broken::SweptPresent,
    Broken::LeakedLives,
    Broken::WrongStatus,
    Broken::RequestLost,
    Broken::HighWentBack,
    Broken::RevocationForgotten,
];

/// More versions than can exist at once: fourteen fields hold one, and a step adds one or two.
const VERSIONS: usize = 24;

/// Renumbers the values from 1 without gaps, in the same order; 0 stays 0.
fn rename(values: &mut [&mut u8]) -> u8 {
    let mut is_used = [false; VERSIONS];
    for value in values.iter() {
        is_used[usize::from(**value)] = **value != 0;
    }
    let mut names = [0_u8; VERSIONS];
    let mut last = 0;
    for (value, name) in names.iter_mut().enumerate() {
        if is_used[value] {
            last += 1;
            *name = last;
        }
    }
    for value in values.iter_mut() {
        **value = names[usize::from(**value)];
    }
    last
}

/// FNV-1a over whole words. It is fast, since the search hashes millions of states.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u8(*byte);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

impl World {
    /// The next write of an operator that has read all three objects.
    fn next_op(&mut self, me: &Operator, owner: Owner, fresh: bool) -> Result<Op, Asked> {
        let uid = me.uid;
        let is_present = owner.uid == uid && uid != 0;
        let place_of = |mint: u8| me.cred.tokens().iter().position(|token| token.mint == mint);
        let holds = match me.sec.token {
            NOTHING => NOTHING,
            FOREIGN => GARBAGE,
            mint => place_of(mint).map_or(UNKNOWN, |place| u8::try_from(place).unwrap() + 1),
        };
        let base = match me.cred.base {
            _ if !Rule::Fence.holds(self.bounds.without) => BASE_NONE,
            base if base != 0 && me.sec.owner != 0 && base == me.sec.version => BASE_READ,
            _ if me.sec.owner != 0 && me.cred.base_uid != 0 => {
                if me.cred.base_uid == me.sec.uid {
                    BASE_OTHER
                } else {
                    BASE_ELSEWHERE
                }
            }
            _ => BASE_NONE,
        };
        let entries = me
            .cred
            .tokens()
            .iter()
            .map(|token| {
                let is_newest = me
                    .cred
                    .tokens()
                    .last()
                    .is_some_and(|it| it.epoch == token.epoch);
                let is_told =
                    token.used != BUSY || is_newest || Rule::Quiet.holds(self.bounds.without);
                let used = if is_told { token.used } else { QUIET };
                let revoked = token.revoked && Rule::Revoked.holds(self.bounds.without);
                (token.epoch, token.state, token.nonce, used, revoked)
            })
            .collect();
        let seen = Seen {
            credential: (me.cred.uid != 0).then_some((
                entries,
                me.cred.high,
                base,
                me.cred.replacing && Rule::Announced.holds(self.bounds.without),
            )),
            secret: (me.sec.owner != 0).then_some(SecretSeen {
                is_ours: me.sec.owner == uid || me.sec.flaw == STRIPPED,
                is_placeholder: me.sec.is_placeholder,
                holds,
                flaw: me.sec.flaw,
            }),
            owner: is_present.then_some(OwnerSeen {
                revoked: owner.revoked,
                nonce: owner.nonce,
                status_epoch: owner.status_epoch,
                status_nonce: owner.status_nonce,
            }),
            fresh,
            refused: me.refused,
            successes: me.successes,
        };
        let asked = self.real.next(&seen);
        let op = Op {
            uid,
            version: me.sec.version,
            ..Op::default()
        };
        Ok(match asked {
            Asked::Placeholder => Op {
                write: Write::Placeholder,
                uid,
                ..Op::default()
            },
            Asked::DeleteSecret => Op {
                write: Write::DeleteSecret,
                ..op
            },
            Asked::Fence => Op {
                write: Write::Fence,
                ..op
            },
            Asked::Repair => Op {
                write: Write::Repair,
                ..op
            },
            Asked::Idle(Some((epoch, nonce)))
                if (epoch, nonce) != (owner.status_epoch, owner.status_nonce) =>
            {
                Op {
                    write: Write::Status,
                    uid,
                    epoch,
                    nonce,
                    ..Op::default()
                }
            }
            Asked::WriteCredential {
                kept,
                push,
                replacing,
            } => credential_op(me, op, &kept, push, replacing),
            other => return Err(other),
        })
    }

    /// The next step of one operator. `quiet`: no more faults happen.
    fn operate(&mut self, state: &State, place: usize, quiet: bool) -> Option<Step> {
        let mut next = *state;
        let me = state.operators[place];
        let without = self.bounds.without;
        match me.stage {
            0 if state.owner.uid == 0 => None,
            0 | 1 => {
                let uid = if me.stage == 0 {
                    state.owner.uid
                } else {
                    me.uid
                };
                let it = &mut next.operators[place];
                (it.uid, it.stage) = (uid, me.stage + 1);
                if (me.stage == 0) == Rule::CredentialFirst.holds(without) {
                    it.cred = state.cred(uid);
                    Some((next, "reads the Credential"))
                } else {
                    it.sec = state.sec;
                    Some((next, "reads the Secret"))
                }
            }
            2 => Some(self.decide(state, place, quiet)),
            _ => Some(self.write(state, place)),
        }
    }

    fn decide(&mut self, state: &State, place: usize, quiet: bool) -> Step {
        let mut next = *state;
        let me = Operator {
            refused: state.refused,
            ..state.operators[place]
        };
        next.operators[place] = Operator::default();
        let Ok(op) = self.next_op(&me, state.owner, false) else {
            return (next, "reads the owner: nothing to do");
        };
        if op.write == Write::Fence {
            let other = state.operators[1 - place].op;
            if other.write == Write::Reveal && other.version == op.version {
                if quiet || state.faults >= self.bounds.faults {
                    let waits = self.next_op(&me, state.owner, true);
                    assert_eq!(
                        waits,
                        Err(Asked::Wait),
                        "an operator waits for a recent write"
                    );
                    return (next, "reads the owner: waits for the other's write");
                }
                next.faults += 1;
            }
        }
        let it = &mut next.operators[place];
        (it.stage, it.uid, it.op) = (3, me.uid, op);
        if op.goes_on() {
            // The pass continues after a success of these writes, so it keeps what it has read.
            (it.cred, it.sec, it.owner) = (me.cred, me.sec, state.owner);
            if !op.cred.replacing {
                it.sec.version = 0;
            }
        }
        (
            next,
            match op.write {
                Write::None => "reads the owner",
                Write::Placeholder => "reads the owner: will create a placeholder",
                Write::DeleteSecret => "reads the owner: will delete the Secret of another type",
                Write::Credential if op.push => "reads the owner: will push",
                Write::Credential if op.cred.replacing => "reads the owner: will announce",
                Write::Credential => "reads the owner: will retire or empty",
                Write::Reveal => "reads the owner: will reveal",
                Write::Fence => "reads the owner: will fence",
                Write::Repair => "reads the owner: will repair",
                Write::Status => "reads the owner: will write the status",
            },
        )
    }

    fn write(&mut self, state: &State, place: usize) -> Step {
        let mut next = *state;
        let without = self.bounds.without;
        let me = state.operators[place];
        let (mut done, mint) = next.execute(without, &me.op);
        if me.op.write == Write::Credential && !self.bounds.adoption {
            // Without adoption only time and revocations end a token: a write ends no other.
            let ended = |old: &Token| {
                let now = next.cred(me.uid);
                let is_ended = |token: &Token| token.mint == old.mint && !token.is_recorded_alive();
                old.is_alive() && now.tokens().iter().any(is_ended)
            };
            if state.cred(me.uid).tokens().iter().any(ended) {
                next.break_it(Broken::KilledInUse);
            }
        }
        next.operators[place] = Operator::default();
        if me.op.push && !Rule::RecordBeforeReveal.holds(without) {
            done = true;
        }
        if !done {
            return (next, "writes: refused");
        }
        match me.op.write {
            _ if me.op.goes_on() => {
                let mut on = Operator {
                    successes: me.successes + 1,
                    op: Op::default(),
                    ..me
                };
                if me.op.write == Write::Credential {
                    // The next write of the Credential is conditioned on the version of this write.
                    on.cred.version = next.cred(me.uid).version;
                }
                let (version, secret_uid) = if me.op.write == Write::Placeholder {
                    (next.sec.version, next.sec.uid)
                } else {
                    (0, 0)
                };
                if let Ok(op) = self.next_op(&on, me.owner, false) {
                    on.op = match op.write {
                        Write::DeleteSecret => op,
                        _ => Op { version, ..op },
                    };
                    if op.write == Write::DeleteSecret {
                        on.sec.version = 0;
                    }
                    if on.op.push {
                        (on.op.cred.base, on.op.cred.base_uid) = (version, secret_uid);
                        (on.cred, on.sec, on.owner, on.successes) = Default::default();
                    }
                    next.operators[place] = on;
                }
                (next, "writes, goes on")
            }
            Write::Credential if me.op.push => {
                let op = Op {
                    write: Write::Reveal,
                    cred: Cred::default(),
                    push: false,
                    create: false,
                    nonce: 0,
                    mint,
                    ..me.op
                };
                next.operators[place] = Operator {
                    stage: 3,
                    uid: me.uid,
                    op,
                    ..Operator::default()
                };
                (next, "records a token")
            }
            Write::Credential => (next, "writes the Credential"),
            Write::Reveal => (next, "reveals the token"),
            _ => (next, "writes"),
        }
    }

    /// Adds every step that may happen next.
    pub fn successors(&mut self, state: &State, out: &mut Vec<Step>) {
        for place in 0..2 {
            if let Some(step) = self.operate(state, place, false) {
                out.push(step);
            }
            let me = &state.operators[place];
            if me.stage != 0 && state.faults < self.bounds.faults {
                let mut next = *state;
                next.faults += 1;
                next.operators[place] = Operator::default();
                out.push((next, "FAULT an operator crashes"));
                if me.stage == 3 && state.delayed.write == Write::None {
                    next.delayed = me.op;
                    out.push((next, "FAULT a request gets no reply and is still in flight"));
                }
            }
        }
        if state.delayed.write != Write::None {
            let mut next = *state;
            next.delayed = Op::default();
            next.execute(self.bounds.without, &state.delayed);
            out.push((next, "the delayed request arrives"));
        }
        time_and_garbage(state, out);
        lost_status(state, out);
        if self.bounds.adoption {
            uses(state, out);
        }
        if self.bounds.refusals && !state.refused {
            let mut next = *state;
            next.refused = true;
            out.push((next, "TIME no token may be issued any more"));
        }
        self.sweep(state, out);
        if state.owner.uid == 0 && state.last_uid < 3 {
            let mut next = *state;
            next.last_uid += 1;
            next.causes += 1;
            next.highest_commit = 0;
            next.owner = Owner {
                uid: next.last_uid,
                ..Owner::default()
            };
            out.push((next, "USER creates the owner"));
        }
        if state.causes < self.bounds.actions {
            let from = out.len();
            user_actions(state, out);
            if self.bounds.revocations {
                let mut place = 0;
                out.retain(|(_, name)| {
                    place += 1;
                    place <= from || BESIDE_REVOCATIONS.contains(name)
                });
            }
            for (next, _) in &mut out[from..] {
                next.causes += 1;
            }
        }
    }

    fn sweep(&self, state: &State, out: &mut Vec<Step>) {
        let live = Rule::LiveSweep.holds(self.bounds.without);
        if state.sweep_cache != state.owner.uid && !live {
            let mut next = *state;
            next.sweep_cache = state.owner.uid;
            out.push((next, "the sweeper's cache catches up"));
        }
        let view = if live {
            state.owner.uid
        } else {
            state.sweep_cache
        };
        if state.sweep_uid == 0 {
            for cred in state
                .creds
                .iter()
                .filter(|cred| cred.uid != 0 && cred.uid != view)
            {
                let mut next = *state;
                (next.sweep_uid, next.sweep_version) = (cred.uid, cred.version);
                out.push((next, "the sweeper finds an orphan"));
            }
            return;
        }
        let mut next = *state;
        (next.sweep_uid, next.sweep_version) = (0, 0);
        let cred = state.cred(state.sweep_uid);
        if cred.uid != 0 && cred.version == state.sweep_version {
            if cred.uid == state.owner.uid && cred.tokens().iter().any(Token::is_alive) {
                next.break_it(Broken::SweptPresent);
            }
            next.creds[usize::from(cred.uid) - 1] = Cred::default();
        }
        out.push((next, "the sweeper deletes"));
    }

    /// Lets both operators finish without faults, in one of three orders, and checks the final state.
    pub fn at_rest(
        &mut self,
        state: &State,
        order: usize,
        delayed_is_lost: bool,
    ) -> Option<Broken> {
        let mut state = *state;
        let delayed = std::mem::take(&mut state.delayed);
        if !delayed_is_lost {
            state.execute(self.bounds.without, &delayed);
        }
        // Once while tokens are refused, once after that, and once after the overlaps have ended.
        for round in usize::from(!state.refused)..3 {
            if let Some(broken) = self.settle(&mut state, order) {
                return Some(broken);
            }
            if let Some(broken) = self.check_rest(&state, round == 2) {
                return Some(broken);
            }
            if std::mem::take(&mut state.refused) {
                continue;
            }
            for cred in &mut state.creds {
                for token in cred
                    .tokens
                    .iter_mut()
                    .filter(|token| token.state == CLOSING)
                {
                    token.state = DEAD;
                }
            }
            state.check();
        }
        None
    }

    fn settle(&mut self, state: &mut State, order: usize) -> Option<Broken> {
        let mut idle = 0;
        for turn in 1..400 {
            if is_garbage(state) {
                state.sec = Sec::default();
                idle = 0;
            }
            let before = (state.owner, state.sec, state.creds);
            let place = [turn, turn / 5, (turn + 1) / 5][order] % 2;
            if let Some((next, _)) = self.operate(state, place, true) {
                *state = next;
            }
            if let Some(broken) = state.check().filter(|broken| *broken != Broken::NoFixpoint) {
                return Some(broken);
            }
            let is_quiet = (state.owner, state.sec, state.creds) == before
                && state.operators.iter().all(|operator| operator.stage != 3);
            match is_quiet {
                true if state.operators[place].stage == 0 => idle += 1,
                true => {}
                false => idle = 0,
            }
            if idle >= 8 {
                return None;
            }
            if state.mints > 40 || state.creds.iter().any(Cred::is_full) {
                return Some(Broken::NoFixpoint);
            }
        }
        Some(Broken::NoFixpoint)
    }

    fn check_rest(&self, state: &State, overlaps_are_over: bool) -> Option<Broken> {
        if state.owner.uid == 0 {
            return None;
        }
        let cred = state.cred(state.owner.uid);
        let alive: Vec<Token> = cred
            .tokens()
            .iter()
            .copied()
            .filter(Token::is_alive)
            .collect();
        if state.owner.revoked {
            return (!alive.is_empty()).then_some(Broken::NotConverged);
        }
        let is_forgotten = |token: &Token| token.revoked && token.is_recorded_alive();
        if cred.tokens().iter().any(is_forgotten) {
            return Some(Broken::RevocationForgotten);
        }
        let lives = |mint: u8| state.leaked & bit(mint) != 0 && state.accepts(mint);
        if self.bounds.revoke_on_delete && (1..=state.mints.min(15)).any(lives) {
            return Some(Broken::LeakedLives);
        }
        if state.refused {
            return None;
        }
        let newest = alive.last().copied().unwrap_or_default();
        let is_right = state.accepts(state.sec.token)
            && state.sec.token == newest.mint
            && newest.state == LIVE
            && state.sec.flaw == SOUND
            && state.owner.status_epoch == newest.epoch
            && cred.base != state.sec.version
            && !cred.replacing
            && alive.iter().filter(|token| token.state == LIVE).count() == 1;
        if !is_right {
            return Some(Broken::NotConverged);
        }
        // A rotation waits for the end of an overlap only if there are too many valid tokens.
        let must_be_done = overlaps_are_over || alive.len() < MAX_BY_ROTATION;
        (must_be_done && newest.nonce != state.owner.nonce).then_some(Broken::RequestLost)
    }
}

fn credential_op(
    me: &Operator,
    op: Op,
    kept: &[(u8, u8)],
    push: Option<(u8, u8)>,
    replacing: bool,
) -> Op {
    let mut cred = Cred {
        uid: me.uid,
        version: me.cred.version,
        high: me.cred.high,
        base: me.cred.base,
        base_uid: me.cred.base_uid,
        replacing,
        ..Cred::default()
    };
    for (place, state) in kept {
        cred.add(Token {
            state: *state,
            used: UNUSED,
            ..me.cred.tokens[usize::from(*place)]
        });
    }
    let op = Op {
        write: Write::Credential,
        // The Credential exists if this pass wrote the announcement.
        create: me.cred.uid == 0 && me.cred.version == 0,
        cred,
        ..op
    };
    match push {
        Some((epoch, nonce)) => Op {
            push: true,
            epoch,
            nonce,
            cred: Cred {
                base: me.sec.version,
                base_uid: me.sec.uid,
                ..cred
            },
            ..op
        },
        None if replacing => op,
        None => Op { version: 0, ..op },
    }
}

/// A token that was ever in the Secret may be used, which a server reports, or may fall silent.
fn uses(state: &State, out: &mut Vec<Step>) {
    let Some(k) = usize::from(state.owner.uid).checked_sub(1) else {
        return;
    };
    // Without an overlap no one reads a report, so an earlier use counts as a current one.
    let tokens = state.creds[k].tokens();
    if !tokens.iter().any(|token| token.state == CLOSING) {
        return;
    }
    for (j, token) in tokens.iter().enumerate() {
        let mut next = *state;
        let name = if token.used == BUSY {
            next.creds[k].tokens[j].used = QUIET;
            "TIME a token falls silent"
        } else if state.revealed & bit(token.mint) != 0 && token.is_alive() {
            next.creds[k].tokens[j].used = BUSY;
            next.cred_versions += 1;
            next.creds[k].version = next.cred_versions;
            "SERVER reports a use"
        } else {
            continue;
        };
        out.push((next, name));
    }
}

/// A restore without a status, or servers of an older release: they know only the spec. A revocation that the operator
/// has not recorded there is lost, and no other.
fn lost_status(state: &State, out: &mut Vec<Step>) {
    for (k, cred) in state.creds.iter().enumerate() {
        if !cred.tokens().iter().any(|token| token.revoked) {
            continue;
        }
        let mut next = *state;
        next.cred_versions += 1;
        next.creds[k].version = next.cred_versions;
        for token in &mut next.creds[k].tokens {
            if std::mem::take(&mut token.revoked) && token.is_recorded_alive() {
                next.dead &= !bit(token.mint);
            }
        }
        out.push((next, "ADMIN loses the status of a Credential"));
    }
}

fn is_garbage(state: &State) -> bool {
    state.sec.owner != 0 && state.sec.owner != state.owner.uid && state.sec.flaw != STRIPPED
}

fn time_and_garbage(state: &State, out: &mut Vec<Step>) {
    for (k, cred) in state.creds.iter().enumerate() {
        for (j, token) in cred.tokens().iter().enumerate() {
            if token.state == CLOSING {
                let mut next = *state;
                next.creds[k].tokens[j].state = DEAD;
                out.push((next, "TIME an overlap ends"));
            }
        }
    }
    if is_garbage(state) {
        let mut next = *state;
        next.sec = Sec::default();
        out.push((next, "the garbage collector deletes the Secret"));
    }
    if state.sec.owner != 0 && state.copy.owner == 0 && state.sec.token != NOTHING {
        let mut next = *state;
        next.copy = state.sec;
        out.push((next, "USER keeps a copy of the Secret"));
    }
}

/// Revocations by id, and the actions that issue and lose tokens.
const BESIDE_REVOCATIONS: [&str; 5] = [
    "SERVER revokes the newest token",
    "SERVER revokes a previous token",
    "USER asks for a rotation",
    "USER deletes the Secret",
    "USER restores an old Secret",
];

fn user_actions(state: &State, out: &mut Vec<Step>) {
    let (owner, sec) = (state.owner, state.sec);
    let mut when = |possible: bool, name: &'static str, change: &mut dyn FnMut(&mut State)| {
        if possible {
            let mut next = *state;
            change(&mut next);
            out.push((next, name));
        }
    };
    when(sec.owner != 0, "USER deletes the Secret", &mut |next| {
        next.sec = Sec::default();
        if owner.uid == sec.owner {
            // While the operator is replacing the Secret, it cannot tell who deleted it. The old token then stays valid
            // until its overlap ends.
            if state.cred(owner.uid).replacing {
                next.excused |= next.revealed;
            } else {
                next.leaked |= next.revealed;
            }
        }
    });
    when(
        state.copy.owner != 0 && sec.token != state.copy.token,
        "USER restores an old Secret",
        &mut |next| {
            let version = next.new_secret_version();
            next.sec = Sec {
                uid: next.new_secret_uid(),
                version,
                by_user: true,
                ..state.copy
            };
            next.excused |= next.revealed;
            next.leaked = 0;
        },
    );
    when(
        sec.owner != 0 && sec.token != FOREIGN,
        "USER writes something else into the Secret",
        &mut |next| {
            next.excused |= next.revealed & !bit(sec.token);
            next.sec.version = next.new_secret_version();
            next.sec.token = FOREIGN;
            next.sec.by_user = true;
        },
    );
    when(
        sec.owner != 0,
        "OTHER controller touches the Secret's metadata",
        &mut |next| {
            next.sec.version = next.new_secret_version();
        },
    );
    for (flaw, name) in [
        (EDITED, "USER edits another key of the Secret"),
        (STRIPPED, "USER removes the owner references"),
    ] {
        when(
            sec.owner != 0 && sec.flaw == SOUND && sec.token != NOTHING,
            name,
            &mut |next| {
                next.sec.version = next.new_secret_version();
                next.sec.flaw = flaw;
            },
        );
    }
    when(
        sec.owner != 0 && sec.flaw == SOUND && sec.token != NOTHING,
        "USER gives the Secret another type",
        &mut |next| {
            next.sec.version = next.new_secret_version();
            next.sec.flaw = RETYPED;
            next.sec.is_placeholder = false;
            next.sec.by_user = true;
            next.excused |= next.revealed & !bit(sec.token);
        },
    );
    when(owner.uid != 0, "USER asks for a rotation", &mut |next| {
        next.owner.nonce += 1;
    });
    when(
        owner.uid != 0 && !owner.revoked,
        "USER revokes",
        &mut |next| {
            next.owner.revoked = true;
            next.excused |= next.revealed;
        },
    );
    when(owner.uid != 0, "USER deletes the owner", &mut |next| {
        next.owner = Owner::default();
        next.excused |= next.revealed;
    });
    when(
        owner.uid != 0 && owner.status_epoch > 0,
        "USER wipes the status",
        &mut |next| {
            (next.owner.status_epoch, next.owner.status_nonce) = (0, 0);
        },
    );
    for k in 0..state.creds.len() {
        let cred = state.creds[k];
        when(cred.uid != 0, "ADMIN deletes a Credential", &mut |next| {
            next.excused |= cred
                .tokens()
                .iter()
                .fold(0, |bits, token| bits | bit(token.mint));
            next.creds[k] = Cred::default();
            if cred.uid == owner.uid {
                next.highest_commit = 0;
            }
        });
        for (j, token) in cred.tokens().iter().enumerate() {
            let name = match cred.tokens().last() {
                Some(newest) if newest.mint == token.mint => "SERVER revokes the newest token",
                _ => "SERVER revokes a previous token",
            };
            // Only a client that has seen the token in the Secret can revoke it.
            let is_known = state.revealed & bit(token.mint) != 0;
            when(is_known && token.is_alive(), name, &mut |next| {
                next.creds[k].tokens[j].revoked = true;
                next.cred_versions += 1;
                next.creds[k].version = next.cred_versions;
                next.excused |= bit(token.mint);
            });
            when(token.state == LIVE, "TIME a token expires", &mut |next| {
                next.creds[k].tokens[j].state = EXPIRED;
                next.excused |= bit(token.mint);
            });
        }
    }
}
