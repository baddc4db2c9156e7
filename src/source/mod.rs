//! Where resources come from: Kubernetes watches, or a directory of manifests.
//!
//! Reads and watches; decides nothing about what is read beyond "this is no manifest". What an object
//! means is asked of [`crate::directory`].

pub mod births;
pub mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod kubernetes;
pub mod live;
pub mod manifest;
pub mod watch;
pub mod yaml;
