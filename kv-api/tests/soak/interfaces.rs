//! One soak for each interface. Every transfer is checked; most are planned anew, as engines do for every request.

use std::{collections::BTreeMap, ptr, time::Instant};

use kv_api::{
    agent, datadist, engine, hixl, kvtrans,
    layout::CacheLayout,
    planner::{BlockMap, Selection},
};
use pmd_host::{endpoint::EndpointConfig, soft::ArenaOptions, transfer::Direction};

use super::{PATIENCE, alone, soak};

fn deadline() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

/// Sets one number of memory that devices read.
fn set(address: u64, value: u64) {
    // SAFETY: the tests give addresses of their memory, and no transfer runs.
    unsafe { ptr::write_volatile(address as *mut u64, value) };
}

/// One number of memory that devices write.
fn number_at(address: u64) -> u64 {
    // SAFETY: as above.
    unsafe { ptr::read_volatile(address as *const u64) }
}

/// Memory of this process, by its address.
struct Room(Box<[u64]>);

impl Room {
    fn new(bytes: usize) -> Self {
        Self(vec![0; bytes / 8].into())
    }

    fn address(&self) -> u64 {
        self.0.as_ptr() as u64
    }
}

#[test]
fn engine() {
    alone(|| {
        let listen = Some(([127, 0, 0, 1], 0).into());
        let prefill =
            engine::Engine::open(EndpointConfig { listen, ..EndpointConfig::default() }).expect("open");
        let decode = engine::Engine::open(EndpointConfig::default()).expect("open");
        let peer = decode.connect(prefill.local_address().expect("it listens")).expect("connected");
        let layout = CacheLayout::new(2, 2, 16, 4096).expect("a layout");
        let source = prefill.allocate_cache("kv", layout, ArenaOptions::default()).expect("a cache");
        let target = decode.allocate_cache("kv", layout, ArenaOptions::default()).expect("a cache");
        let remote = decode.remote_cache(&peer, "kv", PATIENCE).expect("found");
        prefill.accept(PATIENCE).expect("accepted");
        soak("engine", |number| {
            let block = (number % 16) as u32;
            let (here, there) = ([block, (block + 5) % 16], [(block + 3) % 16, (block + 9) % 16]);
            set(source.block_address(1, there[0]).expect("a block"), number);
            let map = BlockMap::Table { source: &there, destination: &here };
            let pull = remote.pull(&target, Selection::new(0..2, map)).expect("planned");
            let pull = pull.notifying(number.to_le_bytes().to_vec());
            if number % 8 == 7 {
                let mut transfer = pull.post_with(engine::PostOptions::default()).expect("posted");
                transfer.cancel();
                // It may have been done before; then there is a notification, else a report of its failure.
                prefill.wait_event(PATIENCE).expect("either");
                return;
            }
            pull.post(deadline()).expect("posted").wait(None).expect("moved");
            let heard = prefill.wait_notification(PATIENCE).expect("told");
            assert_eq!(heard.bytes, number.to_le_bytes());
            assert_eq!(number_at(target.block_address(1, here[0]).expect("a block")), number);
        });
    });
}

#[test]
fn kvtrans() {
    alone(|| {
        let open = || kvtrans::Engine::open(kvtrans::Config::new("lo", 2, 2, 0)).expect("open");
        let (sender, receiver) = (open(), open());
        let address = receiver.listen_address().expect("it listens");
        let out = sender.connect(address.ip(), address.port()).expect("connected");
        let back = receiver.accept(PATIENCE).expect("accepted").connection;
        let (source, target) = (Room::new(64 << 10), Room::new(64 << 10));
        let memory = |room: &Room| kvtrans::Memory::new(room.address() as *mut u8, 64 << 10);
        // SAFETY: the memory outlives both engines, and is looked at between transfers.
        let from = unsafe { sender.reg_kv(out, &memory(&source).host()) }.expect("registered");
        soak("kvtrans", |number| {
            // SAFETY: as above.
            let to = unsafe { receiver.reg_kv(back, &memory(&target).host()) }.expect("registered");
            let bytes = 8 + number * 8 % 3000;
            set(source.address(), number);
            let receive = receiver.post_receive(to, u64::MAX, None).expect("posted");
            let part = kvtrans::Memory::new(source.address() as *mut u8, bytes as usize);
            // SAFETY: as above.
            unsafe { sender.send_kv(from, part) }.expect("sent");
            assert_eq!(receive.wait().expect("received"), bytes);
            assert_eq!(number_at(target.address()), number);
            receiver.dereg_kv(to).expect("released");
        });
        drop((sender, receiver));
    });
}

