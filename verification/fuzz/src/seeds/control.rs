//! A conversation, whole and cut, broken ones, and what frames carry.

use kv_api::layout::{CacheDescriptor, CacheLayout, Placement};
use pmd_host::{
    backend::{QueuePairAddress, SoftAddress},
    identity::{DeviceId, HostId},
};

use super::{Seeds, noise};
use crate::control::{CARRIED, FRAMES, INTRODUCED, STREAM, VALID, conversation, long_frame};

/// Bytes of the preamble.
const PREAMBLE: usize = 12;

pub(super) fn seeds() -> Seeds {
    let whole = conversation();
    let frames = &whole[PREAMBLE..];
    let input = |shape, step, bytes: &[u8]| [&[shape, step][..], bytes].concat();
    let mut other_version = whole.clone();
    other_version[8] += 1;
    let layout = CacheLayout::new(61, 1, 64, 1152).expect("a cache");
    let placement = Placement::contiguous(&layout, 0x7000_0000, 3).expect("addresses");
    let descriptor = CacheDescriptor { id: 1, name: "cache".into(), layout, placement, devices: Vec::new() };
    let host = HostId { boot: [3; 16], network_namespace: 5, user: 0 };
    let address = QueuePairAddress::Soft(SoftAddress { host, device: DeviceId([7; 16]), queue_pair: 0x12 });
    let carried = |bytes: Result<Vec<u8>, postcard::Error>| input(CARRIED, 0, &bytes.expect("memory"));
    vec![
        ("conversation".into(), input(STREAM | INTRODUCED, 0, &whole)),
        ("conversation_cut".into(), input(STREAM | INTRODUCED, 3, &whole)),
        ("frames".into(), input(FRAMES | INTRODUCED, 0, frames)),
        // The longer frame is refused before the peer is known, and taken after.
        ("too_early".into(), input(FRAMES, 0, &long_frame())),
        ("long".into(), input(FRAMES | INTRODUCED, 200, &long_frame())),
        ("long_hello".into(), input(FRAMES, 0, &[0x01, 0x10, 0, 0, 0])),
        ("longest".into(), input(FRAMES | INTRODUCED, 1, &[0, 0, 0, 1, 2, 9, 9, 0xff, 0xff, 0xff, 0x07])),
        // A request of 7 bytes whose body claims to be 2 GiB.
        ("claim".into(), input(FRAMES | INTRODUCED, 0, &[8, 0, 0, 0, 2, 1, 1, 0xff, 0xff, 0xff, 0xff, 7])),
        ("other_version".into(), input(STREAM, 0, &other_version)),
        ("web".into(), input(STREAM, 0, b"GET / HTTP/1.1\r\n\r\n")),
        ("valid".into(), input(VALID, 5, &noise(3, 200))),
        ("valid_more".into(), input(VALID, 0, &noise(4, 600))),
        ("descriptor".into(), carried(postcard::to_allocvec(&descriptor))),
        ("address".into(), carried(postcard::to_allocvec(&address))),
    ]
}
