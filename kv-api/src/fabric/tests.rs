//! Two fabrics in one process, over shared memory.

use std::{
    slice,
    sync::{Arc, Mutex, mpsc},
    time::{Duration, Instant},
};

use pmd_core::memory::{MemoryKind, RegionDescription};
use pmd_host::{
    endpoint::{EndpointConfig, Peer, TransportChoice},
    lane::Message,
    soft::ArenaOptions,
    transfer::{Direction, Transfer},
};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Passes messages on.
struct Inbox(Mutex<mpsc::Sender<Vec<u8>>>);

impl Handler for Inbox {
    fn message(&self, _: &Peer, message: Message<'_>) {
        self.0.lock().expect("not poisoned").send(message.bytes.to_vec()).expect("the test listens");
    }
}

struct Pair {
    here: Fabric,
    there: Fabric,
    peer: Peer,
    messages: mpsc::Receiver<Vec<u8>>,
}

fn pair() -> Pair {
    let (sender, messages) = mpsc::channel();
    let inbox = || Arc::new(Inbox(Mutex::new(sender.clone())));
    let transport = TransportChoice::Only(pmd_host::backend::Transport::SharedMemory);
    let config = EndpointConfig { transport, ..EndpointConfig::default() };
    let listen = Some(([127, 0, 0, 1], 0).into());
    let there = Fabric::open(EndpointConfig { listen, ..config.clone() }, inbox()).expect("a fabric");
    let here = Fabric::open(config, inbox()).expect("a fabric");
    let peer = here.connect(there.local_address().expect("it listens")).expect("a peer");
    Pair { here, there, peer, messages }
}

#[expect(clippy::mut_from_ref, reason = "the memory is shared with the device, not owned by the segment")]
fn bytes(segment: &Segment) -> &mut [u8] {
    let arena = segment.arena().expect("allocated by the fabric");
    // SAFETY: the tests look at memory only while no transfer runs, and drop the slice before the next one.
    unsafe { slice::from_raw_parts_mut(arena.as_ptr(), segment.length() as usize) }
}

fn register(fabric: &Fabric, memory: &mut [u8]) -> Segment {
    let (address, length) = (memory.as_mut_ptr() as u64, memory.len() as u64);
    let memory = RegionDescription { address, length, kind: MemoryKind::Host, descriptor: None };
    // SAFETY: the tests keep the memory for longer than the segment, and do not look at it while a transfer runs.
    unsafe { fabric.register(&memory) }.expect("registered")
}

fn finish(mut transfer: Transfer) -> u64 {
    transfer.wait(Some(Instant::now() + PATIENCE)).expect("it ends well").bytes
}

#[test]
fn descriptors_move_both_ways_between_memory_of_both_kinds() {
    let Pair { here, there, peer, messages } = pair();
    let near = here.allocate(1 << 16, ArenaOptions::default()).expect("memory");
    let mut heap = vec![0_u8; 1 << 16];
    let far = register(&there, &mut heap);
    for (index, byte) in bytes(&near).iter_mut().enumerate() {
        *byte = (index / 256) as u8;
    }
    // 256 pieces of 256 bytes, turned around.
    let turned: Vec<Descriptor> = (0..256)
        .map(|piece| Descriptor {
            local: near.address() + piece * 256,
            remote: far.address() + (255 - piece) * 256,
            length: 256,
        })
        .collect();
    let write = here.plan(&peer, Direction::Write, &turned, PATIENCE).expect("planned");
    assert_eq!(write.bytes(), 1 << 16);
    let options = PostOptions { notify: Some(b"there".to_vec()), ..PostOptions::default() };
    assert_eq!(finish(write.post(options).expect("posted")), 1 << 16);
    assert_eq!(messages.recv_timeout(PATIENCE).expect("notified"), b"there");
    assert!(heap.iter().enumerate().all(|(index, byte)| usize::from(*byte) == 255 - index / 256));

    bytes(&near).fill(0);
    let read = here.plan(&peer, Direction::Read, &turned, PATIENCE).expect("planned");
    assert_eq!(finish(read.post(PostOptions::default()).expect("posted")), 1 << 16);
    assert!(bytes(&near).iter().enumerate().all(|(index, byte)| usize::from(*byte) == index / 256));
}

