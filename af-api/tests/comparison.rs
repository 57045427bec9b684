//! Every claim of COMPARISON.md names tests, and the tests exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What the page's own column may begin with.
const ANSWERS: [&str; 3] = ["yes", "in part", "no"];

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("COMPARISON.md")).expect("the page")
}

/// Rows of the table below a heading: trimmed cells, without the head and the rule.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let section = page.split("\n## ").find(|section| section.starts_with(heading)).expect(heading);
    let lines = section.lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// Names between backticks.
fn named(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Functions of all sources that may hold tests.
fn functions() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let mut files = Vec::new();
    ["af-api", "pmd-core", "verification"].iter().for_each(|folder| sources(&root.join(folder), &mut files));
    let mut found = BTreeSet::new();
    for text in files.iter().map(|path| fs::read_to_string(path).expect("a source")) {
        for keyword in ["fn ", "def "] {
            let names = text.split(keyword).skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
    found
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, into);
        } else if name.ends_with(".rs") || name.ends_with(".py") {
            into.push(path);
        }
    }
}

/// Checks the answer and the proof of a row: what is claimed names tests that exist.
fn check(row: &[String], functions: &BTreeSet<String>) {
    let [subject, _, answer, proof] = row else { panic!("a row of four: {row:?}") };
    let verdict = ANSWERS.into_iter().find(|verdict| answer.starts_with(verdict));
    let verdict = verdict.unwrap_or_else(|| panic!("{subject}: {answer:?} is no answer"));
    let tests = named(proof);
    assert_eq!(verdict != "no", !tests.is_empty(), "{subject}: {answer} is proven by {proof:?}");
    assert!(
        verdict == "yes" || answer.len() > verdict.len() + 10,
        "{subject}: {answer} does not say what is missing"
    );
    for test in tests {
        assert!(functions.contains(test), "{subject}: there is no test {test}");
    }
}

#[test]
fn every_answer_of_the_table_is_backed_by_tests_that_exist() {
    let (rows, functions) = (rows(&page(), "Features"), functions());
    assert_eq!(rows.len(), 25);
    rows.iter().for_each(|row| check(row, &functions));
}

#[test]
fn every_request_is_answered_and_what_is_claimed_is_tested() {
    let (rows, functions) = (rows(&page(), "What its users ask for"), functions());
    assert_eq!(rows.len(), 12);
    rows.iter().for_each(|row| check(row, &functions));
}

#[test]
fn every_fault_is_answered_and_what_is_claimed_is_tested() {
    let (rows, functions) = (rows(&page(), "Faults"), functions());
    assert_eq!(rows.len(), 13);
    rows.iter().for_each(|row| check(row, &functions));
}
