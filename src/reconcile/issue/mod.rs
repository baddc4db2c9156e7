//! Issues a token into a Secret. No crash, lost reply, second operator, or deleted or restored Secret loses, leaks or
//! duplicates a token.
//!
//! One Credential per owner uid is the only point of decision, and it changes by compare-and-swap. A pass reads the
//! live Credential, Secret and owner, in this order ([`pass`]), decides on one step ([`plan`]), takes it and starts
//! over. The rules:
//!
//! 1. The owner is gone: stop. The owner is revoked: empty `tokens` and stop. First of all, a token that a server
//!    revoked by its id (`status.revoked`) gets its end in the spec. It then counts as missing, so the operator repairs
//!    the Secret. No other token ends.
//! 2. The Secret is absent: create a *placeholder* without a token, because a create cannot be fenced. If
//!    `onSecretDeleted` is `Revoke`, a deletion means that the token leaked: the operator empties `tokens` first.
//!    Before the operator itself deletes a Secret, to change its type, it announces that in the Credential. An earlier
//!    `expiresAt` is recorded equally early.
//! 3. The Secret belongs to someone else: stop.
//! 4. The Secret's version is the Credential's `base`: the write of the newest token may still be in flight. Come back
//!    later, or *fence*: give the Secret another version.
//! 5. The Secret holds the newest token: *retire* the older ones, rotate if due and at most three tokens are accepted,
//!    repair the rest of the Secret; otherwise there is nothing to do. A retired token gets an end. If the owner asks
//!    for it, that end comes sooner, once the newest token is in use and the older one is not.
//! 6. *Push*: record a new token with `base` = the Secret as read. Write the token into the Secret, on condition of
//!    `base`, only after the record succeeds explicitly. If someone else annotated the Secret in the meantime and did
//!    not change its data, set `base` to the new version and write the same token.
//!
//! A Credential that is being deleted and that a finalizer keeps stops every rule but the first: no server accepts what
//! it records.
//!
//! An imported client secret is only recorded: see `import`.
//!
//! `tests/issuing` searches this code over all schedules within bounds.

mod budget;
mod case;
mod entries;
mod event;
mod import;
mod memory;
mod mint;
mod pass;
mod plan;
mod requests;
mod revoked;
mod rules;
mod secret_data;
mod step;
mod templated;
#[cfg(test)]
pub(super) mod tests;
mod view;
mod writes;

pub use budget::MintBudget;
pub(super) use entries::{seal_all, seal_one};
pub use event::IssueEvent;
pub use pass::{IssueError, PassOutcome, SecretIssuer, issue};
pub use plan::plan;
pub use requests::{asks_for_rotation, decode_requests, encode_requests, record_requests};
pub use revoked::with_revoked_ended;
pub use rules::Rules;
pub use step::{Create, Emptying, Import, Push, Recreate, Retirement, Step};
pub use view::{Facts, OwnerView, Settled, Target, View};
