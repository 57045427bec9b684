//! What a world goes through: nodes come, link and talk; NICs break; the scheduler is killed and replaced; nodes die; the
//! network is cut. After each part everything must be as it should.

use std::{collections::BTreeSet, time::Duration};

use af_api::rendezvous::{Barrier, Member, Roles};
use pmd_host::endpoint::EndpointConfig;

use crate::{
    clock::nanos,
    line::{Line, LineEvent},
    office::Traffic,
    run::{Flat, Run, average},
    settings::Settings,
    violation::Violation,
    world::{Event, World},
};

/// Longest that any part may take, of simulated time.
const BOUND: Duration = Duration::from_secs(120);

/// Time in which a round of traffic is begun.
const ROUND: Duration = Duration::from_millis(1500);

/// How long the scheduler is away.
const AWAY: Duration = Duration::from_secs(2);

/// A cut that keep-alives do not notice, and one that they do.
const SHORT_CUT: Duration = Duration::from_secs(2);
const LONG_CUT: Duration = Duration::from_secs(9);

/// Pause after the last part, in which rails come back.
const REST: Duration = Duration::from_secs(12);

/// Runs one world.
#[must_use]
pub fn run(settings: Settings) -> Run {
    let mut world = World::new(settings);
    let mut run = Run::new(settings);
    form(&mut world, &mut run);
    link(&mut world, &mut run);
    restart_scheduler(&mut world, &mut run);
    meet(&mut world, &mut run);
    let dead = deaths(&mut world, &mut run);
    replace(&mut world, &mut run, &dead);
    short_cut(&mut world);
    long_cut(&mut world, &mut run);
    rest(&mut world);
    run.end(&world);
    run
}

/// Everybody starts, and finds everybody.
fn form(world: &mut World, run: &mut Run) {
    let nodes = u64::from(world.settings.nodes);
    let formed = world.run_until("forming", BOUND, |world| nodes - world.counts.formed);
    agree(world, "forming");
    run.formed = formed;
    let sum = |of: fn(&crate::node::Node) -> Traffic| {
        let all = world.nodes.iter().map(of);
        all.fold(Traffic::default(), |sum, one| Traffic {
            frames: sum.frames + one.frames,
            bytes: sum.bytes + one.bytes,
        })
    };
    (run.said, run.heard) = (sum(|node| node.said), sum(|node| node.heard));
    run.scheduler_said = world.office.said;
    run.scheduler_worked = world.office.worked;
    run.scheduler_backlog = world.office.backlog;
    run.scheduler_held = world.office.held.unsigned_abs();
    run.node_held = average(world.nodes.iter().map(|node| node.held.unsigned_abs()));
}

/// Every worker links with its servers.
fn link(world: &mut World, run: &mut Run) {
    let links = u64::from(world.settings.shape().workers * world.settings.links);
    world.run_until("linking", BOUND, |world| links - world.counts.linked);
    run.linked = world.counts.last_linked;
    run.links = links;
    let fresh = world.lines.iter().flat_map(|line| &line.ends).map(|end| end.held.unsigned_abs());
    run.line_held = average(fresh);
}

/// Traffic; NICs break in the middle of it, and the scheduler is killed and replaced.
fn restart_scheduler(world: &mut World, run: &mut Run) {
    traffic(world);
    break_nics(world);
    world.pass(ROUND / 3);
    world.kill_scheduler();
    world.pass(AWAY);
    if world.counts.without_scheduler == 0 {
        world.broken(Violation::WaitedForScheduler);
    }
    let begin = world.now();
    world.start_scheduler();
    let nodes = u64::from(world.settings.nodes);
    let formed = world.run_until("a new scheduler", BOUND, |world| nodes - world.counts.formed);
    run.formed_again = formed - begin;
    agree(world, "a new scheduler");
    world.run_until("traffic", BOUND, |world| world.counts.unfinished);
}

/// Everybody meets at a barrier.
fn meet(world: &mut World, run: &mut Run) {
    let barrier = Barrier::new("everybody", Roles::WORKER | Roles::SERVER);
    let (begin, said) = (world.now(), world.office.said.frames);
    (0..world.settings.nodes).for_each(|node| world.enter(node, &barrier));
    let nodes = u64::from(world.settings.nodes);
    let end = world.run_until("a barrier", BOUND, |world| nodes - world.counts.released);
    run.barrier = end - begin;
    run.barrier_frames = world.office.said.frames - said;
}

