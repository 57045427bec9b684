//! `kv bench` as a user runs it.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

/// Runs `kv bench` with `arguments`; kills it after a bound, so that no test hangs.
fn bench(arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kv"))
        .arg("bench")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + LIMIT;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("kv bench {arguments:?} took longer than {LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// The last line of a run that succeeded.
fn figures(arguments: &[&str]) -> Value {
    let output = bench(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", complaint(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_else(|| panic!("nothing printed: {output:?}"));
    serde_json::from_str(line).unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SMALL: [&str; 7] = ["--blocks", "64", "--block-size", "4096", "--iters", "3", "--json"];

#[test]
fn reads_and_writes_in_both_kinds_of_memory_are_verified_and_reported() {
    let keys = "api block_size blocks bytes device gbps iters max_us memory min_us ns_per_block op p50_us p99_us \
                plan_us post_us transport verified work_requests";
    let expected: BTreeSet<&str> = keys.split_whitespace().collect();
    for operation in ["read", "write"] {
        for memory in ["heap", "arena"] {
            let case = ["--api", "engine", "--op", operation, "--memory", memory];
            let figures = figures(&[&case[..], &SMALL[..]].concat());
            let keys: BTreeSet<&str> = figures.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(keys, expected);
            let named = [("api", "engine"), ("op", operation), ("memory", memory), ("transport", "shm")];
            named.iter().for_each(|(key, value)| assert_eq!(figures[key], *value, "{key}"));
            let counted = [("blocks", 64), ("block_size", 4096), ("bytes", 64 * 4096), ("iters", 3)];
            counted.iter().for_each(|(key, value)| assert_eq!(figures[key], *value, "{key}"));
            assert_eq!(figures["verified"], true);
            let number = |key: &str| figures[key].as_f64().unwrap();
            // 30 blocks that are neighbours at the other side share a request.
            assert_eq!(figures["work_requests"], 64_u32.div_ceil(30));
            let sorted = ["min_us", "p50_us", "p99_us", "max_us"].map(number);
            assert!(sorted.is_sorted() && sorted[0] > 0.0, "{figures}");
            // One figure in three units.
            let bytes_per_block = number("gbps") * number("ns_per_block");
            assert!((bytes_per_block - 4096.0).abs() < 1.0, "{figures}");
        }
    }
}

#[test]
fn agents_are_measured_too() {
    for case in [["read", "heap"], ["read", "arena"], ["write", "heap"], ["write", "arena"]] {
        let options = ["--api", "agent", "--op", case[0], "--memory", case[1], "--verify", "all"];
        let figures = figures(&[&options[..], &SMALL[..]].concat());
        assert_eq!((&figures["api"], &figures["transport"]), (&Value::from("agent"), &Value::from("shm")));
        // In the order of the peer's memory: 30 neighbours share a request.
        let work_requests = 64_u32.div_ceil(30);
        assert_eq!(
            (&figures["verified"], &figures["work_requests"]),
            (&Value::from(true), &work_requests.into())
        );
    }
}

#[test]
fn llm_datadist_is_measured_too() {
    for case in [["read", "heap"], ["read", "arena"], ["write", "heap"], ["write", "arena"]] {
        let options = ["--api", "datadist", "--op", case[0], "--memory", case[1], "--verify", "all"];
        let figures = figures(&[&options[..], &SMALL[..]].concat());
        assert_eq!((&figures["api"], &figures["transport"]), (&Value::from("datadist"), &Value::from("shm")));
        // Its interface tells nothing of work requests: one call.
        assert_eq!((&figures["verified"], &figures["work_requests"]), (&Value::from(true), &1.into()));
    }
}

#[test]
fn hixl_is_measured_too() {
    for case in [["read", "heap"], ["read", "arena"], ["write", "heap"], ["write", "arena"]] {
        let options = ["--api", "hixl", "--op", case[0], "--memory", case[1], "--verify", "all"];
        let figures = figures(&[&options[..], &SMALL[..]].concat());
        assert_eq!((&figures["api"], &figures["transport"]), (&Value::from("hixl"), &Value::from("shm")));
        assert_eq!((&figures["verified"], &figures["work_requests"]), (&Value::from(true), &Value::from(64)));
    }
}

#[test]
fn a_baseline_is_reported_beside_it() {
    for operation in ["read", "write"] {
        let figures = figures(&[&["--op", operation, "--baseline", "--verify", "all"], &SMALL[..]].concat());
        assert_eq!(figures["verified"], true);
        for key in ["memcpy_us", "memcpy_ratio"] {
            assert!(figures[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {figures}");
        }
    }
}

#[test]
fn a_page_holds_the_figures_and_every_plot() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bench.html");
    let name = file.to_str().unwrap();
    let figures = figures(&[&["--op", "read", "--baseline", "--report", name][..], &SMALL[..]].concat());
    assert_eq!(figures["verified"], true);
    let page = fs::read_to_string(&file).unwrap();
    assert_eq!(page.matches("<svg").count(), 4, "{page}");
    for part in ["64 blocks of 4096 bytes", "posted until done", "memcpy", "Cost of a block", "Bandwidth"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    // Fewer blocks were moved for the plots: 1 and 10, and then all.
    for place in ["1", "10", "64", "4 KiB", "40 KiB", "256 KiB"] {
        assert!(page.contains(&format!("<tr><td>{place}<td>")), "{place} in {page}");
    }
}

#[test]
fn a_page_that_cannot_be_written_is_an_error() {
    let output = bench(&[&["--op", "read", "--report", "/nowhere/bench.html"][..], &SMALL[..]].concat());
    assert_eq!(output.status.code(), Some(2), "{}", complaint(&output));
    assert!(complaint(&output).contains("/nowhere/bench.html"), "{}", complaint(&output));
}

#[test]
fn odd_sizes_single_blocks_and_no_warm_up_work() {
    let shapes = [["1", "1"], ["3", "13"], ["2", "5000001"]];
    for ([blocks, size], memory) in shapes.into_iter().zip(["heap", "arena", "heap"]) {
        for operation in ["read", "write"] {
            let shape = ["--op", operation, "--blocks", blocks, "--block-size", size, "--memory", memory];
            let rest = ["--iters", "1", "--warmup", "0", "--baseline", "--json", "--idle", "park"];
            let figures = figures(&[&shape[..], &rest[..]].concat());
            assert_eq!((&figures["verified"], &figures["iters"]), (&Value::from(true), &Value::from(1)));
        }
    }
}

#[test]
fn the_table_has_a_line_of_figures() {
    let output = bench(&["--op", "read", "--blocks", "16", "--block-size", "512", "--iters", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("engine over shm: 16 blocks of 512 bytes in arena memory"), "{text}");
    assert!(
        text.lines().last().is_some_and(|line| line.starts_with("read") && line.ends_with("yes")),
        "{text}"
    );
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_is_wrong() {
    let cases: [(&[&str], &str); 7] = [
        (&[], "--op"),
        (&["--op", "erase"], "read, write"),
        (&["--op", "read", "--api", "carrier-pigeon"], "possible values: engine"),
        (&["--op", "read", "--iters", "0"], "--iters"),
        (&["--op", "read", "--blocks", "0"], "zero blocks"),
        (&["--op", "read", "--block-size", "0"], "zero bytes per block"),
        (&["--op", "read", "--block-size", "18446744073709551615"], "address space"),
    ];
    for (arguments, expected) in cases {
        let output = bench(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", complaint(&output));
        assert!(complaint(&output).contains(expected), "{arguments:?}: {}", complaint(&output));
    }
}

#[test]
fn more_memory_than_there_is_and_a_missing_transport_are_exit_code_3() {
    for memory in ["heap", "arena"] {
        let arguments = ["--op", "read", "--blocks", "4000000000", "--block-size", "1000000"];
        let output = bench(&[&arguments[..], &["--memory", memory]].concat());
        assert_eq!(output.status.code(), Some(3), "{memory}: {}", complaint(&output));
        assert!(
            complaint(&output).contains("no memory for 8000000000000000 bytes"),
            "{}",
            complaint(&output)
        );
    }
    let has_nic =
        Path::new("/sys/class/infiniband").read_dir().is_ok_and(|mut devices| devices.next().is_some());
    if !has_nic {
        let output = bench(&["--op", "read", "--transport", "verbs"]);
        assert_eq!(output.status.code(), Some(3), "{}", complaint(&output));
        assert!(complaint(&output).contains("verbs"), "{}", complaint(&output));
    }
}

#[test]
fn no_process_outlives_a_killed_parent() {
    // Killed as soon as the peer runs (filling its cache), and once transfers are on their way.
    for connected in [false, true] {
        let mut parent = Command::new(env!("CARGO_BIN_EXE_kv"))
            .args(["bench", "--op", "write", "--iters", "1000000000", "--memory", "heap"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let peers =
            until("the peer to start", || Some(children(parent.id())).filter(|found| !found.is_empty()));
        if connected {
            until("the lane to start", || has_thread(parent.id(), "bench-shm").then_some(()));
            thread::sleep(Duration::from_millis(200));
        }
        assert!(parent.try_wait().unwrap().is_none(), "the benchmark ended by itself");
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert_eq!(peers.len(), 1);
        until("the peer to end", || (!peers.iter().any(|peer| runs(*peer))).then_some(()));
    }
}

fn until<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {LIMIT:?} for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// Processes that `parent` has started.
fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter(|process| status(*process).is_some_and(|(of, _)| of == parent)).collect()
}

/// Whether a process has a thread of that name.
fn has_thread(process: u32, name: &str) -> bool {
    let threads = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let mut names = threads.filter_map(|thread| fs::read_to_string(thread.path().join("comm")).ok());
    names.any(|found| found.trim() == name)
}

/// Whether a process runs; one that has ended and waits for whoever inherited it to notice does not.
fn runs(process: u32) -> bool {
    let named_kv = fs::read_to_string(format!("/proc/{process}/comm")).is_ok_and(|name| name.trim() == "kv");
    named_kv && status(process).is_some_and(|(_, state)| state != 'Z' && state != 'X')
}

/// Parent and state of a process.
fn status(process: u32) -> Option<(u32, char)> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((fields.next()?.parse().ok()?, state))
}
