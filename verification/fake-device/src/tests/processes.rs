//! Memory of one process in another.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Command, Stdio},
};

use super::*;
use crate::{IpcHandle, Owner, memory::FREED};

/// The half of the tests that runs in another process: shares memory, frees it at the first line that it reads and ends
/// at the second.
#[test]
#[ignore = "run by the other tests"]
fn owner() {
    let runtime = runtime();
    let memory = runtime.allocate(0, 64).unwrap();
    put(&runtime, memory, b"of the owner").unwrap();
    let handle = runtime.export(memory + 5).unwrap().to_bytes();
    println!("\nhandle {}", handle.map(|byte| format!("{byte:02x}")).concat());
    let mut lines = std::io::stdin().lines();
    lines.next();
    runtime.free(memory, Owner::Device(0)).unwrap();
    println!("\nfreed");
    lines.next();
}

struct Peer {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Peer {
    fn start() -> (Self, IpcHandle) {
        let this = env::current_exe().unwrap();
        let mut child = Command::new(this)
            .args(["tests::processes::owner", "--exact", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut peer = Self { child, output };
        let text = peer.line("handle ");
        let bytes: Vec<u8> = (0..text.len() / 2)
            .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        (peer, IpcHandle::from_bytes(&bytes).unwrap())
    }

    fn line(&mut self, begin: &str) -> String {
        let mut lines = self.output.by_ref().lines();
        lines.find_map(|line| line.unwrap().strip_prefix(begin).map(str::to_owned)).unwrap()
    }

    fn free(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        self.line("freed");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn memory_of_a_peer_is_opened_and_written() {
    let runtime = runtime();
    let (mut peer, handle) = Peer::start();
    let memory = runtime.import(1, &handle).unwrap();
    assert_eq!(runtime.find(memory + 3).unwrap().owner, Owner::Imported(1));
    assert_eq!(bytes(&runtime, memory, 12).unwrap(), b"of the owner");
    put(&runtime, memory, b"me").unwrap();
    assert_eq!(bytes(&runtime, memory, 6).unwrap(), b"me the");
    peer.free();
    assert_eq!(bytes(&runtime, memory, 2).unwrap(), [FREED; 2]);
    assert_eq!(runtime.import(1, &handle), Err(FakeError::Gone));
    assert_eq!((runtime.counts().imported, runtime.counts().allocations), (1, 0));
    runtime.free(memory, Owner::Imported(1)).unwrap();
    assert_eq!(runtime.counts(), crate::Counts::default());
}

#[test]
fn memory_of_a_dead_peer_is_gone_for_who_comes_late() {
    let runtime = runtime();
    let (peer, handle) = Peer::start();
    let memory = runtime.import(0, &handle).unwrap();
    drop(peer);
    assert_eq!(bytes(&runtime, memory, 6).unwrap(), b"of the");
    assert_eq!(runtime.import(0, &handle), Err(FakeError::Gone));
    runtime.free(memory, Owner::Imported(0)).unwrap();
}

#[test]
fn handles_of_this_process_and_other_bytes_are_refused() {
    let runtime = runtime();
    let memory = runtime.allocate(0, 64).unwrap();
    let handle = runtime.export(memory).unwrap();
    assert_eq!(IpcHandle::from_bytes(&handle.to_bytes()), Some(handle));
    assert!(matches!(runtime.import(0, &handle), Err(FakeError::Invalid { .. })));
    assert_eq!(IpcHandle::from_bytes(&[0; 32]), None);
    assert_eq!(IpcHandle::from_bytes(b"FDV1"), None);
    let pinned = runtime.allocate_pinned(8).unwrap();
    assert_eq!(runtime.export(pinned), Err(FakeError::WrongOwner { address: pinned }));
}
