//! Processes of a check: started with pipes, ended with it, and never waited for without bound.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use nix::sys::{prctl::set_pdeathsig, signal::Signal};

/// Longest that a process may take to say or do the next thing.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks.
const STEP: Duration = Duration::from_millis(5);

/// A running process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

/// What a process that has ended left.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output, less what was read before.
    pub output: Vec<String>,
    /// Its standard error.
    pub errors: String,
}

impl Process {
    /// Starts a program with these arguments.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let name = format!("{program} {}", arguments.join(" "));
        let mut child = with_parent(&mut command).unwrap_or_else(|error| panic!("{name}: {error}"));
        let input = child.stdin.take();
        let lines = reader(child.stdout.take());
        let errors = reader(child.stderr.take());
        Self { name, child, input, lines, errors }
    }

    /// Its next line of output.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn line(&mut self) -> String {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout) => panic!("{}: silent for {PATIENCE:?}", self.name),
            Err(RecvTimeoutError::Disconnected) => {
                panic!("{}: ended, with {:?}", self.name, collect(&self.errors))
            }
        }
    }

    /// Gives it a line.
    ///
    /// # Panics
    /// When it does not take it.
    pub fn tell(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input is open");
        writeln!(input, "{line}").unwrap_or_else(|error| panic!("{}: {line}: {error}", self.name));
    }

    /// Whether it has not ended yet.
    ///
    /// # Panics
    /// When the system does not say.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child to look at").is_none()
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it does not end in time.
    #[must_use]
    pub fn finish(self) -> Ended {
        self.finish_within(PATIENCE)
    }

    /// Waits until it has ended, at most so long.
    ///
    /// # Panics
    /// When it does not end in time.
    #[must_use]
    pub fn finish_within(mut self, patience: Duration) -> Ended {
        self.input = None;
        let deadline = Instant::now() + patience;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child to wait for") {
                break status;
            }
            assert!(Instant::now() < deadline, "{}: did not end within {patience:?}", self.name);
            thread::sleep(STEP);
        };
        let output = self.lines.iter().collect();
        Ended { status, output, errors: collect(&self.errors) }
    }

    /// Kills it.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Ended {
    /// Its output in one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.output.join("\n")
    }
}

/// A TCP port that nobody uses now.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Waits until some process listens on a port. Connecting would do as well, but take the place of the one peer that
/// the listener waits for.
///
/// # Panics
/// When none does in time.
pub fn wait_for_listener(port: u16) {
    let deadline = Instant::now() + PATIENCE;
    while !["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| has_listener(table, port)) {
        assert!(Instant::now() < deadline, "nobody listens on port {port}");
        thread::sleep(STEP);
    }
}

/// Whether a table of the kernel's has a listening socket on a port: state 0A, and the port in hexadecimal.
fn has_listener(table: &str, port: u16) -> bool {
    let text = fs::read_to_string(table).unwrap_or_default();
    text.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().is_some_and(|address| address.ends_with(&format!(":{port:04X}")));
        local && fields.nth(1) == Some("0A")
    })
}

/// Starts a process that does not outlive this one.
#[expect(unsafe_code, reason = "a hook between fork and exec")]
fn with_parent(command: &mut Command) -> io::Result<Child> {
    // SAFETY: one system call, which is allowed there.
    unsafe { command.pre_exec(|| set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)) }.spawn()
}

/// Reads lines on a thread, so that a full pipe never stops the process.
fn reader(source: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(source) = source {
        thread::spawn(move || {
            for line in BufReader::new(source).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

fn collect(lines: &Receiver<String>) -> String {
    lines.iter().collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_says_is_heard() {
        let mut process = Process::start("sh", &["-c", "echo hello; read line; echo got $line; exit 3"]);
        assert_eq!(process.line(), "hello");
        process.tell("a word");
        let ended = process.finish();
        assert_eq!((ended.status.code(), ended.output), (Some(3), vec!["got a word".to_owned()]));
    }

    #[test]
    fn listeners_are_found_without_connecting() {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
        let port = listener.local_addr().expect("its address").port();
        wait_for_listener(port);
        assert!(!has_listener("/proc/net/tcp", 0));
    }
}
