//! The LLM-DataDist examples, each as two processes in both orders of starting, and what becomes of a linked process
//! whose peer is killed.
#![allow(unsafe_code)] // registers memory

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use kv_api::datadist::*;

const PATIENCE: Duration = Duration::from_secs(60);

/// An example that cargo has built beside this test.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's path");
    let target = test.parent().and_then(|deps| deps.parent()).expect("target/profile/deps");
    let program = target.join("examples").join(name);
    assert!(
        fs::exists(&program).expect("a path"),
        "{} is not built: `cargo build --examples`",
        program.display()
    );
    program
}

/// Three ports that are free now.
fn ports() -> [u16; 3] {
    let sockets = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    sockets.map(|socket| socket.local_addr().expect("an address").port())
}

fn start(name: &str, role: &str, [prompt, decoder, control]: [u16; 3]) -> Child {
    let options = [("--prompt-port", prompt), ("--decoder-port", decoder), ("--control-port", control)];
    let mut command = Command::new(example(name));
    command.arg(role).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (option, port) in options {
        command.arg(option).arg(port.to_string());
    }
    command.spawn().expect("the example starts")
}

/// Waits for its end, within bounds.
fn finish(mut child: Child) -> Output {
    let deadline = Instant::now() + PATIENCE;
    while child.try_wait().expect("a child").is_none() {
        if Instant::now() > deadline {
            child.kill().expect("a child");
            panic!("it hangs: {:?}", child.wait_with_output());
        }
        thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().expect("a child")
}

/// Runs a pair; the roles' outputs must have these lines.
fn run(name: &str, prompt_lines: &[&str], decoder_lines: &[&str]) {
    for prompt_first in [true, false] {
        let ports = ports();
        let order = if prompt_first { ["prompt", "decoder"] } else { ["decoder", "prompt"] };
        let children = order.map(|role| {
            let child = start(name, role, ports);
            thread::sleep(Duration::from_millis(100));
            (role, child)
        });
        for (role, child) in children {
            let output = finish(child);
            let (out, complaint) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(output.status.code(), Some(0), "{name} {role}: {out} {complaint}");
            let lines: Vec<&str> = out.lines().collect();
            assert_eq!(lines, if role == "prompt" { prompt_lines } else { decoder_lines }, "{name} {role}");
        }
    }
}

#[test]
fn pull_cache_and_blocks() {
    run(
        "pull_cache_and_blocks",
        &["cluster 0: registered cache 1", "cluster 0: done"],
        &[
            "cluster 1: registered cache 1",
            "cluster 1: linked with cluster 0",
            "pulled rows 0..4 from cluster 0",
            "verified: rows 0..4 of 4 tensors",
            "cluster 1: unlinked",
            "cluster 1: done",
        ],
    );
}

#[test]
fn push_cache_and_blocks() {
    run(
        "push_cache_and_blocks",
        &[
            "cluster 0: registered cache 1",
            "cluster 0: linked with cluster 1",
            "pushed rows 4..8 to cluster 1",
            "cluster 0: unlinked",
            "cluster 0: done",
        ],
        &["cluster 1: registered cache 1", "verified: rows 4..8 of 4 tensors", "cluster 1: done"],
    );
}

#[test]
fn switch_roles() {
    run(
        "switch_roles",
        &[
            "cluster 0: registered cache 1",
            "cluster 0: linked with cluster 1",
            "pushed rows 4..8 to cluster 1",
            "cluster 0: unlinked",
            "cluster 0: done",
        ],
        &[
            "cluster 1: registered cache 1",
            "cluster 1: linked with cluster 0",
            "pulled rows 0..4 from cluster 0",
            "verified: rows 0..4 of 4 tensors",
            "cluster 1: unlinked",
            "verified: rows 4..8 of 4 tensors",
            "cluster 1: done",
        ],
    );
}

#[test]
fn a_killed_peer_is_a_status_in_bounded_time_and_its_successor_can_be_linked() {
    let ports = ports();
    let mut prompt = start("pull_cache_and_blocks", "prompt", ports);
    let datadist = LlmDataDist::new(1, LlmRole::Decoder);
    let options = [(OPTION_DEVICE_ID, "0"), (OPTION_SYNC_CACHE_WAIT_TIME, "5000")];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    datadist.initialize(&options.into()).expect("initialised");
    let memory = vec![0_i32; 512];
    let desc = CacheDesc::new(CachePlacement::Host, 4, DataType::Int32, &[8, 16]);
    let addresses: Vec<u64> = (0..4).map(|tensor| memory.as_ptr() as u64 + 512 * tensor).collect();
    // SAFETY: the memory outlives the process.
    unsafe { datadist.register_kv_cache(&desc, &addresses, &CacheKeys::None) }.expect("registered");
    let at = IpInfo::parse("127.0.0.1", ports[0]).expect("an address");
    let cluster = ClusterInfo { remote_ip_infos: vec![at], ..ClusterInfo::default() };
    let link = || {
        let deadline = Instant::now() + PATIENCE;
        while datadist.link_llm_clusters(std::slice::from_ref(&cluster), 5000).expect("taken").status()
            != Status::Success
        {
            assert!(Instant::now() < deadline, "it never listens");
            thread::sleep(Duration::from_millis(10));
        }
    };
    let pull = || {
        let from = CacheIndex { cluster_id: 0, cache_id: 1, batch_index: 3 };
        datadist.pull_kv_cache(from, 1, 3, -1, &KvCacheExtParam::default())
    };
    link();
    // It links before it registers, so its cache may come a little later.
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = pull() {
        assert_eq!(error.status(), Status::KvCacheNotExist, "{error}");
        assert!(Instant::now() < deadline, "it never registers");
    }
    prompt.kill().expect("a child");
    prompt.wait().expect("a child");
    let killed = Instant::now();
    let status = loop {
        match pull() {
            Err(error) => break error.status(),
            Ok(()) => assert!(killed.elapsed() < PATIENCE, "nobody notices"),
        }
    };
    assert_eq!(status, Status::NotYetLink);
    let error = datadist.check_link_status(0).expect_err("down");
    assert!(matches!(error, DataDistError::LinkDown { cluster_id: 0, .. }), "{error}");

    let mut successor = start("pull_cache_and_blocks", "prompt", ports);
    link();
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = pull() {
        assert_eq!(error.status(), Status::KvCacheNotExist, "{error}");
        assert!(Instant::now() < deadline, "it never registers");
    }
    successor.kill().expect("a child");
    successor.wait().expect("a child");
    drop(datadist);
    let last = &raw const memory[63];
    // SAFETY: the place is there, and nothing moves any more.
    assert_eq!(unsafe { last.read_volatile() }, 63);
}
