//! Metadata: its size, its parts, its lives, and bytes that are none.

use proptest::prelude::*;

use super::*;
use crate::agent::{
    AgentError, MemoryType, Side,
    descriptors::Run,
    metadata::{Metadata, Numbered},
};

const BLOCKS: u64 = 15_000;

#[test]
fn fifteen_thousand_strided_registrations_are_under_one_kibibyte() {
    let (here, there) = (agent("here"), agent("there"));
    let mut heap = vec![0_u8; (BLOCKS * 128) as usize];
    let start = heap.as_mut_ptr() as u64;
    let list = DescriptorList::dram((0..BLOCKS).map(|index| (start + index * 128, 64)));
    // SAFETY: the memory outlives its registrations and is not looked at during a transfer.
    unsafe { there.register(&list) }.expect("registered");
    let metadata = there.local_metadata();
    assert!(metadata.len() < 1024, "{} bytes", metadata.len());
    assert_eq!(here.load_remote_metadata(&metadata).expect("loaded"), "there");
    here.check_remote_metadata("there", &list).expect("all of them");

    // Every one of them can be reached.
    let near = here.allocate((BLOCKS * 64) as usize, ArenaOptions::default()).expect("memory");
    bytes(&near).fill(5);
    let mut local = blocks(&near, 64);
    // An arena is a whole number of pages.
    local.descriptors.truncate(list.descriptors.len());
    let request = here.create_request(pmd_host::transfer::Direction::Write, &local, &list, "there");
    let request = request.expect("made");
    request.post(None).expect("posted");
    finish(&request);
    assert!(heap.chunks(128).all(|chunk| chunk[..64] == [5; 64] && chunk[64..] == [0; 64]));

    there.deregister(&list).expect("deregistered");
    here.load_remote_metadata(&there.local_metadata()).expect("loaded");
    let gone = here.check_remote_metadata("there", &list).expect_err("no more");
    assert!(matches!(gone, AgentError::NotRegistered { side: Side::Remote, index: 0, .. }), "{gone}");
}

#[test]
fn fifteen_thousand_strided_descriptors_are_under_one_kibibyte() {
    let list = DescriptorList::dram((0..BLOCKS).map(|index| ((1 << 40) + index * 36_864, 16_384)));
    let encoded = list.to_bytes();
    assert!(encoded.len() < 1024, "{} bytes", encoded.len());
    assert_eq!(DescriptorList::from_bytes(&encoded).expect("a list"), list);
}

#[test]
fn a_part_can_be_told_before_or_after_how_to_reach_the_agent() {
    let (here, there) = (agent("here"), agent("there"));
    let first = there.allocate(4096, ArenaOptions::default()).expect("memory");
    let second = there.allocate(8192, ArenaOptions::default()).expect("memory");
    let bare = there.local_partial_metadata(&whole(&first), false).expect("metadata");
    let unknown = here.load_remote_metadata(&bare).expect_err("nobody knows how to reach it");
    assert!(matches!(unknown, AgentError::UnknownAgent { .. }), "{unknown}");

    let connection = there.local_partial_metadata(&DescriptorList::default(), false).expect("metadata");
    here.load_remote_metadata(&connection).expect("loaded");
    here.check_remote_metadata("there", &DescriptorList::default()).expect("known");
    assert!(here.check_remote_metadata("there", &whole(&first)).is_err());
    here.load_remote_metadata(&bare).expect("loaded");
    here.check_remote_metadata("there", &whole(&first)).expect("known");
    assert!(here.check_remote_metadata("there", &whole(&second)).is_err());

    let more = there.local_partial_metadata(&whole(&second), true).expect("metadata");
    here.load_remote_metadata(&more).expect("loaded");
    here.check_remote_metadata("there", &whole(&first)).expect("known still");
    here.check_remote_metadata("there", &whole(&second)).expect("known");
    let nowhere =
        there.local_partial_metadata(&DescriptorList::dram([(1, 1)]), true).expect_err("not registered");
    assert_eq!(nowhere.status(), Status::NotFound);
}

#[test]
fn agents_exchange_metadata_by_themselves() {
    let (here, there) = (agent("here"), agent("there"));
    let memory = there.allocate(4096, ArenaOptions::default()).expect("memory");
    let address = |agent: &Agent| agent.backend().connection_info().addresses[0];
    here.fetch_remote_metadata("there", address(&there)).expect("started").wait().expect("fetched");
    here.check_remote_metadata("there", &whole(&memory)).expect("known");
    there.send_local_metadata(address(&here)).expect("started").wait().expect("sent");
    assert!(there.check_remote_metadata("here", &DescriptorList::default()).is_err());
    here.send_local_metadata(address(&there)).expect("started").wait().expect("sent");
    there.check_remote_metadata("here", &DescriptorList::default()).expect("known");
    here.invalidate_local_metadata(address(&there)).expect("started").wait().expect("told");
    assert!(there.check_remote_metadata("here", &DescriptorList::default()).is_err());

    let other = here.fetch_remote_metadata("other", address(&there)).expect("started").wait();
    assert!(matches!(other, Err(AgentError::WrongAgent { .. })), "{other:?}");
    let port = address(&there);
    drop(there);
    within(|| here.fetch_remote_metadata("there", port).expect("started").wait().is_err());
}

