//! The KVTrans example and the benchmark as users run them: in one process and in two, and killed.
#![allow(unsafe_code)] // registers memory of a test

use std::{
    env,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use kv_api::kvtrans::{Config, ConnectionFault, Engine, Memory, ReceiveError, SendError};

const PATIENCE: Duration = Duration::from_secs(90);

/// Cargo builds examples beside the tests' folder, unless it was told to build this test alone.
fn example() -> PathBuf {
    let test = env::current_exe().unwrap();
    let example = test.ancestors().nth(2).unwrap().join("examples/kvtrans_send_recv");
    assert!(example.exists(), "build it first: cargo build -p kv-api --examples");
    example
}

fn start(program: PathBuf, arguments: &[&str]) -> Child {
    Command::new(program).args(arguments).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// Waits for the end, which comes in time or by force.
fn finish(mut child: Child) -> Output {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("it took longer than {PATIENCE:?}");
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

/// Where a receiver listens, and a thread that reads what else it says.
fn listening(receiver: &mut Child) -> (SocketAddr, JoinHandle<String>) {
    let mut output = BufReader::new(receiver.stdout.take().unwrap());
    let (sender, line) = mpsc::channel();
    let reading = thread::spawn(move || {
        let mut first = String::new();
        output.read_line(&mut first).unwrap();
        sender.send(first).unwrap();
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        rest
    });
    let first = line.recv_timeout(PATIENCE).unwrap();
    (first.trim().strip_prefix("listening on ").unwrap().parse().unwrap(), reading)
}

#[test]
fn the_example_runs_in_one_process() {
    let output = finish(start(example(), &[]));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("received 67108864 bytes from 127.0.0.1, as sent"), "{said}");
}

#[test]
fn the_example_runs_in_two_processes() {
    for bytes in ["1", "5000001"] {
        let mut receiver = start(example(), &["receive"]);
        let (address, reading) = listening(&mut receiver);
        let address = address.to_string();
        let sent = finish(start(example(), &["send", &address, bytes]));
        assert!(sent.status.success());
        let ended = finish(receiver);
        let said = reading.join().unwrap();
        assert!(ended.status.success(), "{said}");
        assert!(said.contains(&format!("received {bytes} bytes from 127.0.0.1, as sent")), "{said}");
    }
}

#[test]
fn a_killed_peer_wakes_sends_and_receives() {
    let mut receiver = start(example(), &["receive"]);
    let (address, _reading) = listening(&mut receiver);
    let mut buffer = vec![0_u8; 1000];
    let engine = Engine::open(Config { patience: PATIENCE, ..Config::new("lo", 2, 1, 0) }).unwrap();
    let connection = engine.connect(address.ip(), address.port()).unwrap();
    let memory = Memory::new(buffer.as_mut_ptr(), buffer.len());
    // SAFETY: the buffer outlives the engine's use of it, and is not looked at.
    let kv = unsafe { engine.reg_kv(connection, &memory.host()) }.unwrap();
    let receive = engine.post_receive(kv, 1000, None).unwrap();
    // It receives one message and ends: the second send meets nobody. It may end by itself before it is killed.
    // SAFETY: as above.
    let sends = [(); 2].map(|()| unsafe { engine.post_send(kv, memory, None) }.unwrap());
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    let gone =
        |fault: &ConnectionFault| matches!(fault, ConnectionFault::PeerDown(_) | ConnectionFault::Route(_));
    let received = receive.wait().unwrap_err();
    assert!(matches!(&received, ReceiveError::Connection(fault) if gone(fault)), "{received}");
    let [first, second] = sends.map(|send| send.wait());
    assert!(matches!(&first, Ok(()) | Err(SendError::Connection(_) | SendError::Transfer(_))), "{first:?}");
    assert!(matches!(&second, Err(SendError::Connection(fault)) if gone(fault)), "{second:?}");
    assert_eq!(engine.counts().connections, 0);
}

#[test]
fn wrong_arguments_are_refused() {
    assert!(!finish(start(example(), &["receive", "this"])).status.success());
}

#[test]
fn the_benchmark_verifies_what_kvtrans_moves() {
    for operation in ["read", "write"] {
        for memory in ["heap", "arena"] {
            let case =
                ["bench", "--api", "kvtrans", "--op", operation, "--memory", memory, "--verify", "all"];
            let shape =
                ["--blocks", "64", "--block-size", "4096", "--iters", "3", "--idle", "park", "--json"];
            let output = finish(start(env!("CARGO_BIN_EXE_kv").into(), &[&case[..], &shape[..]].concat()));
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{said}");
            let figures: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
            assert_eq!((&figures["verified"], &figures["api"]), (&true.into(), &"kvtrans".into()), "{said}");
            assert_eq!(figures["work_requests"], 64);
        }
    }
}
