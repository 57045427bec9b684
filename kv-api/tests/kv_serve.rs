//! `kv serve` and `kv fetch` as a user runs them, on one host.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

/// A `kv serve` that is killed at the end of the test, if it has not ended.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = kv(&[&["serve", "--listen", "127.0.0.1:0"], arguments].concat());
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut line = || lines.next().expect("it says where it listens").expect("text");
        let (_summary, listening) = (line(), line());
        let address = listening.strip_prefix("listening on ").expect(&listening).to_owned();
        Self { child, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for one that is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kv(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_kv"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kv starts")
}

/// Waits for the end of a process; kills it after a bound, so that no test hangs.
fn finish(mut child: Child) -> Output {
    let deadline = Instant::now() + LIMIT;
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("a child");
            panic!("kv took longer than {LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("its output")
}

fn fetch(address: &str, arguments: &[&str]) -> Output {
    finish(kv(&[&["fetch", address], arguments].concat()))
}

#[test]
fn a_file_is_fetched_five_ways_by_one_peer_after_the_other() {
    let folder = tempfile::tempdir().expect("a folder");
    let (input, output) = (folder.path().join("input"), folder.path().join("output"));
    let content: Vec<u8> = (0..300_001_u32).map(|index| (index % 251) as u8).collect();
    fs::write(&input, &content).expect("written");
    let server = Server::start(&["--input", input.to_str().expect("text")]);
    for _ in 0..2 {
        let _ = fs::remove_file(&output);
        let arguments = ["--output", output.to_str().expect("text"), "--json"];
        let fetched = fetch(&server.address, &arguments);
        assert_eq!(fetched.status.code(), Some(0), "{}", String::from_utf8_lossy(&fetched.stderr));
        let text = String::from_utf8_lossy(&fetched.stdout).into_owned();
        let figures: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
        assert_eq!((&figures["op"], &figures["verified"]), (&Value::from("fetch"), &Value::from(true)));
        assert_eq!(figures["rows"].as_array().map(Vec::len), Some(5));
        assert_eq!(fs::read(&output).expect("the output"), content);
    }
}

#[test]
fn once_ends_when_the_peer_has_gone() {
    let mut server = Server::start(&["--model", "llama-3-8b", "--tokens", "16", "--once"]);
    let fetched = fetch(&server.address, &[]);
    assert_eq!(fetched.status.code(), Some(0), "{}", String::from_utf8_lossy(&fetched.stderr));
    assert_eq!(String::from_utf8_lossy(&fetched.stdout).matches(" yes").count(), 5);
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        match server.child.try_wait().expect("a child") {
            Some(status) => break status,
            None => assert!(Instant::now() < deadline, "it stays after its peer has gone"),
        }
        thread::sleep(Duration::from_millis(5));
    };
    let mut said = String::new();
    server.child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert!(status.success(), "{status}: {said}");
}

#[test]
fn a_peer_that_is_killed_leaves_the_server_to_others() {
    let server = Server::start(&["--tokens", "2048"]);
    for pause in [0, 30, 150] {
        let mut killed = kv(&["fetch", &server.address]);
        thread::sleep(Duration::from_millis(pause));
        killed.kill().expect("a child");
        killed.wait().expect("a child");
    }
    let fetched = fetch(&server.address, &[]);
    assert_eq!(fetched.status.code(), Some(0), "{}", String::from_utf8_lossy(&fetched.stderr));
}

#[test]
fn a_cache_is_fetched_over_two_rails_and_both_carry() {
    let rails = ["--transport", "tcp", "--rails", "127.0.0.1,127.0.0.2"];
    let server = Server::start(&[&["--tokens", "512"], &rails[..]].concat());
    let fetched = fetch(&server.address, &[&rails[..], &["--json"]].concat());
    let said = String::from_utf8_lossy(&fetched.stderr).into_owned();
    assert_eq!(fetched.status.code(), Some(0), "{said}");
    let text = String::from_utf8_lossy(&fetched.stdout).into_owned();
    let figures: Value = serde_json::from_str(text.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&figures["transport"], &figures["verified"]), (&"tcp".into(), &true.into()), "{figures}");
    let of = |rail: &Value, what: &str| rail[what].as_u64().expect("a number");
    let reports = figures["rails"].as_array().expect("rails");
    let numbers: Vec<u64> = reports.iter().map(|rail| of(rail, "rail")).collect();
    assert_eq!(numbers, [0, 1], "{said}");
    assert!(reports.iter().all(|rail| of(rail, "chunks") > 0 && of(rail, "lives") > 0), "{figures}");
    let pulled: u64 = reports.iter().map(|rail| of(rail, "bytes")).sum();
    assert!(pulled >= figures["rows"][0]["bytes"].as_u64().expect("bytes"), "{figures}");
}

#[test]
fn rails_are_refused_where_shared_memory_carries_the_bytes() {
    let server = Server::start(&["--model", "llama-3-8b", "--tokens", "16"]);
    let refused = fetch(&server.address, &["--rails", "127.0.0.1,127.0.0.2"]);
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{complaint}");
    assert!(complaint.contains("rails on addresses are for TCP"), "{complaint}");
    assert!(complaint.contains("shm"), "{complaint}");
}

