//! Finds and installs the Debian packages that suites need. Called by `main` before the first suite.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::unistd::Uid;

use crate::process::{Ended, Task};
use crate::suite::Suite;

/// Why packages are still missing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// Only root may install.
    #[error("not root, and packages are missing; as root run: {line}")]
    NotRoot {
        /// The command that installs them.
        line: String,
    },
    /// apt-get ran and failed.
    #[error("{command} failed ({how}):\n{output}")]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        how: String,
        /// What it wrote.
        output: String,
    },
    /// There is no apt-get, or it does not start.
    #[error("{command} does not start ({error}); the suites need {packages}")]
    NoAptGet {
        /// The command.
        command: String,
        /// What the system said.
        error: std::io::Error,
        /// What would have been installed.
        packages: String,
    },
}

/// Packages of these suites that are not installed, in order of name.
pub(crate) fn missing(suites: &[Suite]) -> BTreeSet<&'static str> {
    missing_of(suites.iter().flat_map(|suite| suite.packages).copied().collect())
}

/// Those of these packages that are not installed.
pub(crate) fn missing_of(needed: BTreeSet<&'static str>) -> BTreeSet<&'static str> {
    if needed.is_empty() {
        return needed;
    }
    let query = Task::new("dpkg", "/").args(["-s"]).args(needed.iter().copied()).env("LC_ALL", "C");
    let status = query.run(&mut |_| ()).map(|ended| ended.stdout).unwrap_or_default();
    let installed = installed(&status);
    needed.into_iter().filter(|package| !installed.contains(package)).collect()
}

/// Packages that `dpkg -s` says are installed; a removed one keeps a paragraph with another status.
fn installed(status: &str) -> BTreeSet<&str> {
    let paragraphs = status.split("\n\n");
    let whole = paragraphs.filter(|paragraph| paragraph.contains("\nStatus: install ok installed"));
    whole.filter_map(|paragraph| paragraph.trim_start().strip_prefix("Package: ")?.lines().next()).collect()
}

/// The line that installs these packages.
pub(crate) fn line(packages: &BTreeSet<&str>) -> String {
    let names: Vec<&str> = packages.iter().copied().collect();
    format!("apt-get install --yes --no-install-recommends {}", names.join(" "))
}

/// Installs these packages; what apt-get writes is hidden unless it fails.
///
/// # Errors
///
/// [`InstallError`]: not root, no apt-get, or apt-get failed.
pub(crate) fn install(packages: &BTreeSet<&str>) -> Result<(), InstallError> {
    if !Uid::effective().is_root() {
        return Err(InstallError::NotRoot { line: line(packages) });
    }
    println!("installing: {}", line(packages));
    apt_get(packages, &["update"])?;
    let fixed = ["install", "--yes", "--no-install-recommends"];
    let arguments: Vec<&str> = fixed.into_iter().chain(packages.iter().copied()).collect();
    apt_get(packages, &arguments)
}

fn apt_get(packages: &BTreeSet<&str>, arguments: &[&str]) -> Result<(), InstallError> {
    let task = Task::new("apt-get", "/")
        .args(arguments.iter().copied())
        .env("DEBIAN_FRONTEND", "noninteractive")
        .limit(Duration::from_secs(300));
    let command = task.line();
    match task.run(&mut |_| ()) {
        Ok(ended) if ended.succeeded() => Ok(()),
        Ok(ended) => {
            let how = ended.describe();
            let Ended { output, .. } = ended;
            Err(InstallError::Failed { command, how, output })
        }
        Err(error) => {
            let packages = packages.iter().copied().collect::<Vec<_>>().join(", ");
            Err(InstallError::NoAptGet { command, error, packages })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_packages_count_as_installed() {
        let status = "Package: a\nStatus: install ok installed\nVersion: 1\n\n\
            Package: b\nStatus: deinstall ok config-files\n\nPackage: c\nStatus: install ok installed\n";
        assert_eq!(installed(status).into_iter().collect::<Vec<_>>(), ["a", "c"]);
        assert_eq!(installed("").len(), 0);
    }

    #[test]
    fn the_line_can_be_pasted() {
        let packages = BTreeSet::from(["libb", "liba"]);
        assert_eq!(line(&packages), "apt-get install --yes --no-install-recommends liba libb");
    }

    #[test]
    fn a_user_other_than_root_is_told_the_line() {
        let error = InstallError::NotRoot { line: line(&BTreeSet::from(["liba"])) };
        assert!(error.to_string().ends_with("apt-get install --yes --no-install-recommends liba"), "{error}");
    }
}
