//! Stand-ins for the runtimes of accelerators: gives a command devices that are not there.
//!
//! ```text
//! --with cuda ─→ Runtime ─→ build (cargo) ─→ a folder with the library under the runtime's name ─→ foreground (COMMAND)
//! ```
//! The runtimes themselves are the packages `fake-cuda`, `fake-rocm` and `fake-ascend`; programs find them as they would
//! find the real one, by `LD_LIBRARY_PATH`. A program that misuses its device is told so on standard error, and ends with
//! 70.
//!
//! Called by `main` for the command `accelerators`, and by the suite of that name.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::foreground::{self, StartError};
use crate::suite::Workspace;

pub(crate) use steps::{install_all, stand_ins, steps};

mod steps;

/// Runs COMMAND, or a shell, with a stand-in for the runtime of an accelerator, which has two devices.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Whose runtime; may be given more than once.
    #[arg(long, value_enum, required = true)]
    with: Vec<Runtime>,
    /// A command and its arguments; else $SHELL.
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// A runtime that there is a stand-in for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Runtime {
    /// The CUDA driver.
    Cuda,
    /// HIP.
    Rocm,
    /// ACL.
    Ascend,
}

impl Runtime {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Cuda, Self::Rocm, Self::Ascend];

    /// As options name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
            Self::Ascend => "ascend",
        }
    }

    /// The package of the stand-in.
    const fn package(self) -> &'static str {
        match self {
            Self::Cuda => "fake-cuda",
            Self::Rocm => "fake-rocm",
            Self::Ascend => "fake-ascend",
        }
    }

    /// What cargo builds.
    const fn built(self) -> &'static str {
        match self {
            Self::Cuda => "libfake_cuda.so",
            Self::Rocm => "libfake_rocm.so",
            Self::Ascend => "libfake_ascend.so",
        }
    }

    /// What programs load, under every name that they look for, so that none finds the real one behind the first.
    const fn loaded(self) -> &'static [&'static str] {
        match self {
            Self::Cuda => &["libcuda.so.1", "libcuda.so"],
            Self::Rocm => &["libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so"],
            Self::Ascend => &["libascendcl.so"],
        }
    }

    /// The folder that has nothing but the stand-in.
    pub(crate) fn folder(self, workspace: &Workspace) -> PathBuf {
        workspace.target.join("stand-ins").join(self.name())
    }
}

/// What went wrong before the command ran.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StandInError {
    /// A stand-in does not build.
    #[error("the stand-in does not build:\n{0}")]
    Build(String),
    /// A folder or link cannot be made.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The command, or cargo, does not start.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Does what the command line asks for. The exit code is COMMAND's, 128 and the signal's number where one ended it; 1 where
/// a stand-in could not be made; 3 where COMMAND is not on this machine.
pub(crate) fn command(workspace: &Workspace, options: &Options) -> ExitCode {
    run(workspace, options).unwrap_or_else(|error| {
        eprintln!("accelerators: {error}");
        ExitCode::from(match error {
            StandInError::Start(error) => error.exit_code(),
            StandInError::Build(_) | StandInError::File { .. } => 1,
        })
    })
}

fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode, StandInError> {
    let packages = options.with.iter().flat_map(|runtime| ["-p", runtime.package()]);
    let build = workspace.cargo().args(["build", "--lib"]).args(packages);
    let ended = build.run(&mut |_| {}).map_err(|source| StartError { program: "cargo".into(), source })?;
    if !ended.succeeded() {
        return Err(StandInError::Build(ended.output));
    }
    let folders = options.with.iter().map(|runtime| install(workspace, *runtime));
    let folders = folders.collect::<Result<Vec<_>, _>>()?;
    let path = library_path(&folders, std::env::var_os("LD_LIBRARY_PATH").as_deref());
    let code = foreground::run(&foreground::words(&options.command), &[("LD_LIBRARY_PATH".into(), path)])?;
    Ok(ExitCode::from(code))
}

/// Puts a stand-in that was built into its folder, under the names by which programs load it.
fn install(workspace: &Workspace, runtime: Runtime) -> Result<PathBuf, StandInError> {
    let folder = runtime.folder(workspace);
    let failed = |source| StandInError::File { path: folder.clone(), source };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    for name in runtime.loaded() {
        match symlink(workspace.target.join("debug").join(runtime.built()), folder.join(name)) {
            // Another run has made it.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
    }
    Ok(folder)
}

/// Ours, before what the environment has already.
fn library_path(folders: &[PathBuf], others: Option<&OsStr>) -> OsString {
    let others = others.filter(|others| !others.is_empty()).map(OsStr::to_owned);
    let all: Vec<OsString> = folders.iter().map(|folder| folder.clone().into()).chain(others).collect();
    all.join(OsStr::new(":"))
}

#[cfg(test)]
mod tests;
