//! `af demo` as a user runs it.

mod command_support;

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
};

use command_support::{af, complaint, last_line, processes_with, start, until};

#[test]
fn the_demo_runs_a_model_over_six_processes_and_checks_every_value() {
    let output = af(&["demo", "--layers", "5", "--rows", "16", "--columns", "256", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let summary = last_line(&output);
    assert_eq!(summary["verified"], true);
    assert_eq!(summary["transport"], "shm");
    assert_eq!((summary["workers"].as_u64(), summary["servers"].as_u64()), (Some(3), Some(2)));
    assert_eq!(summary["iters"].as_u64(), Some(5 * 3));
    // Every worker compares what both servers answered at every step.
    let workers = summary["rows_of_workers"].as_array().unwrap();
    assert_eq!(workers.len(), 3);
    assert!(workers.iter().all(|worker| worker["compared"].as_u64() == Some(5 * 3 * 2 * 16 * 256)));
    // Pushed and pulled, by three workers, to and from two servers.
    assert_eq!(summary["bytes"].as_u64(), Some(2 * 3 * 2 * 5 * 3 * 16 * 256 * 2));
}

/// Ordinary memory that only streams touch, as a device's.
#[test]
fn the_demo_keeps_its_tensors_on_a_device_and_follows_its_stream() {
    let sizes = ["demo", "--layers", "3", "--rows", "16", "--columns", "128", "--workers", "2", "--json"];
    let output = af(&[&sizes[..], &["--device", "cpu"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let summary = last_line(&output);
    assert_eq!((&summary["verified"], &summary["device"]), (&true.into(), &"cpu:0".into()));
    let workers = summary["rows_of_workers"].as_array().unwrap();
    assert!(workers.iter().all(|worker| worker["compared"].as_u64() == Some(3 * 3 * 2 * 16 * 128)));
}

/// The scheduler's connections and the data's.
#[test]
fn the_demo_runs_over_tcp_with_a_key_and_not_with_none_that_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let key = path.to_str().unwrap();
    let sizes = ["demo", "--layers", "2", "--rows", "16", "--columns", "128", "--workers", "2", "--json"];
    let options = ["--transport", "tcp", "--key-file", key];
    let refused = af(&[&sizes[..], &options].concat());
    assert_eq!(refused.status.code(), Some(2), "{}", complaint(&refused));
    assert!(complaint(&refused).contains(key), "{}", complaint(&refused));
    std::fs::write(&path, "5a".repeat(32)).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let output = af(&[&sizes[..], &options].concat());
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let summary = last_line(&output);
    assert_eq!((&summary["verified"], &summary["transport"]), (&true.into(), &"tcp".into()));
}

/// No machine has so many.
#[test]
fn a_device_that_is_not_here_is_exit_code_3_with_the_reason() {
    for command in ["demo", "bench"] {
        let output = af(&[command, "--device", "cuda:4000"]);
        assert_eq!(output.status.code(), Some(3), "{}", complaint(&output));
        let said = complaint(&output);
        assert!(said.contains("CUDA") || said.contains("4000"), "{said}");
        assert_eq!(said.trim().lines().count(), 1, "{said}");
    }
}

#[test]
fn the_table_has_a_row_for_each_worker() {
    let arguments = ["demo", "--workers", "2", "--servers", "1", "--layers", "2", "--rows", "4"];
    let output = af(&[&arguments[..], &["--columns", "64", "--transport", "shm"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.starts_with("2 layers x 3 stages, activations [4, 64] bf16, 2 workers x 1 servers"),
        "{text}"
    );
    let verified = text.lines().filter(|line| line.starts_with("worker ") && line.ends_with("yes"));
    assert_eq!(verified.filter(|line| line.contains("shm")).count(), 2, "{text}");
}

#[test]
fn one_row_and_many_stages_work_too() {
    for arguments in [
        ["--workers", "1", "--servers", "3", "--stages", "8", "--rows", "1"],
        ["--workers", "4", "--servers", "1", "--stages", "1", "--rows", "7"],
    ] {
        let sizes = ["demo", "--layers", "3", "--columns", "8", "--json"];
        let output = af(&[&sizes[..], &arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", complaint(&output));
        assert_eq!(last_line(&output)["verified"], true);
    }
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_is_wrong() {
    for (arguments, expected) in [
        (["demo", "--workers", "0"], "--workers"),
        (["demo", "--stages", "17"], "--stages"),
        (["demo", "--transport", "pigeon"], "verbs"),
        (["demo", "--device", "gpu"], "names no device"),
        (["bench", "--iters", "0"], "--iters"),
        (["bench", "--push-bytes", "-1"], "-1"),
    ] {
        let output = af(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", complaint(&output));
        assert!(complaint(&output).contains(expected), "{arguments:?}: {}", complaint(&output));
    }
}

#[test]
fn a_transport_that_is_not_here_is_exit_code_3() {
    let output = af(&["demo", "--transport", "verbs", "--layers", "1", "--rows", "1", "--columns", "8"]);
    if Path::new("/sys/class/infiniband").read_dir().is_ok_and(|mut devices| devices.next().is_some()) {
        // This machine has a NIC: then the transport works or names a path that does not.
        return assert_ne!(output.status.code(), Some(3));
    }
    assert_eq!(output.status.code(), Some(3), "{}", complaint(&output));
    assert!(complaint(&output).contains("verbs"), "{}", complaint(&output));
}

/// A parent lets everybody go when its workers are done; a server may not have heard of its last acknowledgement by then.
#[test]
fn a_child_that_is_let_go_ends_when_its_work_is_done_and_one_that_is_left_at_once() {
    let child = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_af"));
        command.arg("role").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut scheduler = child(&["scheduler", "--workers", "1", "--servers", "1"]);
    let mut line = String::new();
    BufReader::new(scheduler.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let said: serde_json::Value = serde_json::from_str(&line).unwrap();
    let place =
        ["--workers", "1", "--servers", "1", "--rank", "0", "--scheduler", said["address"].as_str().unwrap()];
    let shape = ["--layers", "20", "--rows", "64", "--columns", "1024"];
    let member = |role| child(&[&[role][..], &place, &shape].concat());
    let mut server = member("demo-server");
    server.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let mut worker = member("demo-worker");
    until("the worker's end", || worker.try_wait().unwrap().is_some());
    until("the server's end", || server.try_wait().unwrap().is_some());
    let codes = [&mut worker, &mut server].map(|child| child.wait().unwrap().code());
    assert_eq!(codes, [Some(0); 2]);
    assert!(scheduler.try_wait().unwrap().is_none(), "the scheduler's parent has not let go");
    drop(scheduler.stdin.take());
    until("the scheduler's end", || scheduler.try_wait().unwrap().is_some());
    assert_eq!(scheduler.wait().unwrap().code(), Some(1));
}

/// So many layers take long; their number also marks the processes, of which the scheduler has no part.
#[test]
fn nothing_outlives_a_demo_that_is_killed() {
    let mark = "983";
    let mut parent = start(&["demo", "--layers", mark, "--rows", "8", "--columns", "1024"]);
    until("five children", || processes_with(mark).len() == 6);
    parent.kill().unwrap();
    parent.wait().unwrap();
    until("the children's end", || processes_with(mark).is_empty());
}

/// Its peers fail with a word about it, and the command says which process ended, and how.
#[test]
fn a_server_that_is_killed_ends_the_demo_with_an_error() {
    let mark = "979";
    let mut parent = start(&["demo", "--layers", mark, "--rows", "8", "--columns", "1024"]);
    until("five children", || processes_with(mark).len() == 6);
    let server = processes_with("demo-server").into_iter().find(|id| processes_with(mark).contains(id));
    let killed = std::process::Command::new("kill").args(["-9", &server.unwrap().to_string()]).status();
    assert!(killed.unwrap().success());
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while parent.try_wait().unwrap().is_none() {
        assert!(std::time::Instant::now() < deadline, "the demo goes on without a server");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let output = parent.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", complaint(&output));
    assert!(complaint(&output).contains("process ended"), "{}", complaint(&output));
    until("the children's end", || processes_with(mark).is_empty());
}
