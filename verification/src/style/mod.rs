//! The house's rules that no compiler checks: lengths, safety comments, leftovers, atomics past the facade,
//! the fixed top level.
//!
//! Run by the `style` suite. Each rule reads a file's tokens and names what it finds as `file:line: what`.

use std::fs;
use std::io;
use std::path::Path;

use crate::source::{is_test_file, rust_files, tokens};

mod facades;
mod functions;
mod leftovers;
mod safety;
#[cfg(test)]
mod tests;
mod top_level;

/// A file has at most this many lines.
const LONGEST_FILE: usize = 600;

/// What bindgen wrote is as long as the headers that it came from, and has no comments.
const GENERATED: &str = "src/bindings";

/// A broken rule and its place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Violation {
    /// The file, relative to the workspace; a folder's name for a rule on the top level.
    pub(crate) file: String,
    /// The line, from 1; 0 where the rule is about the whole file.
    pub(crate) line: usize,
    /// What is wrong.
    pub(crate) what: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// What a check of a workspace found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Files that were read.
    pub(crate) files: usize,
    /// Broken rules, by file and line.
    pub(crate) violations: Vec<Violation>,
}

/// Checks every source of the workspace, and its top level.
pub(crate) fn check(root: &Path) -> io::Result<Findings> {
    let mut findings = Findings { files: 0, violations: top_level::check(root)? };
    for path in rust_files(root)? {
        let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
        findings.violations.extend(check_source(&name, &fs::read_to_string(&path)?));
        findings.files += 1;
    }
    findings.violations.sort();
    Ok(findings)
}

/// Checks one file by its name in the workspace and its text.
pub(crate) fn check_source(name: &str, source: &str) -> Vec<Violation> {
    if format!("/{name}").contains(&format!("/{GENERATED}/")) {
        return Vec::new();
    }
    let (tokens, in_test) = (tokens(source), is_test_file(Path::new(name)));
    let mut found = Vec::new();
    let lines = source.lines().count();
    if lines > LONGEST_FILE {
        found.push((0, format!("{lines} lines, at most {LONGEST_FILE} are allowed")));
    }
    found.extend(functions::too_long(&tokens));
    found.extend(safety::undocumented(source, &tokens, in_test));
    found.extend(leftovers::find(&tokens));
    if !in_test {
        found.extend(facades::bypassed(name, &tokens));
    }
    found.into_iter().map(|(line, what)| Violation { file: name.to_owned(), line, what }).collect()
}
