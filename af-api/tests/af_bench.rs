//! `af bench` as a user runs it.

mod command_support;

use command_support::{af, complaint, last_line};

#[test]
fn round_trips_are_verified_and_reported() {
    let shape = ["--push-bytes", "100000", "--pull-bytes", "200001", "--iters", "50", "--warmup", "5"];
    let output = af(&[&["bench", "--verify", "all", "--json"][..], &shape].concat());
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let summary = last_line(&output);
    assert_eq!(summary["verified"], true);
    assert_eq!((summary["op"].as_str(), summary["transport"].as_str()), (Some("push_pull"), Some("shm")));
    assert_eq!((summary["bytes"].as_u64(), summary["iters"].as_u64()), (Some(300_001), Some(50)));
    let of = |name: &str| summary[name].as_f64().unwrap_or_else(|| panic!("no {name} in {summary}"));
    let ordered = ["min_us", "p50_us", "p90_us", "p99_us", "max_us"].map(of);
    assert!(ordered.is_sorted() && ordered[0] > 0.0, "{summary}");
    assert!(of("mean_us") >= ordered[0] && of("mean_us") <= ordered[4]);
    assert!(of("post_us") > 0.0 && of("gbps") > 0.0);
    assert!((of("budget_us") - 273.2).abs() < 0.1);
    assert!((of("budget_share") - of("p50_us") / of("budget_us")).abs() < 1e-9);
    assert!(summary["memcpy_us"].is_null(), "nobody asked for it");
    let phases = summary["phases"][0].as_array().unwrap();
    for expected in ["post", "round_trip", "total", "queue", "compute", "respond", "server", "network"] {
        let found = phases.iter().find(|phase| phase["name"] == expected);
        let phase = found.unwrap_or_else(|| panic!("no {expected} in {phases:?}"));
        assert_eq!(phase["server"], "server 0");
        assert!(phase["max"].as_f64().unwrap() <= of("max_us") + 1.0, "{phase}");
    }
}

#[test]
fn several_workers_and_servers_and_small_tensors_work() {
    for bytes in ["0", "8", "256", "257", "4096"] {
        let sizes = ["--workers", "3", "--servers", "2", "--push-bytes", bytes, "--pull-bytes", bytes];
        let output = af(&[&["bench", "--iters", "20", "--verify", "all", "--json"][..], &sizes].concat());
        assert_eq!(output.status.code(), Some(0), "{bytes}: {}", complaint(&output));
        assert_eq!(last_line(&output)["verified"], true);
    }
}

#[test]
fn round_trips_between_devices_are_verified_and_compared_with_copies_there() {
    for bytes in ["8", "100000"] {
        let sizes = ["--push-bytes", bytes, "--pull-bytes", bytes, "--compare-memcpy", "--device", "cpu"];
        let output =
            af(&[&["bench", "--iters", "20", "--warmup", "2", "--verify", "all", "--json"][..], &sizes]
                .concat());
        assert_eq!(output.status.code(), Some(0), "{bytes}: {}", complaint(&output));
        let summary = last_line(&output);
        assert_eq!((&summary["verified"], &summary["device"]), (&true.into(), &"cpu:0".into()));
        assert!(summary["memcpy_us"].as_f64().is_some_and(|copies| copies > 0.0), "{summary}");
    }
}

/// What a worker posts for one push and one pull: the push, its header, and nothing else but credits now and then. The
/// answer is the server's one work request.
#[test]
fn a_round_trip_is_two_work_requests_at_the_worker() {
    let output = af(&["bench", "--iters", "500", "--warmup", "50", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let posted = last_line(&output)["work_requests"].as_f64().unwrap();
    assert!((2.0..2.1).contains(&posted), "{posted}");
}

#[test]
fn copies_of_the_same_bytes_are_measured_beside() {
    let output = af(&["bench", "--iters", "20", "--warmup", "2", "--compare-memcpy"]);
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for expected in [
        "1 x 1, push 917504 and pull 1835008 bytes, 20 iterations over shm, verified",
        "round trip",
        "two memcpy",
        "x two memcpy",
        "% of 273 us, a budget of 61 layers x 3 stages in 50 ms",
    ] {
        assert!(text.contains(expected), "{expected:?} is not in {text}");
    }
}

#[test]
fn a_page_holds_the_figures_and_every_plot() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bench.html");
    let sizes =
        ["--push-bytes", "512", "--pull-bytes", "512", "--iters", "50", "--compare-memcpy", "--report"];
    let output = af(&[&["bench"][..], &sizes, &[file.to_str().unwrap()]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let page = std::fs::read_to_string(&file).unwrap();
    assert_eq!(page.matches("<svg").count(), 3, "{page}");
    for part in ["push 512 and pull 512 bytes", "round trip", "two memcpy", "Bandwidth by size"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    // Smaller tensors made round trips for the plots: 8 and 64 bytes each way, and then all.
    for row in ["<tr><td>16 B<td>", "<tr><td>128 B<td>", "<tr><td>1 KiB<td>"] {
        assert!(page.contains(row), "{row} in {page}");
    }
}
