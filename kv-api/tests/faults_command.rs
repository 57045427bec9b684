//! The `kv` command when things go wrong: no space, bad peers on its port, and death of the parent.

mod faults_support;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use faults_support::{
    PATIENCE, Prefill, decode_verifies, engine, files_of_dev_shm, kv, run, shared_memory_files, within,
};
use kv_api::planner::Selection;
use nix::{
    errno::Errno,
    sys::{
        prctl::set_child_subreaper,
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use pmd_host::{
    control::{HELLO_LIMIT, MAGIC, VERSION},
    soft::ArenaOptions,
};

#[test]
fn more_memory_than_there_is_is_exit_code_3() {
    // 61 layers of 1152 bytes a token: 280 TB.
    let output = run(&["demo", "--model", "deepseek-v3", "--tokens", "4000000000"]);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{complaint}");
    assert!(complaint.contains("no space for") && complaint.contains("prefill"), "{complaint}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

fn preamble(version: u16) -> Vec<u8> {
    [&MAGIC[..], &version.to_le_bytes(), &[0, 0]].concat()
}

/// What arrives until the other side closes.
fn answered(mut stream: TcpStream) -> Vec<u8> {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("not closed: {error}"),
        _ => bytes,
    }
}

fn send(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    // A peer that has seen enough may close before all of it is sent.
    let _ = stream.write_all(bytes);
    stream
}

#[test]
fn bad_peers_are_turned_away_and_good_ones_are_served() {
    let mut prefill = Prefill::start("64");
    let good = engine("good");
    let peer = good.connect(prefill.address).unwrap();
    let remote = good.remote_cache(&peer, "prefill", PATIENCE).unwrap();
    let layout = remote.descriptor().layout;
    let cache = good.allocate_cache("mine", layout, ArenaOptions::default()).unwrap();
    let pulled = remote.pull(&cache, Selection::whole(&layout)).unwrap();

    let noise: Vec<u8> =
        (0..200_000_u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let huge = [preamble(VERSION), u32::MAX.to_le_bytes().to_vec()].concat();
    let long = [preamble(VERSION), (HELLO_LIMIT + 1).to_le_bytes().to_vec()].concat();
    let unparsable = [preamble(VERSION), vec![4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]].concat();
    // A keep-alive, which is nothing to begin with.
    let early = [preamble(VERSION), vec![1, 0, 0, 0, 1]].concat();
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), noise, huge, long, unparsable, early] {
        answered(send(prefill.address, &bytes));
        assert_eq!(pulled.post(None).unwrap().wait(None).unwrap().bytes, layout.total_bytes());
    }
    for version in [0, VERSION + 1, u16::MAX] {
        let told = answered(send(prefill.address, &preamble(version)));
        assert_eq!(
            told.get(..12),
            Some(&preamble(VERSION)[..]),
            "the peer is told which version is spoken here"
        );
    }
    // Cut off in every place, and some that never say anything.
    let cut: Vec<u8> = [preamble(VERSION), vec![200, 0, 0, 0, 0, 1, 2, 3]].concat();
    (0..cut.len()).for_each(|length| drop(send(prefill.address, &cut[..length])));
    let silent: Vec<TcpStream> = (0..30).map(|_| TcpStream::connect(prefill.address).unwrap()).collect();
    decode_verifies(prefill.address);
    assert_eq!(peer.down_reason(), None);
    assert_eq!(pulled.post(None).unwrap().wait(None).unwrap().bytes, layout.total_bytes());
    assert!(prefill.is_running());
    drop(silent);
}

/// Processes whose parent is `pid`.
fn children(pid: i32) -> Vec<i32> {
    let numbers = fs::read_dir("/proc").unwrap().flatten();
    let numbers = numbers.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers.filter(|number| parent(*number) == Some(pid)).collect()
}

fn parent(pid: i32) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, but the last bracket ends it.
    text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn nothing_outlives_a_demo_that_is_killed() {
    let files = shared_memory_files();
    // Orphans become this process's children, which can see them end whoever else would reap them.
    set_child_subreaper(true).unwrap();
    let mut outlived = 0;
    for delay in [0, 30, 100, 300, 800, 1500] {
        let mut demo = kv(&["demo", "--model", "deepseek-v3", "--tokens", "1024", "--json"]).spawn().unwrap();
        let pid = demo.id() as i32;
        within(|| (!children(pid).is_empty() || demo.try_wait().unwrap().is_some()).then_some(()));
        thread::sleep(Duration::from_millis(delay));
        // A demo that is done already has no children any more.
        let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP);
        let orphans = children(pid);
        for &orphan in &orphans {
            assert_eq!(files_of_dev_shm(orphan as u32), [""; 0]);
        }
        demo.kill().unwrap();
        demo.wait().unwrap();
        outlived += orphans.len();
        orphans.into_iter().for_each(ends);
    }
    assert!(outlived > 0, "no demo was killed while it had children");
    assert_eq!(shared_memory_files(), files);
}

/// Waits for the end of an orphan.
fn ends(orphan: i32) {
    within(|| match waitpid(Pid::from_raw(orphan), Some(WaitPidFlag::WNOHANG)) {
        Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD) => Some(()),
        _ => None,
    });
    assert!(!fs::exists(format!("/proc/{orphan}")).unwrap(), "the process is still there");
}
