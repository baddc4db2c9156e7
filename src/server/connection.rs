//! One connection: its deadlines, and its end.
//!
//! Requests set no timers. Instead, the watchdog of each connection checks it a few times per deadline and looks at
//! what has happened since: whether bytes came without completing a request, whether the connection was quiet, and
//! whether its peer takes the answers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::ServerLimits;
use super::activity::Activity;
use super::charges::AGES;
use super::first_settings::FirstSettings;
use super::header_table::HeaderTable;
use super::stream_ends::StreamEnds;

/// The number of checks per deadline. An answer may wait for one check more.
const CHECKS: u32 = 4;
const _: () = assert!(AGES == CHECKS as usize + 1);
/// The least rate at which a peer must take waiting answers, in bytes a second.
const LEAST_RATE: u128 = 512;
/// If a peer gives up more answers than this between two checks, it counts as one that never reads.
const MAX_GIVEN_UP: u64 = 100;
/// How long a connection may still bring a request after the server began to close.
pub(super) const LINGER: Duration = Duration::from_millis(250);

/// What happens to a connection after a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionAction {
    /// It stays.
    Stay,
    /// It ends after its current work.
    Close,
    /// It ends now.
    Abort,
    /// It ends now because its peer does not take its answers.
    Unread,
}

/// Judges a connection by what changed between checks.
#[derive(Debug)]
pub(super) struct Watchdog {
    period: Duration,
    head_deadline: Duration,
    /// For how long the port lets a connection be quiet between requests.
    idle: Duration,
    is_closing: bool,
    seen: u64,
    /// For how long bytes have come without completing a request.
    stalled: Duration,
    /// For how long no request has come.
    quiet: Duration,
    /// The bytes that the peer had taken at the last check.
    written: u64,
    /// For how long the peer has taken too little.
    unread: Duration,
    /// The answers that the peer had taken and given up at the last check.
    answers: (u64, u64),
    /// For how long the peer has given up more answers than it took.
    refusing: Duration,
    /// Whether the peer is a trusted proxy, which gives up answers because its callers do.
    is_proxy: bool,
    /// The time since the answers last grew older by one step.
    aged: Duration,
    /// The header block that has not ended, and for how long.
    block: (u64, Duration),
}

impl Watchdog {
    pub fn new(limits: &ServerLimits, is_proxy: bool) -> Self {
        Self {
            is_proxy,
            period: (limits.head_deadline / CHECKS).max(Duration::from_millis(1)),
            head_deadline: limits.head_deadline,
            idle: limits.idle,
            is_closing: false,
            seen: 0,
            stalled: Duration::ZERO,
            quiet: Duration::ZERO,
            written: 0,
            unread: Duration::ZERO,
            answers: (0, 0),
            refusing: Duration::ZERO,
            aged: Duration::ZERO,
            block: (0, Duration::ZERO),
        }
    }

    /// Returns the time between two checks.
    pub const fn period(&self) -> Duration {
        self.period
    }

    /// Shortens the deadlines because the server is closing: a connection that is quiet for [`LINGER`] ends.
    pub fn close(&mut self) {
        self.period = LINGER;
        self.is_closing = true;
        self.quiet = Duration::ZERO;
    }

