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
/// The most bytes of an object that is written back whole. A template makes at most 271 KiB of a Secret's data: 256 times
/// the token URL (526 bytes) in base64 and 32 KiB of text, all of it once more in base64.
pub const MOST_REWRITTEN: usize = 320 << 10;
/// The most values (texts, numbers, lists and maps) of such an object. Each costs about 110 bytes when parsed, and only
/// some bytes as JSON: `"a":"",`. A Secret of ours has about 60, and a Credential below 300.
pub const MOST_REWRITTEN_VALUES: usize = 1_024;
/// The most values of any other object that is held whole, and of the list of all API groups.
pub const MOST_VALUES: usize = 20_000;
/// The most bytes of labels and annotations that are held of an object of which only ours are read.
pub const MOST_OURS: usize = 64 << 10;