#[test]
fn rails_that_are_on_nothing_are_refused_with_the_reason() {
    let server = Server::start(&["--model", "llama-3-8b", "--tokens", "16"]);
    for (rails, code, reason) in [
        ("127.0.0.300", 2, "neither an IP address of this host nor the name of a NIC"),
        ("127.0.0.1,mlx5_0", 2, "name addresses alone (over TCP), or NICs alone"),
        ("mlx5_0,mlx5_0", 2, "mlx5_0 is named twice"),
        ("no_such_nic", 3, "a rail's NIC: "),
    ] {
        let refused = fetch(&server.address, &["--rails", rails]);
        let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(code), "{rails}: {complaint}");
        assert!(complaint.contains(reason), "{rails}: {complaint}");
    }
}

/// A key's file that only its owner can read.
fn key_file(folder: &Path, name: &str, digits: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, digits.repeat(32)).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
    path.to_str().expect("text").to_owned()
}

#[test]
fn with_a_key_only_those_who_have_it_are_served() {
    let folder = tempfile::tempdir().expect("a folder");
    let (key, other) = (key_file(folder.path(), "key", "5a"), key_file(folder.path(), "other", "a5"));
    let small = ["--model", "llama-3-8b", "--tokens", "16", "--transport", "tcp"];
    let server = Server::start(&[&small[..], &["--key-file", &key]].concat());
    let tcp = ["--transport", "tcp"];
    for data_encryption in ["on", "off"] {
        let options = ["--key-file", &key, "--data-encryption", data_encryption];
        let fetched = fetch(&server.address, &[&tcp[..], &options].concat());
        assert_eq!(fetched.status.code(), Some(0), "{}", String::from_utf8_lossy(&fetched.stderr));
        assert_eq!(String::from_utf8_lossy(&fetched.stdout).matches(" yes").count(), 5);
    }
    let refusals: [(&[&str], i32, &str); 4] = [
        (&[], 1, "the peer has a pre-shared key and this side has none"),
        (&["--key-file", &other], 1, "the peer has another pre-shared key"),
        (&["--key-file", "/nowhere/key"], 2, "PMD_KEY_FILE"),
        (&["--key-file", &key, "--data-encryption", "perhaps"], 2, "on or off"),
    ];
    for (options, code, said) in refusals {
        let refused = fetch(&server.address, &[&tcp[..], options].concat());
        let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(code), "{complaint}");
        assert!(complaint.contains(said), "{complaint}");
        assert!(!complaint.contains("5a5a") && !complaint.contains("a5a5"));
    }
}

#[test]
fn nobody_to_fetch_from_and_wrong_addresses_are_told() {
    let refused = fetch("127.0.0.1:1", &[]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("is the peer running and listening there"));
    assert_eq!(fetch("somewhere", &[]).status.code(), Some(2));
}

/// What `kv serve --metrics` answers to a scraper.
fn scrape(address: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it serves");
    stream.set_read_timeout(Some(LIMIT)).expect("a time-out");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").expect("written");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, page) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    page.to_owned()
}

/// The sum of the samples whose lines begin so.
fn sum(page: &str, start: &str) -> u64 {
    let lines = page.lines().filter(|line| line.starts_with(start));
    lines.map(|line| line.rsplit_once(' ').expect(line).1.parse::<u64>().expect(line)).sum()
}

#[test]
fn metrics_tell_what_was_pushed() {
    let mut server = Server::start(&["--model", "llama-3-8b", "--tokens", "16", "--metrics", "0"]);
    let mut said = String::new();
    let stderr = server.child.stderr.take().expect("piped");
    BufReader::new(stderr).read_line(&mut said).expect("text");
    let address =
        said.trim().strip_prefix("kv: metrics on http://").and_then(|rest| rest.strip_suffix("/metrics"));
    let address = address.expect(&said);
    assert_eq!(sum(&scrape(address), "pmd_kv_completed_transfers_total "), 0);
    let fetched = fetch(&server.address, &["--json"]);
    assert_eq!(fetched.status.code(), Some(0), "{}", String::from_utf8_lossy(&fetched.stderr));
    let page = scrape(address);
    let pushed = sum(&page, "pmd_kv_bytes_total ");
    assert!(pushed > 0, "{page}");
    assert_eq!(
        sum(&page, "pmd_lane_transfer_bytes_total{transport=\"shm\",lane=\"0\",direction=\"write\"} "),
        pushed
    );
    let transfers = sum(&page, "pmd_kv_completed_transfers_total ");
    assert_eq!(
        sum(
            &page,
            "pmd_lane_transfer_duration_seconds_count{transport=\"shm\",lane=\"0\",direction=\"write\"} "
        ),
        transfers
    );
    assert_eq!(sum(&page, "pmd_connected_peers_total "), 1);
    assert_eq!(sum(&page, "pmd_lane_failed_completions_total{"), 0);
}
