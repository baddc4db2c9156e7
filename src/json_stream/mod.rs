//! Parses responses of the Kubernetes API while they arrive.
//!
//! A writer of an object may fill its labels and annotations up to etcd's limit, and the API server chooses how many
//! objects are in one response. So nothing here holds a whole response: [`Scanner`] takes it in chunks, copies the
//! parts that the program reads, skips the rest, and passes on one object at a time, of at most [`MAX_KEPT`] bytes.
//! [`PageSize`] asks for pages of about the same number of bytes.
//!
//! Not here: requests, and any judgement of objects. [`read`] is the thin part that awaits chunks.

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
pub use scan::{Framing, MalformedResponse, Piece, Scanner};

/// The most bytes held of one object. Without labels, annotations and managed fields, no object that the API server
/// accepts comes near this size.
pub const MAX_KEPT: usize = 2 << 20;
/// The most bytes of labels, annotations and owner references held of one object: twice Kubernetes' limit for
/// annotations.
pub const MAX_METADATA: usize = 512 << 10;
/// The most bytes of an object that is written back whole. A template makes at most 271 KiB of a Secret's data: 256
/// times the token URL (526 bytes) in base64 and 32 KiB of text, all of it encoded once more in base64.
pub const MAX_REWRITTEN: usize = 320 << 10;
/// The most values (texts, numbers, lists and maps) of such an object. Each costs about 110 bytes when parsed, but only
/// a few as JSON: `"a":"",`. The operator's Secrets have about 60 values, and a Credential fewer than 300.
pub const MAX_REWRITTEN_VALUES: usize = 1_024;
/// The most values of any other object held whole, and of the list of all API groups.
pub const MAX_VALUES: usize = 20_000;
/// The most bytes of labels and annotations held of an object of which only labels and annotations of `symbolon.dev/`
/// are read.
pub const MAX_OURS: usize = 64 << 10;
