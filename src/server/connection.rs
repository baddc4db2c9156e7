//! One connection: its deadlines, and its end.
//!
//! No timer is set at a request. Each connection looks at itself a few times while a deadline runs, and sees what has
//! happened since: whether bytes of a head came without a request, whether it was quiet.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Limits;

/// How often a connection looks at itself while a deadline runs.
const LOOKS: u32 = 4;
/// How long a connection may still bring a request after the server began to close.
pub(super) const LINGER: Duration = Duration::from_millis(250);

/// What a connection is doing; written by the connection's own tasks.
#[derive(Debug, Default)]
pub(super) struct Activity {
    requests: AtomicU64,
    answered: AtomicU64,
    /// Bytes came that no request has been made of yet.
    reading: AtomicBool,
    is_http2: AtomicBool,
}

/// One request of a connection being answered.
pub(super) struct Answering(Arc<Activity>);

impl Activity {
    /// A request came.
    pub fn begin(self: &Arc<Self>, is_http2: bool) -> Answering {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.reading.store(false, Ordering::Relaxed);
        if is_http2 {
            self.is_http2.store(true, Ordering::Relaxed);
        }
        Answering(Arc::clone(self))
    }

    /// Whether it speaks HTTP/2.
    pub fn is_http2(&self) -> bool {
        self.is_http2.load(Ordering::Relaxed)
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.answered.fetch_add(1, Ordering::Relaxed);
        self.0.reading.store(false, Ordering::Relaxed);
    }
}

/// What becomes of a connection after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays.
    Stay,
    /// It ends after what it is doing.
    Close,
    /// It ends now.
    Abort,
}

/// Judges a connection by what changed between looks.
#[derive(Debug)]
pub(super) struct Watchdog {
    period: Duration,
    head_deadline: Duration,
    idle: Duration,
    seen: u64,
    /// For how long bytes have come without a request.
    stalled: Duration,
    /// For how long nothing has been asked.
    quiet: Duration,
}

impl Watchdog {
    pub fn new(limits: &Limits) -> Self {
        Self {
            period: (limits.head_deadline / LOOKS).max(Duration::from_millis(1)),
            head_deadline: limits.head_deadline,
            idle: limits.idle,
            seen: 0,
            stalled: Duration::ZERO,
            quiet: Duration::ZERO,
        }
    }

    /// How long to wait between looks.
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// The server is closing: a connection that brings nothing for a moment ends.
    pub fn close(&mut self) {
        self.period = LINGER;
        self.idle = LINGER;
        self.quiet = Duration::ZERO;
    }

    /// Looks at the connection after another period.
    pub fn look(&mut self, activity: &Activity) -> Fate {
        let requests = activity.requests.load(Ordering::Relaxed);
        let is_new = std::mem::replace(&mut self.seen, requests) != requests;
        if is_new || activity.answered.load(Ordering::Relaxed) != requests {
            (self.stalled, self.quiet) = (Duration::ZERO, Duration::ZERO);
            return Fate::Stay;
        }
        self.quiet += self.period;
        // HTTP/2 has frames that are no part of a request.
        if activity.reading.load(Ordering::Relaxed) && !activity.is_http2() {
            self.stalled += self.period;
            if self.stalled >= self.head_deadline {
                return Fate::Abort;
            }
            return Fate::Stay;
        }
        self.stalled = Duration::ZERO;
        if requests == 0 && self.quiet >= self.head_deadline {
            Fate::Abort
        } else if self.quiet >= self.idle * 2 {
            // It was asked to end and did not.
            Fate::Abort
        } else if self.quiet >= self.idle {
            Fate::Close
        } else {
            Fate::Stay
        }
    }
}

/// The socket, or what TLS makes of it, noting that something was read.
pub(super) struct Watched<S> {
    io: TokioIo<S>,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self {
            io: TokioIo::new(stream),
            activity,
        }
    }
}

impl<S: AsyncRead + Unpin> Read for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        if read.is_ready() {
            self.activity.reading.store(true, Ordering::Relaxed);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> Write for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, buffers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watchdog() -> Watchdog {
        Watchdog::new(&Limits {
            head_deadline: Duration::from_secs(8),
            idle: Duration::from_secs(20),
            ..Limits::default()
        })
    }

    fn looks(watchdog: &mut Watchdog, activity: &Activity, count: usize) -> Vec<Fate> {
        (0..count).map(|_| watchdog.look(activity)).collect()
    }

    #[test]
    fn a_connection_that_says_nothing_ends_at_the_deadline_of_the_first_byte() {
        assert_eq!(
            looks(&mut watchdog(), &Activity::default(), 4),
            [Fate::Stay, Fate::Stay, Fate::Stay, Fate::Abort]
        );
    }

    #[test]
    fn a_head_that_does_not_end_ends_the_connection_even_after_other_requests() {
        let activity = Arc::new(Activity::default());
        drop(activity.begin(false));
        activity.reading.store(true, Ordering::Relaxed);
        assert_eq!(
            looks(&mut watchdog(), &activity, 5),
            [Fate::Stay, Fate::Stay, Fate::Stay, Fate::Stay, Fate::Abort]
        );
    }

    #[test]
    fn a_request_being_answered_is_waited_for() {
        let activity = Arc::new(Activity::default());
        let answering = activity.begin(false);
        activity.reading.store(true, Ordering::Relaxed);
        assert!(
            looks(&mut watchdog(), &activity, 100)
                .iter()
                .all(|fate| *fate == Fate::Stay)
        );
        drop(answering);
        assert!(
            !activity.reading.load(Ordering::Relaxed),
            "the body's bytes are no head"
        );
    }

    #[test]
    fn a_quiet_connection_is_closed_and_then_cut_off() {
        let activity = Arc::new(Activity::default());
        drop(activity.begin(true));
        activity.reading.store(true, Ordering::Relaxed);
        let mut watchdog = watchdog();
        assert!(
            looks(&mut watchdog, &activity, 10)
                .iter()
                .all(|fate| *fate == Fate::Stay)
        );
        assert_eq!(watchdog.look(&activity), Fate::Close);
        assert_eq!(
            looks(&mut watchdog, &activity, 10).last(),
            Some(&Fate::Abort)
        );
    }

    #[test]
    fn while_closing_a_connection_may_bring_one_more_request() {
        let activity = Arc::new(Activity::default());
        drop(activity.begin(false));
        let mut watchdog = watchdog();
        watchdog.close();
        assert_eq!(
            watchdog.look(&activity),
            Fate::Stay,
            "a request came just before"
        );
        drop(activity.begin(false));
        assert_eq!(watchdog.look(&activity), Fate::Stay);
        assert_eq!(watchdog.look(&activity), Fate::Close);
    }
}
