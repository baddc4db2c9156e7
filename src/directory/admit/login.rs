//! Admission of what an Identity says about people: sessions, refresh tokens, and the lifetimes of codes and ID tokens.

use std::time::Duration;

use jiff::SignedDuration;

use super::faults::Faults;
use crate::directory::tables::record::{RefreshSettings, SessionSettings};
use crate::resources::{DurationString, RefreshRotation, RefreshTokenOptions, Sessions};

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

/// Reads a duration, which is never negative.
fn read(faults: &mut Faults, path: &str, text: &DurationString) -> SignedDuration {
    faults.duration(path, text)
}

const fn std(duration: SignedDuration) -> Duration {
    duration.unsigned_abs()
}

pub(super) fn sessions(faults: &mut Faults, sessions: &Sessions) -> SessionSettings {
    let at = |field: &str| format!("/spec/login/sessions/{field}");
    let idle = read(faults, &at("idle"), &sessions.idle);
    let absolute = read(faults, &at("absolute"), &sessions.absolute);
    let remembered = read(faults, &at("remembered"), &sessions.remembered);
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
        idle: std(idle),
        absolute: std(absolute),
        remembered: std(remembered),
    }
}

pub(super) fn refresh(faults: &mut Faults, options: &RefreshTokenOptions) -> RefreshSettings {
    let at = |field: &str| format!("/spec/tokens/refreshToken/{field}");
    let confidential = read(faults, &at("confidential"), &options.confidential);
    let public = read(faults, &at("public"), &options.public);
    let reuse_grace = read(faults, &at("reuseGrace"), &options.reuse_grace);
    let max_age = read(faults, &at("maxAge"), &options.max_age);
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
        confidential: std(confidential),
        public: std(public),
        reuse_grace: std(reuse_grace),
        max_age: std(max_age),
    }
}

/// Admits the lifetime of ID tokens of an Identity or a client.
pub(super) fn id_token_lifetime(faults: &mut Faults, text: &DurationString) -> SignedDuration {
    let path = "/spec/tokens/idTokenLifetime";
    let lifetime = read(faults, path, text);
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
    let lifetime = read(faults, path, text);
    let range = SignedDuration::from_secs(10)..=SignedDuration::from_mins(10);
    faults.require(
        range.contains(&lifetime),
        path,
        "authorizationCodeLifetime must be between 10s and 10m",
    );
    lifetime
}
