//! `pmd perf` between two processes over the soft HCA: exit codes, keys and contents. Times are not looked at.

use std::{
    fs,
    io::{BufRead, BufReader},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use support::{finish, pmd, spawn};

/// Yields while idle, so that tests do not take the machine's cores.
fn measure(arguments: &[&str]) -> Value {
    measure_over("shm", arguments)
}

fn measure_over(transport: &str, arguments: &[&str]) -> Value {
    let fixed = ["--transport", transport, "--idle", "yield", "--json"];
    let run = pmd(&[&["perf"], arguments, &fixed].concat());
    assert_eq!(run.code, Some(0), "{arguments:?}: {}", run.err);
    let report = run.json();
    assert_eq!(report["verified"], true, "{arguments:?}");
    report
}

fn has(report: &Value, keys: &[&str]) {
    for key in keys {
        assert!(report[*key].is_number(), "{key} in {report}");
    }
}

const COMMON: [&str; 3] = ["size", "iters", "bytes"];
const LATENCY: [&str; 6] = ["min_us", "p50_us", "p99_us", "p999_us", "max_us", "average_us"];

#[test]
fn latencies_are_measured_and_verified() {
    for (test, latency) in [
        ("write_lat", "half round trip"),
        ("send_lat", "half round trip"),
        ("read_lat", "post to completion"),
    ] {
        for size in ["1", "8", "200", "70000"] {
            let report = measure(&[test, "--size", size, "--iters", "300"]);
            has(&report, &COMMON);
            has(&report, &LATENCY);
            assert_eq!((&report["op"], &report["transport"]), (&test.into(), &"shm".into()));
            assert_eq!((&report["iters"], &report["latency"]), (&300.into(), &latency.into()));
            assert_eq!(report["bytes"], 300 * size.parse::<u64>().unwrap());
        }
    }
}

#[test]
fn tcp_is_measured_too() {
    for (test, size) in [("write_lat", "70000"), ("send_lat", "8"), ("read_lat", "8"), ("write_bw", "1M")] {
        let report = measure_over("tcp", &[test, "--size", size, "--iters", "50"]);
        assert_eq!((&report["op"], &report["transport"]), (&test.into(), &"tcp".into()));
    }
}

#[test]
fn bandwidths_are_measured_and_verified() {
    for test in ["write_bw", "read_bw"] {
        for size in ["1", "4K", "1M"] {
            let report = measure(&[test, "--size", size, "--iters", "100"]);
            has(&report, &COMMON);
            has(&report, &["gbps", "messages_per_second", "seconds", "queue_depth", "batch"]);
            assert_eq!(report["op"], test);
        }
        let report =
            measure(&[test, "--size", "3000", "--iters", "500", "--footprint", "1M", "--queue-depth", "7"]);
        assert_eq!((&report["queue_depth"], &report["batch"]), (&7.into(), &7.into()));
    }
}

#[test]
fn ordinary_memory_takes_the_same_course() {
    for test in ["write_lat", "send_lat", "read_lat", "write_bw", "read_bw"] {
        for size in ["8", "20000"] {
            let report = measure(&[test, "--size", size, "--iters", "100", "--memory", "heap"]);
            assert_eq!((&report["memory"], &report["path"]), (&"heap".into(), &"process memory".into()));
        }
    }
}

#[test]
fn all_sizes_give_one_object_each() {
    for test in ["write_lat", "send_lat"] {
        let report = measure(&[test, "--all-sizes", "--iters", "3"]);
        let results = report["results"].as_array().unwrap();
        assert_eq!(results.len(), 23);
        assert_eq!((&results[0]["size"], &results[22]["size"]), (&2.into(), &(8 << 20).into()));
        assert!(results.iter().all(|result| result["verified"] == true));
    }
}

#[test]
fn inline_payloads_arrive_too() {
    for test in ["write_lat", "send_lat", "write_bw"] {
        for (size, inline) in [("8", true), ("128", true), ("129", false)] {
            let report = measure(&[test, "--size", size, "--iters", "200", "--inline", "128"]);
            assert_eq!(report["inline"], inline);
        }
        assert_eq!(measure(&[test, "--iters", "10"])["inline"], false);
    }
}

#[test]
fn one_iteration_is_enough() {
    for test in ["write_lat", "send_lat", "read_lat", "write_bw", "read_bw"] {
        assert_eq!(measure(&[test, "--iters", "1"])["iters"], 1);
    }
}

#[test]
fn cpu_costs_are_measured_on_both_devices() {
    for (test, kinds) in [("post", &["post", "post_and_doorbell"][..]), ("poll", &["poll"])] {
        for inline in ["0", "128"] {
            let report = measure(&[test, "--size", "64", "--iters", "2560", "--inline", inline]);
            let results = report["results"].as_array().unwrap();
            assert_eq!(results.len(), 2);
            for kind in kinds {
                assert!(results.iter().all(|result| result[kind]["p50_ns"].is_number()), "{report}");
            }
        }
    }
}

#[test]
fn two_shells_measure_together() {
    let mut server = spawn(&["perf", "--listen", "127.0.0.1:0"]);
    let mut line = String::new();
    let mut out = BufReader::new(server.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    let address = line.rsplit(' ').next().unwrap().trim().to_owned();
    let report = measure(&["write_lat", "--iters", "50", "--connect", &address]);
    assert_eq!(report["iters"], 50);
    server.stdout = Some(out.into_inner());
    let run = finish(server);
    assert_eq!(run.code, Some(0), "{}", run.err);
}

#[test]
fn a_server_ends_with_the_process_that_started_it() {
    let mut client = spawn(&["perf", "write_lat", "--iters", "1000000000", "--idle", "yield"]);
    let server = child_of(client.id());
    client.kill().unwrap();
    client.wait().unwrap();
    let start = Instant::now();
    while fs::metadata(format!("/proc/{server}")).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(20), "process {server} outlives its parent");
        thread::sleep(Duration::from_millis(5));
    }
}

