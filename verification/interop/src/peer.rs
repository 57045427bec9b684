//! The verbs peer in C, told what to do line by line. `peer.c` lists the commands.

use std::net::Ipv6Addr;

use pmd_core::memory::{RemoteAddress, RemoteKey};
use pmd_host::backend::FabricAddress;

use crate::process::Process;

/// Bytes of the peer's memory.
pub const BYTES: usize = 4 << 20;

/// `IBV_WC_SUCCESS` and others, as the peer prints them.
pub mod status {
    /// The request is done.
    pub const SUCCESS: u32 = 0;
    /// The peer's peer refused the key, the bounds or the right.
    pub const REMOTE_ACCESS: u32 = 10;
}

/// `enum ibv_wc_opcode`, as the peer prints it.
pub mod opcode {
    /// A receive that a SEND filled.
    pub const RECEIVE: u32 = 128;
    /// A receive that a WRITE with immediate took.
    pub const RECEIVE_WRITE_IMMEDIATE: u32 = 129;
}

/// How a peer is started.
#[derive(Clone, Debug)]
pub struct PeerOptions {
    /// The compiled peer.
    pub program: String,
    /// Its device.
    pub device: String,
    /// The device's port.
    pub port: u8,
    /// Index of its GID; `None` goes by LID.
    pub gid_index: Option<u32>,
}

/// A receive of the peer's that completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Number of the receive.
    pub id: u64,
    /// `enum ibv_wc_status`.
    pub status: u32,
    /// `enum ibv_wc_opcode`.
    pub opcode: u32,
    /// Bytes.
    pub length: u32,
    /// Immediate, where one came.
    pub immediate: Option<u32>,
}

/// A running peer.
#[derive(Debug)]
pub struct Peer {
    process: Process,
    /// Where its queue pair is.
    pub address: FabricAddress,
    base: u64,
    key: RemoteKey,
}

impl Peer {
    /// Starts a peer, whose receives come from a shared queue if asked for.
    ///
    /// # Panics
    /// When it does not introduce itself.
    #[must_use]
    pub fn start(options: &PeerOptions, shared_receives: bool) -> Self {
        let gid = options.gid_index.map_or("-1".to_owned(), |index| index.to_string());
        let port = options.port.to_string();
        let mut arguments = vec![options.device.as_str(), &port, &gid];
        arguments.extend(shared_receives.then_some("srq"));
        let mut process = Process::start(&options.program, &arguments);
        let line = process.line();
        let words: Vec<&str> = line.split(' ').collect();
        let ["peer", lid, queue_pair, packet_sequence, gid, base, key, length] = words[..] else {
            panic!("the peer says {line:?}");
        };
        let gid = u128::from_str_radix(gid, 16).expect("a GID");
        assert_eq!(number(length), BYTES as u64);
        let address = FabricAddress {
            queue_pair: number(queue_pair) as u32,
            packet_sequence: number(packet_sequence) as u32,
            lid: number(lid) as u16,
            gid: Ipv6Addr::from_bits(gid),
            mtu: 4096,
        };
        Self { process, address, base: number(base), key: RemoteKey(number(key) as u32) }
    }

    /// Where its memory is, for one-sided requests of ours.
    #[must_use]
    pub fn remote(&self, offset: usize) -> RemoteAddress {
        RemoteAddress { address: self.base + offset as u64, key: self.key }
    }

    /// Connects it to our queue pair.
    pub fn connect(&mut self, ours: &FabricAddress, mtu: u16) {
        let gid = ours.gid.to_bits();
        let FabricAddress { lid, queue_pair, packet_sequence, .. } = ours;
        self.ok(&format!("connect {lid:x} {queue_pair:x} {packet_sequence:x} {gid:032x} {mtu}"));
    }

    /// Writes a pattern into its memory.
    pub fn fill(&mut self, seed: u8, offset: usize, length: usize) {
        self.ok(&format!("fill {seed} {offset} {length}"));
    }

