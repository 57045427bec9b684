//! Each ordering is found once, and only in code that ships.

use super::*;

fn found(source: &str) -> Vec<(usize, String)> {
    mutations(source).into_iter().map(|mutation| (mutation.line, mutation.change)).collect()
}

fn applied(source: &str) -> Vec<String> {
    let apply = |Mutation { range, replacement, .. }: Mutation| {
        [&source[..range.start], &replacement, &source[range.end..]].concat()
    };
    mutations(source).into_iter().map(apply).collect()
}

#[test]
fn each_ordering_is_weakened_alone() {
    let source = "a.store(1, Ordering::Release);\nb.load(sync::Ordering::Acquire);\n";
    assert_eq!(found(source), [(1, "Release -> Relaxed".into()), (2, "Acquire -> Relaxed".into())]);
    assert_eq!(
        applied(source),
        [
            "a.store(1, Ordering::Relaxed);\nb.load(sync::Ordering::Acquire);\n",
            "a.store(1, Ordering::Release);\nb.load(sync::Ordering::Relaxed);\n",
        ]
    );
}

#[test]
fn both_orderings_of_an_exchange_are_found() {
    let source = "x.compare_exchange(0, 1, Ordering::SeqCst, Ordering::Acquire)";
    assert_eq!(found(source), [(1, "SeqCst -> Relaxed".into()), (1, "Acquire -> Relaxed".into())]);
}

#[test]
fn each_promise_of_acq_rel_is_taken_back() {
    let source = "x.swap(0, Ordering::AcqRel)";
    assert_eq!(applied(source), ["x.swap(0, Ordering::Acquire)", "x.swap(0, Ordering::Release)"]);
}

#[test]
fn relaxed_promises_nothing() {
    assert_eq!(found("x.load(Ordering::Relaxed)"), []);
}

#[test]
fn a_fence_is_removed_with_its_path() {
    let source = "a();\nsync::fence(Ordering::SeqCst);\nfence(Ordering::Acquire);";
    assert_eq!(found(source)[0], (2, "sync::fence(Ordering::SeqCst) -> removed".into()));
    assert_eq!(
        applied(source),
        ["a();\n();\nfence(Ordering::Acquire);", "a();\nsync::fence(Ordering::SeqCst);\n();",]
    );
}

#[test]
fn imported_names_are_found_and_their_imports_are_not() {
    let source = "use crate::sync::Ordering::{self, Acquire, Release};\na.store(1, Release);";
    assert_eq!(
        applied(source),
        ["use crate::sync::Ordering::{self, Acquire, Release};\na.store(1, crate::sync::Ordering::Relaxed);"]
    );
}

#[test]
fn comments_and_strings_are_left_alone() {
    assert_eq!(
        found("// Ordering::Release\n/// fence(Ordering::SeqCst)\nconst A: &str = \"Ordering::Acquire\";"),
        []
    );
}

#[test]
fn models_and_tests_are_left_alone() {
    let body = "{ fn a() { x.load(Ordering::Acquire); } }";
    let source = format!(
        "#[cfg(all(test, loom))]\nmod model;\n#[cfg(test)]\nmod checks {body}\nmod models {body}\nmod tests {body}\n\
         #[cfg(test)]\n#[allow(unused)]\nfn helper() {body}\nfn b() {{ y.load(Ordering::Acquire); }}\n"
    );
    assert_eq!(found(&source), [(10, "Acquire -> Relaxed".into())]);
}

#[test]
fn code_that_is_left_out_of_tests_ships() {
    assert_eq!(found("#[cfg(not(test))]\nfn a() { x.load(Ordering::Acquire); }").len(), 1);
}

#[test]
fn a_named_barrier_is_removed_where_it_is_used() {
    let source = "pub fn to_device() {}\nmmio::to_device();\nmmio::flush_writes();";
    assert_eq!(applied(source), ["pub fn to_device() {}\n();\nmmio::flush_writes();"]);
}
