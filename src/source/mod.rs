//! The sources of objects: Kubernetes watches, or a directory of manifests.
//!
//! This module reads and watches. It decides only whether a text is a manifest; [`crate::directory`] judges the
//! objects.

pub mod births;
pub mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod kubernetes;
pub mod kustomization;
pub mod live;
pub mod lost;
pub mod manifest;
pub mod watch;
pub mod yaml;
