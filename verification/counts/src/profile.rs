//! Reads callgrind's files. Called by the command when the program that was counted has ended.
//!
//! Every dump is a file whose header names what triggered it, and whose line `totals:` is the sum of what was counted. The
//! format is in valgrind's manual, "Callgrind Format Specification".

use std::{collections::BTreeMap, fs, io, path::Path};

/// Why there are no counts.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// A file of the folder, or the folder.
    #[error("callgrind's files cannot be read: {0}")]
    Read(#[from] io::Error),
    /// A dump without its sum, or with one that is no number.
    #[error("the dump of {name} has no line `totals:` with a number")]
    NoTotals {
        /// The subject.
        name: String,
    },
}

/// What precedes the name that the program gave to a dump.
const TRIGGER: &str = "desc: Trigger: Client Request: ";

/// The thread that does the work, where they are counted apart.
const FIRST: &str = "1";

/// Instructions by the name that the program gave them, of all dumps in a folder.
///
/// # Errors
/// [`ProfileError`].
pub fn read(folder: &Path) -> Result<BTreeMap<String, u64>, ProfileError> {
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let dump = fs::read_to_string(entry?.path())?;
        // What is dumped when the program ends has no name.
        if let Some((name, count)) = parse(&dump)? {
            *counts.entry(name).or_insert(0) += count;
        }
    }
    Ok(counts)
}

/// A dump's name and sum; nothing for one that the program did not ask for, or of a thread that is not its first.
fn parse(dump: &str) -> Result<Option<(String, u64)>, ProfileError> {
    if dump.lines().any(|line| line.strip_prefix("thread: ").is_some_and(|thread| thread.trim() != FIRST)) {
        return Ok(None);
    }
    let Some(name) = dump.lines().find_map(|line| line.strip_prefix(TRIGGER)) else { return Ok(None) };
    let totals = dump.lines().find_map(|line| line.strip_prefix("totals: "));
    let count = totals.and_then(|totals| totals.trim().parse().ok());
    let name = name.trim().to_owned();
    count.map(|count| Some((name.clone(), count))).ok_or(ProfileError::NoTotals { name })
}

#[cfg(test)]
mod tests;
