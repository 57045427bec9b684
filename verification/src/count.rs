//! How many tests a command ran, read from what it wrote.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::process::Ended;

/// How to count what a command checked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    /// The sum over every `test result:` line of libtest.
    TestResults,
    /// Files that rustfmt names as it formats them.
    FormattedFiles,
    /// Targets of the workspace in cargo's messages: the packages' libraries, binaries, tests, documentation.
    CargoTargets,
    /// Lines of standard output that begin with `ok `.
    OkLines,
    /// The command is one check by itself.
    Command,
    /// The command only prepares what a later one checks.
    Nothing,
}

/// What ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: usize,
    /// Tests that failed.
    pub(crate) failed: usize,
    /// Tests that were compiled and left out on purpose.
    pub(crate) ignored: usize,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }
}

impl Count {
    /// Counts what a command of the workspace at `root` ran.
    pub(crate) fn of(self, ended: &Ended, root: &Path) -> Tally {
        let passed = match self {
            Self::TestResults => return test_results(&ended.output),
            Self::FormattedFiles => formatted_files(&ended.output),
            Self::CargoTargets => cargo_targets(&ended.stdout, root),
            Self::OkLines => ended.stdout.lines().filter(|line| line.starts_with("ok ")).count(),
            Self::Command => usize::from(ended.succeeded()),
            Self::Nothing => 0,
        };
        Tally { passed, ..Tally::default() }
    }
}

/// Sums lines such as `test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out`.
fn test_results(output: &str) -> Tally {
    let mut tally = Tally::default();
    for (_, result) in output.lines().filter_map(|line| line.split_once("test result: ")) {
        let figure = |what: &str| {
            let before =
                result.split(&format!(" {what}")).next().filter(|before| before.len() < result.len());
            before.and_then(|before| before.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
        };
        tally += Tally { passed: figure("passed"), failed: figure("failed"), ignored: figure("ignored") };
    }
    tally
}

fn formatted_files(output: &str) -> usize {
    let files = output.lines().filter_map(|line| line.strip_prefix("Formatting "));
    files.collect::<BTreeSet<_>>().len()
}

/// Counts the workspace's own targets among the artifacts that cargo reports, built now or fresh.
fn cargo_targets(stdout: &str, root: &Path) -> usize {
    let messages = stdout.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let artifacts = messages.filter(|message| message["reason"] == "compiler-artifact");
    let own = artifacts
        .filter(|message| Path::new(message["manifest_path"].as_str().unwrap_or("")).starts_with(root));
    own.map(|message| format!("{}{}{}", message["package_id"], message["target"], message["profile"]["test"]))
        .collect::<BTreeSet<_>>()
        .len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_results_are_summed() {
        let output = "test a ... ok\n\
            test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.00s\n\
            noise test result: FAILED. 5 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n\
            all doctests ran in 0.25s\n";
        assert_eq!(test_results(output), Tally { passed: 17, failed: 2, ignored: 1 });
    }

    #[test]
    fn nothing_that_ran_counts_as_nothing() {
        assert_eq!(test_results("error: could not compile"), Tally::default());
        assert_eq!(test_results("test result: ok. many passed"), Tally::default());
        assert_eq!(
            test_results("test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured"),
            Tally::default()
        );
    }

    #[test]
    fn formatted_files_are_counted_once() {
        assert_eq!(
            formatted_files("Using config\nFormatting /a.rs\nFormatting /b.rs\nFormatting /a.rs\n"),
            2
        );
    }

    #[test]
    fn only_the_workspaces_own_targets_count() {
        let artifact = |manifest: &str, target: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"manifest_path\":\"{manifest}\",\"target\":{target}}}\n"
            )
        };
        let stdout = [
            artifact("/w/a/Cargo.toml", "1"),
            artifact("/w/a/Cargo.toml", "1"),
            artifact("/w/a/Cargo.toml", "2"),
            artifact("/registry/b/Cargo.toml", "1"),
            "{\"reason\":\"build-finished\"}\nno json\n".to_owned(),
        ];
        assert_eq!(cargo_targets(&stdout.concat(), Path::new("/w")), 2);
    }
}
