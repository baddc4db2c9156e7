//! Log lines to the standard output, as JSON or as text, without ever delaying a request.
//!
//! Lines go into a buffer in memory, and a thread writes what has gathered in one go. The buffer is bounded: lines that
//! do not fit are dropped and counted. [`LogGuard`] writes the rest when it is dropped, so that a graceful end loses no
//! line.

mod dropped;
mod filter;
mod libraries;
mod lines;
mod panics;

use std::io::{self, Write};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::Subscriber;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};
use tracing_subscriber::{Layer, Registry};

use self::dropped::DROPPED;
pub use self::dropped::dropped_lines;
pub use self::filter::{Audit, BadFilter, LogFilter};
use self::libraries::Libraries;
use self::lines::Lines;
pub use self::lines::LogForm;
use crate::lock::lock;

/// The capacity of the buffer in bytes.
const CAPACITY: usize = 4 << 20;
/// How long the thread waits for more lines after the first: one wake-up and one write for all of them.
const GATHER: Duration = Duration::from_millis(20);

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// Logging was already set up.
    #[error("logging is already set up")]
    Twice(#[from] TryInitError),
    /// The thread could not be started.
    #[error("cannot start the thread that writes the log")]
    Thread(#[from] io::Error),
}

/// Writes the remaining lines when dropped. Keep it until the end of `main`.
#[derive(Debug)]
pub struct LogGuard {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Writes the program's log to the standard output, including panics.
///
/// # Errors
/// [`InitError`].
pub fn init(form: LogForm, filter: &LogFilter, audit: Audit) -> Result<LogGuard, InitError> {
    let (sink, guard) = sink(io::stdout())?;
    tracing_subscriber::registry()
        .with(filter.targets(audit))
        .with(layer(form, sink))
        .try_init()?;
    panics::report();
    Ok(guard)
}

/// Like [`init`], beside another layer whose spans are not logged.
///
/// # Errors
/// [`InitError`].
pub fn init_beside(
    form: LogForm,
    filter: &LogFilter,
    audit: Audit,
    traces: impl Layer<Registry> + Send + Sync,
) -> Result<LogGuard, InitError> {
    let (sink, guard) = sink(io::stdout())?;
    let of_the_log = filter_fn(|it| it.target() != super::traces::TARGET);
    let filter = filter.targets(audit).and(of_the_log);
    tracing_subscriber::registry()
        .with(traces)
        .with(layer(form, sink).with_filter(filter))
        .try_init()?;
    panics::report();
    Ok(guard)
}

/// Writes events as lines in a form.
pub(super) fn layer<S, W>(form: LogForm, writer: W) -> impl Layer<S> + Send + Sync
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = Lines {
        form,
        libraries: Libraries::default(),
    };
    tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .event_format(lines)
        .with_writer(writer)
}

fn sink(out: impl Write + Send + 'static) -> io::Result<(Sink, LogGuard)> {
    let shared = Arc::new(Shared::default());
    let thread = std::thread::Builder::new().name("log".to_owned()).spawn({
        let shared = Arc::clone(&shared);
        move || shared.write_to(out)
    })?;
    let guard = LogGuard {
        shared: Arc::clone(&shared),
        thread: Some(thread),
    };
    Ok((Sink(shared), guard))
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.shared.waiting().closed = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to write.
            let _ = thread.join();
        }
    }
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Vec<u8>,
    closed: bool,
}

impl Shared {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic while the lock is held leaves only whole lines behind.
        lock(&self.waiting)
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.lines.len() + line.len() > CAPACITY {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let was_empty = waiting.lines.is_empty();
        waiting.lines.extend_from_slice(line);
        drop(waiting);
        if was_empty {
            self.changed.notify_one();
        }
    }

    fn write_to(&self, mut out: impl Write) {
        let mut lines = Vec::new();
        loop {
            let waiting = self.waiting();
            let quiet = |waiting: &mut Waiting| waiting.lines.is_empty() && !waiting.closed;
            let waiting = self.changed.wait_while(waiting, quiet);
            let closed = waiting.unwrap_or_else(PoisonError::into_inner).closed;
            if !closed {
                self.gather();
            }
            lines.clear();
            std::mem::swap(&mut lines, &mut self.waiting().lines);
            // A failure to write the log has nowhere to be reported.
            let _ = out.write_all(&lines).and_then(|()| out.flush());
            if closed && self.waiting().lines.is_empty() {
                return;
            }
        }
    }

    /// Waits for more lines, unless the log is closed.
    fn gather(&self) {
        let waiting = self.waiting();
        drop(
            self.changed
                .wait_timeout_while(waiting, GATHER, |waiting| !waiting.closed),
        );
    }
}

#[derive(Clone)]
struct Sink(Arc<Shared>);

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(&self.0)
    }
}

/// Takes one event: the formatter writes whole lines.
struct Line<'a>(&'a Shared);

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[derive(Clone, Default)]
    struct Out(Arc<Mutex<Vec<u8>>>);

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_graceful_end_loses_no_line_and_keeps_the_order() {
        let out = Out::default();
        let (sink, guard) = sink(out.clone()).unwrap();
        let expected = (0..10_000).fold(String::new(), |text, n| text + &format!("line {n}\n"));
        for line in expected.split_inclusive('\n') {
            sink.make_writer().write_all(line.as_bytes()).unwrap();
        }
        drop(guard);
        assert_eq!(
            String::from_utf8(out.0.lock().unwrap().clone()).unwrap(),
            expected
        );
    }

    #[test]
    fn a_line_is_written_without_a_flush() {
        struct Tell(mpsc::Sender<Vec<u8>>);
        impl Write for Tell {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.send(bytes.to_vec());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (sender, receiver) = mpsc::channel();
        let (sink, _guard) = sink(Tell(sender)).unwrap();
        sink.make_writer().write_all(b"hello\n").unwrap();
        assert_eq!(
            receiver.recv_timeout(Duration::from_secs(5)).unwrap(),
            b"hello\n"
        );
    }

    #[test]
    fn a_stalled_reader_costs_lines_but_no_time_or_memory() {
        struct Stuck(mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = mpsc::channel();
        let (sink, guard) = sink(Stuck(stuck)).unwrap();
        let before = dropped_lines();
        for _ in 0..20 {
            sink.make_writer()
                .write_all(&vec![b'x'; CAPACITY / 8])
                .unwrap();
        }
        assert!(guard.shared.waiting().lines.len() <= CAPACITY);
        assert!(dropped_lines() > before);
        drop(release);
    }
}
