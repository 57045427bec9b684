//! Runs a command under a time bound, keeps its output, and leaves none of its processes behind.
//!
//! Called by the runner for every command of a suite, by `install` for apt-get, and by `mutation` for builds
//! and checks of faults.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::interrupt;

#[cfg(test)]
mod tests;

/// How often a running command's exit is looked for.
const POLL: Duration = Duration::from_millis(20);

/// How long the readers wait for a pipe that an escaped grandchild keeps open after the command has ended.
const DRAIN: Duration = Duration::from_secs(2);

/// How long a process may outlive the command that started it before it counts as left behind.
const GRACE: Duration = Duration::from_secs(1);

/// A command to run: a program, its arguments, and what differs from this process's environment.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: PathBuf,
    limit: Duration,
}

/// How a command ended, and what it wrote.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit status; none when the time bound was reached.
    pub(crate) status: Option<ExitStatus>,
    /// Lines of standard output alone.
    pub(crate) stdout: String,
    /// Lines of standard error alone.
    pub(crate) stderr: String,
    /// Lines of standard output and standard error in the order in which they were read.
    pub(crate) output: String,
    /// The time bound.
    pub(crate) limit: Duration,
    /// Processes that it had started and that were still running when it had ended, `name (process id)`.
    pub(crate) left_behind: Vec<String>,
}

impl Ended {
    /// Whether the command ended by itself with exit code 0.
    pub(crate) fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// How it ended, in words.
    pub(crate) fn describe(&self) -> String {
        match self.status {
            Some(status) => status.to_string(),
            None => format!("timed out after {} s", self.limit.as_secs()),
        }
    }
}

impl Task {
    /// A command in a folder, with ten minutes to run.
    pub(crate) fn new(program: impl Into<OsString>, folder: impl Into<PathBuf>) -> Self {
        let (program, folder) = (program.into(), folder.into());
        Self {
            program,
            arguments: Vec::new(),
            environment: Vec::new(),
            folder,
            limit: Duration::from_secs(600),
        }
    }

    /// Adds arguments.
    pub(crate) fn args<Argument: Into<OsString>>(
        mut self,
        arguments: impl IntoIterator<Item = Argument>,
    ) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Sets the time bound.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command line as one would type it, without quoting; what separates flags for cargo as a space.
    pub(crate) fn line(&self) -> String {
        let environment = self.environment.iter().map(|(name, value)| {
            let mut text = name.clone();
            text.push("=");
            text.push(value);
            text
        });
        let words: Vec<OsString> =
            environment.chain([self.program.clone()]).chain(self.arguments.iter().cloned()).collect();
        words.join(" ".as_ref()).to_string_lossy().replace('\x1f', " ")
    }

    /// Runs the command to its end or to its time bound, and tells `watch` about each line and each idle moment.
    ///
    /// Its process group is ended before this returns, so that nothing that it started and did not detach lives on.
    ///
    /// # Errors
    ///
    /// The command could not be started or waited for.
    pub(crate) fn run(&self, watch: &mut dyn FnMut(Option<&str>)) -> io::Result<Ended> {
        let mut child = self.spawn()?;
        let group = Pid::from_raw(child.id().cast_signed());
        let registered = interrupt::register(group);
        let (sender, lines) = channel();
        read_lines(Stream::Output, child.stdout.take(), sender.clone());
        read_lines(Stream::Error, child.stderr.take(), sender);
        let mut ended = Ended::new(self.limit);
        let outcome = self.follow(&mut child, &lines, &mut ended, watch);
        if ended.status.is_some() {
            ended.left_behind = lingering(group);
        }
        end_group(group);
        drop(registered);
        if ended.status.is_none() {
            child.wait()?;
        }
        let deadline = Instant::now() + DRAIN;
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            ended.keep(line, watch);
        }
        outcome.map(|()| ended)
    }

    fn spawn(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_this_package(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        command
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
    }

    /// Collects lines until the command has ended or its time is over.
    fn follow(
        &self,
        child: &mut Child,
        lines: &Receiver<Line>,
        ended: &mut Ended,
        watch: &mut dyn FnMut(Option<&str>),
    ) -> io::Result<()> {
        let deadline = Instant::now() + self.limit;
        while Instant::now() < deadline {
            match lines.recv_timeout(POLL) {
                Ok(line) => {
                    ended.keep(line, watch);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => watch(None),
                Err(RecvTimeoutError::Disconnected) => thread::sleep(POLL),
            }
            if let Some(status) = child.try_wait()? {
                ended.status = Some(status);
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Ended {
    fn new(limit: Duration) -> Self {
        let (stdout, stderr, output) = (String::new(), String::new(), String::new());
        Self { status: None, stdout, stderr, output, limit, left_behind: Vec::new() }
    }

    fn keep(&mut self, line: Line, watch: &mut dyn FnMut(Option<&str>)) {
        watch(Some(line.text.trim_end()));
        self.output.push_str(&line.text);
        if !line.text.ends_with('\n') {
            self.output.push('\n');
        }
        match line.stream {
            Stream::Output => self.stdout.push_str(&line.text),
            Stream::Error => self.stderr.push_str(&line.text),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stream {
    Output,
    Error,
}

struct Line {
    stream: Stream,
    text: String,
}

/// Sends a stream's lines until it closes; the thread ends with the stream or with the receiver.
fn read_lines(stream: Stream, source: Option<impl Read + Send + 'static>, lines: Sender<Line>) {
    let Some(source) = source else { return };
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut bytes = Vec::new();
        while source.read_until(b'\n', &mut bytes).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            bytes.clear();
            if lines.send(Line { stream, text }).is_err() {
                return;
            }
        }
    });
}

/// The running processes of a group, after a moment for those that are about to end.
fn lingering(group: Pid) -> Vec<String> {
    let deadline = Instant::now() + GRACE;
    loop {
        let running: Vec<String> = running()
            .filter(|process| process.group == group.as_raw())
            .map(|process| process.to_string())
            .collect();
        if running.is_empty() || Instant::now() >= deadline {
            return running;
        }
        thread::sleep(POLL);
    }
}

/// A process as /proc/PID/stat shows it.
#[derive(Debug)]
pub(crate) struct Running {
    /// Its id.
    pub(crate) id: i32,
    /// The first fifteen characters of its program's name.
    pub(crate) name: String,
    group: i32,
}

impl std::fmt::Display for Running {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.name, self.id)
    }
}

/// Every process of this machine that runs or sleeps; what is dead and waits for its parent is left out.
pub(crate) fn running() -> impl Iterator<Item = Running> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    // Beside processes there are links to this one and files about the machine.
    let processes =
        entries.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    processes.filter_map(|entry| parse_stat(&std::fs::read_to_string(entry.path().join("stat")).ok()?))
}

/// Reads `id (name) state parent group ...`; a name may hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<Running> {
    let (id, rest) = stat.split_once(" (")?;
    let (name, rest) = rest.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?;
    let group = fields.nth(1)?.parse().ok()?;
    let dead = matches!(state, "Z" | "X");
    (!dead).then(|| Some(Running { id: id.parse().ok()?, name: name.to_owned(), group }))?
}

/// Ends whatever is left of a process group that this process started.
fn end_group(group: Pid) {
    match killpg(group, Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => eprintln!("cannot end process group {group}: {error}"),
    }
}

/// What `cargo run` sets for this package would otherwise pass for the environment of the packages under test.
fn is_of_this_package(variable: &str) -> bool {
    let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    prefixes.iter().any(|prefix| variable.starts_with(prefix)) || variable == "CARGO_PRIMARY_PACKAGE"
}
