//! `counts`: runs the subjects under valgrind and compares, or writes the baseline anew.
//!
//! Called by `main`. Answers line by line: `ok NAME COUNT` for what is as it should be, the reason for what is not.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    baseline::{Baseline, Compared, Counts, Hundredths, ParseError, Toolchain, Verdict},
    meter::Meter,
    profile::{self, ProfileError},
    subjects,
};

/// What the program says when it is the one that is counted.
pub const SUBJECTS: &str = "subjects";

/// How to take a new baseline.
const BLESS: &str = "cargo run --release -p counts -- bless";

/// Counts of one block, by how many there are: none may cost more than one of fewer, but for a share.
const FAMILIES: [[&str; 3]; 2] = [
    ["plan-block-of-1", "plan-block-of-1k", "plan-block-of-1m"],
    ["transfer-block-of-1", "transfer-block-of-1k", "transfer-block-of-100k"],
];

/// How many percent a block among many may cost more than one among fewer.
pub const FLAT: u64 = 5;

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// valgrind is not installed.
    #[error("valgrind is not on this machine: apt-get install --yes --no-install-recommends valgrind")]
    NoValgrind,
    /// A program does not start, or a file cannot be read or written.
    #[error("{what}: {error}")]
    System {
        /// Which.
        what: String,
        /// What the system said.
        error: io::Error,
    },
    /// The subjects failed, or valgrind did.
    #[error("the subjects have not ended well under valgrind ({how}):\n{output}")]
    Failed {
        /// How they ended.
        how: String,
        /// What was written to standard error.
        output: String,
    },
    /// What callgrind wrote.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The subjects did their work, and callgrind has no count of one of them.
    #[error("{name}: callgrind has written no count")]
    NotCounted {
        /// The subject.
        name: String,
    },
    /// The baseline.
    #[error("{}: {error}; write it anew: {BLESS}", file.display())]
    Baseline {
        /// Its file.
        file: PathBuf,
        /// What is wrong with it.
        error: ParseError,
    },
}

impl CountError {
    fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        |error| Self::System { what: what.into(), error }
    }
}

/// Does the work of the subjects; what callgrind is to count is named on standard output, with how many operations it was.
///
/// # Errors
/// A subject's.
pub fn work() -> Result<(), subjects::SubjectError> {
    let mut meter = Meter::new();
    subjects::run(&mut meter)?;
    meter.counted().iter().for_each(|counted| println!("{} {}", counted.name, counted.operations));
    Ok(())
}

/// Counts, and compares with the baseline in `file`. Whether all counts are as good, and none grows with the blocks.
///
/// # Errors
/// [`CountError`].
pub fn check(file: &Path) -> Result<bool, CountError> {
    let text = fs::read_to_string(file).map_err(CountError::system(file.display().to_string()))?;
    let baseline =
        Baseline::parse(&text).map_err(|error| CountError::Baseline { file: file.to_owned(), error })?;
    let (counts, toolchain) = (count(&[SUBJECTS], &[])?, toolchain());
    println!("{}", preface(&baseline, &toolchain));
    let compared = baseline.compare(&counts, &toolchain);
    compared.iter().for_each(|compared| println!("{}", line(compared)));
    let steep = steep(&counts);
    steep.iter().for_each(|steep| println!("{steep}"));
    let good = steep.is_empty() && !compared.iter().any(|compared| compared.verdict.is_failure());
    if !good {
        println!("where a count is meant to be so, take it into the baseline: {BLESS}");
    }
    Ok(good)
}

/// Counts, and writes the baseline into `file`.
///
/// # Errors
/// [`CountError`].
pub fn bless(file: &Path) -> Result<(), CountError> {
    let baseline = Baseline { toolchain: toolchain(), counts: count(&[SUBJECTS], &[])? };
    fs::write(file, baseline.to_string()).map_err(CountError::system(file.display().to_string()))?;
    println!("{baseline}written: {}", file.display());
    Ok(())
}

