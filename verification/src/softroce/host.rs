//! Uses this machine's own kernel where it has soft-RoCE. Called by `softroce` for `--host`.
//!
//! The links and devices are taken away again when the work ends, also by a signal or when its time is over.

use std::fs;
use std::path::Path;
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
    let main = shell(&scratch.path().join("main")).limit(limit.saturating_add(MARGIN));
    let ended = start(&main, watch);
    start(&shell(&scratch.path().join("clean")).limit(MARGIN), watch)?;
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

fn shell(script: &Path) -> Task {
    Task::new("sh", "/").args([script])
}

fn start(task: &Task, watch: &mut dyn FnMut(Option<&str>)) -> Result<crate::process::Ended, SoftroceError> {
    let failed = |source| SoftroceError::NoProgram { program: "sh".to_owned(), package: "dash", source };
    task.run(watch).map_err(failed)
}
