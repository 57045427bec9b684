//! How the command ends: exit codes, error messages, and the one JSON object. Every subcommand comes through here.

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use serde::Serialize;

use crate::Failure;

/// Shown under `--help`.
pub(crate) const EXIT_CODES: &str = "Exit codes: 0 done and verified, 1 a transfer failed or did not verify, \
     2 wrong usage, 3 something asked for is not on this machine.";

/// How a subcommand ended; the value is the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Outcome {
    /// Done and verified.
    Done = 0,
    /// A transfer failed or did not verify, an entry is not valid.
    Failed = 1,
    /// Wrong usage, unreadable input.
    Usage = 2,
    /// Something asked for is not on this machine.
    NotHere = 3,
}

impl Outcome {
    /// The outcome with this exit code, as a child process gives it.
    pub(crate) const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Done,
            2 => Self::Usage,
            3 => Self::NotHere,
            _ => Self::Failed,
        }
    }
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        Self::from(outcome as u8)
    }
}

/// Says what went wrong, with everything below it, and how the command ends.
pub(crate) fn tell(error: &dyn Failure) -> Outcome {
    eprintln!("pmd: {}", explain(error));
    error.outcome()
}

/// An error and its sources on one line, each said once.
pub(crate) fn explain<E: Error + ?Sized>(error: &E) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Prints `report` as one line of JSON, which is the last of the output.
pub(crate) fn print_json(report: &impl Serialize) {
    print(&json_line(report));
}

/// A report as one line of JSON; empty for one that JSON cannot have, which is told.
pub(crate) fn json_line(report: &impl Serialize) -> String {
    match serde_json::to_string(report) {
        Ok(line) => format!("{line}\n"),
        Err(error) => {
            eprintln!("pmd: cannot print the report as JSON: {error}");
            String::new()
        }
    }
}

/// Prints text; a reader that went away (`pmd info | head -1`) is no error.
pub(crate) fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
