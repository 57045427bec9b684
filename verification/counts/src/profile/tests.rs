//! Dumps as callgrind 3.19 writes them.

use super::*;

const DUMP: &str = "# callgrind format\nversion: 1\ncreator: callgrind-3.19.0\npid: 7\ncmd: counts subjects\npart: 2\n\n\n\
    desc: I1 cache: \ndesc: Timerange: Basic block 5 - 9\n\
    desc: Trigger: Client Request: post-1\n\n\
    positions: line\nevents: Ir\nsummary: 35840\n\n\nob=(1) counts\nfl=(1) ???\nfn=(1) main\n0 35840\n\ntotals: 35840\n";

#[test]
fn a_dump_has_a_name_and_a_sum() {
    assert_eq!(parse(DUMP).expect("a dump"), Some(("post-1".to_owned(), 35840)));
}

#[test]
fn what_the_program_did_not_ask_for_is_left_out() {
    let dump = DUMP.replace("Client Request: post-1", "Program termination");
    assert_eq!(parse(&dump).expect("a dump"), None);
}

#[test]
fn other_threads_are_left_out() {
    let of = |thread: &str| parse(&DUMP.replace("part: 2\n", &format!("part: 2\nthread: {thread}\n")));
    assert_eq!(of("1").expect("a dump"), Some(("post-1".to_owned(), 35840)));
    assert_eq!(of("2").expect("a dump"), None);
}

#[test]
fn a_dump_without_a_sum_is_an_error() {
    for totals in ["", "totals: many\n"] {
        let error = parse(&DUMP.replace("totals: 35840\n", totals)).expect_err("no sum");
        assert_eq!(error.to_string(), "the dump of post-1 has no line `totals:` with a number");
    }
}

#[test]
fn all_files_of_a_folder_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("out.1"), DUMP).expect("written");
    fs::write(folder.path().join("out.2"), DUMP.replace("post-1", "poll-1")).expect("written");
    let counts = read(folder.path()).expect("two dumps");
    assert_eq!(counts, BTreeMap::from([("poll-1".to_owned(), 35840), ("post-1".to_owned(), 35840)]));
    assert!(matches!(read(&folder.path().join("none")), Err(ProfileError::Read(_))));
}
