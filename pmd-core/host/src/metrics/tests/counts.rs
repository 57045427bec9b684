//! Two endpoints in one process: what is counted is the work that was done.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::{Duration, Instant},
};

use pmd_core::{
    memory::{Access, RemoteAddress, RemoteKey},
    wire::Syndrome,
};

use super::parser::{Parsed, parse};
use crate::{
    backend::Transport,
    control::Refusal,
    endpoint::{Endpoint, EndpointConfig, Peer, PeerService, TransportChoice},
    lane::LaneConfig,
    metrics::{MetricsConfig, Page},
    soft::ArenaOptions,
    transfer::{
        Direction, LocalPiece, Notification, TransferOptions, WorkList, WorkListBuilder, WorkListLimits,
    },
};

const PATIENCE: Duration = Duration::from_secs(20);
const PIECE: u64 = 4096;

/// Counts something of its own.
struct Counting;

impl PeerService for Counting {
    fn request(&self, _: &Peer, _: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        Ok(body.to_vec())
    }

    fn metrics(&self, page: &mut Page) {
        page.counter("above_things", "Things of the application.").sample(&[], 3_u64);
    }
}

fn open(name: &str, transport: Transport, latencies: bool) -> Endpoint {
    let config = EndpointConfig {
        name: name.into(),
        transport: TransportChoice::Only(transport),
        listen: Some(([127, 0, 0, 1], 0).into()),
        lane: LaneConfig { latencies, ..LaneConfig::default() },
        metrics: MetricsConfig { listen: Some("0".parse().unwrap()), ..MetricsConfig::default() },
        ..EndpointConfig::default()
    };
    Endpoint::open(config, Arc::new(Counting)).unwrap()
}

