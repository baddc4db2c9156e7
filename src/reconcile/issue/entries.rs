//! The entries of a Credential: which ones are accepted, and how they are created, shortened and sealed.

use jiff::{SignedDuration, Timestamp};

use crate::directory::{
    Desired, Lifetime, SecretKind, is_entry_live, is_sealed, is_token_revoked, sealed,
};
use crate::resources::{Cause, Credential, CredentialClient, CredentialEntry, Moment};
use crate::tokens::{MacKey, Minted, TokenHash, mac};

/// The maximum number of entries in a Credential.
pub(super) const MAX_ENTRIES: usize = 8;

/// Returns the entries that are accepted now and that no rule refuses for good. The others count as missing: the next
/// write leaves them out, and the operator repairs the Secret.
pub(super) fn live_entries(
    credential: &Credential,
    desired: &Desired,
    key: &MacKey,
    now: Timestamp,
) -> Vec<CredentialEntry> {
    let tokens = credential.spec.tokens.iter();
    tokens
        .filter(|entry| is_entry_live(entry, now))
        .filter(|entry| !is_token_revoked(credential, &entry.token_id))
        .filter(|entry| is_sound(entry, credential, desired, key))
        .cloned()
        .collect()
}

/// Whether the operator made this entry and only time can end it.
pub(super) fn is_sound(
    entry: &CredentialEntry,
    credential: &Credential,
    desired: &Desired,
    key: &MacKey,
) -> bool {
    !is_refused_for_good(entry, desired) && is_sealed(key, credential, entry)
}

/// Whether the join never accepts the entry again, however its client and Identity are edited.
fn is_refused_for_good(entry: &CredentialEntry, desired: &Desired) -> bool {
    entry.client.uid != desired.client.uid
        || entry.client.name != desired.client.name
        || entry.principal != desired.principal
        || desired
            .revoke_issued_before
            .is_some_and(|moment| entry.issued_at.0 < moment)
}

/// Whether the entry has this hash.
pub(super) fn has_hash(entry: &CredentialEntry, hash: &TokenHash) -> bool {
    entry
        .hash
        .parse::<TokenHash>()
        .is_ok_and(|own| own == *hash)
}

/// The minimum time between two renewals, if the lifetime is long enough: nine renewals within an hour.
const RENEWALS_APART: SignedDuration = SignedDuration::from_mins(7);

/// Returns when the entry is renewed; `None`: only on request.
///
/// A shortened lifetime applies to existing tokens too. `renew_before` is capped, because a renewal that is due at once
/// would repeat without end. Renewals alone must use up neither the tokens that rotation may keep accepted at the same
/// time nor those that may be issued within an hour: a request for a rotation needs one of them, and a token with a
/// short lifetime would end before its renewal.
pub(super) fn renews_at(entry: &CredentialEntry, desired: &Desired) -> Option<Timestamp> {
    let before = desired.rotation.renew_before?;
    let issued = entry.issued_at.0;
    let by_lifetime = end_by_lifetime(entry, desired);
    let end = [entry.expires_at.map(|moment| moment.0), by_lifetime]
        .into_iter()
        .flatten()
        .min()?;
    let span = end.duration_since(issued);
    let before = if before < span { before } else { span / 3 };
    // A replaced token lives for this long beside the newest one. Two of them leave a place free.
    let beside = desired.rotation.overlap.min(before);
    let apart = (beside / 2 + SignedDuration::from_secs(1))
        .max(RENEWALS_APART.min(span / 3 * 2))
        .min(span);
    end.checked_sub(before.min(span - apart)).ok()
}

/// Whether the entry is older than a token issued now could become. This also holds for a service token without an end
/// once the Identity requires one, because the join refuses it then.
pub(super) fn is_outlived(entry: &CredentialEntry, desired: &Desired, now: Timestamp) -> bool {
    let is_endless = entry.expires_at.is_none() && desired.lifetime != Lifetime::Never;
    (is_endless && desired.kind == SecretKind::ServiceToken)
        || end_by_lifetime(entry, desired).is_some_and(|end| end <= now)
}

