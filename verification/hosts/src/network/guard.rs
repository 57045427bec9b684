//! Removes the namespaces of a network when it is let go of, or when this process is gone, however it went.
//!
//! A shell in a process group of its own reads from a pipe whose only other end is here: at its end, which the kernel
//! sees to, it removes what is there. So a panic, a signal and an orderly end take the same way.

use std::{
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::NetworkError;

/// Namespaces that there are not (any more) are nothing to tell of.
const SCRIPT: &str =
    "trap '' INT TERM HUP; read -r _; for name; do ip netns del \"$name\" 2>/dev/null; done; exit 0";

/// How long removing may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The shell.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    /// Will remove these.
    pub(super) fn start<'a>(namespaces: impl Iterator<Item = &'a str>) -> Result<Self, NetworkError> {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "guard"]).args(namespaces).process_group(0);
        let shell = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Ok(Self(shell.map_err(|source| NetworkError::NoProgram { program: "sh", source })?))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
