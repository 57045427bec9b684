//! Bytes of the control connection: nothing panics, memory grows only with bytes that have arrived, and valid frames
//! come back as they were, however the stream is cut.
//!
//! Input: one byte of shape (low two bits: what the rest is; 0x80: the peer has said who it is, so that long frames
//! are allowed), one byte that says how long the reads are, then the rest.

/// The reader itself is private to pmd-host, and stays so: its source is compiled into the target once more.
#[path = "../../../../pmd-core/host/src/control/frame.rs"]
#[allow(dead_code, unreachable_pub, reason = "not all of pmd-host's source is used")]
mod frame;

use std::{
    io::{self, Read},
    slice,
    time::Duration,
};

use arbitrary::{Arbitrary, Unstructured};
use kv_api::layout::CacheDescriptor;
use pmd_host::{
    backend::QueuePairAddress,
    control::{KeepAlive, PeerIdentity},
    identity::{DeviceId, HostId},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::allocation;
use frame::{FRAME_LIMIT, Frame, FrameReader, HELLO_LIMIT, Refusal, encode, preamble};

/// Shape: the rest are frames, and a preamble goes before them.
pub const FRAMES: u8 = 0;
/// Shape: the rest is a stream.
pub const STREAM: u8 = 1;
/// Shape: the rest describes valid frames.
pub const VALID: u8 = 2;
/// Shape: the rest is what frames carry: a cache's description, a queue pair's address.
pub const CARRIED: u8 = 3;
/// Shape bit: long frames are allowed.
pub const INTRODUCED: u8 = 0x80;

/// Bytes that a reader may take beyond what has arrived: the room for one read, and that again while it moves.
const ROOM: usize = 256 << 10;
/// Copies of what has arrived: in the reader, which grows by doubling, and in a frame that does so too.
const COPIES: usize = 6;

/// Reads the input as its shape says.
pub fn run(data: &[u8]) {
    let [shape, step, rest @ ..] = data else { return };
    let cuts = Cuts { step: usize::from(*step) };
    let introduced = shape & INTRODUCED != 0;
    match shape & 3 {
        FRAMES => drop(read_within_bounds(&[&preamble()[..], rest].concat(), introduced, cuts)),
        STREAM => drop(read_within_bounds(rest, introduced, cuts)),
        VALID => check_valid(rest, cuts),
        _ => check_carried(rest),
    }
}

/// The preamble and the frames of a peer that says who it is, asks and goes; for seeds.
#[must_use]
pub fn conversation() -> Vec<u8> {
    let incarnation = DeviceId([7; 16]);
    let host = HostId { boot: [3; 16], network_namespace: 5, user: 0 };
    let refusal = Refusal { code: Refusal::UNKNOWN_KIND, detail: "what?".into() };
    let frames = [
        Frame::Hello {
            identity: PeerIdentity { incarnation, name: "peer".into(), host },
            keep_alive: KeepAlive { interval: Duration::from_secs(1), timeout: Duration::from_secs(5) },
        },
        Frame::KeepAlive,
        Frame::Request { number: 1, kind: 0xff02, body: vec![1, 2, 3] },
        Frame::Response { number: 1, result: Ok(vec![9; 40]) },
        Frame::Response { number: 2, result: Err(refusal) },
        Frame::Event { kind: Refusal::PANICKED, body: vec![] },
        Frame::Goodbye,
    ];
    let mut bytes = preamble().to_vec();
    frames.iter().for_each(|frame| encode(frame, &mut bytes).expect("a short frame"));
    bytes
}

/// A frame that is longer than a peer may send before it has said who it is; for seeds.
#[must_use]
pub fn long_frame() -> Vec<u8> {
    let mut bytes = Vec::new();
    let frame = Frame::Request { number: 1, kind: 1, body: vec![9; HELLO_LIMIT as usize] };
    encode(&frame, &mut bytes).expect("a frame below the higher limit");
    bytes
}

/// How a stream is cut into reads; zero for one read.
#[derive(Clone, Copy)]
struct Cuts {
    step: usize,
}

/// A peer's bytes as they come out of a socket.
struct Stream<'a> {
    rest: &'a [u8],
    step: usize,
}

impl Read for Stream<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let most = if self.step == 0 { usize::MAX } else { self.step };
        let (now, rest) = self.rest.split_at(self.rest.len().min(room.len()).min(most));
        room[..now.len()].copy_from_slice(now);
        self.rest = rest;
        Ok(now.len())
    }
}

