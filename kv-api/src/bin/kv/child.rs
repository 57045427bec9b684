//! Child processes of the command: the same executable in another role.
//!
//! A child says things on its standard output, one JSON object a line. Its standard input is its lifeline: it ends
//! when that closes, so no child outlives its parent, however the parent ends.

use std::{
    env,
    io::{self, BufRead, BufReader, Read, Write},
    process::{self, Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use pmd_host::security::command::variables;
use serde::{Serialize, de::DeserializeOwned};

use crate::failure::Failure;

/// How long a child that has closed its input may take to end.
const FAREWELL: Duration = Duration::from_secs(10);

/// A child process; killed and reaped when it is dropped.
#[derive(Debug)]
pub(crate) struct RoleProcess {
    role: &'static str,
    child: Child,
    lines: mpsc::Receiver<String>,
    complaints: Option<thread::JoinHandle<String>>,
}

impl RoleProcess {
    /// Starts `kv role ROLE ARGUMENTS`.
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
        match self.lines.recv_timeout(patience) {
            Ok(line) => {
                serde_json::from_str(&line).map_err(|_| Failure::ChildBabbles { role: self.role, line })
            }
            Err(mpsc::RecvTimeoutError::Timeout) => Err(Failure::ChildSilent { role: self.role, patience }),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(self.post_mortem(patience)),
        }
    }

    /// Says something to the child, which hears it as one of its [`orders`].
    pub(crate) fn tell(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let mut line = serde_json::to_vec(value).unwrap_or_default();
        line.push(b'\n');
        let sent = self.child.stdin.as_mut().is_some_and(|input| input.write_all(&line).is_ok());
        // A child that does not take it has ended.
        if sent { Ok(()) } else { Err(self.post_mortem(FAREWELL)) }
    }

    /// The child said this, which makes no sense now.
    pub(crate) fn babbles(&self, said: &impl Serialize) -> Failure {
        Failure::ChildBabbles { role: self.role, line: serde_json::to_string(said).unwrap_or_default() }
    }

    /// Closes the lifeline and waits for the child to end well.
    pub(crate) fn finish(mut self, patience: Duration) -> Result<(), Failure> {
        drop(self.child.stdin.take());
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
            .map(|text| text.trim().trim_start_matches("kv: ").to_owned())
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

/// In a child: what the parent says, until it closes the lifeline or is gone.
pub(crate) fn orders<T: DeserializeOwned>() -> impl Iterator<Item = Result<T, Failure>> {
    io::stdin()
        .lines()
        .map_while(Result::ok)
        .map(|line| serde_json::from_str(&line).map_err(|_| Failure::ChildBabbles { role: "parent", line }))
}

/// In a child: runs `when_cut` on a thread of its own once the parent closes the lifeline or is gone.
pub(crate) fn watch_lifeline(when_cut: impl FnOnce() + Send + 'static) {
    thread::spawn(move || {
        let mut sink = [0; 64];
        while matches!(io::stdin().read(&mut sink), Ok(1..)) {}
        when_cut();
    });
}