    /// Checks the connection after one more period. `idle` is how long it may be quiet between requests now; `None` for
    /// the limit of the port.
    pub fn check(&mut self, activity: &Activity, idle: Option<Duration>) -> ConnectionAction {
        let idle = if self.is_closing {
            LINGER
        } else {
            idle.unwrap_or(self.idle)
        };
        if self.is_unread(activity) {
            return ConnectionAction::Unread;
        }
        let open = activity.open_block.load(Ordering::Relaxed);
        self.block = if open != 0 && open == self.block.0 {
            (open, self.block.1 + self.period)
        } else {
            (open, Duration::ZERO)
        };
        if self.block.1 >= self.head_deadline {
            return ConnectionAction::Abort;
        }
        let requests = activity.requests.load(Ordering::Relaxed);
        let is_new = std::mem::replace(&mut self.seen, requests) != requests;
        if is_new || activity.answered.load(Ordering::Relaxed) != requests {
            (self.stalled, self.quiet) = (Duration::ZERO, Duration::ZERO);
            return ConnectionAction::Stay;
        }
        self.quiet += self.period;
        // HTTP/2 also has frames that are not part of a request.
        let is_in_head = activity.reading.load(Ordering::Relaxed) && !activity.is_http2();
        if is_in_head || activity.has_partial_message() {
            // While the peer takes no answers, the server does not read on: the deadline for answers ends the connection.
            if !activity.blocked.load(Ordering::Relaxed) {
                self.stalled += self.period;
            }
            if self.stalled >= self.head_deadline {
                return ConnectionAction::Abort;
            }
            return ConnectionAction::Stay;
        }
        self.stalled = Duration::ZERO;
        if requests == 0 && self.quiet >= self.head_deadline {
            ConnectionAction::Abort
        } else if self.quiet >= idle * 2 {
            // The server asked it to end, and it did not.
            ConnectionAction::Abort
        } else if self.quiet >= idle {
            ConnectionAction::Close
        } else {
            ConnectionAction::Stay
        }
    }

    /// Returns whether the peer does not read: it has taken too little of the waiting answers within the deadline, has
    /// left one answer of many waiting, or gives up the answers that it requests.
    fn is_unread(&mut self, activity: &Activity) -> bool {
        let written = activity.written.load(Ordering::Relaxed);
        let taken = written - std::mem::replace(&mut self.written, written);
        let least = LEAST_RATE * self.period.as_millis() / 1000;
        if activity.blocked.load(Ordering::Relaxed) && u128::from(taken) <= least {
            self.unread += self.period;
        } else {
            self.unread = Duration::ZERO;
        }
        self.aged += self.period;
        let mut is_old = false;
        if self.aged >= self.head_deadline / CHECKS {
            self.aged = Duration::ZERO;
            is_old = activity.grow_older();
        }
        let is_refusing = self.is_refusing(activity) && !self.is_proxy;
        is_old || self.unread >= self.head_deadline || is_refusing
    }

    fn is_refusing(&mut self, activity: &Activity) -> bool {
        let answers = (
            activity.taken.load(Ordering::Relaxed),
            activity.given_up.load(Ordering::Relaxed),
        );
        let before = std::mem::replace(&mut self.answers, answers);
        let (taken, given_up) = (answers.0 - before.0, answers.1 - before.1);
        if given_up > taken || (taken == 0 && activity.has_unsent()) {
            self.refusing += self.period;
        } else {
            self.refusing = Duration::ZERO;
        }
        let is_flood = given_up > MAX_GIVEN_UP && given_up > taken;
        is_flood || (given_up > 0 && self.refusing >= self.head_deadline)
    }
}

/// The socket or the TLS stream above it. It records in the [`Activity`] what is read and written.
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
    table: HeaderTable,
    settings: FirstSettings,
    ends: StreamEnds,
    /// Whether a read was refused until the socket takes bytes.
    is_paused: bool,
}