/// Whether a service token issued now would end later than this one's fixed end. A `lifetime` needs no such rule,
/// because each renewal applies it.
pub(super) fn ends_too_soon(entry: &CredentialEntry, desired: &Desired) -> bool {
    let Some(end) = entry.expires_at else {
        return false;
    };
    match desired.lifetime {
        Lifetime::Until(moment) => end.0 < whole_second(moment),
        Lifetime::Never => desired.kind == SecretKind::ServiceToken,
        Lifetime::For(_) => false,
    }
}

/// Returns when the entry is older than a token issued now could become.
pub(super) fn end_by_lifetime(entry: &CredentialEntry, desired: &Desired) -> Option<Timestamp> {
    match desired.lifetime {
        Lifetime::For(lifetime) => entry.issued_at.0.checked_add(lifetime).ok(),
        Lifetime::Until(_) | Lifetime::Never => None,
    }
}

/// Returns when a token issued now ends; `None`: never.
pub(super) fn expiry(lifetime: Lifetime, now: Timestamp) -> Option<Timestamp> {
    match lifetime {
        Lifetime::For(lifetime) => Some(now.checked_add(lifetime).unwrap_or(Timestamp::MAX)),
        Lifetime::Until(moment) => Some(moment),
        Lifetime::Never => None,
    }
}

