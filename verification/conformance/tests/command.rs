//! The command, as other suites use it.

use std::{
    collections::BTreeSet,
    process::{Command, Output},
};

fn conformance(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conformance")).args(arguments).output().expect("the command")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn cases_have_names_of_their_own() {
    let output = conformance(&["--bed", "fake", "--bed", "soft", "--list"]);
    let listed = text(&output);
    let names: Vec<&str> = listed.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    assert!(output.status.success() && names.len() > 500, "{} cases", names.len());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

#[test]
fn results_are_told_as_libtest_tells_them() {
    let output = conformance(&["--bed", "fake", "fake::data::"]);
    let told = text(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("test result: ok. 7 passed; 0 failed; 0 ignored;"), "{told}");
}

#[test]
fn limits_are_told_with_their_reason() {
    let told = text(&conformance(&["--bed", "fake", "fake::process::"]));
    assert!(told.contains("ignored (no peers in other processes: "), "{told}");
}

#[test]
fn a_device_that_is_not_there_is_an_error() {
    for arguments in [&["--bed", "verbs"][..], &["--bed", "mlx5", "--device", "none_of_that_name"]] {
        let output = conformance(arguments);
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(conformance(&[]).status.code(), Some(2), "a bed must be named");
}
