//! The resources of the group `symbolon.dev/v1alpha1`: what users apply, and the internal `Credential`.
//!
//! This module holds shapes only: serde, schemars and CEL, no logic. [`crate::directory`] decides what an object
//! *means*. No type has `deny_unknown_fields`, since one object of a newer release must not stop a watch; the
//! directory finds unknown fields on the raw value.
//!
//! Conventions:
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md>

mod client;
mod common;
mod crds;
mod credential;
mod deployment;
mod identity;
mod inherited;
mod interactive;
mod kind;
mod login;
mod managed;
mod normal;
mod scope;
mod service_token;
mod storage;
mod template;
mod theme;
mod uri;
mod user;

pub use client::*;
pub use common::*;
pub use crds::{crd, crds, to_yaml};
pub use credential::*;
pub use deployment::*;
pub use identity::*;
pub use inherited::*;
pub use interactive::*;
pub use kind::Kind;
pub use login::*;
pub use managed::*;
pub use normal::*;
pub use scope::*;
pub use service_token::*;
pub use storage::*;
pub use template::*;
pub use theme::*;
pub use uri::*;
pub use user::*;
