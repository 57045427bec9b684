//! Debian packages that are taken apart, not installed: a kernel, and a static shell for its first process.
//! Called by `image`.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::error::SoftroceError;
use crate::process::{Ended, Task};

/// The package that depends on the release's present kernel. The kernels for clouds have no soft-RoCE.
const KERNEL: &str = "linux-image-amd64";

/// The shell and the tools of the guest's first process.
const SHELL: &str = "busybox-static";

/// Where packages are taken apart: any folder will do.
const ANYWHERE: &str = "/";

/// Files of packages, as apt would download them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sources {
    /// The kernel's file name, which has its version.
    pub(super) kernel: String,
    /// The shell's.
    pub(super) shell: String,
    names: [String; 2],
}

impl Sources {
    /// Asks apt for the present versions.
    pub(super) fn find() -> Result<Self, SoftroceError> {
        let depends = apt("apt-cache", &["depends", KERNEL], Path::new(ANYWHERE))?;
        let unknown = |package: &str| SoftroceError::UnknownPackage { package: package.to_owned() };
        let kernel = first_dependency(&depends.stdout).ok_or_else(|| unknown(KERNEL))?;
        let uris = apt("apt-get", &["download", "--print-uris", kernel, SHELL], Path::new(ANYWHERE))?;
        let file = |package| file_of(&uris.stdout, package).ok_or_else(|| unknown(package));
        Ok(Self { kernel: file(kernel)?, shell: file(SHELL)?, names: [kernel.to_owned(), SHELL.to_owned()] })
    }

    /// Downloads what is not in `folder` yet; apt checks what is there.
    pub(super) fn download(&self, folder: &Path) -> Result<(), SoftroceError> {
        let arguments = ["download", &self.names[0], &self.names[1]];
        let ended = apt("apt-get", &arguments, folder)?;
        if ended.succeeded() {
            return Ok(());
        }
        let line = format!("apt-get {}", arguments.join(" "));
        Err(SoftroceError::Download { line, output: ended.output })
    }
}

/// Brings apt's lists up to date as far as it can; what is missing then will be missed by name.
pub(super) fn update(say: &mut dyn FnMut(&str)) -> Result<(), SoftroceError> {
    say("apt-get update");
    apt("apt-get", &["update"], Path::new(ANYWHERE)).map(drop)
}

/// Unpacks a package's files into a new folder.
pub(super) fn unpack(package: &Path, folder: PathBuf) -> Result<PathBuf, SoftroceError> {
    fs::create_dir_all(&folder).map_err(SoftroceError::file(&folder))?;
    let task =
        Task::new("dpkg-deb", ANYWHERE).args(["--extract".as_ref(), package.as_os_str(), folder.as_os_str()]);
    let ended = start(&task, "dpkg-deb", "dpkg")?;
    if ended.succeeded() {
        return Ok(folder);
    }
    Err(SoftroceError::Command { line: task.line(), how: ended.describe(), output: ended.output })
}

fn apt(program: &'static str, arguments: &[&str], folder: &Path) -> Result<Ended, SoftroceError> {
    let task = Task::new(program, folder).args(arguments.iter().copied()).env("LC_ALL", "C");
    start(&task, program, "apt")
}

fn start(task: &Task, program: &str, package: &'static str) -> Result<Ended, SoftroceError> {
    let program = program.to_owned();
    task.run(&mut |_| ()).map_err(|source| SoftroceError::NoProgram { program, package, source })
}

/// The first package on which `apt-cache depends` says that a package depends.
pub(super) fn first_dependency(answer: &str) -> Option<&str> {
    answer.lines().find_map(|line| line.trim().strip_prefix("Depends: "))
}

/// The file of a package in `apt-get download --print-uris`: `'address' file length hash`.
pub(super) fn file_of(answer: &str, package: &str) -> Option<String> {
    let files = answer.lines().filter_map(|line| line.rsplit_once("' ")?.1.split(' ').next());
    files.into_iter().find(|file| file.split('_').next() == Some(package)).map(str::to_owned)
}
