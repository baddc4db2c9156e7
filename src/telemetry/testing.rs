//! Captures the log in tests.

use std::io::Write;
use std::sync::{Arc, Mutex, Once};

use serde_json::Value;
use tracing::subscriber::{DefaultGuard, set_default, set_global_default};
use tracing_subscriber::layer::SubscriberExt as _;

use super::logs::{self, LogForm};

/// The log of one thread, in the program's own form.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Captures everything logged on this thread as JSON until the guard is dropped.
    pub(crate) fn start(&self) -> DefaultGuard {
        self.start_as(LogForm::Json)
    }

    /// Captures the log in another form.
    pub(crate) fn start_as(&self, form: LogForm) -> DefaultGuard {
        // With a single subscriber, tracing caches an event's state at its first use: another thread without a
        // subscriber would switch the event off for all threads. A global subscriber prevents that.
        static EVERYTHING: Once = Once::new();
        EVERYTHING.call_once(|| set_global_default(tracing_subscriber::registry()).unwrap());
        let log = self.clone();
        let lines = logs::layer(form, move || log.clone());
        set_default(tracing_subscriber::registry().with(lines))
    }

    /// Returns everything that was written.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Returns the lines of the audit log.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["target"] == "audit").collect()
    }
}
