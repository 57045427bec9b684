//! The `kv` command as a user runs it.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

/// Runs `kv` with `arguments`; kills it after a bound, so that no test hangs.
fn kv(arguments: &[&str]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kv"))
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
            panic!("kv {arguments:?} took longer than {LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

fn last_line(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_else(|| panic!("nothing printed: {output:?}"));
    serde_json::from_str(line).unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_demo_moves_a_cache_every_way_and_verifies_it() {
    let output = kv(&["demo", "--model", "llama-3-8b", "--tokens", "100", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let summary = last_line(&output);
    assert_eq!(summary["verified"], true);
    assert_eq!(summary["transport"], "shm");
    // 100 tokens are 7 blocks of 16; 32 layers of K and V; 16 tokens of 1024 elements of 2 bytes.
    let rows = summary["rows"].as_array().unwrap();
    assert_eq!(
        (&rows[0]["blocks"], &rows[0]["block_size"]),
        (&Value::from(32 * 2 * 7), &Value::from(32_768))
    );
    assert_eq!(rows[0]["bytes"], Value::from(32 * 2 * 7 * 32_768));
    let modes: Vec<&str> = rows.iter().filter_map(|row| row["mode"].as_str()).collect();
    assert_eq!(modes, ["pull", "pull blocks", "pull layers", "push", "push layers"]);
    assert!(rows.iter().all(|row| row["verified"] == true));
    assert!(rows[0]["work_requests"].as_u64().unwrap() < 32 * 2 * 7, "neighbouring blocks merge");
}

#[test]
fn the_table_names_the_transport() {
    for transport in ["shm", "tcp"] {
        let output = kv(&["demo", "--model", "deepseek-v3", "--tokens", "64", "--transport", transport]);
        assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("61 layers x 1 tensors x 1 blocks of 73728 bytes"), "{text}");
        let verified = |line: &&str| line.contains(transport) && line.ends_with("yes");
        assert_eq!(text.lines().filter(verified).count(), 5, "{text}");
    }
}

#[test]
fn a_file_arrives_identical() {
    let folder = tempfile::tempdir().unwrap();
    let (input, output) = (folder.path().join("in"), folder.path().join("out"));
    for length in [1_usize, 65_536, 5_000_003] {
        let bytes: Vec<u8> = (0..length).map(|index| ((index * index) >> 3) as u8).collect();
        fs::write(&input, &bytes).unwrap();
        let result = kv(&["demo", "--input", path(&input), "--output", path(&output), "--json"]);
        assert_eq!(result.status.code(), Some(0), "{}", complaint(&result));
        assert!(fs::read(&output).unwrap() == bytes, "{length} bytes differ");
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let small = folder.path().join("small");
    fs::write(&small, [1; 100]).unwrap();
    let empty = folder.path().join("empty");
    fs::write(&empty, []).unwrap();
    let cases: [(&[&str], &str); 6] = [
        (&["demo", "--model", "gpt-9"], "deepseek-v3"),
        (&["demo", "--tokens", "0"], "zero"),
        (&["demo", "--input", "/no/such/file"], "/no/such/file"),
        (&["demo", "--input", path(&empty)], "empty"),
        (&["demo", "--model", "llama-3-8b", "--input", path(&small)], "100 bytes"),
        (&["demo", "--output", path(&small)], "--input"),
    ];
    for (arguments, expected) in cases {
        let output = kv(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", complaint(&output));
        assert!(complaint(&output).contains(expected), "{arguments:?}: {}", complaint(&output));
    }
}

#[test]
fn a_transport_that_is_not_here_is_exit_code_3() {
    if Path::new("/sys/class/infiniband").read_dir().is_ok_and(|mut devices| devices.next().is_some()) {
        // This machine has a NIC: then the transport works or names a path that does not.
        return assert_ne!(kv(&["demo", "--transport", "verbs", "--tokens", "64"]).status.code(), Some(3));
    }
    let output = kv(&["demo", "--transport", "verbs", "--tokens", "64"]);
    assert_eq!(output.status.code(), Some(3), "{}", complaint(&output));
    assert!(complaint(&output).contains("verbs"), "{}", complaint(&output));
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    fs::write(&input, [1; 100]).unwrap();
    let output = kv(&["demo", "--input", path(&input), "--output", "/no/such/folder/out"]);
    assert!(!output.status.success());
    assert!(complaint(&output).contains("/no/such/folder/out"), "{}", complaint(&output));
}
