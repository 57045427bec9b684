//! Memory of one process in another.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Command, Stdio},
};

use crate::support::*;

/// What the other process does: shares memory or opens what it is given, and obeys one line after the other.
#[test]
#[ignore = "run by the other tests"]
fn peer() {
    let gpu = open(0);
    let mut memory = Some(gpu.allocate(256).unwrap());
    let base = address(&**memory.as_ref().unwrap());
    put(&*gpu, base, b"of the owner");
    println!("\n{}", text(&memory.as_ref().unwrap().share().unwrap()));
    let mut opened = Vec::new();
    for line in std::io::stdin().lines() {
        match line.unwrap().split_once(' ').unwrap() {
            ("free", _) => drop(memory.take()),
            ("open", handle) => opened.push(gpu.import(&handle_of(handle)).unwrap()),
            (other, _) => panic!("{other}"),
        }
        println!("\ndone");
    }
}

pub(crate) fn text(handle: &ShareHandle) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("handle {} {} {} {}", hex(&handle.device), hex(&handle.opaque), handle.offset, handle.length)
}

pub(crate) fn handle_of(text: &str) -> ShareHandle {
    let parts: Vec<&str> = text.split(' ').collect();
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    ShareHandle {
        kind: AcceleratorKind::Cuda,
        device: bytes(parts[0]).try_into().unwrap(),
        opaque: bytes(parts[1]),
        offset: parts[2].parse().unwrap(),
        length: parts[3].parse().unwrap(),
    }
}

pub(crate) struct Peer {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Peer {
    fn start() -> (Self, ShareHandle) {
        let mut peer = Self::running(command("gpu_direct::processes::peer"));
        let handle = handle_of(&peer.line("handle "));
        (peer, handle)
    }

    pub(crate) fn running(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    pub(crate) fn line(&mut self, begin: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the peer has ended");
            if let Some(rest) = line.trim_end().strip_prefix(begin) {
                return rest.to_owned();
            }
        }
    }

    pub(crate) fn tell(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
        self.line("done");
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

case!(
    an_allocation_is_opened_once_and_shared,
    ["FAKE_DEVICE_FAULTS" = "cuIpcOpenMemHandle@2=999,cuIpcOpenMemHandle@4=999"],
    {
        let gpu = open(0);
        let (mut peer, handle) = Peer::start();
        let memory = gpu.import(&handle).unwrap();
        let part = gpu.import(&ShareHandle { offset: 7, length: 5, ..handle.clone() }).unwrap();
        assert_eq!((address(&*part), counts().imported), (address(&*memory) + 7, 1));
        assert_eq!(bytes(&*gpu, address(&*part), 5), b"owner");
        put(&*gpu, address(&*memory), b"me");
        drop(memory);
        assert_eq!((bytes(&*gpu, address(&*part) - 7, 4), counts().imported), (b"me t".to_vec(), 1));
        assert!(matches!(part.share().unwrap_err(), AcceleratorError::Unsupported { .. }));
        drop(part);
        assert_eq!(counts().imported, 0);
        assert_eq!(code(&gpu.import(&handle).unwrap_err()), 999);
        let again = gpu.import(&handle).unwrap();
        peer.tell("free now");
        drop(again);
        drop(gpu);
        assert_nothing_left();
    }
);

case!(memory_of_an_owner_that_freed_it_or_died_is_gone, [], {
    let gpu = open(0);
    let gone = AcceleratorError::Gone { kind: AcceleratorKind::Cuda };
    let (mut peer, handle) = Peer::start();
    peer.tell("free now");
    assert_eq!(gpu.import(&handle).unwrap_err(), gone);
    drop(peer);
    let (peer, handle) = Peer::start();
    let memory = gpu.import(&handle).unwrap();
    peer.kill();
    assert_eq!(bytes(&*gpu, address(&*memory), 2), b"of");
    drop(memory);
    assert_eq!(gpu.import(&handle).unwrap_err(), gone);
    drop(gpu);
    assert_nothing_left();
});

case!(a_killed_peer_that_holds_our_memory_leaves_nothing, [], {
    let gpu = open(0);
    let memory = gpu.allocate(64).unwrap();
    let (mut peer, _) = Peer::start();
    peer.tell(&text(&memory.share().unwrap()).replace("handle", "open"));
    peer.kill();
    put(&*gpu, address(&*memory), b"alive");
    assert_eq!(bytes(&*gpu, address(&*memory), 5), b"alive");
    drop((memory, gpu));
    assert_nothing_left();
});

case!(opened_memory_is_closed_behind_its_copies, [], {
    let gpu = open(0);
    let (_peer, handle) = Peer::start();
    let (stream, gate) = (gpu.open_stream().unwrap(), gpu.flag().unwrap());
    let (memory, target) = (gpu.import(&handle).unwrap(), gpu.allocate(256).unwrap());
    stream.wait_value(&gate, 1).unwrap();
    let (from, to) = (address(&*memory), address(&*target));
    let range = CopyRange { from, to, length: 256, direction: CopyDirection::DeviceToDevice };
    // SAFETY: what is dropped is closed behind the copy, which is what this is about.
    unsafe { stream.copy(&[range]) }.unwrap();
    drop(memory);
    drop(gpu.allocate(64).unwrap());
    assert_eq!(counts().imported, 1);
    gate.store(1);
    finish(&stream);
    assert_eq!(bytes(&*gpu, to, 12), b"of the owner");
    drop(gpu.allocate(64).unwrap());
    assert_eq!(counts().imported, 0);
    drop((stream, gate, target, gpu));
    assert_nothing_left();
});