#[test]
fn what_a_peer_registers_later_is_found_and_what_it_drops_is_not() {
    let Pair { here, there, peer, .. } = pair();
    let near = here.allocate(4096, ArenaOptions::default()).expect("memory");
    let first = there.allocate(4096, ArenaOptions::default()).expect("memory");
    let plan = |remote: u64| {
        let piece = Descriptor { local: near.address(), remote, length: 4096 };
        here.plan(&peer, Direction::Read, &[piece], PATIENCE)
    };
    finish(plan(first.address()).expect("planned").post(PostOptions::default()).expect("posted"));

    let later = there.allocate(4096, ArenaOptions::default()).expect("memory");
    bytes(&later).fill(7);
    finish(plan(later.address()).expect("planned").post(PostOptions::default()).expect("posted"));
    assert!(bytes(&near).iter().all(|byte| *byte == 7));

    let address = first.address();
    drop(first);
    // The peer's word that it is gone comes by itself, a little later.
    let deadline = Instant::now() + PATIENCE;
    while plan(address).is_ok() {
        assert!(Instant::now() < deadline, "the peer never told that its segment is gone");
        std::thread::yield_now();
    }
    let error = plan(address).expect_err("it is gone");
    assert!(matches!(error, FabricError::Remote { index: 0, length: 4096, .. }), "{error}");
    finish(plan(later.address()).expect("planned").post(PostOptions::default()).expect("posted"));
}

#[test]
fn the_first_descriptor_that_is_not_registered_is_named() {
    let Pair { here, there, peer, .. } = pair();
    let near = here.allocate(8192, ArenaOptions::default()).expect("memory");
    let far = there.allocate(8192, ArenaOptions::default()).expect("memory");
    let good = Descriptor { local: near.address(), remote: far.address(), length: 8192 };
    let nothing = Descriptor { local: 1, remote: 1, length: 0 };
    let plan = |bad: Descriptor| here.plan(&peer, Direction::Read, &[good, nothing, bad], PATIENCE);

    let beyond = plan(Descriptor { local: near.address() + 1, ..good }).expect_err("beyond its end");
    assert!(matches!(beyond, FabricError::Local { index: 2, length: 8192, .. }), "{beyond}");
    let beyond =
        plan(Descriptor { remote: far.address() + 8191, length: 2, ..good }).expect_err("beyond its end");
    assert!(matches!(beyond, FabricError::Remote { index: 2, length: 2, .. }), "{beyond}");
    let wraps = plan(Descriptor { local: u64::MAX, length: 2, ..good }).expect_err("wraps");
    assert!(matches!(wraps, FabricError::Local { index: 2, .. }), "{wraps}");
    assert_eq!(plan(good).expect("planned").bytes(), 16384);
}

#[test]
fn exported_segments_are_enough_to_plan() {
    let Pair { here, there, peer, .. } = pair();
    let near = here.allocate(4096, ArenaOptions::default()).expect("memory");
    let far = there.allocate(4096, ArenaOptions::default()).expect("memory");
    bytes(&far).fill(3);
    let encoded = postcard::to_allocvec(&far.exported()).expect("encoded");
    let exported: ExportedSegment = postcard::from_bytes(&encoded).expect("decoded");
    assert_eq!((exported.id, exported.address, exported.length), (far.id(), far.address(), 4096));
    let mut map = AddressMap::default();
    map.insert(exported.id.0, exported.address, exported.length, exported);
    let piece = Descriptor { local: near.address(), remote: far.address(), length: 4096 };
    let plan = here.plan_exported(&peer, Direction::Read, &[piece], &map).expect("planned");
    assert_eq!(finish(plan.post(PostOptions::default()).expect("posted")), 4096);
    assert!(bytes(&near).iter().all(|byte| *byte == 3));
}

