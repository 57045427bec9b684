//! Every claim of COMPARISON.md names tests, and the tests exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// What the page's own column may say.
const ANSWERS: [&str; 3] = ["Y", "P", "-"];

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
    ["kv-api", "pmd-core", "verification"].iter().for_each(|folder| sources(&root.join(folder), &mut files));
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

#[test]
fn every_answer_of_the_table_is_backed_by_tests_that_exist() {
    let (page, functions) = (page(), functions());
    let rows = rows(&page, "Features");
    assert!(rows.len() >= 23, "{} rows", rows.len());
    for row in &rows {
        let [feature, .., answer, proof] = &row[..] else { panic!("a short row: {row:?}") };
        assert_eq!(row.len(), 10, "{feature}: seven others, this one, and its proof");
        let parts: Vec<&str> = answer.split('/').collect();
        assert!(parts.iter().all(|part| ANSWERS.contains(part)), "{feature}: {answer}");
        let claims = parts.iter().any(|part| *part != "-");
        let tests = named(proof);
        assert_eq!(claims, !tests.is_empty(), "{feature}: {answer} is proven by {proof:?}");
        for test in tests {
            assert!(functions.contains(test), "{feature}: there is no test {test}");
        }
    }
}

#[test]
fn every_complaint_is_answered_and_what_is_claimed_is_tested() {
    let (page, functions) = (page(), functions());
    let rows = rows(&page, "Complaints");
    assert_eq!(rows.len(), 15);
    for (index, row) in rows.iter().enumerate() {
        let [number, _complaint, answer, proof] = &row[..] else { panic!("a row of four: {row:?}") };
        assert_eq!(number, &(index + 1).to_string());
        assert!(answer.len() > 20, "complaint {number}: {answer:?}");
        // What has no test yet says so.
        let tests = named(proof);
        assert!(!tests.is_empty() || proof.starts_with("not yet"), "complaint {number}: {proof:?}");
        for test in tests {
            assert!(functions.contains(test), "complaint {number}: there is no test {test}");
        }
    }
}
