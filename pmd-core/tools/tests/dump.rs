//! `pmd dump` reads what it prints, and says where input is wrong.

use std::fs;

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use support::{pmd, pmd_with};

/// A WRITE of 4096 bytes, as wire prints it.
const WRITE: &str = "\
00000308 abcdef03 00000008 00000000 | control RDMA_WRITE index=0x3 qp=0xabcdef ds=3 flags=CQ_UPDATE
7fffdead beef0000 00beef07 00000000 | remote address=0x7fffdeadbeef0000 rkey=0xbeef07
00001000 00cafe01 11223344 55667788 | data length=4096 lkey=0xcafe01 address=0x1122334455667788
";

/// Its completion.
const COMPLETION: &str = "\
00000000 00000000 00000000 00000000 | -
00000000 00000000 00000000 00000000 | -
00000000 00000000 00000000 00000000 | srqn=0x0 imm=0x0 bytes=0
00000000 00000011 08abcdef 00030001 | REQ RDMA_WRITE qp=0xabcdef wqe=0x3 solicited=0 owner=1
";

#[test]
fn a_dump_is_read_back_line_by_line() {
    let text = [WRITE, COMPLETION, WRITE].concat();
    let run = pmd_with(&["dump"], text.as_bytes());
    assert_eq!((run.code, run.out.as_str()), (Some(0), text.as_str()), "{}", run.err);
}

#[test]
fn text_and_binary_give_the_same_entries() {
    let folder = tempfile::tempdir().unwrap();
    let digits: String =
        WRITE.lines().map(|line| line.split(" |").next().unwrap().replace(' ', "")).collect();
    let bytes: Vec<u8> =
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
    let file = folder.path().join("queue");
    fs::write(&file, [bytes, vec![0; 16]].concat()).unwrap();
    let run = pmd(&["dump", "--binary", "--kind", "wqe", "--json", file.to_str().unwrap()]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let report = run.json();
    assert_eq!((&report["wqes"], &report["bytes"]), (&1.into(), &64.into()));
    let entry = &report["entries"][0];
    assert_eq!((&entry["opcode"], &entry["queue_pair"]), (&"RDMA_WRITE".into(), &0x00ab_cdef.into()));
    assert_eq!(entry["text"], WRITE);
    let plain = pmd_with(&["dump"], digits.as_bytes());
    assert_eq!(plain.out, WRITE);
}

#[test]
fn entries_of_one_queue_pair_can_be_chosen() {
    let other = WRITE.replace("abcdef03", "00001203").replace("0xabcdef", "0x12");
    let text = [WRITE, &other].concat();
    let run = pmd_with(&["dump", "--queue-pair", "0x12"], text.as_bytes());
    assert_eq!((run.code, run.out), (Some(0), other));
}

#[test]
fn an_entry_that_is_not_valid_is_shown_and_fails() {
    let run = pmd_with(&["dump", "--kind", "wqe", "--json"], "33".repeat(64).as_bytes());
    assert_eq!(run.code, Some(1));
    let report = run.json();
    assert_eq!((&report["invalid"], &report["verified"]), (&1.into(), &false.into()));
    assert!(report["entries"][0]["error"].as_str().unwrap().contains("0x33"));
}

#[test]
fn malformed_text_is_refused_with_line_and_column() {
    let bad = WRITE.replace("beef07 00", "beefx7 00");
    let run = pmd_with(&["dump"], bad.as_bytes());
    assert_eq!((run.code, run.out.as_str()), (Some(2), ""));
    assert!(run.err.contains("line 2, column 25: 'x' is no hex digit"), "{}", run.err);
    let run = pmd_with(&["dump"], &WRITE.as_bytes()[..80]);
    assert_eq!(run.code, Some(2));
    let run = pmd_with(&["dump"], b"");
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("no bytes"), "{}", run.err);
    let cut: String = WRITE.lines().take(2).map(|line| format!("{line}\n")).collect();
    let run = pmd_with(&["dump"], cut.as_bytes());
    assert_eq!(run.code, Some(2));
    assert!(run.err.contains("line 1, column 1: a WQE of 48 bytes begins here"), "{}", run.err);
}

#[test]
fn a_file_that_is_not_there_is_not_here() {
    let run = pmd(&["dump", "/nonexistent/queue"]);
    assert_eq!(run.code, Some(3));
    assert!(run.err.contains("cannot read /nonexistent/queue: No such file"), "{}", run.err);
}
