//! The operator on a real API server: what users do, and every fault between two writes.

mod faults;
mod grants;
mod lifecycle;
mod process;
mod secrets;
mod serving;
mod traffic;
mod world;
