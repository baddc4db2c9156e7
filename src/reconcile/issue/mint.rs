//! Whether a token may be issued now, and how a full Credential gets room for it. Pure.

use jiff::{SignedDuration, Timestamp};

use super::case::{CHECK_AGAIN, CHECK_SOON, Case};
use super::entries::{self, MAX_ENTRIES};
use super::memory;
use super::secret_data::noun;
use super::step::{Retirement, Step};
use super::view::Settled;
use crate::directory::{Problem, Reason, SecretKind};
use crate::reconcile::cluster::secret::SecretObject;
use crate::resources::{CredentialEntry, Moment};

impl Case<'_> {
    /// Returns the reason why no token may be issued now.
    pub(super) fn refuse_mint(&self, secret: Option<&SecretObject>) -> Option<Settled> {
        if secret.is_some_and(SecretObject::is_immutable) {
            return Some(self.refuse_immutable());
        }
        if entries::expiry(self.desired.lifetime, self.now).is_some_and(|end| end <= self.now) {
            let message = "spec.expiresAt is in the past: set a later time";
            return Some(self.refuse(
                Problem::error(Reason::Expired, "/spec/expiresAt", message),
                None,
            ));
        }
        // The join refuses a token whose time of issue is before `revoke_issued_before`, and times of issue have no
        // fractions of a second.
        if let Some(moment) = self
            .desired
            .revoke_issued_before
            .filter(|moment| entries::whole_second(self.now) < *moment)
        {
            return Some(self.wait_until(moment.max(self.after(SignedDuration::from_secs(1)))));
        }
        self.refuse_too_many()
    }

    fn refuse_too_many(&self) -> Option<Settled> {
        let most = self.rules.mints_per_owner;
        let mints = self.mints_of_the_hour();
        let surplus = mints.len().checked_sub(most)?;
        let until = mints.get(surplus)?.checked_add(memory::HOUR).ok()?;
        let until = until.max(self.after(CHECK_SOON));
        let kind = match self.desired.kind {
            SecretKind::ServiceToken => "ServiceAccessToken",
            SecretKind::ClientSecret => "OAuthClient",
        };
        let message = format!(
            "{most} {}s were issued within an hour, so the next one is issued at {} at the earliest: find out what keeps requesting rotations, or deleting or changing the Secret {}. To get a {} sooner, create another {kind}",
            noun(self.desired.kind),
            entries::whole_second(until),
            self.desired.secret_name,
            noun(self.desired.kind)
        );
        Some(self.refuse(
            Problem::error(Reason::MintLimitReached, "", message),
            Some(until),
        ))
    }

    /// Ends one entry if the Credential is full: first a token that no server ever saw, else the one that was unused
    /// for longest. Of equals the oldest ends. The newest stays.
    ///
    /// So a Secret that is deleted again and again is always recreated, up to the limit of an hour.
    pub(super) fn make_room(&self, kept: usize) -> Option<Step> {
        if kept < MAX_ENTRIES {
            return None;
        }
        let mut entries = self.live.clone();
        let last_use = |entry: &CredentialEntry| self.use_of(entry).map(|used| used.last_used.0);
        let (_, older) = entries.split_last_mut()?;
        let ended = older.iter_mut().min_by_key(|entry| last_use(entry))?;
        ended.not_after = Some(Moment(entries::whole_second(self.now)));
        let ended = vec![ended.token_id.clone()];
        Some(self.shortened(entries, ended, Retirement::Crowded))
    }

    pub(super) fn mints_of_the_hour(&self) -> Vec<Timestamp> {
        memory::mints_of_the_hour(self.memory(), self.recorded(), self.now)
    }

    pub(super) fn refuse_immutable(&self) -> Settled {
        let message = format!(
            "the Secret {} is immutable, so the operator cannot write a new value into it: delete it, or recreate it without immutable: true",
            self.desired.secret_name
        );
        self.refuse(
            Problem::error(Reason::SecretImmutable, "/spec", message),
            Some(self.after(CHECK_AGAIN)),
        )
    }
}
