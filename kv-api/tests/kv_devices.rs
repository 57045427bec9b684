//! The `kv` command with caches on a device: ordinary memory in its place here. The verification suite `accelerators` runs it
//! on stand-ins for the runtimes.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

fn start(arguments: &[&str]) -> Child {
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

fn kv(arguments: &[&str]) -> Output {
    finish(start(arguments))
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The last line of a run that succeeded.
fn figures(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", complaint(output));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(text.lines().last().expect("a line")).expect("JSON")
}

const SMALL: [&str; 4] = ["--model", "llama-3-8b", "--tokens", "32"];

#[test]
fn the_demo_moves_between_devices_and_between_device_and_host() {
    let (device, host) = ("device copy", "mapped");
    for (end, prefill, decode) in
        [("both", device, device), ("prefill", device, host), ("decode", host, device)]
    {
        let arguments = ["demo", "--device", "cpu", "--device-end", end, "--json"];
        let figures = figures(&kv(&[&arguments[..], &SMALL[..]].concat()));
        assert_eq!((&figures["verified"], &figures["transport"]), (&Value::from(true), &Value::from("shm")));
        let rows = figures["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), 5);
        for row in rows {
            assert_eq!(
                (&row["prefill_path"], &row["decode_path"]),
                (&prefill.into(), &decode.into()),
                "{row}"
            );
            assert_eq!(row["verified"], true, "{row}");
        }
    }
}

#[test]
fn the_table_says_which_way_the_bytes_go() {
    for (end, way) in [("both", "shm, device copy"), ("prefill", "shm, device copy to mapped")] {
        let arguments = ["demo", "--device", "cpu", "--device-end", end];
        let output = kv(&[&arguments[..], &SMALL[..]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let told = |line: &&str| line.contains(&format!("  {way}  ")) && line.ends_with("yes");
        assert_eq!(text.lines().filter(told).count(), 5, "{text}");
    }
}

/// A server of a cache on a device, until its first peer has gone; and where it listens.
fn serve() -> (Child, String) {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--device", "cpu", "--once"];
    let mut server = start(&[&arguments[..], &SMALL[..]].concat());
    let mut lines = BufReader::new(server.stdout.take().expect("piped")).lines();
    let mut line = || lines.next().expect("it says where it listens").expect("text");
    let (_summary, listening) = (line(), line());
    let address = listening.strip_prefix("listening on ").expect(&listening).to_owned();
    (server, address)
}

#[test]
fn what_a_device_serves_is_fetched_into_host_memory() {
    let (server, address) = serve();
    let fetched = kv(&["fetch", &address, "--device", "cpu", "--in-host-memory", "--json"]);
    let figures = figures(&fetched);
    assert_eq!(figures["verified"], true);
    assert_eq!(figures["rows"][0]["prefill_path"], "device copy");
    assert_eq!(figures["rows"][0]["decode_path"], "mapped");
    let served = finish(server);
    assert_eq!(served.status.code(), Some(0), "{}", complaint(&served));
}

#[test]
fn who_fetches_without_the_device_is_told() {
    for arguments in [&[][..], &["--device", "cpu:1"]] {
        let (server, address) = serve();
        let refused = kv(&[&["fetch", address.as_str()][..], arguments].concat());
        assert_eq!(refused.status.code(), Some(1), "{}", complaint(&refused));
        let told = complaint(&refused);
        assert!(told.contains("on a cpu device that this engine does not drive"), "{told}");
        let served = finish(server);
        assert_eq!(served.status.code(), Some(0), "{}", complaint(&served));
    }
}

#[test]
fn the_benchmark_measures_devices_too() {
    let small = ["--blocks", "64", "--block-size", "4096", "--iters", "2", "--verify", "all", "--json"];
    for operation in ["read", "write"] {
        for (place, memory, path) in
            [(None, "cpu:0", "device copy"), (Some("--in-host-memory"), "arena", "mapped")]
        {
            let arguments = ["bench", "--op", operation, "--device", "cpu"];
            let arguments: Vec<&str> = arguments.into_iter().chain(place).chain(small).collect();
            let figures = figures(&kv(&arguments));
            assert_eq!((&figures["memory"], &figures["path"]), (&memory.into(), &path.into()), "{figures}");
            assert_eq!((&figures["peer_memory"], &figures["verified"]), (&"cpu:0".into(), &true.into()));
        }
    }
}

#[test]
fn every_api_moves_between_devices_and_to_and_from_the_host() {
    let small = ["--blocks", "16", "--block-size", "4096", "--iters", "1", "--warmup", "0", "--json"];
    for api in ["agent", "datadist", "hixl", "kvtrans"] {
        for (operation, place) in [("read", None), ("write", None), ("read", Some("--in-host-memory"))] {
            let arguments = ["bench", "--api", api, "--op", operation, "--device", "cpu"];
            let arguments: Vec<&str> = arguments.into_iter().chain(place).chain(small).collect();
            let figures = figures(&kv(&arguments));
            assert_eq!(
                (&figures["verified"], &figures["peer_memory"]),
                (&true.into(), &"cpu:0".into()),
                "{api}"
            );
        }
    }
}

/// What the loader finds here decides what is said, and nothing of it is ever opened.
#[test]
fn a_runtime_that_is_not_here_is_exit_code_3_and_named() {
    let cases = [
        ("cuda:4000", "fake-cuda", "CUDA driver not found: libcuda.so.1"),
        ("rocm:4000", "fake-rocm", "ROCm runtime not found: libamdhip64.so"),
        ("ascend:4000", "fake-ascend", "Ascend runtime not found: libascendcl.so"),
    ];
    for (real, fake, absent) in cases {
        let output = kv(&["demo", "--device", fake]);
        assert_eq!(output.status.code(), Some(3), "{fake}: {}", complaint(&output));
        let installed = complaint(&output).contains("is no stand-in");
        assert!(installed || complaint(&output).contains(absent), "{fake}: {}", complaint(&output));
        let output = kv(&["demo", "--device", real]);
        assert_eq!(output.status.code(), Some(3), "{real}: {}", complaint(&output));
        assert!(installed || complaint(&output).contains(absent), "{real}: {}", complaint(&output));
    }
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_what_is_wrong() {
    let cases: [(&[&str], &str); 5] = [
        (&["demo", "--device", "gpu"], "\"gpu\" names no device"),
        (&["demo", "--device", "fake-cpu"], "names no device"),
        (&["demo", "--device-end", "prefill"], "--device"),
        (&["fetch", "127.0.0.1:1", "--in-host-memory"], "--device"),
        (&["bench", "--op", "read", "--device", "cpu", "--baseline"], "--baseline"),
    ];
    for (arguments, expected) in cases {
        let output = kv(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", complaint(&output));
        assert!(complaint(&output).contains(expected), "{arguments:?}: {}", complaint(&output));
    }
}