impl<S> Watched<S> {
    pub fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self {
            stream,
            activity,
            table: HeaderTable::new(),
            settings: FirstSettings::default(),
            ends: StreamEnds::default(),
            is_paused: false,
        }
    }

    fn has_read(&mut self, bytes: &[u8]) {
        self.activity.has_read(bytes.len());
        self.table.read(bytes);
        if self.table.is_off() {
            self.activity.buffers(bytes.len());
        } else {
            self.activity.pins(self.table.held());
            let open = self.table.open_block().unwrap_or_default();
            self.activity.open_block.store(open, Ordering::Relaxed);
            if self.table.is_violated() {
                self.activity.end();
            }
        }
    }

    /// Records bytes that the socket has taken.
    fn has_written(&mut self, bytes: &[u8]) {
        if self.table.is_off() {
            return;
        }
        let (table, mut is_less) = (&mut self.table, false);
        let ended = |stream| is_less |= table.has_ended(stream);
        self.ends.read(bytes, ended);
        if is_less {
            self.activity.pins(self.table.held());
        }
    }

    fn note(&mut self, context: &Context<'_>, write: &Poll<io::Result<usize>>) {
        match write {
            Poll::Ready(Ok(count)) => self.activity.has_written(*count),
            // The connection is about to end.
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.activity.cannot_write(),
        }
        self.read_on(context);
    }

    /// Wakes the connection's task if it may read again.
    fn read_on(&mut self, context: &Context<'_>) {
        if self.is_paused && !self.activity.is_paused() {
            self.is_paused = false;
            context.waker().wake_by_ref();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.activity.is_paused() {
            // The task runs again when the socket takes bytes.
            self.is_paused = true;
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = match self.activity.may_read() {
            None => Pin::new(&mut self.stream).poll_read(context, buffer),
            Some(0) => {
                // The connection's task must first handle what it has read; then it reads on.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Some(most) => {
                let most = most.min(buffer.remaining());
                let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
                let read = Pin::new(&mut self.stream).poll_read(context, &mut part);
                let count = part.filled().len();
                buffer.advance(count);
                read
            }
        };
        if read.is_ready() {
            let bytes = buffer.filled().get(before..).unwrap_or_default();
            self.has_read(bytes);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    /// Writes the amended first frame. Returns the length of the original one when the socket has taken all.
    fn poll_settings(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let FirstSettings::Writing(writing) = &mut self.settings {
            let count = ready!(Pin::new(&mut self.stream).poll_write(context, writing.rest()))?;
            if count == 0 {
                break;
            }
            if let Some(replaced) = writing.has_sent(count) {
                self.settings = FirstSettings::Done;
                return Poll::Ready(Ok(replaced));
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if matches!(self.settings, FirstSettings::Expected) {
            self.settings = if self.table.is_in_step() {
                FirstSettings::of(bytes)
            } else {
                FirstSettings::Done
            };
        }
        let write = match self.settings {
            FirstSettings::Writing(_) => self.poll_settings(context),
            _ => Pin::new(&mut self.stream).poll_write(context, bytes),
        };
        if let Poll::Ready(Ok(count)) = write {
            self.has_written(bytes.get(..count).unwrap_or_default());
        }
        self.note(context, &write);
        write
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !matches!(self.settings, FirstSettings::Done) {
            let first = buffers.iter().find(|buffer| !buffer.is_empty());
            let first = first.map_or(&[][..], |buffer| buffer);
            return self.poll_write(context, first);
        }
        let write = Pin::new(&mut self.stream).poll_write_vectored(context, buffers);
        if let Poll::Ready(Ok(mut left)) = write {
            for buffer in buffers {
                let count = left.min(buffer.len());
                self.has_written(buffer.get(..count).unwrap_or_default());
                left -= count;
            }
        }
        self.note(context, &write);
        write
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flush = Pin::new(&mut self.stream).poll_flush(context);
        match &flush {
            Poll::Ready(Ok(())) => self.activity.has_flushed(),
            Poll::Ready(Err(_)) => {}
            // TLS holds records that the socket does not take.
            Poll::Pending => self.activity.cannot_write(),
        }
        self.read_on(context);
        flush
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::super::activity::Unsent;
    use super::*;

    fn watchdog() -> Watchdog {
        watchdog_of(false)
    }

    fn watchdog_of(is_proxy: bool) -> Watchdog {
        let limits = ServerLimits {
            head_deadline: Duration::from_secs(8),
            idle: Duration::from_secs(20),
            ..ServerLimits::default()
        };
        Watchdog::new(&limits, is_proxy)
    }

    fn take(mut answer: Unsent) {
        answer.is_taken();
    }

    fn checks(watchdog: &mut Watchdog, activity: &Activity, count: usize) -> Vec<ConnectionAction> {
        (0..count).map(|_| watchdog.check(activity, None)).collect()
    }

    #[test]
    fn a_connection_that_sends_nothing_ends_at_the_deadline_of_its_first_head() {
        assert_eq!(
            checks(&mut watchdog(), &Activity::default(), 4),
            [
                ConnectionAction::Stay,
                ConnectionAction::Stay,
                ConnectionAction::Stay,
                ConnectionAction::Abort
            ]
        );
    }

    #[test]
    fn an_unfinished_head_ends_the_connection_even_after_other_requests() {
        let activity = Arc::new(Activity::default());
        drop(activity.begin());
        activity.reading.store(true, Ordering::Relaxed);
        assert_eq!(
            checks(&mut watchdog(), &activity, 5),
            [
                ConnectionAction::Stay,
                ConnectionAction::Stay,
                ConnectionAction::Stay,
                ConnectionAction::Stay,
                ConnectionAction::Abort
            ]
        );
    }

    #[test]
    fn a_connection_stays_while_a_request_is_being_answered() {
        let activity = Arc::new(Activity::default());
        let answering = activity.begin();
        activity.reading.store(true, Ordering::Relaxed);
        assert!(
            checks(&mut watchdog(), &activity, 100)
                .iter()
                .all(|fate| *fate == ConnectionAction::Stay)
        );
        drop(answering);
        assert!(
            !activity.reading.load(Ordering::Relaxed),
            "bytes of the body are not a head"
        );
    }

    #[test]
    fn a_header_block_that_does_not_end_ends_its_connection() {
        let activity = Arc::new(Activity::default());
        activity.came(true);
        let answering = activity.begin();
        let mut watchdog = watchdog();
        for block in 1..20 {
            activity.open_block.store(block, Ordering::Relaxed);
            assert_eq!(
                watchdog.check(&activity, None),
                ConnectionAction::Stay,
                "another block"
            );
        }
        let fates = checks(&mut watchdog, &activity, 4);
        assert_eq!(fates.last(), Some(&ConnectionAction::Abort), "{fates:?}");
        drop(answering);
    }

    #[test]
    fn a_quiet_connection_is_asked_to_end_and_then_cut_off() {
        let activity = Arc::new(Activity::default());
        activity.came(true);
        drop(activity.begin());
        activity.reading.store(true, Ordering::Relaxed);
        let mut watchdog = watchdog();
        assert!(
            checks(&mut watchdog, &activity, 10)
                .iter()
                .all(|fate| *fate == ConnectionAction::Stay)
        );
        assert_eq!(watchdog.check(&activity, None), ConnectionAction::Close);
        assert_eq!(
            checks(&mut watchdog, &activity, 10).last(),
            Some(&ConnectionAction::Abort)
        );
    }

    #[test]
    fn the_time_between_requests_may_change_while_the_connection_is_open() {
        let activity = Arc::new(Activity::default());
        drop(activity.begin());
        let mut watchdog = watchdog();
        let (long, short) = (Duration::from_secs(3600), Duration::from_secs(6));
        for _ in 0..1790 {
            assert_eq!(
                watchdog.check(&activity, Some(long)),
                ConnectionAction::Stay
            );
        }
        drop(activity.begin());
        let stays = [
            ConnectionAction::Stay,
            ConnectionAction::Stay,
            ConnectionAction::Stay,
        ];
        let fates: Vec<_> = (0..3)
            .map(|_| watchdog.check(&activity, Some(short)))
            .collect();
        assert_eq!(fates, stays, "a request begins the time again");
        assert_eq!(
            watchdog.check(&activity, Some(short)),
            ConnectionAction::Close
        );
        watchdog.close();
        assert_eq!(
            watchdog.check(&activity, Some(long)),
            ConnectionAction::Close,
            "the server is closing"
        );
    }

    #[test]
    fn a_peer_that_takes_no_bytes_is_cut_off_and_a_slow_reader_is_not() {
        let activity = Arc::new(Activity::default());
        drop(activity.begin());
        let mut watchdog = watchdog();
        for _ in 0..20 {
            // The peer opens its window now and then, and takes enough.
            activity.has_written(2000);
            activity.cannot_write();
            drop(activity.begin());
            assert_eq!(watchdog.check(&activity, None), ConnectionAction::Stay);
        }
        assert_eq!(
            checks(&mut watchdog, &activity, 4),
            [
                ConnectionAction::Stay,
                ConnectionAction::Stay,
                ConnectionAction::Stay,
                ConnectionAction::Unread
            ]
        );
    }

    /// The server has read a part of the next request when it stops to read.
    #[test]
    fn a_peer_that_takes_no_bytes_is_never_taken_for_one_that_sends_no_head() {
        let (mut watchdog, activity) = (watchdog(), Arc::new(Activity::default()));
        activity.came(false);
        drop(activity.begin());
        assert_eq!(watchdog.check(&activity, None), ConnectionAction::Stay);
        activity.has_read(10);
        assert_eq!(watchdog.check(&activity, None), ConnectionAction::Stay);
        activity.cannot_write();
        let ends = checks(&mut watchdog, &activity, CHECKS as usize + 1);
        let first = ends.iter().find(|it| **it != ConnectionAction::Stay);
        assert_eq!(first, Some(&ConnectionAction::Unread), "{ends:?}");
    }

    #[test]
    fn a_peer_that_takes_all_answers_but_one_is_cut_off() {
        let activity = Arc::new(Activity::default());
        let _unread = activity.made(100);
        let mut watchdog = watchdog();
        for _ in 0..CHECKS {
            drop(activity.begin());
            take(activity.made(100));
            assert_eq!(watchdog.check(&activity, None), ConnectionAction::Stay);
        }
        assert_eq!(watchdog.check(&activity, None), ConnectionAction::Unread);
    }

    #[test]
    fn a_peer_that_gives_up_more_answers_than_it_takes_is_cut_off() {
        let activity = Arc::new(Activity::default());
        let mut watchdog = watchdog();
        let mut give_up = |count: usize| {
            for _ in 0..count {
                drop(activity.made(100));
            }
            drop(activity.begin());
            take(activity.made(100));
            watchdog.check(&activity, None)
        };
        assert_eq!(
            [give_up(2), give_up(1)],
            [ConnectionAction::Stay; 2],
            "as many taken as given up"
        );
        assert_eq!(
            [give_up(2), give_up(2), give_up(2)],
            [ConnectionAction::Stay; 3]
        );
        assert_eq!(give_up(2), ConnectionAction::Unread);
        assert_eq!(give_up(1), ConnectionAction::Stay);
        assert_eq!(give_up(101), ConnectionAction::Unread);
    }

    /// Callers that cancel their requests must not end the connection that a proxy shares between callers.
    #[test]
    fn a_proxy_may_give_up_any_number_of_answers() {
        let activity = Arc::new(Activity::default());
        let mut watchdog = watchdog_of(true);
        for _ in 0..20 {
            for _ in 0..1000 {
                drop(activity.made(100));
            }
            drop(activity.begin());
            assert_eq!(watchdog.check(&activity, None), ConnectionAction::Stay);
        }
    }

    #[test]
    fn a_closing_connection_may_send_one_more_request() {
        let activity = Arc::new(Activity::default());
        drop(activity.begin());
        let mut watchdog = watchdog();
        watchdog.close();
        assert_eq!(
            watchdog.check(&activity, None),
            ConnectionAction::Stay,
            "a request came just before"
        );
        drop(activity.begin());
        assert_eq!(watchdog.check(&activity, None), ConnectionAction::Stay);
        assert_eq!(watchdog.check(&activity, None), ConnectionAction::Close);
    }
}
