//! `pmd pingpong` on a machine without an RDMA device: how wrong usage and missing devices end. Games against
//! ibv_rc_pingpong need a device.

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use support::pmd;

#[test]
fn wrong_usage_is_refused() {
    let wrong: [&[&str]; 8] = [
        &["--size", "0"],
        &["--mtu", "1500"],
        &["--iters", "0"],
        &["--rx-depth", "1"],
        &["--sl", "16"],
        &["--ib-port", "0"],
        &["--transport", "shm"],
        &["localhost", "another"],
    ];
    for arguments in wrong {
        let run = pmd(&[&["pingpong"], arguments].concat());
        assert_eq!(run.code, Some(2), "{arguments:?}: {}", run.err);
    }
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let short = ["-d", "no_such_device", "-p", "1", "-i", "1", "-s", "64", "-m", "256", "-r", "2", "-n", "5"];
    let long = ["-l", "0", "-e", "-g", "0", "-c", "--json", "localhost"];
    let run = pmd(&[&["pingpong"], &short[..], &long[..]].concat());
    assert_eq!(run.code, Some(3), "{}", run.err);
    assert!(run.err.starts_with("pmd: no RDMA device"), "{}", run.err);
}
