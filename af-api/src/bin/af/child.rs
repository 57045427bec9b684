//! Child processes of the command: the same executable in another role.
//!
//! A child says things on its standard output, one JSON object a line. Its standard input is its lifeline: it ends
//! when that closes, so no child outlives its parent, however the parent ends. A parent that has what it wants lets go with
//! a line: a child may not have heard of its last acknowledgement yet.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    process::{self, Child, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pmd_host::security::command::variables;
use serde::{Serialize, de::DeserializeOwned};

use crate::failure::Failure;

/// How long a child that has closed its input may take to end.
const FAREWELL: Duration = Duration::from_secs(10);

/// What a parent says last.
const RELEASE: &[u8] = b"go\n";

/// A child process; killed and reaped when it is dropped.
#[derive(Debug)]
pub(crate) struct RoleProcess {
    role: &'static str,
    child: Child,
    lines: mpsc::Receiver<String>,
    complaints: Option<JoinHandle<String>>,
}

impl RoleProcess {
    /// Starts `af role ROLE ARGUMENTS`.
    pub(crate) fn start(role: &'static str, arguments: &[String]) -> Result<Self, Failure> {
        let spawn_failed = |source| Failure::Spawn { role, source };
        let executable = env::current_exe().map_err(spawn_failed)?;
        let mut child = Command::new(executable)
            .args(["role", role])
            .args(arguments)
            .envs(variables())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(spawn_failed)?;
        let (sender, lines) = mpsc::channel();
        if let Some(output) = child.stdout.take() {
            thread::spawn(move || {
                let lines = BufReader::new(output).lines().map_while(Result::ok);
                // Ends when the parent no longer listens.
                let _ = lines.map(|line| sender.send(line)).take_while(Result::is_ok).count();
            });
        }
        let complaints = child.stderr.take().map(|mut output| {
            thread::spawn(move || {
                let mut text = String::new();
                // What was readable until an error is as good as it gets.
                let _ = output.read_to_string(&mut text);
                text
            })
        });
        Ok(Self { role, child, lines, complaints })
    }

    /// What the child says next.
    pub(crate) fn hear<T: DeserializeOwned>(&mut self, patience: Duration) -> Result<T, Failure> {
        self.listen(patience)?.ok_or(Failure::ChildSilent { role: self.role, patience })
    }

    /// What the child says next, if it does within `patience`. A child that has ended is a failure.
    pub(crate) fn listen<T: DeserializeOwned>(&mut self, patience: Duration) -> Result<Option<T>, Failure> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => {
                serde_json::from_str(&line).map_err(|_| Failure::ChildBabbles { role: self.role, line })
            }
            Err(mpsc::RecvTimeoutError::Timeout) => Ok(None),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.post_mortem(FAREWELL)),
        }
    }

    /// The child said this, which makes no sense now.
    pub(crate) fn babbles(&self, said: &impl Serialize) -> Failure {
        Failure::ChildBabbles { role: self.role, line: serde_json::to_string(said).unwrap_or_default() }
    }

    /// Lets the child go and waits for it to end well.
    pub(crate) fn finish(mut self, patience: Duration) -> Result<(), Failure> {
        // A child that does not take the line has ended, which its status tells.
        let _ = self.child.stdin.take().map(|mut lifeline| lifeline.write_all(RELEASE));
        self.ended_well(patience)
    }

    /// Waits for a child to end well that ends by itself.
    pub(crate) fn ended_well(mut self, patience: Duration) -> Result<(), Failure> {
        match self.wait(patience)? {
            status if status.success() => Ok(()),
            status => Err(self.ended(status)),
        }
    }

    fn post_mortem(&mut self, patience: Duration) -> Failure {
        match self.wait(patience) {
            Ok(status) => self.ended(status),
            Err(failure) => failure,
        }
    }

    fn ended(&mut self, status: process::ExitStatus) -> Failure {
        let said = self.complaints.take().and_then(|reader| reader.join().ok());
        let said = said
            .map(|text| text.trim().trim_start_matches("af: ").to_owned())
            .filter(|text| !text.is_empty());
        let code =
            status.code().and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(1);
        Failure::Child { role: self.role, status: status.to_string(), said, code }
    }

    fn wait(&mut self, patience: Duration) -> Result<process::ExitStatus, Failure> {
        let deadline = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(2)),
                Ok(None) => return Err(Failure::ChildSilent { role: self.role, patience }),
                Err(source) => return Err(Failure::Spawn { role: self.role, source }),
            }
        }
    }
}

impl Drop for RoleProcess {
    fn drop(&mut self) {
        // Both fail only for a child that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// In a child: says something to the parent.
pub(crate) fn say(value: &impl Serialize) {
    // A parent that is gone is noticed at the lifeline.
    if let Ok(line) = serde_json::to_string(value) {
        let mut output = io::stdout().lock();
        let _ = writeln!(output, "{line}").and_then(|()| output.flush());
    }
}

/// In a child: what ties it to its parent. The child ends at once when the parent is gone and has not let it go.
#[derive(Debug)]
pub(crate) struct Lifeline {
    watch: JoinHandle<()>,
}

impl Lifeline {
    /// Watches from now on.
    pub(crate) fn watch() -> Self {
        let watch = thread::spawn(|| {
            let mut said = [0; RELEASE.len()];
            if io::stdin().read_exact(&mut said).is_err() || said != RELEASE {
                process::exit(1);
            }
        });
        Self { watch }
    }

    /// The work is done: waits until the parent lets go.
    pub(crate) fn wait_for_release(self) {
        // It does nothing that panics.
        let _ = self.watch.join();
    }
}