/// Reads a whole stream, as the control thread does; gives the frames up to the end or to the first error.
fn read(bytes: &[u8], introduced: bool, cuts: Cuts) -> Vec<Frame> {
    let mut reader = FrameReader::new();
    if introduced {
        reader.raise_limit();
    }
    let mut stream = Stream { rest: bytes, step: cuts.step };
    let mut frames = Vec::new();
    while reader.fill(&mut stream).expect("a stream in memory") > 0 {
        loop {
            match reader.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => {
                    assert!(!error.to_string().is_empty());
                    return frames;
                }
            }
        }
    }
    frames
}

fn read_within_bounds(bytes: &[u8], introduced: bool, cuts: Cuts) -> Vec<Frame> {
    let (frames, peak) = allocation::peak_of(|| read(bytes, introduced, cuts));
    let most = ROOM + COPIES * bytes.len() + frames.len() * 2 * size_of::<Frame>();
    assert!(
        peak <= most,
        "{peak} bytes of memory were taken for {} that arrived, at most {most}",
        bytes.len()
    );
    let limit = if introduced { FRAME_LIMIT } else { HELLO_LIMIT };
    for frame in &frames {
        let mut again = Vec::new();
        encode(frame, &mut again).expect("a frame that has arrived is short enough");
        assert!(again.len() <= limit as usize + 4, "{frame:?} is longer than {limit}");
        let stream = [&preamble()[..], &again].concat();
        assert_eq!(read(&stream, introduced, cuts), slice::from_ref(frame));
    }
    frames
}

fn check_valid(description: &[u8], cuts: Cuts) {
    let mut input = Unstructured::new(description);
    let Ok(drafts) = Vec::<Draft>::arbitrary(&mut input) else { return };
    let frames: Vec<Frame> = drafts.into_iter().map(Draft::frame).collect();
    let mut bytes = preamble().to_vec();
    frames.iter().for_each(|frame| encode(frame, &mut bytes).expect("shorter than the limit"));
    assert_eq!(read_within_bounds(&bytes, true, cuts), frames);
}

/// A frame in types that a fuzzer can make.
#[derive(Arbitrary)]
enum Draft {
    Hello {
        incarnation: [u8; 16],
        name: String,
        boot: [u8; 16],
        network_namespace: u64,
        user: u32,
        keep_alive: [u64; 2],
    },
    KeepAlive,
    Request {
        number: u64,
        kind: u16,
        body: Vec<u8>,
    },
    Answer {
        number: u64,
        body: Vec<u8>,
    },
    Refusal {
        number: u64,
        code: u16,
        detail: String,
    },
    Event {
        kind: u16,
        body: Vec<u8>,
    },
    Goodbye,
}

impl Draft {
    fn frame(self) -> Frame {
        match self {
            Self::Hello { incarnation, name, boot, network_namespace, user, keep_alive } => {
                let host = HostId { boot, network_namespace, user };
                let identity = PeerIdentity { incarnation: DeviceId(incarnation), name, host };
                Frame::Hello { identity, keep_alive: keep_alive.into() }
            }
            Self::KeepAlive => Frame::KeepAlive,
            Self::Request { number, kind, body } => Frame::Request { number, kind, body },
            Self::Answer { number, body } => Frame::Response { number, result: Ok(body) },
            Self::Refusal { number, code, detail } => {
                Frame::Response { number, result: Err(Refusal { code, detail }) }
            }
            Self::Event { kind, body } => Frame::Event { kind, body },
            Self::Goodbye => Frame::Goodbye,
        }
    }
}

fn check_carried(bytes: &[u8]) {
    let _: Option<QueuePairAddress> = decode(bytes);
    let Some(descriptor) = decode::<CacheDescriptor>(bytes) else { return };
    let Ok(descriptor) = descriptor.validated() else { return };
    // Whatever was accepted can be walked: no address is computed beyond the end of the address space.
    let last = descriptor.layout.blocks() - 1;
    let tensors = descriptor.layout.tensors();
    for tensor in [0, tensors / 2, tensors - 1] {
        let place = descriptor.placement.tensor(tensor).expect("each tensor has its place");
        assert!(place.block(last).checked_add(descriptor.layout.block_bytes()).is_some());
    }
    assert_eq!(descriptor.placement.tensor(tensors), None);
}

/// What the bytes describe, if anything; what was described comes back as it was.
fn decode<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> Option<T> {
    let (value, peak) = allocation::peak_of(|| postcard::from_bytes::<T>(bytes).ok());
    assert!(peak <= ROOM + COPIES * 64 * bytes.len(), "{peak} bytes of memory for {} bytes", bytes.len());
    let value = value?;
    let again = postcard::to_allocvec(&value).expect("memory");
    assert_eq!(postcard::from_bytes::<T>(&again).as_ref(), Ok(&value));
    Some(value)
}
