//! Runs one script with a task.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Longer than a script ever needs.
const PATIENCE: Duration = Duration::from_mins(5);

/// Runs a script and returns the JSON that it prints. The script gets the task on standard input, because the process
/// list would show secrets in arguments.
pub(crate) fn run(script: Command, task: &Value) -> Value {
    drive(script, task, None)
}

/// Like [`run`], for a script that prints questions before its result: a line of JSON with the member `ask` each. It
/// gets each answer as a line on standard input.
pub(crate) fn converse(
    script: Command,
    task: &Value,
    mut answer: impl FnMut(&Value) -> Value,
) -> Value {
    drive(script, task, Some(&mut answer))
}

fn drive(
    mut script: Command,
    task: &Value,
    mut answer: Option<&mut dyn FnMut(&Value) -> Value>,
) -> Value {
    let child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = Running(child.unwrap_or_else(|error| panic!("{script:?}: {error}")));
    let mut input = child.0.stdin.take();
    let pipe = BufReader::new(child.0.stdout.take().unwrap());
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in pipe.lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let tell = |input: &mut Option<ChildStdin>, value: &Value| {
        let line = format!("{value}\n");
        // A script that has failed reads no more; its status says so.
        let _ = input.as_mut().map(|it| it.write_all(line.as_bytes()));
    };
    tell(&mut input, task);
    if answer.is_none() {
        input = None;
    }
    let deadline = Instant::now() + PATIENCE;
    let mut result = None;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let said: Value = serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("{script:?} prints {line:?}: {error}"));
                match (said.get("ask"), answer.as_mut()) {
                    (Some(question), Some(answer)) => tell(&mut input, &answer(question)),
                    _ => result = Some(said),
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("{script:?} hangs"),
        }
    }
    drop(input);
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "{script:?} hangs");
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(
        status.success(),
        "{script:?}: {status}; its output is above"
    );
    result.unwrap_or_else(|| panic!("{script:?} prints no result"))
}

/// A child process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
