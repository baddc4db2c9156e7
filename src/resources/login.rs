//! How people sign in at an Identity, and how long their sessions and refresh tokens last: parts of
//! [`IdentitySpec`](super::IdentitySpec).

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{DurationString, durations, is_default};

/// How people sign in, and how long they stay signed in.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
pub struct Login {
    /// Whether people sign in with a password: `Enabled` or `Disabled`. Default: `Disabled`.
    #[serde(default)]
    pub password: Availability,
    /// How long people stay signed in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sessions: Sessions,
}

/// Whether something can be used.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Availability {
    Enabled,
    #[default]
    Disabled,
}

/// How long people stay signed in. A lower limit also ends existing sessions.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[x_kube(validation = Rule::new(durations(&["self.idle"], "duration(self.idle) >= duration('1m')")).message("idle must be at least 1m").field_path(".idle"))]
#[x_kube(validation = Rule::new(durations(&["self.idle", "self.absolute"], "duration(self.idle) <= duration(self.absolute)")).message("idle must be at most absolute").field_path(".idle"))]
#[x_kube(validation = Rule::new(durations(&["self.absolute", "self.remembered"], "duration(self.absolute) <= duration(self.remembered)")).message("absolute must be at most remembered").field_path(".absolute"))]
#[x_kube(validation = Rule::new(durations(&["self.remembered"], "duration(self.remembered) <= duration('8784h')")).message("remembered must be at most 8784h").field_path(".remembered"))]
pub struct Sessions {
    /// How long a session lasts without use, at least `1m`. Default: `2h`.
    #[serde(default = "hours_2")]
    pub idle: DurationString,
    /// How long a session lasts in total, at least `idle`. Default: `24h`.
    #[serde(default = "hours_24")]
    pub absolute: DurationString,
    /// How long a session of a person lasts who chose to stay signed in, used or not: at least `absolute`, at most
    /// `8784h`. Default: `720h` (30 days).
    #[serde(default = "hours_720")]
    pub remembered: DurationString,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            idle: hours_2(),
            absolute: hours_24(),
            remembered: hours_720(),
        }
    }
}

/// How refresh tokens last, and when they are replaced.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(durations(&["self.confidential"], "duration(self.confidential) >= duration('1m')")).message("confidential must be at least 1m").field_path(".confidential"))]
#[x_kube(validation = Rule::new(durations(&["self.public"], "duration(self.public) >= duration('1m')")).message("public must be at least 1m").field_path(".public"))]
#[x_kube(validation = Rule::new(durations(&["self.confidential", "self.maxAge"], "duration(self.confidential) <= duration(self.maxAge)")).message("confidential must be at most maxAge").field_path(".confidential"))]
#[x_kube(validation = Rule::new(durations(&["self.public", "self.maxAge"], "duration(self.public) <= duration(self.maxAge)")).message("public must be at most maxAge").field_path(".public"))]
#[x_kube(validation = Rule::new(durations(&["self.reuseGrace"], "duration(self.reuseGrace) <= duration('10m')")).message("reuseGrace must be at most 10m").field_path(".reuseGrace"))]
#[x_kube(validation = Rule::new(durations(&["self.maxAge"], "duration(self.maxAge) <= duration('87600h')")).message("maxAge must be at most 87600h").field_path(".maxAge"))]
pub struct RefreshTokenOptions {
    /// When a refresh replaces the token. `Auto`: for public clients, at every refresh. `Always`: for every client.
    /// Default: `Auto`.
    #[serde(default)]
    pub rotation: RefreshRotation,
    /// How long a confidential client's token lasts without use: `1m` to `maxAge`. Default: `720h` (30 days).
    #[serde(default = "hours_720")]
    pub confidential: DurationString,
    /// How long a public client's token lasts without use: `1m` to `maxAge`. Default: `24h`.
    #[serde(default = "hours_24")]
    pub public: DurationString,
    /// How long a replaced token still works, for a client that lost the reply: at most `10m`. Each use gives the
    /// same new token. Default: `60s`.
    #[serde(default = "seconds_60")]
    pub reuse_grace: DurationString,
    /// How long people can refresh before they must sign in again, at most `87600h`. Default: `2160h` (90 days).
    #[serde(default = "hours_2160")]
    pub max_age: DurationString,
}

impl Default for RefreshTokenOptions {
    fn default() -> Self {
        Self {
            rotation: RefreshRotation::default(),
            confidential: hours_720(),
            public: hours_24(),
            reuse_grace: seconds_60(),
            max_age: hours_2160(),
        }
    }
}

/// When a refresh replaces the refresh token.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "described at RefreshTokenOptions::rotation")]
pub enum RefreshRotation {
    #[default]
    Auto,
    Always,
}

fn seconds_60() -> DurationString {
    "60s".into()
}
fn hours_2() -> DurationString {
    "2h".into()
}
fn hours_24() -> DurationString {
    "24h".into()
}
fn hours_720() -> DurationString {
    "720h".into()
}
fn hours_2160() -> DurationString {
    "2160h".into()
}
