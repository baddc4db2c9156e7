//! Symbolon: a Kubernetes operator with CRD-managed identity.

pub mod tokens;