/// The process that `parent` starts.
fn child_of(parent: u32) -> u32 {
    let start = Instant::now();
    loop {
        let children =
            fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        // The child has become `pmd` again once its command line says so.
        if let Some(child) = children.split_whitespace().next()
            && fs::read_to_string(format!("/proc/{child}/cmdline"))
                .is_ok_and(|line| line.contains("--child-of"))
        {
            return child.parse().unwrap();
        }
        assert!(start.elapsed() < Duration::from_secs(20), "{parent} starts no server");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn wrong_usage_is_told_apart() {
    for arguments in [
        &["perf"][..],
        &["perf", "nonsense"],
        &["perf", "write_lat", "--size", "0"],
        &["perf", "write_lat", "--size", "2G"],
        &["perf", "write_lat", "--size", "8", "--all-sizes"],
        &["perf", "write_lat", "--iters", "0"],
        &["perf", "write_lat", "--transport", "carrier-pigeon"],
        &["perf", "write_lat", "--connect", "nowhere"],
        &["perf", "write_lat", "--listen", "127.0.0.1:0"],
        &["nonsense"],
        &[],
    ] {
        let run = pmd(arguments);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!run.err.is_empty());
    }
}

#[test]
fn what_is_not_here_is_told_apart() {
    let devices = pmd(&["info", "--json"]).json()["rdma"]["devices"].as_array().unwrap().len();
    if devices == 0 {
        for transport in ["mlx5", "verbs"] {
            let run = pmd(&["perf", "write_lat", "--transport", transport]);
            assert_eq!(run.code, Some(3), "{}", run.err);
            assert!(!run.err.is_empty());
        }
    }
    let run = pmd(&["perf", "write_lat", "--iters", "1", "--cores", "1000,1001"]);
    assert_eq!(run.code, Some(3), "{}", run.err);
}

#[test]
fn a_server_that_is_not_there_fails() {
    let run = pmd(&["perf", "write_lat", "--connect", "127.0.0.1:1"]);
    assert_eq!(run.code, Some(1));
    assert!(run.err.contains("cannot reach 127.0.0.1:1"), "{}", run.err);
}
