//! The numbers by which [`super::activity`] charges a connection: bytes for each thing that it makes the server hold, and what
//! is usual.

/// The number of checks of a connection that an answer may wait for. Each check has its own slot of waiting answers.
pub(super) const AGES: usize = 5;
/// The encrypted bytes that are not charged: TLS reads at most this many at once, and a usual request has fewer.
pub(super) const USUAL_ENCRYPTED: usize = 4 << 10;
/// The most encrypted bytes that TLS may keep: a record of 16 KiB and a read. A connection with more ends. TLS itself
/// would keep 64 KiB for a message of a handshake, which no client needs.
pub(super) const MAX_ENCRYPTED: usize = 32 << 10;
/// Bytes for an answer in addition to its body: its task, and its head until that is written.
pub(super) const PER_ANSWER: usize = 2 << 10;
/// Bytes for an answer without a body in addition to the text of its head: its stream and its table of header fields,
/// until they are written.
pub(super) const PER_EMPTY: usize = 3 << 10;
/// The longest head of an answer that hardly counts. That of an answer to a gateway can have 8 KiB of scopes.
pub(super) const USUAL_ANSWER_HEAD: usize = 1 << 10;
/// Bytes for a waiting request in addition to its head and body.
pub(super) const PER_WAITING: usize = 2 << 10;
/// Bytes for each stream of an HTTP/2 connection, for the most that it ever had at once. They stay charged until the
/// connection ends, because its tables of streams and frames do not shrink.
pub(super) const PER_STREAM: usize = 640;
/// Bytes for a socket whose peer does not read: both buffers of the kernel, full.
pub(super) const PER_BLOCKED: usize = 64 << 10;
/// If a connection holds more bytes than this, each answer keeps its turn until the peer reads it.
pub(super) const MAX_ANSWERED: usize = 512 << 10;
/// If the port holds too much, it refuses further requests of a connection that holds more bytes than this in answers
/// and requests.
pub(super) const LEAST_EXCESSIVE: usize = 16 << 10;
/// Bytes that HTTP/2 may read from the socket before it hands over the requests in them. A read of 8 KiB can contain
/// hundreds of requests, and the tables for them would grow accordingly.
pub(super) const READ_AT_ONCE: usize = 512;
/// The bytes that HTTP/2 may read while the socket takes none of the answers. Every request that `h2` refuses takes
/// memory until its refusal is written.
pub(super) const MAX_READ_BLOCKED: usize = 256 << 10;
/// The largest size of an HTTP/1 read buffer. A buffer that a large head has grown keeps its size.
pub(super) const MAX_BUFFERED: usize = 32 << 10;
/// The size of the read buffer that every connection has. It is not charged.
pub(super) const USUAL_BUFFERED: usize = 8 << 10;
/// The maximum number of received bytes that make a connection suspect, so that a caller with many connections is more
/// suspect than one that has used a single connection for long.
pub(super) const MAX_SUSPECTED: u64 = 256 << 10;
/// The least value of [`Activity::suspected`] while something is under way on a connection.
pub(super) const FLOOR: usize = 256 << 10;
/// The divisor of [`Activity::suspected`] for a calm connection.
pub(super) const CALM: usize = 64;