#[test]
fn datadist() {
    alone(|| {
        let options = |listen: Option<&str>| {
            let device = (datadist::OPTION_DEVICE_ID.to_owned(), "0".to_owned());
            let listen = listen.map(|at| (datadist::OPTION_LISTEN_IP_INFO.to_owned(), at.to_owned()));
            [device].into_iter().chain(listen).collect::<datadist::Options>()
        };
        let open = |cluster, listen| {
            let opened = datadist::LlmDataDist::new(cluster, datadist::LlmRole::Mix);
            opened.initialize(&options(listen)).expect("initialised");
            opened
        };
        let (prompt, decoder) = (open(0, Some("127.0.0.1:0")), open(1, None));
        let at = prompt.local_address().expect("initialised").expect("it listens");
        let remote_ip_infos = vec![datadist::IpInfo { ip: at.ip(), port: at.port() }];
        let cluster = datadist::ClusterInfo { remote_ip_infos, ..datadist::ClusterInfo::default() };
        let linked = decoder.link_llm_clusters(&[cluster], 60_000).expect("taken");
        assert_eq!(linked.status(), datadist::Status::Success);
        let (source, target) = (Room::new(4 * 4096), Room::new(4 * 4096));
        let desc =
            datadist::CacheDesc::new(datadist::CachePlacement::Host, 4, datadist::DataType::Int32, &[8, 128]);
        let register = |cluster: &datadist::LlmDataDist, room: &Room| {
            let tensors: Vec<u64> = (0..4).map(|tensor| room.address() + 4096 * tensor).collect();
            // SAFETY: the memory outlives both processes, and is looked at between transfers.
            unsafe { cluster.register_kv_cache(&desc, &tensors, &datadist::CacheKeys::None) }.expect("taken")
        };
        let (from, to) = (register(&prompt, &source), register(&decoder, &target));
        let all = datadist::KvCacheExtParam::default();
        soak("datadist", |number| {
            set(source.address(), number);
            let index = datadist::CacheIndex { cluster_id: 0, cache_id: from, batch_index: 0 };
            if number % 2 == 0 {
                decoder.pull_kv_blocks(index, to, &[0, 1, 5], &[2, 3, 7], &all).expect("pulled");
                assert_eq!(number_at(target.address() + 2 * 512), number);
            } else {
                decoder.pull_kv_cache(index, to, 4, -1, &all).expect("pulled");
                assert_eq!(number_at(target.address() + 4 * 512), number);
            }
            if number % 100 == 99 {
                let room = Room::new(4 * 4096);
                let extra = register(&decoder, &room);
                decoder.unregister_kv_cache(extra).expect("released");
            }
        });
        prompt.finalize();
        decoder.finalize();
    });
}

#[test]
fn hixl() {
    alone(|| {
        let open = |name: &str| {
            let engine = hixl::Hixl::new();
            engine.initialize(name, &BTreeMap::new()).expect("initialised");
            engine
        };
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
        let name = port.to_string();
        let (server, client) = (open(&name), open("127.0.0.1"));
        let (source, target) = (Room::new(4096), Room::new(4096));
        for (engine, room) in [(&server, &source), (&client, &target)] {
            let memory = hixl::MemDesc { addr: room.address(), len: 4096 };
            // SAFETY: the memory outlives both engines, and is looked at between transfers.
            unsafe { engine.register_mem(memory, hixl::MemType::Host) }.expect("registered");
        }
        client.connect(&name, PATIENCE).expect("connected");
        soak("hixl", |number| {
            let at = number * 8 % 4096;
            let piece = hixl::TransferOpDesc {
                local_addr: target.address() + at,
                remote_addr: source.address() + at,
                len: 8,
            };
            set(piece.remote_addr, number);
            if number % 2 == 0 {
                // SAFETY: as above.
                unsafe { client.transfer_sync(&name, hixl::TransferOp::Read, &[piece], PATIENCE) }
                    .expect("read");
            } else {
                asynchronous(&client, &name, piece);
            }
            assert_eq!(number_at(piece.local_addr), number);
            if number % 16 == 0 {
                let notification = hixl::NotifyDesc::new("number", number.to_string());
                client.send_notify(&name, &notification, PATIENCE).expect("told");
                assert_eq!(server.take_notifies().expect("initialised").len(), 1);
            }
        });
        client.finalize();
        server.finalize();
    });
}

/// A read that is asked about until it is done.
fn asynchronous(client: &hixl::Hixl, name: &str, piece: hixl::TransferOpDesc) {
    let args = hixl::TransferArgs { user_data: 0, timeout_in_millis: PATIENCE.as_millis() as u32 };
    // SAFETY: as of the soak that calls this.
    let request = unsafe { client.transfer_async(name, hixl::TransferOp::Read, &[piece], args) };
    let request = request.expect("begun");
    loop {
        match client.transfer_status(request).expect("known") {
            hixl::TransferStatus::Waiting => std::thread::yield_now(),
            status => return assert_eq!(status, hixl::TransferStatus::Completed),
        }
    }
}

#[test]
fn agent() {
    alone(|| {
        let open = |name| agent::Agent::open(agent::AgentConfig::new(name)).expect("open");
        let (here, there) = (open("here"), open("there"));
        let allocate =
            |agent: &agent::Agent| agent.allocate(64 << 10, ArenaOptions::default()).expect("memory");
        let (ours, theirs) = (allocate(&here), allocate(&there));
        here.load_remote_metadata(&there.local_metadata()).expect("loaded");
        let list = |start: u64, number: u64| {
            let block = move |index: u64| (start + (number + index * 3) % 16 * 4096, 4096);
            agent::DescriptorList::dram((0..4).map(block))
        };
        soak("agent", |number| {
            let (local, remote) = (list(ours.address(), number), list(theirs.address(), number));
            set(ours.address() + number % 16 * 4096, number);
            let request = here.create_request(Direction::Write, &local, &remote, "there").expect("made");
            request.post(Some(&number.to_le_bytes())).expect("posted");
            if number % 8 == 7 {
                // Whether it was faster or not.
                match request.release() {
                    Ok(()) | Err(agent::AgentError::Aborting) => drop(request),
                    Err(error) => panic!("{error}"),
                }
                drop(there.take_notifications());
                return;
            }
            assert_eq!(request.wait(deadline()).expect("known"), agent::Status::Success);
            request.release().expect("released");
            let told = |notification: &agent::Notification| notification.bytes == number.to_le_bytes();
            while !there.wait_notifications(deadline().expect("some")).iter().any(told) {}
            assert_eq!(number_at(theirs.address() + number % 16 * 4096), number);
        });
    });
}
