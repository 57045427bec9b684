//! Four processes on each of eight hosts, with losses, and with one host after the other cut off for a while: round after
//! round until the time is over. Everything is verified in every round.
//!
//! On each host: `kv serve`, `kv fetch` from another host, `af worker`, and `af server` or the scheduler.

use std::{
    thread,
    time::{Duration, Instant},
};

use interoperation::process::Process;

use super::{Case, case};
use crate::{
    network::{Faults, Network, until},
    programs::{Context, Places, Shape, fetched},
};

pub(super) const CASES: &[Case] = &[case("soak::eight_hosts_of_four_processes", soak)];

const HOSTS: usize = 8;
const TOKENS: u32 = 32;
const SHAPE: Shape = Shape { layers: 5, rows: 8, columns: 256 };
/// How long a host is cut off: not so long that it is given up.
const OUTAGE: Duration = Duration::from_secs(1);
/// How long one round may take, on a machine that does other things beside it.
const ROUND: Duration = Duration::from_secs(120);

fn soak(context: &Context) {
    let faults = Faults { lost: 2_000, doubled: 1_000, overtaken: 1_000, delay: Duration::ZERO };
    let network = Network::switched(HOSTS, faults, context.seed).expect("hosts");
    let begun = Instant::now();
    let mut servers: Vec<Process> =
        network.hosts().iter().map(|host| context.programs.serve(host, TOKENS)).collect();
    let mut rounds = 0;
    while rounds == 0 || begun.elapsed() < context.soak.lasts {
        let next = Instant::now() + context.soak.round_every;
        round(context, &network, rounds);
        rounds += 1;
        thread::sleep(next.saturating_duration_since(Instant::now()));
        assert!(servers.iter_mut().all(Process::is_running), "a server ended");
    }
    let counts = network.switch().counts();
    assert!(counts.lost > 0 && counts.doubled > 0 && counts.overtaken > 0 && counts.cut > 0, "{counts:?}");
    println!("{rounds} rounds in {:?}: {counts:?}", begun.elapsed());
}

fn round(context: &Context, network: &Network, number: usize) {
    let (programs, hosts) = (&context.programs, network.hosts());
    let places = Places { scheduler: &hosts[0], servers: &hosts[1..], workers: hosts };
    let demo = programs.demo(&places, SHAPE);
    // Another host in each round, never the same one.
    let step = 1 + number % (HOSTS - 1);
    let fetch = |index: usize| programs.fetch(&hosts[index], &hosts[(index + step) % HOSTS]);
    let fetches: Vec<Process> = (0..HOSTS).map(fetch).collect();
    let before = network.switch().counts();
    until("bytes between hosts", ROUND, || network.switch().counts().bytes > before.bytes + (1 << 20));
    let host = number % HOSTS;
    network.switch().cut(host, true);
    thread::sleep(OUTAGE);
    network.switch().cut(host, false);
    for fetch in fetches {
        fetched(&fetch.finish_within(ROUND));
    }
    demo.finish(ROUND);
}
