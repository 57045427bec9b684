//! Engines of all kinds over two rails between two loopback addresses: every byte is compared, and both rails carried.
#![allow(unsafe_code)] // looks at memory between transfers

mod engine_support;

use std::{
    slice, thread,
    time::{Duration, Instant},
};

use engine_support::{PATIENCE, arena, config, connect, fill, filled, read, soon};
use kv_api::{
    agent::{Agent, AgentConfig, DescriptorList, Status},
    engine::Engine,
    kvtrans::{Config, Engine as Transfers, Memory},
    layout::CacheLayout,
    planner::{BlockMap, Selection},
};
use pmd_host::{
    backend::Transport,
    endpoint::{Endpoint, EndpointConfig, RailsConfig, TransportChoice},
    rail::{BundleConfig, RailState},
    soft::ArenaOptions,
    transfer::Direction,
};

/// What goes on a rail at a time.
const CHUNK: u64 = 64 << 10;

/// Two rails for transfers of four chunks or more; none is lost for being slow, as the machine may be.
fn over_rails(config: EndpointConfig) -> EndpointConfig {
    let addresses = vec![[127, 0, 0, 1].into(), [127, 0, 0, 2].into()];
    let bundle = BundleConfig { stall: PATIENCE, ..BundleConfig::default() };
    let rails = RailsConfig { from: 4 * CHUNK, chunk: CHUNK, bundle, ..RailsConfig::over(addresses) };
    EndpointConfig { transport: TransportChoice::Only(Transport::Tcp), rails, ..config }
}

