//! Admission of what an Identity says about people: sessions, refresh tokens, and the lifetimes of codes and ID tokens.

use jiff::SignedDuration;

use super::faults::Faults;
use crate::directory::tables::record::{RefreshSettings, SessionSettings};
use crate::resources::{DurationString, RefreshRotation, RefreshTokenOptions, Sessions};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

pub(super) fn sessions(faults: &mut Faults, sessions: &Sessions) -> SessionSettings {
    let at = |field: &str| format!("/spec/login/sessions/{field}");
    let idle = faults.duration(&at("idle"), &sessions.idle);
    let absolute = faults.duration(&at("absolute"), &sessions.absolute);
    let remembered = faults.duration(&at("remembered"), &sessions.remembered);
    for (holds, field, message) in [
        (idle >= MINUTE, "idle", "idle must be at least 1m"),
        (idle <= absolute, "idle", "idle must be at most absolute"),
        (
            absolute <= remembered,
            "absolute",
            "absolute must be at most remembered",
        ),
        (
            remembered <= SignedDuration::from_hours(8784),
            "remembered",
            "remembered must be at most 8784h",
        ),
    ] {
        faults.require(holds, &at(field), message);
    }
    SessionSettings {
        idle: idle.unsigned_abs(),
        absolute: absolute.unsigned_abs(),
        remembered: remembered.unsigned_abs(),
    }
}

pub(super) fn refresh(faults: &mut Faults, options: &RefreshTokenOptions) -> RefreshSettings {
    let at = |field: &str| format!("/spec/tokens/refreshToken/{field}");
    let confidential = faults.duration(&at("confidential"), &options.confidential);
    let public = faults.duration(&at("public"), &options.public);
    let reuse_grace = faults.duration(&at("reuseGrace"), &options.reuse_grace);
    let max_age = faults.duration(&at("maxAge"), &options.max_age);
    for (holds, field, message) in [
        (
            confidential >= MINUTE,
            "confidential",
            "confidential must be at least 1m",
        ),
        (public >= MINUTE, "public", "public must be at least 1m"),
        (
            confidential <= max_age,
            "confidential",
            "confidential must be at most maxAge",
        ),
        (public <= max_age, "public", "public must be at most maxAge"),
        (
            reuse_grace <= SignedDuration::from_mins(10),
            "reuseGrace",
            "reuseGrace must be at most 10m",
        ),
        (
            max_age <= SignedDuration::from_hours(87_600),
            "maxAge",
            "maxAge must be at most 87600h",
        ),
    ] {
        faults.require(holds, &at(field), message);
    }
    RefreshSettings {
        always_rotates: options.rotation == RefreshRotation::Always,
        confidential: confidential.unsigned_abs(),
        public: public.unsigned_abs(),
        reuse_grace: reuse_grace.unsigned_abs(),
        max_age: max_age.unsigned_abs(),
    }
}

/// Admits the lifetime of ID tokens of an Identity or a client.
pub(super) fn id_token_lifetime(faults: &mut Faults, text: &DurationString) -> SignedDuration {
    let path = "/spec/tokens/idTokenLifetime";
    let lifetime = faults.duration(path, text);
    let range = MINUTE..=SignedDuration::from_hours(24);
    faults.require(
        range.contains(&lifetime),
        path,
        "idTokenLifetime must be between 1m and 24h",
    );
    lifetime
}

/// Admits the lifetime of authorization codes.
pub(super) fn code_lifetime(faults: &mut Faults, text: &DurationString) -> SignedDuration {
    let path = "/spec/tokens/authorizationCodeLifetime";
    let lifetime = faults.duration(path, text);
    let range = SignedDuration::from_secs(10)..=SignedDuration::from_mins(10);
    faults.require(
        range.contains(&lifetime),
        path,
        "authorizationCodeLifetime must be between 10s and 10m",
    );
    lifetime
}
