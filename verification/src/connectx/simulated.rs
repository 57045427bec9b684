//! One simulated device: a folder with its state and its sysfs tree, and the library to preload.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use connectx::config::{self, Link};
use connectx::state::{Counters, SharedState};
use tempfile::TempDir;

use super::error::ConnectxError;
use super::settings::Settings;
use super::sysfs;
use crate::foreground::StartError;
use crate::suite::Workspace;

/// Memory, where there is such a folder: every doorbell reads and writes the state.
const MEMORY: &str = "/dev/shm";

/// A device, for as long as the value lives.
#[derive(Debug)]
pub(crate) struct Simulated {
    folder: TempDir,
    library: PathBuf,
    settings: Settings,
}

impl Simulated {
    /// Builds the library and makes the folder. `watch` hears the lines of the build.
    ///
    /// # Errors
    /// [`ConnectxError`].
    pub(crate) fn new(
        workspace: &Workspace,
        settings: &Settings,
        watch: &mut dyn FnMut(Option<&str>),
    ) -> Result<Self, ConnectxError> {
        let library = build(workspace, watch)?;
        let parent = Some(PathBuf::from(MEMORY)).filter(|path| path.is_dir());
        let parent = parent.unwrap_or_else(std::env::temp_dir);
        let folder = tempfile::Builder::new().prefix("connectx-").tempdir_in(&parent);
        let folder = folder.map_err(ConnectxError::file(parent))?;
        let link = if settings.link == "roce" { Link::Ethernet } else { Link::InfiniBand };
        sysfs::write(&folder.path().join("sys"), link)?;
        Ok(Self { folder, library, settings: settings.clone() })
    }

    /// What a command needs in its environment to have the device.
    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        let mut variables = self.settings.environment();
        variables.push((config::STATE.into(), self.state().into()));
        variables.push(("SYSFS_PATH".into(), self.folder.path().join("sys").into()));
        variables.push(("LD_PRELOAD".into(), preload(&self.library, std::env::var_os("LD_PRELOAD"))));
        variables
    }

    /// What the device did so far; all zeros where no command opened it.
    ///
    /// # Errors
    /// [`ConnectxError::File`] where the state cannot be read.
    pub(crate) fn counters(&self) -> Result<Counters, ConnectxError> {
        let path = self.state();
        if !path.exists() {
            return Ok(Counters::default());
        }
        let state = SharedState::open(&path).map_err(ConnectxError::file(path))?;
        let counters = state.lock().counters;
        Ok(counters)
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }
}

/// One line.
pub(crate) fn summary(counters: &Counters) -> String {
    let Counters { doorbells, blue_flames, work_requests, completions, events, violations, faults } =
        counters;
    format!(
        "{doorbells} doorbells ({blue_flames} with BlueFlame), {work_requests} work requests, {completions} \
         completions, {events} events, {faults} faults injected, {violations} rules broken"
    )
}

/// Builds what is preloaded, in the profile of the tests.
fn build(workspace: &Workspace, watch: &mut dyn FnMut(Option<&str>)) -> Result<PathBuf, ConnectxError> {
    let cargo = workspace.cargo().args(["build", "-p", "connectx-preload"]);
    let ended = cargo.run(watch).map_err(|source| StartError { program: "cargo".into(), source })?;
    if !ended.succeeded() {
        return Err(ConnectxError::Build(ended.output));
    }
    Ok(workspace.target.join("debug/libconnectx_preload.so"))
}

/// Ours, before what the environment has already.
fn preload(library: &Path, others: Option<OsString>) -> OsString {
    let mut value = library.as_os_str().to_owned();
    if let Some(others) = others.filter(|others| !others.is_empty()) {
        value.push(":");
        value.push(others);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_preloaded_libraries_stay() {
        let library = Path::new("/t/libours.so");
        assert_eq!(preload(library, None), "/t/libours.so");
        assert_eq!(preload(library, Some("".into())), "/t/libours.so");
        assert_eq!(preload(library, Some("/usr/lib/theirs.so".into())), "/t/libours.so:/usr/lib/theirs.so");
    }

    #[test]
    fn the_folder_goes_with_the_device() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().to_owned();
        let simulated = Simulated { folder, library: "/t/ours.so".into(), settings: Settings::default() };
        assert_eq!(simulated.counters().expect("nobody opened it"), Counters::default());
        let state = SharedState::open(&simulated.state()).expect("a new state");
        state.lock().counters.violations = 2;
        let counters = simulated.counters().expect("a state");
        assert!(summary(&counters).ends_with("2 rules broken"));
        drop((state, simulated));
        assert!(!path.exists());
    }
}