/// Waits until both rails between two endpoints are up at both ends.
fn until_up(ends: [&Endpoint; 2]) {
    let deadline = Instant::now() + PATIENCE;
    let is_up = |end: &&Endpoint| {
        let reports: Vec<_> = end.peers().iter().flat_map(|peer| peer.rail_reports()).collect();
        reports.len() == 2 && reports.iter().all(|report| report.state == RailState::Up)
    };
    while !ends.iter().all(is_up) {
        assert!(Instant::now() < deadline, "no rails within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Both rails have carried, and both together this much for the transfers of this end.
fn carried(end: &Endpoint, bytes: u64) {
    let reports = end.peers()[0].rail_reports();
    assert!(reports.len() == 2 && reports.iter().all(|report| report.chunks > 0), "{reports:?}");
    assert_eq!(reports.iter().map(|report| report.bytes).sum::<u64>(), bytes, "{reports:?}");
}

#[test]
fn caches_are_pulled_and_pushed_over_both_rails() {
    let open = |name| Engine::open(over_rails(config(name))).unwrap();
    let (prefill, decode) = (open("prefill"), open("decode"));
    let (there, back) = connect(&decode, &prefill);
    until_up([prefill.endpoint(), decode.endpoint()]);
    let layout = CacheLayout::new(2, 2, 16, CHUNK).unwrap();
    let (full, room) = (arena(&prefill, "full", layout), arena(&decode, "room", layout));
    // Backwards, so that neighbours do not merge.
    let source: Vec<u32> = (0..16).collect();
    let destination: Vec<u32> = source.iter().rev().copied().collect();
    let turned = || Selection::new(0..2, BlockMap::Table { source: &source, destination: &destination });
    let holds = |salt| {
        let blocks = engine_support::blocks(&room);
        blocks.for_each(|(tensor, block)| {
            assert_eq!(
                read(&room, tensor, block),
                filled(&full, tensor, 15 - block, salt),
                "{tensor}, {block}"
            );
        });
    };
    fill(&full, 1);
    let remote = decode.remote_cache(&there, "full", PATIENCE).unwrap();
    let pull = remote.pull(&room, turned()).unwrap();
    pull.post(None).unwrap().wait(soon()).unwrap();
    holds(1);
    carried(decode.endpoint(), layout.total_bytes());
    fill(&full, 2);
    let remote = prefill.remote_cache(&back, "room", PATIENCE).unwrap();
    let push = remote.push(&full, turned()).unwrap().notifying(b"pushed".to_vec());
    push.post(None).unwrap().wait(soon()).unwrap();
    assert_eq!(decode.wait_notification(PATIENCE).unwrap().bytes, b"pushed");
    holds(2);
    carried(prefill.endpoint(), layout.total_bytes());
}

#[test]
fn agents_write_over_both_rails() {
    let open = |name| {
        let mut config = AgentConfig::new(name);
        config.backend.endpoint = over_rails(config.backend.endpoint);
        config.backend.endpoint.down_after = PATIENCE;
        Agent::open(config).unwrap()
    };
    let (here, there) = (open("here"), open("there"));
    let bytes = 16 * CHUNK;
    let allocate = |agent: &Agent| agent.allocate(bytes as usize, ArenaOptions::default()).unwrap();
    let (near, far) = (allocate(&here), allocate(&there));
    here.load_remote_metadata(&there.local_metadata()).unwrap();
    here.connect("there").unwrap();
    let end = |agent: &Agent| agent.backend().messenger().fabric().endpoint().clone();
    until_up([&end(&here), &end(&there)]);
    // SAFETY: nothing moves now, and the slice is gone before anything does.
    let words = unsafe { slice::from_raw_parts_mut(near.address() as *mut u64, bytes as usize / 8) };
    (0..).zip(words).for_each(|(index, word)| *word = index);
    let blocks = |start: u64, turned: bool| {
        let place = |index| start + CHUNK * if turned { 15 - index } else { index };
        DescriptorList::dram((0..16).map(move |index| (place(index), CHUNK)))
    };
    let (from, to) = (blocks(near.address(), false), blocks(far.address(), true));
    let request = here.create_request(Direction::Write, &from, &to, "there").unwrap();
    request.post(Some(b"written")).unwrap();
    assert_eq!(request.wait(soon()).unwrap(), Status::Success);
    let notifications = there.wait_notifications(Instant::now() + PATIENCE);
    assert_eq!(&notifications[0].bytes[..], b"written");
    // SAFETY: the transfer has ended.
    let words = unsafe { slice::from_raw_parts(far.address() as *const u64, bytes as usize / 8) };
    let words_of = CHUNK / 8;
    for (index, word) in (0..).zip(words) {
        let (block, within) = (index / words_of, index % words_of);
        assert_eq!(*word, (15 - block) * words_of + within);
    }
    carried(&end(&here), bytes);
}

#[test]
fn messages_of_kvtrans_go_over_both_rails() {
    let bytes = 16 * CHUNK as usize;
    let source: Vec<u8> = (0..bytes).map(|index| (index ^ index >> 8 ^ index >> 16) as u8).collect();
    let target = vec![0xee_u8; bytes];
    let open = || {
        let mut config = Config::new("lo", 1, 1, 0);
        config.endpoint = over_rails(config.endpoint);
        (config.patience, config.endpoint.down_after) = (PATIENCE, PATIENCE);
        config.chunk_bytes = CHUNK as u32;
        Transfers::open(config).unwrap()
    };
    let (sender, receiver) = (open(), open());
    let address = receiver.listen_address().unwrap();
    let out = sender.connect(address.ip(), address.port()).unwrap();
    let back = receiver.accept(PATIENCE).unwrap().connection;
    until_up([sender.fabric().endpoint(), receiver.fabric().endpoint()]);
    // SAFETY: both outlive the engines, and nobody looks at them while the message is on its way.
    let from = unsafe { sender.reg_kv(out, &Memory::from(&source[..]).host()) }.unwrap();
    // SAFETY: as above.
    let to = unsafe { receiver.reg_kv(back, &Memory::from(&target[..]).host()) }.unwrap();
    let receive = receiver.post_receive(to, u64::MAX, None).unwrap();
    // SAFETY: as above.
    unsafe { sender.send_kv(from, Memory::from(&source[..])) }.unwrap();
    assert_eq!(receive.wait().unwrap(), bytes as u64);
    carried(sender.fabric().endpoint(), bytes as u64);
    drop((receive, sender, receiver));
    assert!(target == source);
}
