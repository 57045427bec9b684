//! What is read from a sanitiser's output.

use super::*;

const RACE: &str = "running 1 test\n==================\nWARNING: ThreadSanitizer: data race (pid=7)\n  \
    Write of size 8 at 0x1 by thread T2:\n    #0 memcpy /a.cpp:27:3 (x+0x1)\n    \
    #1 <pmd_core::ring::packet::producer::Producer>::push /w/pmd-core/src/ring/packet/producer.rs:102:15\n\
    SUMMARY: ThreadSanitizer: data race /w/a.rs:1:2 in copy\ntest result: ok. 1 passed; 0 failed;\n";

#[test]
fn a_report_is_told_in_a_line() {
    let told = complaint(RACE).expect("a report");
    assert_eq!(
        told,
        "WARNING: ThreadSanitizer: data race (pid=7) (ThreadSanitizer: data race /w/a.rs:1:2 in copy)"
    );
    assert_eq!(complaint("test result: ok. 1 passed; 0 failed;\n"), None);
}

#[test]
fn a_planted_fault_must_be_found_inside_of_the_product() {
    assert!(names_the_ring(RACE));
    assert!(!names_the_ring("    #0 main /w/pmd-core/tests/sanitiser_planted.rs:1:2\n"));
    assert!(!names_the_ring("test pmd_core::ring::packet ... ok\n"));
}

#[test]
fn nothing_beyond_the_known_functions_of_std_is_suppressed() {
    let harness = "race:^test::run_test$";
    let allowed = ["race:<alloc::sync::Arc<", "race:std::sync::mpmc", "race:std::sync::mpsc", harness];
    assert_eq!(THREAD_SUPPRESSIONS.lines().collect::<Vec<_>>(), allowed);
    assert_eq!((THREAD.suppressions, ADDRESS.suppressions), (THREAD_SUPPRESSIONS, ""));
}

/// All files of Rust below a folder.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] }).collect()
}

#[test]
fn what_is_left_out_exists_and_is_of_its_kind() {
    let root = Workspace::of_this_command().root;
    let source = |file: &str| std::fs::read_to_string(root.join(file)).expect("a test file");
    let sharing = source("pmd-core/host/tests/soft_sharing.rs");
    let (two_addresses, one_thread) = NOT_FOR_THREADS.split_at(2);
    assert!(two_addresses.iter().all(|test| sharing.contains(&format!("fn {test}()"))));
    for (module, text) in one_thread.iter().zip(["hostile", "property"]) {
        assert_eq!(*module, format!("packet::tests::{text}::"));
        assert!(!source(&format!("pmd-core/src/ring/packet/tests/{text}.rs")).contains("thread"), "{text}");
    }
    assert_eq!(NOT_FOR_ADDRESSES, ["rail::tests::world::"]);
    let rail = rust_files(&root.join("pmd-core/host/src/rail"));
    assert!(rail.iter().any(|file| file.ends_with("tests/world.rs")));
    assert!(rail.iter().all(|file| !std::fs::read_to_string(file).expect("a file").contains("unsafe")));
    let planted = source("pmd-core/tests/sanitiser_planted.rs");
    let tests = THREAD.planted.iter().chain(ADDRESS.planted);
    assert!(tests.into_iter().all(|(test, _)| planted.contains(&format!("fn {test}()"))));
}

#[test]
fn the_soft_tests_are_found() {
    let names = soft_tests(&Workspace::of_this_command().root.join("pmd-core/host/tests")).expect("a folder");
    assert!(names.len() >= 3 && names.iter().any(|name| name == "soft_sharing"), "{names:?}");
}