/// Drops fractions of a second: neither resources nor seals keep them.
pub(super) fn whole_second(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

/// Gives an entry an earlier end, `overlap` from now, unless it already has one.
pub(super) fn shorten(entry: &mut CredentialEntry, overlap: SignedDuration, now: Timestamp) {
    if entry.not_after.is_none() {
        let deadline = whole_second(now.checked_add(overlap).unwrap_or(Timestamp::MAX));
        let end = entry
            .expires_at
            .map_or(deadline, |moment| moment.0.min(deadline));
        entry.not_after = Some(Moment(end));
    }
}

/// Returns the entry of a new token, without a seal.
pub(super) fn new_entry(
    minted: &Minted,
    desired: &Desired,
    epoch: i64,
    cause: Cause,
    nonce: Option<String>,
    now: Timestamp,
) -> CredentialEntry {
    CredentialEntry {
        epoch,
        token_id: minted.id.to_string(),
        hash: minted.hash.to_string(),
        client: CredentialClient {
            name: desired.client.name.clone(),
            uid: desired.client.uid.clone(),
        },
        principal: desired.principal.clone(),
        scopes: desired.scopes.clone(),
        issued_at: Moment(whole_second(now)),
        expires_at: expiry(desired.lifetime, now).map(|moment| Moment(whole_second(moment))),
        not_after: None,
        nonce,
        cause,
        mac: String::new(),
    }
}

/// Seals every entry of a Credential again.
pub(in crate::reconcile) fn seal_all(credential: &mut Credential, key: &MacKey) {
    for place in 0..credential.spec.tokens.len() {
        seal_one(credential, place, key);
    }
}

/// Seals one entry of a Credential again.
pub(in crate::reconcile) fn seal_one(credential: &mut Credential, place: usize, key: &MacKey) {
    let seal = |entry: &CredentialEntry| {
        let hash: TokenHash = entry.hash.parse().ok()?;
        Some(mac::seal(key, &sealed(credential, entry, &hash)?).to_string())
    };
    // The previous seals were right, so the entry decodes.
    let seal = credential.spec.tokens.get(place).and_then(seal);
    if let Some(entry) = credential.spec.tokens.get_mut(place) {
        entry.mac = seal.unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::desired;
    use super::*;
    use crate::tokens::{Kind, Prefix, SeededEntropy, reference};

    const SECOND: SignedDuration = SignedDuration::from_secs(1);
    const MINUTE: SignedDuration = SignedDuration::from_mins(1);
    const HOUR: SignedDuration = SignedDuration::from_hours(1);
    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn issued() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    fn entry(desired: &Desired) -> CredentialEntry {
        let mut entropy = SeededEntropy::new(1);
        let minted = reference::mint(&Prefix::default(), Kind::ServiceAccessToken, &mut entropy);
        new_entry(&minted, desired, 1, Cause::Initial, None, issued())
    }

    #[test]
    fn a_renewal_comes_before_the_end_and_leaves_room_for_other_rotations() {
        for (name, lifetime, before, overlap, age) in [
            ("the defaults", DAY * 90, DAY * 30, DAY, DAY * 60),
            ("as early as the issue", DAY * 90, DAY * 90, DAY, DAY * 60),
            ("earlier", DAY * 90, DAY * 100, DAY, DAY * 60),
            (
                "half an overlap apart",
                DAY * 90,
                DAY * 90 - HOUR,
                DAY,
                HOUR * 12 + SECOND,
            ),
            (
                "an overlap longer than what is left",
                HOUR * 10,
                HOUR * 9,
                DAY,
                HOUR * 4 + MINUTE * 30 + SECOND,
            ),
            (
                "nine an hour",
                HOUR,
                MINUTE * 59,
                SignedDuration::ZERO,
                MINUTE * 7,
            ),
            (
                "two thirds of a short lifetime",
                MINUTE * 9,
                MINUTE * 8,
                SignedDuration::ZERO,
                MINUTE * 6,
            ),
        ] {
            let mut desired = desired();
            desired.lifetime = Lifetime::For(lifetime);
            desired.rotation.renew_before = Some(before);
            desired.rotation.overlap = overlap;
            let renewal = renews_at(&entry(&desired), &desired);
            assert_eq!(renewal, Some(issued() + age), "{name}");
            desired.rotation.renew_before = None;
            assert_eq!(
                renews_at(&entry(&desired), &desired),
                None,
                "{name}: manual"
            );
        }
    }

    #[test]
    fn a_token_is_outlived_when_none_issued_now_could_be_as_old() {
        use SecretKind::{ClientSecret, ServiceToken};
        let month = Lifetime::For(DAY * 30);
        let moment = Lifetime::Until(issued() + DAY * 30);
        for (kind, had, wanted, age, outlived) in [
            (ServiceToken, month, month, DAY * 30 - SECOND, false),
            (ServiceToken, month, month, DAY * 30, true),
            (ServiceToken, Lifetime::Never, month, DAY, true),
            (ServiceToken, Lifetime::Never, moment, DAY, true),
            (ServiceToken, Lifetime::Never, Lifetime::Never, DAY, false),
            (ServiceToken, moment, moment, DAY, false),
            (ServiceToken, month, Lifetime::Never, DAY * 40, false),
            // A client secret without an end stays accepted until it is as old as the new lifetime.
            (ClientSecret, Lifetime::Never, month, DAY, false),
            (ClientSecret, Lifetime::Never, month, DAY * 30, true),
            (ClientSecret, Lifetime::Never, Lifetime::Never, DAY, false),
        ] {
            let mut desired = desired();
            desired.lifetime = had;
            let entry = entry(&desired);
            (desired.kind, desired.lifetime) = (kind, wanted);
            let is_outlived = is_outlived(&entry, &desired, issued() + age);
            assert_eq!(is_outlived, outlived, "{kind:?} {had:?} {wanted:?} {age:#}");
        }
    }

    #[test]
    fn a_fixed_end_is_too_soon_only_if_a_later_one_is_wanted() {
        use SecretKind::{ClientSecret, ServiceToken};
        let until = |moment: Timestamp| Lifetime::Until(moment);
        let end = issued() + DAY * 10;
        let part = SignedDuration::from_millis(500);
        for (kind, had, wanted, too_soon) in [
            (ServiceToken, until(end), until(end), false),
            (ServiceToken, until(end), until(end + SECOND), true),
            (ServiceToken, until(end), until(end + part), false),
            (ServiceToken, until(end), until(end - SECOND), false),
            (ServiceToken, until(end), Lifetime::Never, true),
            (ServiceToken, until(end), Lifetime::For(DAY * 90), false),
            (ServiceToken, Lifetime::Never, until(end), false),
            (ServiceToken, Lifetime::Never, Lifetime::Never, false),
            (ClientSecret, until(end), Lifetime::Never, false),
        ] {
            let mut desired = desired();
            desired.lifetime = had;
            let entry = entry(&desired);
            (desired.kind, desired.lifetime) = (kind, wanted);
            let ends = ends_too_soon(&entry, &desired);
            assert_eq!(ends, too_soon, "{kind:?} {had:?} {wanted:?}");
        }
    }
}
