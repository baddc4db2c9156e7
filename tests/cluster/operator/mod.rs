//! The operator on a real API server: what users do, and every fault between two writes.

mod faults;
mod lifecycle;
mod pains;
pub(crate) mod process;
mod replicas;
mod serving;
mod traffic;
mod world;
