//! The operator on a real API server: what users do, and every fault between two writes.

mod faults;
mod gitops;
mod lifecycle;
mod metrics;
mod process;
mod serving;
mod traffic;
mod world;
