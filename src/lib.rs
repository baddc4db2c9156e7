//! Symbolon: a Kubernetes operator with CRD-managed identity.

pub mod keys;
pub mod tokens;
