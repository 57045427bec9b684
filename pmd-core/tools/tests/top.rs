//! `pmd top` against endpoints of this process, which serve their metrics as `kv` and `af` do.

use std::{
    io::{BufRead, BufReader},
    sync::Arc,
    time::{Duration, Instant},
};

use pmd_core::memory::{Access, RemoteAddress};
use pmd_host::{
    endpoint::{Endpoint, EndpointConfig, PeerService},
    lane::LaneConfig,
    metrics::MetricsConfig,
    soft::ArenaOptions,
    transfer::{Direction, LocalPiece, TransferOptions, WorkListBuilder, WorkListLimits},
};

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use support::{pmd, spawn};

struct Silent;
impl PeerService for Silent {}

fn open(name: &str) -> Endpoint {
    let config = EndpointConfig {
        name: name.into(),
        listen: Some(([127, 0, 0, 1], 0).into()),
        lane: LaneConfig { latencies: true, ..LaneConfig::default() },
        metrics: MetricsConfig { listen: Some("0".parse().expect("any port")), ..MetricsConfig::default() },
        ..EndpointConfig::default()
    };
    Endpoint::open(config, Arc::new(Silent)).expect("an endpoint")
}

fn address(endpoint: &Endpoint) -> String {
    endpoint.metrics_address().expect("it serves").to_string()
}

/// Writes `bytes` from one to the other.
fn write(client: &Endpoint, server: &Endpoint, bytes: u64) {
    let peer = client.connect(server.local_address().expect("listens")).expect("a peer");
    let source = client.allocate(bytes as usize, ArenaOptions::default()).expect("memory");
    let target = server.allocate(bytes as usize, ArenaOptions::default()).expect("memory");
    let from = client.register(&source, Access::LOCAL_WRITE).expect("registered");
    let to = server.register(&target, Access::READ_WRITE).expect("registered");
    let key = from.local_key(peer.transport()).expect("a key");
    let remote_key = to.remote_key(peer.transport()).expect("a key");
    let mut work = WorkListBuilder::new(Direction::Write, WorkListLimits::default());
    let remote = RemoteAddress { address: to.address(), key: remote_key };
    work.push(LocalPiece { address: from.address(), length: bytes, key }, remote);
    let work = Arc::new(work.finish());
    let mut transfer = peer.route().submit(&work, TransferOptions::default()).expect("submitted");
    transfer.wait(Some(Instant::now() + Duration::from_secs(20))).expect("written");
}

#[test]
fn one_look_tells_what_was_moved() {
    let (server, client) = (open("the server"), open("the client"));
    write(&client, &server, 123_456);
    let run = pmd(&["top", "--once", "--json", "--interval", "0.05", &address(&client), &address(&server)]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    let report = run.json();
    assert_eq!((&report["op"], report["processes"].as_array().map(Vec::len)), (&"top".into(), Some(2)));
    let (ours, theirs) = (&report["processes"][0], &report["processes"][1]);
    assert_eq!((&ours["name"], &ours["bytes"]), (&"the client".into(), &123_456.into()));
    assert_eq!((&ours["transfers"], &ours["failed_transfers"]), (&1.into(), &0.into()));
    assert_eq!((&theirs["name"], &theirs["bytes"]), (&"the server".into(), &0.into()));
    assert_eq!(ours["peers"][0]["name"], "the server");
    assert_eq!(ours["peers"][0]["bytes"], 123_456);
    assert_eq!(ours["peers"][0]["transport"], "shm");
    let table = pmd(&["top", "--once", "--interval", "0.05", &address(&client)]);
    assert_eq!((table.code, table.out.lines().count()), (Some(0), 3), "{}", table.out);
    assert!(table.out.contains("the client") && table.out.contains("  the server #"), "{}", table.out);
}

#[test]
fn a_process_that_ends_is_told_and_the_others_are_shown_on() {
    let (first, second) = (open("first"), open("second"));
    let named = [address(&first), address(&second)];
    let mut child = spawn(&["top", "--json", "--interval", "0.05", &named[0], &named[1]]);
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut first = Some(first);
    let mut looks = lines.map(|line| line.expect("text")).map(|line| {
        let report: serde_json::Value = serde_json::from_str(&line).expect(&line);
        let gone = report["gone"].as_array().map_or(0, Vec::len);
        (report["processes"].as_array().map_or(0, Vec::len), gone)
    });
    assert_eq!(looks.next(), Some((2, 0)));
    drop(first.take());
    // The look that was under way may still have seen it.
    let after = looks.by_ref().take(200).find(|look| *look != (2, 0));
    assert_eq!(after, Some((1, 1)));
    assert_eq!(looks.next(), Some((1, 1)), "one that was named is told again");
    drop(second);
    child.kill().expect("it runs until it is interrupted");
    child.wait().expect("it ends");
}

#[test]
fn nobody_there_is_no_metrics_here() {
    let gone = {
        let endpoint = open("gone");
        address(&endpoint)
    };
    let run = pmd(&["top", "--once", &gone]);
    assert_eq!(run.code, Some(3), "{}", run.out);
    assert!(run.err.contains(&gone), "{}", run.err);
    for wrong in [["top", "nowhere"], ["top", "--interval=0"]] {
        assert_eq!(pmd(&wrong).code, Some(2));
    }
}