/// Runs this program under valgrind with these arguments, which make it do its work in the spans of a
/// [`Meter`] and name on standard output what was counted, as [`work`] does. `options` are valgrind's, for what such a program
/// needs beside counting.
///
/// # Errors
/// [`CountError`].
pub fn count(arguments: &[&str], options: &[&str]) -> Result<Counts, CountError> {
    let folder = tempfile::tempdir().map_err(CountError::system("a folder for callgrind's files"))?;
    let program = env::current_exe().map_err(CountError::system("this program"))?;
    let mut target = std::ffi::OsString::from("--callgrind-out-file=");
    target.push(folder.path().join("out"));
    let counter = ["--tool=callgrind", "--instr-atstart=no", "--collect-atstart=no", "--dump-line=no"];
    // Other threads are counted apart; a handler of signals finds all registers as they were.
    let threads = ["--separate-threads=yes", "--vex-iropt-register-updates=allregs-at-mem-access"];
    let output = Command::new("valgrind")
        .args(counter)
        .args(threads)
        .args(options)
        .arg(target)
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => CountError::NoValgrind,
            _ => CountError::System { what: "valgrind".to_owned(), error },
        })?;
    if !output.status.success() {
        let (how, output) = (output.status.to_string(), String::from_utf8_lossy(&output.stderr).into_owned());
        return Err(CountError::Failed { how, output });
    }
    by_operation(&String::from_utf8_lossy(&output.stdout), &profile::read(folder.path())?)
}

/// Sums by operation; `said` names the subjects, with how many operations each was.
fn by_operation(said: &str, sums: &std::collections::BTreeMap<String, u64>) -> Result<Counts, CountError> {
    let subjects = said.lines().filter_map(|line| line.split_once(' '));
    let count = |(name, operations): (&str, &str)| {
        let missing = || CountError::NotCounted { name: name.to_owned() };
        let operations: u64 = operations.parse().ok().filter(|count| *count > 0).ok_or_else(missing)?;
        let sum = sums.get(name).filter(|sum| **sum > 0).ok_or_else(missing)?;
        Ok((name.to_owned(), sum * 100 / operations))
    };
    subjects.map(count).collect()
}

/// What makes programs here, and counts them; what cannot be asked is `unknown`.
fn toolchain() -> Toolchain {
    let ask = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).stdin(Stdio::null()).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
        text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
    };
    Toolchain {
        compiler: ask("rustc", "--version"),
        valgrind: ask("valgrind", "--version"),
        library: ask("getconf", "GNU_LIBC_VERSION"),
        processor: env::consts::ARCH.to_owned(),
    }
}

/// What is compared with what.
fn preface(baseline: &Baseline, toolchain: &Toolchain) -> String {
    match baseline.tolerance(toolchain) {
        None => format!("the baseline is of {}: nothing is compared with it here", baseline.toolchain),
        Some(tolerance) if baseline.toolchain == *toolchain => {
            format!("{toolchain}, as the baseline: counts may be {tolerance} above")
        }
        Some(tolerance) => format!(
            "here {toolchain}; the baseline is of {}: counts may be {tolerance} above. A baseline of this toolchain: {BLESS}",
            baseline.toolchain
        ),
    }
}

fn line(compared: &Compared) -> String {
    let Compared { name, count, baseline, verdict } = compared;
    let figure =
        |count: &Option<u64>| count.map_or_else(|| "-".to_owned(), |count| Hundredths(count).to_string());
    let (count, baseline) = (figure(count), figure(baseline));
    match verdict {
        Verdict::Good => format!("ok {name} {count} (baseline {baseline})"),
        Verdict::Better => {
            format!("ok {name} {count}, below the baseline's {baseline}: keep it with {BLESS}")
        }
        Verdict::Worse => format!("worse: {name} {count}, above the baseline's {baseline}"),
        Verdict::New => format!("new: {name} {count}, which the baseline does not have"),
        Verdict::Gone => format!("gone: {name}, in the baseline {baseline}, is not counted"),
    }
}

/// Counts of a block that grow with the number of blocks, said.
fn steep(counts: &Counts) -> Vec<String> {
    let grows = |pair: &[&str]| {
        let [few, many] = [pair[0], pair[1]].map(|name| counts.get(name).copied().unwrap_or(0));
        (many > few + few * FLAT / 100).then(|| {
            let (few, many) = (Hundredths(few), Hundredths(many));
            format!("steep: {} {many} is more than {} {few} and {FLAT} %", pair[1], pair[0])
        })
    };
    FAMILIES.iter().flat_map(|family| family.windows(2).filter_map(grows)).collect()
}

#[cfg(test)]
mod tests;
