//! Runs the built `pmd` with a deadline.

use std::{
    io::{Read, Write},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Longest that any run may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// A run that has ended.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// The object on the last line of output.
    pub(crate) fn json(&self) -> Value {
        let last = self.out.lines().last().unwrap_or_default();
        serde_json::from_str(last)
            .unwrap_or_else(|error| panic!("{error}: {:?}, standard error {:?}", self.out, self.err))
    }
}

/// Runs `pmd` with these arguments and this input.
pub(crate) fn pmd_with(arguments: &[&str], input: &[u8]) -> Run {
    let mut child = spawn(arguments);
    let mut stdin = child.stdin.take().unwrap();
    // A command that does not read its input is no error.
    let _ = stdin.write_all(input);
    drop(stdin);
    finish(child)
}

/// Runs `pmd` with these arguments.
pub(crate) fn pmd(arguments: &[&str]) -> Run {
    pmd_with(arguments, &[])
}

/// Starts `pmd`.
pub(crate) fn spawn(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_pmd"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for the end of `child`, or kills it and fails.
pub(crate) fn finish(mut child: Child) -> Run {
    // Read on threads of their own, so that a full pipe does not stop the command.
    let (out, err) = (reader(child.stdout.take().unwrap()), reader(child.stderr.take().unwrap()));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > DEADLINE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("pmd did not end within {DEADLINE:?}");
        }
        thread::sleep(Duration::from_millis(5));
    };
    Run { code: status.code(), out: out.join().unwrap(), err: err.join().unwrap() }
}

fn reader(mut source: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before a failure is what the test looks at.
        let _ = source.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