#[test]
fn metadata_of_a_former_life_is_an_error() {
    let here = agent("here");
    let former = agent("there");
    let old = former.local_metadata();
    drop(former);
    let successor = agent("there");
    here.load_remote_metadata(&old).expect("it parses");
    let unreachable = here.connect("there").expect_err("it is gone");
    assert_eq!(unreachable.status(), Status::RemoteDisconnect, "{unreachable}");
    // Nobody knows yet that the former one is down.
    let changed = here.load_remote_metadata(&successor.local_metadata()).expect_err("another life");
    assert!(matches!(changed, AgentError::Changed { .. }), "{changed}");
    here.invalidate_remote_metadata("there").expect("known");
    here.load_remote_metadata(&successor.local_metadata()).expect("loaded");
    here.connect("there").expect("connected");
    let stale = here.load_remote_metadata(&old).expect_err("the former life's");
    assert!(matches!(stale, AgentError::Changed { .. }), "{stale}");

    // A known death makes way for the successor.
    let port = successor.backend().connection_info().addresses[0];
    drop(successor);
    let third = agent("there");
    within(|| here.load_remote_metadata(&third.local_metadata()).is_ok());
    here.connect("there").expect("connected");
    assert_ne!(port, third.backend().connection_info().addresses[0]);
}

/// Somebody else listens where the metadata says.
#[test]
fn an_agent_at_a_dead_ones_address_is_not_taken_for_it() {
    let here = agent("here");
    let former = agent("there");
    let mut metadata = Metadata::from_bytes(&former.local_metadata()).expect("metadata");
    let successor = agent("there");
    metadata
        .connection
        .as_mut()
        .expect("complete")
        .addresses
        .clone_from(&successor.backend().connection_info().addresses);
    here.load_remote_metadata(&metadata.to_bytes()).expect("it parses");
    let stale = here.connect("there").expect_err("another life");
    assert!(matches!(stale, AgentError::Stale { .. }), "{stale}");
    assert_eq!(stale.status(), Status::RemoteDisconnect);
}

#[test]
fn bytes_that_are_no_metadata_are_refused() {
    let here = agent("here");
    let there = agent("there");
    let good = there.local_metadata();
    for cut in 0..good.len() {
        let error = here.load_remote_metadata(&good[..cut]).expect_err("cut short");
        assert_eq!(error.status(), Status::Mismatch, "{error}");
    }
    let run = Run { address: 1, length: 1, device: 0, stride: 1, count: 1 << 60 };
    let huge =
        [&b"PMD2"[..], &postcard::to_allocvec(&(MemoryType::Dram, vec![run])).expect("encoded")].concat();
    let error = DescriptorList::from_bytes(&huge).expect_err("too many");
    assert_eq!(error.status(), Status::Mismatch);
    let wraps = Run { address: u64::MAX, count: 2, ..run };
    let wraps =
        [&b"PMD2"[..], &postcard::to_allocvec(&(MemoryType::Dram, vec![wraps])).expect("encoded")].concat();
    assert!(DescriptorList::from_bytes(&wraps).is_err());
}

fn descriptors() -> impl Strategy<Value = Vec<Descriptor>> {
    let descriptor = (any::<u64>(), 0_u64..4, 0_u64..2).prop_map(|(address, length, device)| Descriptor {
        address,
        length,
        device,
    });
    let strided = (any::<u64>(), -64_i64..64, 1_u64..20).prop_map(|(start, stride, count)| {
        let address = move |index: u64| start.wrapping_add_signed(stride * index as i64);
        (0..count)
            .map(|index| Descriptor { address: address(index), length: 16, device: 0 })
            .collect::<Vec<_>>()
    });
    prop::collection::vec(prop_oneof![descriptor.prop_map(|one| vec![one]), strided], 0..12)
        .prop_map(|lists| lists.concat())
}

proptest! {
    #[test]
    fn lists_come_back_as_they_went(descriptors in descriptors()) {
        let list = DescriptorList { memory: MemoryType::Vram, descriptors };
        prop_assert_eq!(DescriptorList::from_bytes(&list.to_bytes()).expect("a list"), list);
    }

    #[test]
    fn metadata_comes_back_as_it_went(descriptors in descriptors(), gaps in prop::collection::vec(1_u64..3, 240)) {
        let info = crate::agent::backend::ConnectionInfo {
            agent: "one".to_owned(),
            incarnation: pmd_host::identity::DeviceId([7; 16]),
            host: pmd_host::identity::HostId { boot: [1; 16], network_namespace: 2, user: 3 },
            addresses: Vec::new(),
        };
        let mut number = 0;
        let registrations: Vec<Numbered> = descriptors.into_iter().zip(gaps).map(|(descriptor, gap)| {
            number += gap;
            Numbered { number, memory: MemoryType::Dram, descriptor }
        }).collect();
        let metadata = Metadata::new(&info, true, true, registrations.clone());
        let back = Metadata::from_bytes(&metadata.to_bytes()).expect("metadata");
        prop_assert_eq!(back.registrations().collect::<Vec<_>>(), registrations);
        prop_assert_eq!(back, metadata);
    }

    #[test]
    fn no_bytes_bring_the_parser_down(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for magic in [b"PMD2", b"PMD3"] {
            let bytes = [&magic[..], &bytes].concat();
            let _ = DescriptorList::from_bytes(&bytes);
            let _ = Metadata::from_bytes(&bytes).map(|metadata| metadata.registrations().count());
        }
    }
}