    /// Compares its memory with a pattern.
    pub fn check(&mut self, seed: u8, offset: usize, length: usize) {
        self.ok(&format!("check {seed} {offset} {length}"));
    }

    /// Eight bytes of its memory.
    pub fn word(&mut self, offset: usize) -> u64 {
        let answer = self.ask(&format!("word {offset}"));
        number(answer.strip_prefix("word ").unwrap_or_else(|| panic!("the peer says {answer:?}")))
    }

    /// Sets eight bytes of its memory.
    pub fn set_word(&mut self, offset: usize, value: u64) {
        let answer = self.ask(&format!("word {offset} {value:x}"));
        assert_eq!(answer, format!("word {value:x}"));
    }

    /// Posts a receive.
    pub fn receive(&mut self, id: u64, offset: usize, length: usize) {
        self.ok(&format!("receive {id} {offset} {length}"));
    }

    /// Waits for a receive.
    ///
    /// # Panics
    /// When its answer is no receive.
    pub fn received(&mut self) -> Received {
        let answer = self.ask("received");
        let words: Vec<&str> = answer.split(' ').collect();
        let ["received", id, status, opcode, length, immediate] = words[..] else {
            panic!("the peer says {answer:?}");
        };
        let decimal = |text: &str| text.parse::<u64>().expect("a number");
        Received {
            id: decimal(id),
            status: decimal(status) as u32,
            opcode: decimal(opcode) as u32,
            length: decimal(length) as u32,
            immediate: (immediate != "-").then(|| number(immediate) as u32),
        }
    }

    /// Runs `write`, `read`, `send` or, with an immediate, `write_imm` or `send_imm`; gives the status.
    pub fn transfer(
        &mut self,
        command: &str,
        (offset, length): (usize, usize),
        remote: RemoteAddress,
        immediate: Option<u32>,
    ) -> u32 {
        let immediate = immediate.map_or_else(String::new, |immediate| format!(" {immediate:x}"));
        let RemoteAddress { address, key } = remote;
        self.done(&format!("{command} {offset} {length} {address:x} {:x}{immediate}", key.0))
    }

    /// Compares and swaps our eight bytes; the earlier value goes to `offset`. Gives the status.
    pub fn swap(&mut self, offset: usize, remote: RemoteAddress, compare: u64, swap: u64) -> u32 {
        let RemoteAddress { address, key } = remote;
        self.done(&format!("swap {offset} {address:x} {:x} {compare:x} {swap:x}", key.0))
    }

    /// Adds to our eight bytes; the earlier value goes to `offset`. Gives the status.
    pub fn add(&mut self, offset: usize, remote: RemoteAddress, value: u64) -> u32 {
        let RemoteAddress { address, key } = remote;
        self.done(&format!("add {offset} {address:x} {:x} {value:x}", key.0))
    }

    /// Ends it, and sees that it could close everything.
    ///
    /// # Panics
    /// When it fails.
    pub fn quit(mut self) {
        self.process.tell("quit");
        let ended = self.process.finish();
        assert!(ended.status.success(), "the peer ended with {ended:?}");
        assert_eq!(ended.output, ["closed"]);
    }

    fn ask(&mut self, command: &str) -> String {
        self.process.tell(command);
        self.process.line()
    }

    fn ok(&mut self, command: &str) {
        assert_eq!(self.ask(command), "ok", "{command}");
    }

    fn done(&mut self, command: &str) -> u32 {
        let answer = self.ask(command);
        let words: Vec<&str> = answer.split(' ').collect();
        let ["done", status, _] = words[..] else { panic!("{command}: the peer says {answer:?}") };
        status.parse().expect("a status")
    }
}

/// Byte of a pattern; `peer.c` has the same.
#[must_use]
pub fn pattern(seed: u8, index: usize) -> u8 {
    let parts = index.wrapping_mul(7) + usize::from(seed) * 31 + (index >> 8) * 13;
    parts as u8
}

fn number(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or_else(|error| panic!("{text:?} in the peer's words: {error}"))
}
