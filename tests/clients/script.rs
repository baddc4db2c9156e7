//! Runs a script: sends it a task and reads its results.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than a script ever needs.
const PATIENCE: Duration = Duration::from_mins(5);

/// Runs a script and returns the JSON that it prints. The script gets the task on standard input, because the process
/// list would show secrets in arguments.
pub(crate) fn run(mut script: Command, task: &Value) -> Value {
    let child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = Running(child.unwrap_or_else(|error| panic!("{script:?}: {error}")));
    let mut input = child.0.stdin.take().unwrap();
    input.write_all(task.to_string().as_bytes()).unwrap();
    drop(input);
    let mut pipe = child.0.stdout.take().unwrap();
    let output = std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).map(|_| text)
    });
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(began.elapsed() < PATIENCE, "{script:?} hangs");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(
        status.success(),
        "{script:?}: {status}; its output is above"
    );
    serde_json::from_str(&output.join().unwrap().unwrap()).unwrap()
}

/// A child process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
