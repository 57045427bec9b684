//! Why soft-RoCE could not be had. Made by `image`, `machine`, `programs` and `host`; shown by `main` and the suite.

use std::io;
use std::path::{Path, PathBuf};

use super::image::{NoSuchModule, VmlinuxError};

/// Why no guest could be built or booted, or why this machine's kernel did not do instead.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SoftroceError {
    /// apt does not know a package, or nothing at all.
    #[error("apt knows no package {package}; its lists may be empty or old, as root run: apt-get update")]
    UnknownPackage {
        /// The package.
        package: String,
    },
    /// A package could not be downloaded.
    #[error(
        "{line} failed: the guest is made of these packages, which needs a network once, and lists of packages that \
         are not too old (as root: apt-get update)\n{output}"
    )]
    Download {
        /// The command.
        line: String,
        /// What it wrote.
        output: String,
    },
    /// A program ran and failed.
    #[error("{line}: {how}\n{output}")]
    Command {
        /// The command.
        line: String,
        /// How it ended.
        how: String,
        /// What it wrote.
        output: String,
    },
    /// A program does not start.
    #[error("{program} does not start ({source}); as root run: apt-get install --yes {package}")]
    NoProgram {
        /// The program.
        program: String,
        /// The package that has it.
        package: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A package does not hold what it should.
    #[error("{package} has no {file}")]
    NotInPackage {
        /// The package.
        package: String,
        /// What was looked for.
        file: &'static str,
    },
    /// The kernel is none that can be taken apart.
    #[error(transparent)]
    Kernel(#[from] VmlinuxError),
    /// The kernel lacks what the guest needs.
    #[error(transparent)]
    Module(#[from] NoSuchModule),
    /// Cargo built something else than what was asked for.
    #[error("cargo built no program called {name}")]
    NotBuilt {
        /// The program.
        name: &'static str,
    },
    /// QEMU did not start a machine.
    #[error("QEMU does not start the guest:\n{output}")]
    Emulator {
        /// What it wrote.
        output: String,
    },
    /// The guest ran for too long and was ended.
    #[error("the guest was ended after {seconds} s; its last lines:\n{tail}")]
    Overdue {
        /// The bound on its time.
        seconds: u64,
        /// Its last lines.
        tail: String,
    },
    /// The guest went down without saying how its work ended.
    #[error("the guest went down without a verdict; its last lines:\n{tail}")]
    NoVerdict {
        /// Its last lines.
        tail: String,
    },
    /// The guest booted and made no devices.
    #[error("the guest's kernel makes no soft-RoCE devices; its last lines:\n{tail}")]
    NoGuestDevices {
        /// Its last lines.
        tail: String,
    },
    /// This machine's kernel has no soft-RoCE, or this user may not use it.
    #[error(
        "this machine's kernel gives no soft-RoCE devices (without --host a guest's kernel does):\n{output}"
    )]
    NoHostDevices {
        /// What was tried and what the system said.
        output: String,
    },
}

impl SoftroceError {
    /// For the errors of one file.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }

    /// Whether something is not on this machine, rather than that something failed.
    pub(crate) fn is_missing_here(&self) -> bool {
        matches!(
            self,
            Self::UnknownPackage { .. }
                | Self::Download { .. }
                | Self::NoProgram { .. }
                | Self::NoHostDevices { .. }
        )
    }
}
