//! Issues a token into a Secret so that no crash, lost reply, second operator, deleted or restored
//! Secret ever loses, leaks or duplicates one.
//!
//! One Credential per owner uid is the only point of decision, changed by compare-and-swap. A pass
//! reads the Credential, the Secret and the owner, live and in this order ([`pass`]), decides on one
//! step ([`plan`]), takes it and starts over. The rules:
//!
//! 1. Owner gone: stop. Revoked: empty `tokens`, stop. A token that a server revoked by its id (`status.revoked`) ends
//!    in the spec before anything else is looked at; it counts as missing, so that the Secret heals, and no other ends.
//! 2. Secret absent: create a *placeholder* without a token; a create cannot be fenced. Where a deletion says "it
//!    leaked", `tokens` are emptied before anything else is looked at. A Secret that the operator deletes itself, for
//!    another type, is announced in the Credential before. An `expiresAt` that came nearer is recorded as soon.
//! 3. Secret somebody else's: stop.
//! 4. The Secret's version is the Credential's `base`: the write of the newest token may still be on
//!    its way. Come back later, or *fence*: give the Secret another version.
//! 5. The Secret holds the newest token: *retire* the older ones (they get an end; where the owner says so,
//!    a sooner one once the newest was seen in use and they are in use no more), rotate if due and no more than
//!    three are good, repair what else the Secret says; else there is nothing to do.
//! 6. *Push*: record a new token with `base` = the Secret as read, and only on an explicit success
//!    write it into the Secret, on condition of `base`. If another has annotated the Secret meanwhile and
//!    left its data alone, `base` is turned to the new version and the same token written on that.
//!
//! A client secret that somebody else brings is only recorded: `follow`.
//!
//! `tests/issuing` searches these rules, as they stand here, over all schedules within bounds.

mod budget;
mod entries;
mod follow;
mod memory;
mod pass;
mod plan;
mod requests;
mod revoked;
mod secret_data;
mod templated;
#[cfg(test)]
pub(super) mod tests;
mod view;

pub use budget::MintBudget;
pub use follow::Import;
pub use pass::{IssueError, IssueEvent, Issuer, Outcome, issue};
pub use plan::{Emptying, Push, Recreate, Retirement, Rules, Step, plan};
pub use requests::{asks_for_rotation, decode_requests, encode_requests, record_requests};
pub use revoked::with_revoked_ended;
pub use view::{Facts, OwnerView, Settled, Target, View};