fn scrape(endpoint: &Endpoint) -> Parsed {
    let mut stream = TcpStream::connect_timeout(&endpoint.metrics_address().unwrap(), PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let page = text.split_once("\r\n\r\n").unwrap().1;
    parse(page).unwrap_or_else(|error| panic!("{error} in\n{page}"))
}

/// Scrapes until it is as wanted: what a lane still counts when its outcome is given is not waited for otherwise.
fn scrape_until(endpoint: &Endpoint, wanted: impl Fn(&Parsed) -> bool) -> Parsed {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let parsed = scrape(endpoint);
        if wanted(&parsed) || Instant::now() > deadline {
            return parsed;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Memory at both ends, registered, and what moves `pieces` of it that do not merge.
struct Ends {
    peer: Peer,
    from: crate::endpoint::Registered,
    to: crate::endpoint::Registered,
    _arenas: (crate::soft::Arena, crate::soft::Arena),
}

impl Ends {
    fn new(client: &Endpoint, server: &Endpoint) -> Self {
        let peer = client.connect(server.local_address().unwrap()).unwrap();
        let bytes = 64 * PIECE as usize;
        let source = client.allocate(bytes, ArenaOptions::default()).unwrap();
        let target = server.allocate(bytes, ArenaOptions::default()).unwrap();
        let from = client.register(&source, Access::LOCAL_WRITE).unwrap();
        let to = server.register(&target, Access::READ_WRITE).unwrap();
        Self { peer, from, to, _arenas: (source, target) }
    }

    fn work(&self, direction: Direction, pieces: u64) -> Arc<WorkList> {
        self.work_with(direction, pieces, self.to.remote_key(self.peer.transport()).unwrap())
    }

    fn work_with(&self, direction: Direction, pieces: u64, remote_key: RemoteKey) -> Arc<WorkList> {
        let key = self.from.local_key(self.peer.transport()).unwrap();
        let mut work = WorkListBuilder::new(direction, WorkListLimits::default());
        // Every second one at the far end: neighbours would become one work request.
        for piece in 0..pieces {
            let local = LocalPiece { address: self.from.address() + piece * PIECE, length: PIECE, key };
            let remote = RemoteAddress { address: self.to.address() + 2 * piece * PIECE, key: remote_key };
            work.push(local, remote);
        }
        Arc::new(work.finish())
    }

    fn run(&self, work: &Arc<WorkList>, options: TransferOptions) {
        let mut transfer = self.peer.route().submit(work, options).unwrap();
        transfer.wait(Some(Instant::now() + PATIENCE)).unwrap();
    }
}

fn counts_are_the_work(transport: Transport) {
    let (server, client) = (open("server", transport, false), open("client", transport, true));
    let ends = Ends::new(&client, &server);
    let (write, read) = (ends.work(Direction::Write, 32), ends.work(Direction::Read, 8));
    assert_eq!((write.entries().len(), read.entries().len()), (32, 8));
    for _ in 0..5 {
        ends.run(&write, TransferOptions::default());
    }
    for _ in 0..3 {
        ends.run(&read, TransferOptions::default());
    }
    let settled = |parsed: &Parsed| parsed.value("pmd_lane_outstanding_work_requests", &[]) == 0.0;
    let parsed = scrape_until(&client, settled);
    for of in ["lane", "peer"] {
        let value = |name: &str, labels: &[(&str, &str)]| {
            let labels = [labels, &[("transport", transport.name())]].concat();
            parsed.value(&format!("pmd_{of}_{name}"), &labels)
        };
        assert_eq!(value("transfers_total", &[("result", "done")]), 8.0);
        assert_eq!(value("transfers_total", &[("result", "failed")]), 0.0);
        assert_eq!(value("transfer_bytes_total", &[("direction", "write")]), (5 * 32 * PIECE) as f64);
        assert_eq!(value("transfer_bytes_total", &[("direction", "read")]), (3 * 8 * PIECE) as f64);
        assert_eq!(value("work_requests_total", &[("operation", "write")]), 160.0);
        assert_eq!(value("work_requests_total", &[("operation", "read")]), 24.0);
        assert_eq!(value("work_requests_total", &[("operation", "write_immediate")]), 0.0);
        assert_eq!(value("active_transfers", &[]), 0.0);
        assert_eq!(value("transfer_duration_seconds_count", &[("direction", "write")]), 5.0);
        assert_eq!(value("transfer_duration_seconds_count", &[("direction", "read")]), 3.0);
        assert!(value("transfer_duration_seconds_sum", &[("direction", "write")]) > 0.0);
    }
    assert_eq!(parsed.value("pmd_peers", &[]), 1.0);
    assert_eq!(parsed.value("pmd_peer_info", &[("peer", "server")]), 1.0);
    assert_eq!(parsed.value("above_things_total", &[]), 3.0);
    // The passive side did nothing of its own, and has no durations unless it is told to.
    let passive = scrape(&server);
    assert_eq!(passive.value("pmd_lane_transfer_bytes_total", &[("direction", "write")]), 0.0);
    assert!(passive.0["pmd_lane_transfer_duration_seconds"].samples.is_empty());
}

#[test]
fn counts_are_the_work_that_was_done_over_shared_memory() {
    counts_are_the_work(Transport::SharedMemory);
}

#[test]
fn counts_are_the_work_that_was_done_over_tcp() {
    counts_are_the_work(Transport::Tcp);
}

#[test]
fn an_immediate_that_rides_and_a_message_that_follows_are_told_apart() {
    let transport = Transport::SharedMemory;
    let (server, client) = (open("server", transport, false), open("client", transport, false));
    let ends = Ends::new(&client, &server);
    let work = ends.work(Direction::Write, 2);
    let notify = |bytes: &[u8]| TransferOptions {
        notify: Some(Notification { bytes: bytes.into(), immediate: Some(7) }),
        ..TransferOptions::default()
    };
    ends.run(&work, notify(b""));
    ends.run(&work, notify(b"with bytes"));
    let metrics = client.metrics();
    let operations = metrics.lanes[0].counters.operations;
    assert_eq!((operations.write, operations.write_immediate, operations.nop), (3, 1, 0));
    assert!(operations.send >= 1, "the notification, and perhaps credits: {operations:?}");
    assert_eq!(metrics.peers[0].counters.operations.write_immediate, 1);
    assert!(metrics.lanes[0].latencies.is_none() && metrics.peers[0].latencies.is_none());
}

#[test]
fn a_refusal_of_the_peer_counts_by_its_syndrome() {
    let transport = Transport::SharedMemory;
    let (server, client) = (open("server", transport, false), open("client", transport, true));
    let ends = Ends::new(&client, &server);
    let key = ends.to.remote_key(transport).unwrap();
    let wrong = ends.work_with(Direction::Write, 1, RemoteKey(!key.0));
    let mut transfer = ends.peer.route().submit(&wrong, TransferOptions::default()).unwrap();
    transfer.wait(Some(Instant::now() + PATIENCE)).unwrap_err();
    let metrics = client.metrics();
    for counters in [&metrics.lanes[0].counters, &metrics.peers[0].counters] {
        assert_eq!((counters.transfers, counters.failed_transfers, counters.bytes), (0, 1, 0));
        assert_eq!(counters.failed_completions.of(Syndrome::RemoteAccess), 1);
    }
    assert!(metrics.peers[0].fault.is_some());
    let parsed = scrape(&client);
    assert_eq!(parsed.value("pmd_lane_failed_completions_total", &[("syndrome", "remote_access")]), 1.0);
    assert_eq!(parsed.value("pmd_peer_failed_completions_total", &[("syndrome", "remote_access")]), 1.0);
    assert_eq!(metrics.lanes[0].latencies.as_ref().unwrap().write.count(), 0, "a failure is no duration");
}

#[test]
fn registrations_are_counted_while_they_are_there() {
    let endpoint = open("alone", Transport::SharedMemory, false);
    let arena = endpoint.allocate(8192, ArenaOptions::default()).unwrap();
    let first = endpoint.register(&arena, Access::LOCAL_WRITE).unwrap();
    let second = endpoint.register(&arena, Access::LOCAL_WRITE).unwrap();
    let state = |endpoint: &Endpoint| {
        let of = endpoint.metrics().registrations[0];
        (of.registered, of.regions, of.bytes)
    };
    assert_eq!(state(&endpoint), (2, 2, 16384));
    drop(first);
    assert_eq!(state(&endpoint), (2, 1, 8192));
    drop(second);
    assert_eq!(state(&endpoint), (2, 0, 0));
    let parsed = scrape(&endpoint);
    assert_eq!(parsed.value("pmd_registrations_total", &[("transport", "shm")]), 2.0);
    assert_eq!(parsed.value("pmd_registered_regions", &[("transport", "shm")]), 0.0);
}

#[test]
fn peers_that_come_and_go_are_counted_by_the_reason() {
    let transport = Transport::SharedMemory;
    let (server, client) = (open("server", transport, false), open("client", transport, false));
    let peer = client.connect(server.local_address().unwrap()).unwrap();
    assert_eq!((client.metrics().control.connected, client.metrics().peers.len()), (1, 1));
    drop(peer);
    drop(server);
    let parsed = scrape_until(&client, |parsed| parsed.value("pmd_peers", &[]) == 0.0);
    assert_eq!(parsed.value("pmd_connected_peers_total", &[]), 1.0);
    let lost =
        scrape_until(&client, |parsed| parsed.value("pmd_lost_peers_total", &[("reason", "goodbye")]) == 1.0);
    assert_eq!(lost.value("pmd_lost_peers_total", &[("reason", "goodbye")]), 1.0);
    assert_eq!(lost.value("pmd_lost_peers_total", &[("reason", "silent")]), 0.0);
}

#[test]
fn keep_alives_that_do_not_come_are_counted() {
    let server = open("server", Transport::SharedMemory, false);
    let config = EndpointConfig {
        // The server says something once a second only.
        keep_alive: Duration::from_millis(20),
        down_after: PATIENCE,
        metrics: MetricsConfig { listen: Some("0".parse().unwrap()), ..MetricsConfig::default() },
        ..EndpointConfig::default()
    };
    let client = Endpoint::open(config, Arc::new(Counting)).unwrap();
    let peer = client.connect(server.local_address().unwrap()).unwrap();
    let misses = |parsed: &Parsed| parsed.value("pmd_peer_keep_alive_misses_total", &[("peer", "server")]);
    let parsed = scrape_until(&client, |parsed| misses(parsed) > 0.0);
    assert!(misses(&parsed) > 0.0 && peer.down_reason().is_none());
}