#[test]
fn a_plan_keeps_its_segments_and_nothing_keeps_the_fabric() {
    let Pair { here, there, peer, messages } = pair();
    let near = here.allocate(4096, ArenaOptions::default()).expect("memory");
    let far = there.allocate(4096, ArenaOptions::default()).expect("memory");
    let piece = Descriptor { local: near.address(), remote: far.address(), length: 4096 };
    let plan = here.plan(&peer, Direction::Read, &[piece], PATIENCE).expect("planned");
    assert!(near.is_shared());
    drop(plan);
    // A plan that was never posted is dropped at once.
    assert!(!near.is_shared());

    let handlers = [Arc::downgrade(&here.shared), Arc::downgrade(&there.shared)];
    drop((near, far, here, there, peer));
    let deadline = Instant::now() + PATIENCE;
    while handlers.iter().any(|shared| shared.strong_count() > 0) {
        assert!(Instant::now() < deadline, "a fabric outlives its handles");
        std::thread::yield_now();
    }
    assert!(messages.try_recv().is_err());
}

mod address_map {
    use proptest::prelude::*;

    use super::AddressMap;

    proptest! {
        /// Against a search through all ranges.
        #[test]
        fn finds_a_range_whenever_there_is_one(
            ranges in prop::collection::vec((0_u64..64, 1_u64..24), 0..24),
            gone in prop::collection::vec(0_usize..24, 0..8),
            wanted in (0_u64..80, 1_u64..24),
        ) {
            let mut map = AddressMap::default();
            for (number, (address, length)) in ranges.iter().enumerate() {
                map.insert(number as u64, *address, *length, number);
            }
            for number in &gone {
                map.remove(*number as u64);
            }
            let (address, length) = wanted;
            let covers = |(number, (start, size)): (usize, &(u64, u64))| {
                !gone.contains(&number) && *start <= address && address + length <= start + size
            };
            let any = ranges.iter().enumerate().any(covers);
            let found = map.covering(address, length);
            prop_assert_eq!(found.is_some(), any);
            if let Some((start, end, number)) = found {
                prop_assert_eq!((start, end - start), ranges[*number]);
                prop_assert!(start <= address && address + length <= end);
            }
        }
    }

    #[test]
    fn ends_of_the_address_space_are_no_trouble() {
        let mut map = AddressMap::default();
        map.insert(1, u64::MAX - 9, 9, ());
        assert!(map.covering(u64::MAX - 9, 9).is_some());
        assert!(map.covering(u64::MAX, 1).is_none());
        assert!(map.covering(0, u64::MAX).is_none());
        map.insert(1, 0, 4, ());
        assert_eq!((map.len(), map.covering(0, 4).map(|found| found.1)), (1, Some(4)));
    }
}

#[test]
fn an_owner_is_held_until_nothing_uses_its_memory() {
    let Pair { here, there, peer, .. } = pair();
    let owner = Arc::new(Mutex::new(vec![7_u8; 4096]));
    let (address, length) = (owner.lock().expect("not poisoned").as_mut_ptr() as u64, 4096);
    let memory = RegionDescription { address, length, kind: MemoryKind::Host, descriptor: None };
    // SAFETY: the owner keeps the memory, and the test does not look at it while a transfer runs.
    let kept =
        unsafe { here.register_kept(&memory, KeepAlive(Arc::clone(&owner) as Arc<_>)) }.expect("registered");
    let far = there.allocate(4096, ArenaOptions::default()).expect("memory");
    let descriptors = [Descriptor { local: address, remote: far.address(), length }];
    let plan = here.plan(&peer, Direction::Write, &descriptors, PATIENCE).expect("a plan");
    drop(kept);
    assert_eq!(Arc::strong_count(&owner), 2, "the plan holds it");
    let transfer = plan.post(PostOptions::default()).expect("posted");
    drop(plan);
    assert_eq!(finish(transfer), length);
    assert!(bytes(&far).iter().all(|byte| *byte == 7));
    let deadline = Instant::now() + PATIENCE;
    // The lane lets go just after it has told the outcome.
    while Arc::strong_count(&owner) > 1 {
        assert!(Instant::now() < deadline, "nothing uses the memory, and its owner is held");
        std::thread::yield_now();
    }
}
