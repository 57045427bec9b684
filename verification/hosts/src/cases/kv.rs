//! `kv serve` and `kv fetch` on two hosts: every way of the demo, every byte compared.

use std::{
    thread,
    time::{Duration, Instant},
};

use interoperation::process::{Ended, PATIENCE};

use super::{Case, case};
use crate::{
    network::{Faults, Host, Network, until},
    programs::{Context, fetched},
};

pub(super) const CASES: &[Case] = &[
    case("kv::a_cache_is_fetched_over_veth", over_veth),
    case("kv::tcp_is_chosen_between_hosts_without_a_word", chosen),
    case("kv::one_packet_of_a_hundred_is_lost", losses),
    case("kv::packets_are_late_doubled_and_overtaken", rough),
    case("kv::the_link_is_down_for_two_seconds", interrupted),
    case("kv::a_host_that_vanishes_is_given_up_and_may_come_back", vanished),
    case("kv::a_killed_server_is_told_and_may_be_started_again", killed),
];

/// Of the default model: 9 MB.
const TOKENS: u32 = 128;
/// So many that what follows the first pull takes a while.
const MANY: u32 = 512;
/// Bytes by which the first pull has begun.
const BEGUN: u64 = 1 << 20;
/// How long links are down.
const OUTAGE: Duration = Duration::from_secs(2);
/// By when a peer that says nothing has been given up: 5 s of silence, and a loaded machine.
const GIVEN_UP: Duration = Duration::from_secs(30);

fn over_veth(context: &Context) {
    let network = Network::pair().expect("hosts");
    let _server = context.programs.serve(network.host(0), TOKENS);
    let before = received(network.host(1));
    let bytes = fetched(&context.programs.fetch(network.host(1), network.host(0)).finish());
    let carried = received(network.host(1)) - before;
    assert!(carried > bytes, "{bytes} bytes, but {carried} came over the link");
}

fn chosen(context: &Context) {
    let network = Network::pair().expect("hosts");
    let programs = context.programs.choosing();
    let _server = programs.serve(network.host(0), TOKENS);
    fetched(&programs.fetch(network.host(1), network.host(0)).finish());
}

fn losses(context: &Context) {
    through_losses(context, TOKENS);
}

/// A cache of so many tokens is fetched while one packet of a hundred is lost.
pub(super) fn through_losses(context: &Context, tokens: u32) {
    let faults = Faults { lost: 10_000, ..Faults::default() };
    let network = Network::switched(2, faults, context.seed).expect("hosts");
    let _server = context.programs.serve(network.host(0), tokens);
    let bytes = fetched(&context.programs.fetch(network.host(1), network.host(0)).finish());
    let counts = network.switch().counts();
    assert!(counts.bytes > bytes && counts.lost > 100, "{bytes} bytes with {counts:?}");
}

fn rough(context: &Context) {
    let delay = Duration::from_millis(1);
    let faults = Faults { lost: 1_000, doubled: 20_000, overtaken: 5_000, delay };
    let network = Network::switched(2, faults, context.seed).expect("hosts");
    let _server = context.programs.serve(network.host(0), TOKENS);
    let bytes = fetched(&context.programs.fetch(network.host(1), network.host(0)).finish());
    let counts = network.switch().counts();
    let met = counts.lost.min(counts.doubled).min(counts.overtaken);
    assert!(counts.bytes > bytes && met > 10, "{bytes} bytes with {counts:?}");
}

fn interrupted(context: &Context) {
    through_an_outage(context, MANY);
}

/// Neither side hears of anything but silence. What follows the first pull of so many tokens must take a while.
pub(super) fn through_an_outage(context: &Context, tokens: u32) {
    let network = Network::pair().expect("hosts");
    let _server = context.programs.serve(network.host(0), tokens);
    let mut fetch = context.programs.fetch(network.host(1), network.host(0));
    until("bytes on the link", PATIENCE, || received(network.host(1)) > BEGUN);
    network.host(1).set_link(false).expect("the link is taken down");
    thread::sleep(OUTAGE);
    assert!(fetch.is_running(), "it ended without a link: {:?}", fetch.finish());
    network.host(1).set_link(true).expect("the link is taken up");
    fetched(&fetch.finish());
}

fn vanished(context: &Context) {
    let network = Network::switched(2, Faults::default(), context.seed).expect("hosts");
    let (here, there, switch) = (network.host(1), network.host(0), network.switch());
    let mut server = context.programs.serve(there, MANY);
    let fetch = context.programs.fetch(here, there);
    until("bytes on the link", PATIENCE, || switch.counts().bytes > BEGUN);
    switch.cut(0, true);
    let begun = Instant::now();
    let ended = fetch.finish_within(GIVEN_UP);
    failed(&ended);
    assert!(begun.elapsed() > OUTAGE, "given up after {:?}", begun.elapsed());
    assert!(switch.counts().cut > 0);
    switch.cut(0, false);
    assert!(server.is_running(), "{:?}", server.finish());
    fetched(&context.programs.fetch(here, there).finish());
}

fn killed(context: &Context) {
    let network = Network::pair().expect("hosts");
    let mut server = context.programs.serve(network.host(0), MANY);
    let fetch = context.programs.fetch(network.host(1), network.host(0));
    until("bytes on the link", PATIENCE, || received(network.host(1)) > BEGUN);
    server.kill();
    failed(&fetch.finish_within(GIVEN_UP));
    let _again = context.programs.serve(network.host(0), TOKENS);
    fetched(&context.programs.fetch(network.host(1), network.host(0)).finish());
}

fn received(host: &Host) -> u64 {
    host.received().expect("the link's counters")
}

/// The command has ended with an error about its peer, in a line.
fn failed(ended: &Ended) {
    assert_eq!(ended.status.code(), Some(1), "{}\n{}", ended.text(), ended.errors);
    let line = ended.errors.lines().last().unwrap_or_default();
    assert!(line.starts_with("kv: ") && line.contains("peer"), "{}", ended.errors);
}
