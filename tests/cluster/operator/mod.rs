//! The operator on a real API server: actions of users, and faults between any two writes.

mod counts;
mod embedded;
mod fat;
mod faults;
mod fleet;
mod gitops;
mod grants;
mod inherited;
mod interference;
mod keys;
mod kubectl;
mod lifecycle;
mod metrics;
mod pains;
mod people;
pub(crate) mod process;
mod proxy;
mod refused;
mod replicas;
mod rotation;
mod scoped;
mod secrets;
mod serving;
mod traces;
mod traffic;
mod verifier;
mod world;
