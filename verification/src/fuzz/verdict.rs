//! What became of fuzzing one target, read from libFuzzer's output.

use std::fs;
use std::path::{Path, PathBuf};

use crate::process::Ended;

/// Rows of a hexdump; an input is rarely longer once it was found.
const MOST_ROWS: usize = 32;

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing was found.
    Clean {
        /// Inputs that ran.
        runs: u64,
        /// Places in the code that the seeds reach.
        seeds: u64,
        /// Places that were reached in the end.
        reached: u64,
    },
    /// The target failed.
    Failed {
        /// The input, where libFuzzer left one.
        input: Option<PathBuf>,
        /// The first line that says why.
        says: String,
        /// All that was written.
        output: String,
    },
    /// Nothing was fuzzed.
    Broken {
        /// Why.
        why: String,
    },
}

/// Reads a finished run; `empty` is what an input of no bytes reaches.
pub(super) fn read(ended: &Ended, empty: u64) -> Verdict {
    let output = &ended.output;
    if !ended.succeeded() {
        let left = output.lines().find_map(|line| line.split_once("Test unit written to "));
        let input = left.map(|(_, path)| PathBuf::from(path.trim()));
        let says = first_complaint(output).unwrap_or_else(|| ended.describe());
        return Verdict::Failed { input, says, output: output.clone() };
    }
    let runs = output.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    let runs = runs.and_then(|figure| figure.trim().parse().ok()).unwrap_or(0);
    let (seeds, reached) = (coverage(output, "INITED"), coverage(output, "DONE"));
    match (seeds, reached) {
        (Some(seeds), Some(reached)) if runs > 0 && seeds > empty && reached >= seeds => {
            Verdict::Clean { runs, seeds, reached }
        }
        _ => Verdict::broken(format!(
            "{runs} inputs ran; places reached: {empty} by no bytes, {seeds:?} by the seeds, {reached:?} in the end"
        )),
    }
}

/// The figure after `cov:` in the line of an event, such as `#7 INITED cov: 1197 ft: 1620`.
pub(super) fn coverage(output: &str, event: &str) -> Option<u64> {
    let mut words = output.lines().find(|line| has_event(line, event))?.split_whitespace();
    words.find(|word| *word == "cov:")?;
    words.next()?.parse().ok()
}

fn has_event(line: &str, event: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next().is_some_and(|word| word.starts_with('#')) && words.next() == Some(event)
}

/// The line after a panic's, or a sanitiser's own.
fn first_complaint(output: &str) -> Option<String> {
    let mut lines = output.lines();
    while let Some(line) = lines.next() {
        if line.contains("panicked at ") {
            return Some(lines.next().unwrap_or(line).trim().to_owned());
        }
        if line.contains("ERROR: ") {
            return Some(line.trim().to_owned());
        }
    }
    None
}

impl Verdict {
    pub(super) fn broken(why: impl Into<String>) -> Self {
        Self::Broken { why: why.into() }
    }

    /// One line for people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Clean { runs, seeds, reached } => {
                format!("{runs} inputs, {reached} places reached, {seeds} of them by the seeds")
            }
            Self::Failed { says, .. } => format!("FAILED: {says}"),
            Self::Broken { why } => format!("did not run: {why}"),
        }
    }

    /// The line for the summary, if something is wrong.
    pub(super) fn problem(&self, target: &str) -> Option<String> {
        match self {
            Self::Clean { .. } => None,
            Self::Failed { .. } | Self::Broken { .. } => Some(format!("{target}: {}", self.describe())),
        }
    }

    /// What a reader needs to go after a failure: the output, the input, its bytes, and how to run it again.
    pub(super) fn explain(&self, target: &str) -> Vec<String> {
        let Self::Failed { input, output, .. } = self else { return Vec::new() };
        let mut lines: Vec<String> = output.lines().map(str::to_owned).collect();
        if let Some(input) = input {
            lines.push(format!("input: {}", input.display()));
            lines.extend(
                fs::read(input).map_or_else(|error| vec![error.to_string()], |bytes| hexdump(&bytes)),
            );
            lines.push(format!("again: {}", again(target, input)));
        }
        lines
    }
}

fn again(target: &str, input: &Path) -> String {
    format!("cargo run --release -p verification -- fuzz --target {target} --input {}", input.display())
}

/// Rows of 16 bytes with their offset.
fn hexdump(bytes: &[u8]) -> Vec<String> {
    let row = |(number, row): (usize, &[u8])| {
        let hex: Vec<String> = row.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{:08x}  {}", number * 16, hex.join(" "))
    };
    let mut rows: Vec<String> = bytes.chunks(16).enumerate().take(MOST_ROWS).map(row).collect();
    if bytes.len() > MOST_ROWS * 16 {
        rows.push(format!("... {} bytes in all", bytes.len()));
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;

    fn ended(program: &str, output: &str) -> Ended {
        let status = Command::new(program).status().expect("a program of every system");
        Ended {
            status: Some(status),
            stdout: String::new(),
            stderr: output.to_owned(),
            output: output.to_owned(),
            limit: Duration::ZERO,
            left_behind: Vec::new(),
        }
    }

    const GOOD: &str = "#2\tINITED cov: 30 ft: 31 corp: 1/1b exec/s: 0 rss: 30Mb\n\
        #900\tDONE   cov: 45 ft: 60 corp: 9/10b lim: 4 exec/s: 450 rss: 40Mb\n\
        stat::number_of_executed_units: 900\n";

    #[test]
    fn a_run_that_reaches_more_than_nothing_is_clean() {
        assert_eq!(read(&ended("true", GOOD), 20), Verdict::Clean { runs: 900, seeds: 30, reached: 45 });
    }

    #[test]
    fn a_run_that_reaches_nothing_is_broken() {
        for output in ["", &GOOD.replace("900\n", "0\n"), &GOOD.replace("DONE", "pulse")] {
            assert!(matches!(read(&ended("true", output), 20), Verdict::Broken { .. }), "{output}");
        }
        assert!(matches!(read(&ended("true", GOOD), 30), Verdict::Broken { .. }));
    }

    #[test]
    fn a_failure_names_its_input_and_its_reason() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let input = folder.path().join("crash-1");
        fs::write(&input, [0x70; 17]).expect("a file");
        let output = format!(
            "thread '<unnamed>' panicked at src/a.rs:1:2:\nit broke\nSUMMARY: libFuzzer: deadly signal\n\
             artifact_prefix='/f/'; Test unit written to {}\n",
            input.display()
        );
        let verdict = read(&ended("false", &output), 20);
        assert_eq!(verdict.problem("wqe").as_deref(), Some("wqe: FAILED: it broke"));
        let lines = verdict.explain("wqe");
        let tail = &lines[lines.len() - 4..];
        assert_eq!(tail[0], format!("input: {}", input.display()));
        assert_eq!(tail[1], format!("00000000  {}", ["70"; 16].join(" ")));
        assert_eq!(tail[2], "00000010  70");
        assert!(tail[3].ends_with(&format!("fuzz --target wqe --input {}", input.display())));
    }

    #[test]
    fn a_sanitisers_complaint_is_the_reason() {
        let output = "INFO: x\n==1==ERROR: AddressSanitizer: heap-buffer-overflow on address 0x1\n";
        let Verdict::Failed { says, input, .. } = read(&ended("false", output), 20) else { panic!("failed") };
        assert!(says.contains("heap-buffer-overflow"));
        assert_eq!(input, None);
    }
}
