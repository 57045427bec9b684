//! `pmd dump`: bytes of work-queue and completion-queue entries in, the same entries decoded out.
//!
//! ```text
//!  FILE | -  --- text: hex digits with their places ---> entries: where each begins --- wire's Display ---> lines
//!            --- --binary -----------------------------^
//! ```
//! What it prints it also reads, so that a dump can be edited and decoded again.

use std::{
    fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use pmd_core::wire::Service;
use serde::Serialize;
use thiserror::Error;

use crate::{Failure, outcome, outcome::Outcome};

mod entry;
mod text;

use entry::Entry;
pub(crate) use text::TextError;

/// Arguments of `pmd dump`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// File to read; `-` is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// What the entries are; `auto` goes by the comments of a dump, then by what parses.
    #[arg(long, value_enum, default_value_t = KindChoice::Auto)]
    kind: KindChoice,
    /// How WQEs lie: `queue` in blocks of 64 bytes, `packed` back to back as a dump prints them; `auto` takes `queue`
    /// for input that is a multiple of 64 bytes without comments.
    #[arg(long, value_enum, default_value_t = Layout::Auto)]
    layout: Layout,
    /// Bytes of a completion-queue entry: 64 or 128.
    #[arg(long, default_value_t = 64, value_parser = entry_size)]
    cqe_size: usize,
    /// Transport of the queue pair: datagram WQEs carry an address vector.
    #[arg(long, value_enum, default_value_t = ServiceChoice::Connected)]
    service: ServiceChoice,
    /// Show only entries of this queue pair (decimal or 0x..); may be repeated.
    #[arg(long, value_parser = number)]
    queue_pair: Vec<u32>,
    /// The input is raw bytes, not text.
    #[arg(long)]
    binary: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KindChoice {
    Auto,
    Wqe,
    Cqe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Layout {
    Auto,
    Queue,
    Packed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ServiceChoice {
    Connected,
    Datagram,
}

impl From<ServiceChoice> for Service {
    fn from(choice: ServiceChoice) -> Self {
        match choice {
            ServiceChoice::Connected => Self::Connected,
            ServiceChoice::Datagram => Self::Datagram,
        }
    }
}

/// The JSON object.
#[derive(Debug, Serialize)]
struct Report {
    op: &'static str,
    bytes: usize,
    wqes: usize,
    cqes: usize,
    invalid: usize,
    verified: bool,
    entries: Vec<Entry>,
}

/// Reads, decodes, prints.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, DumpError> {
    let raw = read(&arguments.file)?;
    let input = if arguments.binary { text::Input::binary(raw) } else { text::Input::parse(&raw)? };
    let mut entries = entry::decode(&input, &arguments.rules())?;
    if !arguments.queue_pair.is_empty() {
        entries.retain(|entry| entry.queue_pair.is_some_and(|number| arguments.queue_pair.contains(&number)));
    }
    let report = Report::new(input.bytes.len(), entries);
    if arguments.json {
        outcome::print_json(&report);
    } else {
        let lines: String = report.entries.iter().map(|entry| entry.text.as_str()).collect();
        outcome::print(&lines);
    }
    Ok(if report.verified { Outcome::Done } else { Outcome::Failed })
}

impl Arguments {
    fn rules(&self) -> entry::Rules {
        entry::Rules {
            kind: self.kind,
            layout: self.layout,
            cqe_size: self.cqe_size,
            service: self.service.into(),
        }
    }
}

impl Report {
    fn new(bytes: usize, entries: Vec<Entry>) -> Self {
        let count = |kind| entries.iter().filter(|entry| entry.kind == kind).count();
        let invalid = entries.iter().filter(|entry| entry.error.is_some()).count();
        let (wqes, cqes) = (count(entry::Kind::Wqe), count(entry::Kind::Cqe));
        Self { op: "dump", bytes, wqes, cqes, invalid, verified: invalid == 0, entries }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, DumpError> {
    let mut raw = Vec::new();
    let outcome = if file == Path::new("-") {
        io::stdin().lock().read_to_end(&mut raw).map(drop)
    } else {
        fs::File::open(file).and_then(|mut file| file.read_to_end(&mut raw)).map(drop)
    };
    outcome.map_err(|source| DumpError::Read { file: file.to_owned(), source })?;
    Ok(raw)
}

fn entry_size(text: &str) -> Result<usize, WrongNumber> {
    match text {
        "64" => Ok(64),
        "128" => Ok(128),
        _ => Err(WrongNumber::EntrySize),
    }
}

fn number(text: &str) -> Result<u32, WrongNumber> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.ok().filter(|number| number >> 24 == 0).ok_or(WrongNumber::QueuePair)
}

/// A number that the command line does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
enum WrongNumber {
    #[error("completion-queue entries have 64 or 128 bytes")]
    EntrySize,
    #[error("a queue pair number has 24 bits: 0 to 16777215, or 0x0 to 0xffffff")]
    QueuePair,
}

/// Why nothing was decoded.
#[derive(Debug, Error)]
pub(crate) enum DumpError {
    /// The file is not there or cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// As given.
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The text is no hexdump.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The bytes end inside an entry.
    #[error(
        "line {line}, column {column}: a {what} of {needed} bytes begins here and the input ends after {left}: \
         the dump is cut off, or --kind, --layout or --cqe-size is another"
    )]
    Truncated { line: usize, column: usize, what: &'static str, needed: usize, left: usize },
    /// Nothing to decode.
    #[error("the input has no bytes: give hex digits, or --binary for raw bytes")]
    Empty,
}

impl Failure for DumpError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => Outcome::NotHere,
            _ => Outcome::Usage,
        }
    }
}
