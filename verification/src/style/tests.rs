//! Plants each violation and expects it found, on its line, and nothing else.

use super::*;

/// The lines and messages found in a source.
fn found(source: &str) -> Vec<(usize, String)> {
    check_source("a/src/lib.rs", source)
        .into_iter()
        .map(|violation| (violation.line, violation.what))
        .collect()
}

fn lines(source: &str) -> Vec<usize> {
    found(source).into_iter().map(|(line, _)| line).collect()
}

fn function_of(lines: usize) -> String {
    format!(
        "// first\nfn long(a: [u8; {{ 4 }}]) -> u8 {{\n{}}}\nfn short() {{}}\n",
        "    a();\n".repeat(lines - 2)
    )
}

#[test]
fn a_file_of_600_lines_passes_and_of_601_does_not() {
    assert_eq!(found(&"//\n".repeat(600)), []);
    assert_eq!(found(&"//\n".repeat(601)), [(0, "601 lines, at most 600 are allowed".to_owned())]);
}

#[test]
fn a_function_of_80_lines_passes_and_of_81_does_not() {
    assert_eq!(found(&function_of(80)), []);
    let message = "function long has 81 lines, at most 80 are allowed".to_owned();
    assert_eq!(found(&function_of(81)), [(2, message)]);
}

#[test]
fn a_function_pointer_and_a_declaration_are_not_functions() {
    let filler = "// filler\n".repeat(100);
    assert_eq!(found(&format!("type A = fn(u8);\ntrait T {{\n fn declared(&self);\n{filler}}}")), []);
}

#[test]
fn an_unsafe_block_needs_its_comment() {
    let message = "unsafe block without a `SAFETY:` comment directly above it".to_owned();
    assert_eq!(found("fn a() {\n    unsafe { b() }\n}"), [(2, message)]);
    assert_eq!(found("fn a() {\n    // SAFETY: b asks for nothing.\n    unsafe { b() }\n}"), []);
}

#[test]
fn a_comment_above_the_statement_serves_its_unsafe_block() {
    assert_eq!(found("fn a() {\n // SAFETY: fine,\n // as said.\n let x =\n  c(unsafe { b() });\n}"), []);
    assert_eq!(found("fn a() {\n // SAFETY: fine.\n let X { y } = unsafe { b() };\n}"), []);
    assert_eq!(lines("fn a() {\n // SAFETY: fine.\n c();\n unsafe { b() };\n}"), [4]);
}

#[test]
fn a_safety_comment_in_a_string_does_not_count() {
    assert_eq!(lines("fn a() {\n let x = (\"// SAFETY: no\", unsafe { b() });\n}"), [2]);
}

#[test]
fn an_unsafe_impl_needs_its_argument() {
    assert_eq!(lines("unsafe impl Send for A {}"), [1]);
    assert_eq!(found("// SAFETY: A owns what it points to.\nunsafe impl Send for A {}"), []);
}

#[test]
fn an_unsafe_function_and_trait_say_what_to_uphold() {
    assert_eq!(
        lines("pub unsafe fn a() {}\nunsafe extern \"C\" fn b() {}\npub unsafe trait T {}"),
        [1, 2, 3]
    );
    assert_eq!(found("/// # Safety\n///\n/// None.\n#[inline]\npub unsafe fn a() {}"), []);
}

#[test]
fn an_unsafe_function_of_a_test_needs_no_documentation_and_its_blocks_do() {
    assert_eq!(check_source("a/src/b/tests.rs", "unsafe extern \"C\" fn a() {}"), []);
    assert_eq!(check_source("a/src/b/tests.rs", "fn a() { unsafe { b() } }").len(), 1);
}

#[test]
fn an_unsafe_function_of_a_trait_impl_is_documented_at_the_trait() {
    assert_eq!(found("impl<'a> T for A<'a> {\n    unsafe fn a() {}\n}"), []);
    assert_eq!(lines("impl A where for<'a> &'a B: C {\n    unsafe fn a() {}\n}"), [2]);
}

#[test]
fn unsafe_words_that_open_nothing_are_left_alone() {
    assert_eq!(
        found("type A = unsafe extern \"C\" fn(u8);\ntype B = unsafe fn();\n#[unsafe(no_mangle)]\nfn c() {}"),
        []
    );
    assert_eq!(found("// unsafe { a() }\nconst A: &str = \"unsafe { a() }\";"), []);
}

#[test]
fn leftovers_are_found_in_code_and_comments_and_not_in_strings() {
    let source = [
        "fn a() { to",
        "do!() }\n/* one\n FIX",
        "ME two */\nfn b() { unimple",
        "mented!() }\n// TO",
        "DO(x): y\n",
    ];
    assert_eq!(lines(&source.concat()), [1, 4, 3, 5]);
    assert_eq!(found("fn todo() { a(\"TODO FIXME todo!()\") }\n// TODOS\n"), []);
}

#[test]
fn atomics_and_assembly_come_through_their_facades() {
    let is_clean = |file: &str, source: &str| check_source(file, source).is_empty();
    let lines = |file: &str, source: &str| -> Vec<usize> {
        check_source(file, source).into_iter().map(|violation| violation.line).collect()
    };
    let atomics = "use core::sync::atomic::AtomicU32;\nuse std::sync::{Arc, atomic::Ordering};\nuse std::sync::{Arc, Mutex};\nuse std::{io, sync::{Arc, atomic::Ordering}};\nuse std::{io, sync::Arc};\n";
    assert_eq!(lines("pmd-core/src/ring/spsc.rs", atomics), [1, 2, 4]);
    assert!(is_clean("pmd-core/src/sync.rs", atomics));
    assert!(is_clean("verification/src/main.rs", atomics));
    assert!(is_clean("pmd-core/src/ring/tests.rs", atomics));
    assert!(is_clean(
        "pmd-core/src/queue.rs",
        "use crate::sync::AtomicU32;\nuse super::wire::atomic::Segment;"
    ));
    assert_eq!(lines("kv-api/src/lib.rs", "fn a() {\n    asm!(\"sfence\");\n}"), [2]);
    assert!(is_clean("pmd-core/src/mmio.rs", "fn a() { asm!(\"sfence\"); }"));
}

#[test]
fn generated_bindings_are_exempt() {
    assert_eq!(check_source("pmd-core/sys/src/bindings/verbs.rs", &"unsafe { a() }\n".repeat(700)), []);
    assert_ne!(check_source("pmd-core/sys/src/bindings.rs", "unsafe { a() }\n"), []);
}

#[test]
fn a_workspace_is_read_whole() {
    let root = tempfile::tempdir().expect("a temporary folder");
    for folder in ["pmd-core/src", "target/debug", ".ci", "stray"] {
        fs::create_dir_all(root.path().join(folder)).expect("a folder");
    }
    fs::write(root.path().join("Cargo.toml"), "").expect("a file");
    fs::write(root.path().join("pmd-core/src/lib.rs"), "fn a() {\n    unsafe { b() }\n}").expect("a file");
    let findings = check(root.path()).expect("the workspace can be read");
    let messages: Vec<String> = findings.violations.iter().map(ToString::to_string).collect();
    let unsafe_block = "pmd-core/src/lib.rs:2: unsafe block without a `SAFETY:` comment directly above it";
    assert_eq!(messages, [unsafe_block, "stray:0: is not an entry of the fixed top level"]);
    assert_eq!(findings.files, 1);
}
