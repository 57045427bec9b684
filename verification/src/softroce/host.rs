//! Uses this machine's own kernel where it has soft-RoCE. Called by `softroce` for `--host`.
//!
//! The links and devices are taken away again when the work ends, also when this process is killed: a guard of its own
//! holds the other end of a pipe.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::error::SoftroceError;
use super::machine::tail;
use super::transcript::Transcript;
use crate::process::Task;

/// How long making and removing the devices may take.
const MARGIN: Duration = Duration::from_secs(30);

/// Does an errand on this machine; gives what it wrote and what was told of it.
pub(super) fn run(
    errand: &[(String, String)],
    limit: Duration,
    watch: &mut dyn FnMut(Option<&str>),
) -> Result<Transcript, SoftroceError> {
    let scratch = tempfile::tempdir().map_err(SoftroceError::file(&std::env::temp_dir()))?;
    let steps = scratch.path().join("steps");
    fs::create_dir(&steps).map_err(SoftroceError::file(&steps))?;
    for (name, content) in errand {
        let file = scratch.path().join(name);
        fs::write(&file, content).map_err(SoftroceError::file(&file))?;
    }
    let guard = Guard::post(&scratch.path().join("guard"))?;
    let main = Task::new("sh", "/").args([scratch.path().join("main")]).limit(limit.saturating_add(MARGIN));
    let ended = main.run(watch).map_err(no_shell);
    guard.relieve()?;
    let ended = ended?;
    let transcript = Transcript::read(&ended.output);
    let tail = tail(&ended.output);
    if transcript.no_devices {
        return Err(SoftroceError::NoHostDevices { output: tail });
    }
    if ended.status.is_none() {
        return Err(SoftroceError::Overdue { seconds: ended.limit.as_secs(), tail });
    }
    Ok(transcript)
}

/// The process that cleans up.
struct Guard(Child);

impl Guard {
    /// Starts it, in a process group of its own: what ends this one's must not end it.
    fn post(script: &Path) -> Result<Self, SoftroceError> {
        let mut command = Command::new("sh");
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.process_group(0).spawn().map(Self).map_err(no_shell)
    }

    /// Lets it clean up, and waits for that.
    fn relieve(mut self) -> Result<(), SoftroceError> {
        self.0.wait().map(drop).map_err(no_shell)
    }
}

fn no_shell(source: std::io::Error) -> SoftroceError {
    SoftroceError::NoProgram { program: "sh".to_owned(), package: "dash", source }
}
