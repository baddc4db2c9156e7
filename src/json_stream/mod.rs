//! Answers of the Kubernetes API, read while they come in.
//!
//! Who may write an object may fill its labels and annotations up to what etcd takes, and the number of objects in one
//! answer is the API server's choice. So nothing here holds an answer: [`Scanner`] takes it in chunks, copies the parts
//! that somebody reads and skips the rest, and hands on one object at a time, of [`MOST_KEPT`] bytes at most.
//! [`PageSize`] asks for pages of about the same number of bytes.
//!
//! Absent: requests, and any judgement of objects. [`read`] is the thin part that awaits chunks.

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod keep;
mod page;
pub mod read;
mod scan;

#[cfg(test)]
mod tests;

pub use keep::Keep;
pub use page::PageSize;
pub use scan::{Framing, Malformed, Piece, Scanner};

/// The most bytes of one object that are held. Without labels, annotations and managed fields no object that the API
/// server accepts comes near it.
pub const MOST_KEPT: usize = 2 << 20;
/// The most bytes of labels, annotations and owner references that are held of one object: twice what Kubernetes takes
/// of annotations.
pub const MOST_METADATA: usize = 512 << 10;
