//! Where resources come from.
//!
//! A source turns what it sees into [`Change`](crate::directory::Change)s and hands them on in batches.
//! Absent: any decision about what they mean.

pub mod kubernetes;
