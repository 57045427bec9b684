//! `af scheduler`, `af server` and `af worker` on several hosts: a model's layers, every value compared.

use std::{slice, thread, time::Duration};

use interoperation::process::PATIENCE;

use super::{Case, case};
use crate::{
    network::{Faults, Network, until},
    programs::{Context, Places, Shape},
};

pub(super) const CASES: &[Case] = &[
    case("af::a_model_runs_over_veth", over_veth),
    case("af::one_packet_of_a_hundred_is_lost", losses),
    case("af::everybody_leaves_over_a_bad_link", leaving),
    case("af::a_server_is_cut_off_for_two_seconds", interrupted),
];

pub(super) const SHAPE: Shape = Shape { layers: 20, rows: 64, columns: 1024 };
/// How long a host is cut off.
const OUTAGE: Duration = Duration::from_secs(2);

fn over_veth(context: &Context) {
    between_two(context, SHAPE);
}

fn losses(context: &Context) {
    through_losses(context, SHAPE);
}

/// Short runs, for the sake of their ends: the last acknowledgements and the goodbyes are lost and come again, each on its
/// own connection, while the processes end. Nobody may take that for a peer that was killed.
fn leaving(context: &Context) {
    let faults = Faults { lost: 50_000, ..Faults::default() };
    let network = Network::switched(4, faults, context.seed).expect("hosts");
    for _ in 0..4 {
        context.programs.demo(&places(&network), Shape { layers: 1, rows: 8, columns: 256 }).finish(PATIENCE);
    }
    let counts = network.switch().counts();
    assert!(counts.lost > 10, "{counts:?}");
}

/// So many layers take longer than it takes to see that they have begun.
fn interrupted(context: &Context) {
    through_an_outage(context, Shape { layers: 100, ..SHAPE });
}

/// The workers on the one host, all else on the other.
pub(super) fn between_two(context: &Context, shape: Shape) {
    let network = Network::pair().expect("hosts");
    let [here, there] = network.hosts() else { unreachable!("a pair") };
    let workers = [there.clone(), there.clone()];
    let places = Places { scheduler: here, servers: slice::from_ref(here), workers: &workers };
    context.programs.demo(&places, shape).finish(PATIENCE);
}

/// One packet of a hundred is lost.
pub(super) fn through_losses(context: &Context, shape: Shape) {
    let faults = Faults { lost: 10_000, ..Faults::default() };
    let network = Network::switched(4, faults, context.seed).expect("hosts");
    context.programs.demo(&places(&network), shape).finish(PATIENCE);
    let counts = network.switch().counts();
    assert!(counts.lost > 10, "{counts:?}");
}

/// The server is cut off while all are at work.
pub(super) fn through_an_outage(context: &Context, shape: Shape) {
    let network = Network::switched(4, Faults::default(), context.seed).expect("hosts");
    let mut demo = context.programs.demo(&places(&network), shape);
    demo.form();
    let begun = network.switch().counts().bytes;
    until("push-pulls", PATIENCE, || network.switch().counts().bytes > begun + (4 << 20));
    network.switch().cut(1, true);
    thread::sleep(OUTAGE);
    assert!(demo.workers.iter_mut().all(|worker| worker.is_running()), "a worker ended without its server");
    network.switch().cut(1, false);
    demo.finish(PATIENCE);
    assert!(network.switch().counts().cut > 0);
}

/// The scheduler, a server and two workers, each on a host.
pub(super) fn places(network: &Network) -> Places<'_> {
    let hosts = network.hosts();
    Places { scheduler: &hosts[0], servers: &hosts[1..2], workers: &hosts[2..4] }
}