/// One in a hundred dies, every other one without a word, while there is traffic. The others hear of it.
fn deaths(world: &mut World, run: &mut Run) -> BTreeSet<u32> {
    let nodes = world.settings.nodes;
    let mut dead = BTreeSet::new();
    while (dead.len() as u32) < (nodes / 100).max(2) {
        dead.insert(world.agenda.below(nodes.into()) as u32);
    }
    traffic(world);
    world.pass(ROUND / 3);
    let (begin, before) = (world.now(), world.counts.heard_down);
    for (count, node) in dead.iter().enumerate() {
        world.die(*node, count % 2 == 1);
    }
    let expected = dead.len() as u64 * (u64::from(nodes) - dead.len() as u64);
    let heard = move |world: &World| (before + expected).saturating_sub(world.counts.heard_down);
    let end = world.run_until("deaths", BOUND, heard);
    (run.deaths, run.down_heard) = (dead.len() as u64, end - begin);
    world.run_until("traffic beside deaths", BOUND, |world| world.counts.unfinished);
    no_false_alarm(world, "deaths", before + expected);
    // Links on which nothing was on its way are noticed by keep-alives alone.
    world.pass(EndpointConfig::default().down_after);
    dead
}

/// Others take the places of those that have died, and link again.
fn replace(world: &mut World, run: &mut Run, dead: &BTreeSet<u32>) {
    let begin = world.now();
    dead.iter().for_each(|node| world.start_again(*node));
    let nodes = u64::from(world.settings.nodes);
    let end = world.run_until("replacements", BOUND, |world| nodes - world.counts.formed);
    run.replaced = end - begin;
    // The last one to come knows it before the others do.
    world.pass(Duration::from_secs(2));
    agree(world, "replacements");
    link_again(world, "replacements");
}

/// The network is cut for less time than anybody waits for a word: nobody notices but by the time that it takes.
fn short_cut(world: &mut World) {
    let before = world.counts.heard_down;
    traffic(world);
    world.pass(ROUND / 3);
    cut(world, SHORT_CUT);
    world.run_until("a short cut", BOUND, |world| world.counts.unfinished);
    world.pass(SHORT_CUT);
    no_false_alarm(world, "a short cut", before);
    agree(world, "a short cut");
}

/// The network is cut for longer: both sides take each other for dead, and come together again.
fn long_cut(world: &mut World, run: &mut Run) {
    traffic(world);
    world.pass(ROUND / 3);
    cut(world, LONG_CUT);
    world.pass(LONG_CUT);
    let begin = world.now();
    let nodes = u64::from(world.settings.nodes);
    let end = world.run_until("a long cut", BOUND, |world| nodes - world.counts.formed);
    run.healed = end - begin;
    world.pass(Duration::from_secs(2));
    agree(world, "a long cut");
    world.run_until("traffic beside a cut", BOUND, |world| world.counts.unfinished);
    link_again(world, "a long cut");
}

/// In the end every rail is up, every credit is somewhere, and everybody knows everybody.
fn rest(world: &mut World) {
    traffic(world);
    world.run_until("the last traffic", BOUND, |world| world.counts.unfinished);
    world.pass(REST);
    let receives = EndpointConfig::default().message_receives;
    let mut found = Vec::new();
    for (line, link) in world.live_lines() {
        found.extend(
            link.first_rail_down(world.settings.rails).map(|rail| Violation::RailDown { line, rail }),
        );
    }
    for (line, link) in (0..).zip(&mut world.lines).filter(|(_, line)| !line.is_over) {
        for end in 0..2 {
            let sum = held(link, end) + due(link, 1 - end);
            if sum != receives {
                found.push(Violation::Credits { line, found: sum, receives });
            }
        }
    }
    found.into_iter().for_each(|violation| world.broken(violation));
    agree(world, "the end");
}

/// Credits that an end holds; it does no more with them.
fn held(line: &Line, end: usize) -> u32 {
    std::iter::from_fn(|| line.ends[end].credits.take().then_some(())).count() as u32
}

/// Credits that an end owes.
fn due(line: &mut Line, end: usize) -> u32 {
    line.ends[end].account.attach().into()
}

