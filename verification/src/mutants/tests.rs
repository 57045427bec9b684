//! The list against the sources of this workspace, and what becomes of a list that is wrong.

use super::edit::edit;
use super::*;

/// Every fault has its place in the sources as they are: a stale one is found here before the suite builds anything.
#[test]
fn no_mutant_is_stale() {
    let folder = Workspace::of_this_command().root.join("pmd-core");
    let faults = faults(&list::all(), &folder).expect("the sources can be read");
    assert_eq!(faults.map(|_| ()), Ok(()));
}

#[test]
fn mutants_have_names_of_their_own_and_something_to_change() {
    let all = list::all();
    let names: BTreeSet<&str> = all.iter().map(|mutant| mutant.name).collect();
    assert_eq!(names.len(), all.len());
    assert!(all.iter().all(|mutant| !mutant.edits.is_empty() && !mutant.check.test().is_empty()));
}

/// All faults are built into one library, each beside what it replaces: half an expression would end there.
#[test]
fn mutants_replace_whole_expressions_or_statements() {
    for mutant in list::all() {
        for text in mutant.edits.iter().flat_map(|edit| [edit.text, edit.with]) {
            assert!(is_balanced(text), "{}: brackets of {text:?}", mutant.name);
        }
    }
    assert!(!is_balanced("condition {") && !is_balanced("} {") && !is_balanced("(]"));
}

/// Whether all brackets are closed, in their order.
fn is_balanced(text: &str) -> bool {
    let mut open = Vec::new();
    let all_close = text.chars().all(|sign| match sign {
        '(' | '[' | '{' => {
            open.push(sign);
            true
        }
        ')' => open.pop() == Some('('),
        ']' => open.pop() == Some('['),
        '}' => open.pop() == Some('{'),
        _ => true,
    });
    all_close && open.is_empty()
}

#[test]
fn a_stale_mutant_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("a.rs"), "f(); f();").expect("a file");
    const EDITS: &[Edit] = &[edit("a.rs", "f()", "g()")];
    let mutant = Mutant { name: "f is g", edits: EDITS, check: Check::Model("m") };
    let stale = faults(&[&mutant], folder.path()).expect("files").expect_err("stale");
    assert_eq!(stale, ["stale mutant: f is g: a.rs: the text is there 2 times, not once"]);
}

#[test]
fn cargo_builds_the_targets_of_the_list_and_no_others() {
    let test = |target| Mutant { name: "n", edits: &[], check: Check::Test(target, "t") };
    let mutants = [test("pmd-core"), test("pmd-host/lane_soft"), test("pmd-host/lane_soft")];
    let workspace = Workspace { root: "/w".into(), target: "/w/target".into(), incremental: true };
    let line = cargo(&workspace, &mutants.iter().collect::<Vec<_>>()).line();
    assert_eq!(line, "cargo test --no-run -p pmd-core -p pmd-host --lib --test lane_soft");
}
