//! Reads in tests what is logged.

use std::io::Write;
use std::sync::{Arc, Mutex, Once};

use serde_json::Value;
use tracing::subscriber::{DefaultGuard, set_default, set_global_default};
use tracing_subscriber::layer::SubscriberExt as _;

use super::logs::{self, LogForm};

/// What a thread logs, in the form that the program writes.
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
    /// Collects everything logged on this thread until the guard goes, as JSON.
    pub(crate) fn start(&self) -> DefaultGuard {
        self.start_as(LogForm::Json)
    }

    /// The same in another form.
    pub(crate) fn start_as(&self, form: LogForm) -> DefaultGuard {
        // While there is one subscriber alone, an event that another thread meets first is asked of that thread's, and
        // is off for everybody where that has none.
        static EVERYTHING: Once = Once::new();
        EVERYTHING.call_once(|| set_global_default(tracing_subscriber::registry()).unwrap());
        let log = self.clone();
        let lines = logs::layer(form, move || log.clone());
        set_default(tracing_subscriber::registry().with(lines))
    }

    /// Everything, as it was written.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines of the audit log.
    pub(crate) fn audit(&self) -> Vec<Value> {
        let text = self.text();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["target"] == "audit").collect()
    }
}