/// A round of traffic on every link, both ways.
fn traffic(world: &mut World) {
    let Settings { transfers, messages, .. } = world.settings;
    let live: Vec<u32> = world.live_lines().map(|(line, _)| line).collect();
    for line in live {
        for end in 0..2 {
            for _ in 0..transfers {
                begin(world, line, LineEvent::Submit { end });
            }
            begin(world, line, LineEvent::Send { end, count: messages });
        }
        world.counts.unfinished += 2 * u64::from(transfers + messages);
    }
}

/// At some time of the round.
fn begin(world: &mut World, line: u32, event: LineEvent) {
    let delay = world.agenda.below(nanos(ROUND));
    world.agenda.after(delay, Event::Line { line, event });
}

fn break_nics(world: &mut World) {
    let assumptions = world.settings.assumptions;
    for nic in 0..world.nics.len() as u32 {
        if world.agenda.happens(1000 * assumptions.broken_nics) {
            let delay = world.agenda.below(nanos(ROUND));
            let length = 1 + world.agenda.below(nanos(assumptions.broken_for));
            world.agenda.after(delay, Event::Break { nic, length });
        }
    }
}

/// A quarter of the nodes is cut off from the others and the scheduler.
fn cut(world: &mut World, length: Duration) {
    let until = world.now() + nanos(length);
    for node in 0..world.settings.nodes {
        if world.agenda.below(4) == 0 {
            world.nodes[node as usize].cut_until = until;
        }
    }
    let across = |world: &World, line| world.cut_until(line) > world.now();
    let lines: Vec<u32> =
        world.live_lines().map(|(line, _)| line).filter(|line| across(world, *line)).collect();
    let bound = nanos(EndpointConfig::default().down_after);
    for line in lines {
        (0..world.settings.rails).for_each(|rail| world.watch_rail(line, rail));
        if nanos(length) > bound {
            let delay = bound + world.agenda.below(bound / 5);
            world.part(line, delay);
        }
    }
}

/// Links again what is not linked any more.
fn link_again(world: &mut World, phase: &'static str) {
    let linked: BTreeSet<[u32; 2]> = world.live_lines().map(|(_, line)| line.nodes).collect();
    let shape = world.settings.shape();
    for worker in 0..shape.workers {
        for link in 0..world.settings.links {
            let server = shape.workers + (worker + link) % shape.workers;
            if !linked.contains(&[worker, server]) {
                world.agenda.after(0, Event::Link { worker, server });
            }
        }
    }
    let links = u64::from(shape.workers * world.settings.links);
    world.run_until(phase, BOUND, |world| links - world.counts.linked);
}

/// Every node has every member as the scheduler has it, and all are up.
fn agree(world: &mut World, phase: &'static str) {
    let Some(state) = &world.office.state else { return };
    let members = state.members();
    let is_up = |member: &&Member| member.is_up();
    let places = state.places();
    if members.iter().filter(is_up).count() != places {
        let left = (places - members.iter().filter(is_up).count()) as u64;
        world.broken(Violation::Stuck { phase, seconds: 0, left });
    }
    for node in 0..world.settings.nodes {
        let here = world.nodes[node as usize].state.members();
        let differs = here.zip(&members).find(|(here, there)| *here != *there).map(|(here, _)| here.id);
        let count = world.nodes[node as usize].state.members().count();
        let missing = members.get(count).map(|member| member.id);
        if let Some(member) = differs.or(missing) {
            world.broken(Violation::Disagreement { phase, node, member });
        }
    }
}

fn no_false_alarm(world: &mut World, phase: &'static str, expected: u64) {
    let count = world.counts.heard_down.saturating_sub(expected);
    if count > 0 {
        world.broken(Violation::FalseAlarm { phase, count });
    }
}

/// Compares what should not grow with the number of nodes.
pub(crate) fn flatness(small: &Run, large: &Run) -> Vec<Violation> {
    let pairs = small.flat().into_iter().zip(large.flat());
    let grows = |(small, large): &(Flat, Flat)| large.value * 100 > small.value * (100 + small.tolerance);
    pairs
        .filter(grows)
        .map(|(before, after)| Violation::NotFlat {
            what: before.what,
            small_nodes: small.settings.nodes,
            small: before.value,
            large_nodes: large.settings.nodes,
            large: after.value,
        })
        .collect()
}
