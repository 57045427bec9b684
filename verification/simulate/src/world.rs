//! Everything there is: the scheduler, the nodes, their NICs, the links between them; and what happens to them.

use std::{rc::Rc, time::Duration};

use crate::{
    clock::{Agenda, Nanos, Trace, nanos},
    line::{Line, LineEvent},
    node::Node,
    office::{Notice, Office},
    settings::Settings,
    violation::Violation,
};

/// So many violations are kept; a world that is broken is broken everywhere.
const KEPT: usize = 20;

/// Something happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// A process starts, or looks for the scheduler again.
    Seek { node: u32, attempt: u64 },
    /// Its connection to the scheduler is made.
    Connected { node: u32, attempt: u64 },
    /// It asks for its places again.
    AskAgain { node: u32, connection: u64 },
    /// A frame arrives at the scheduler; without a body, a keep-alive.
    ToScheduler { connection: u64, body: Option<Notice> },
    /// A frame arrives at a node.
    ToNode { node: u32, connection: u64, body: Option<Notice> },
    /// The scheduler handles what has come.
    Turn,
    /// One end of a connection looks at the clock.
    Tick { node: u32, connection: u64, at_node: bool },
    /// A node sees that its connection has ended.
    Closed { node: u32, connection: u64 },
    /// The scheduler sees it.
    Gone { connection: u64 },
    /// A worker links with a server.
    Link { worker: u32, server: u32 },
    /// Something of a link.
    Line { line: u32, event: LineEvent },
    /// A NIC breaks, and is mended after a time.
    Break { nic: u32, length: Nanos },
}

impl Trace for Event {
    fn trace(&self) -> [u64; 3] {
        match *self {
            Self::Seek { node, attempt } => [1, node.into(), attempt],
            Self::Connected { node, attempt } => [2, node.into(), attempt],
            Self::AskAgain { node, connection } => [3, node.into(), connection],
            Self::ToScheduler { connection, ref body } => [4, connection, length(body.as_ref())],
            Self::ToNode { node, ref body, .. } => [5, node.into(), length(body.as_ref())],
            Self::Turn => [6, 0, 0],
            Self::Tick { node, connection, at_node } => [7 + u64::from(at_node), node.into(), connection],
            Self::Closed { node, connection } => [9, node.into(), connection],
            Self::Gone { connection } => [10, connection, 0],
            Self::Link { worker, server } => [11, worker.into(), server.into()],
            Self::Line { line, ref event } => [12, line.into(), event.trace()],
            Self::Break { nic, length } => [13, nic.into(), length],
        }
    }
}

fn length(body: Option<&Rc<[u8]>>) -> u64 {
    body.map_or(0, |body| body.len() as u64)
}

/// One NIC of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Nic {
    /// Until then it sends what it has been given.
    pub(crate) sends_until: Nanos,
    /// Until then it receives what is on its way.
    pub(crate) receives_until: Nanos,
    pub(crate) broken_until: Nanos,
}

/// What has happened so far, to be reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Nodes that live and know that everybody is there.
    pub(crate) formed: u64,
    /// Links of which every rail has come up once, and that are not over.
    pub(crate) linked: u64,
    /// When the last of them was.
    pub(crate) last_linked: Nanos,
    /// Transfers and messages that have not ended, or not been sent and taken in.
    pub(crate) unfinished: u64,
    pub(crate) transfers: u64,
    pub(crate) failed: u64,
    pub(crate) bytes: u64,
    pub(crate) chunks: u64,
    /// Chunks that came back unfinished, and went again.
    pub(crate) returned: u64,
    /// Chunks that landed where they had landed before.
    pub(crate) again: u64,
    /// Notifications that came again and were dropped.
    pub(crate) repeated: u64,
    pub(crate) rails_lost: u64,
    pub(crate) messages: u64,
    /// Messages that carried credits alone.
    pub(crate) credit_messages: u64,
    /// Transfers that ended while there was no scheduler.
    pub(crate) without_scheduler: u64,
    /// News that nodes heard: that a member is down, that one has come.
    pub(crate) heard_down: u64,
    pub(crate) heard_joined: u64,
    pub(crate) released: u64,
}

/// The world.
pub(crate) struct World {
    pub(crate) settings: Settings,
    pub(crate) agenda: Agenda<Event>,
    pub(crate) office: Office,
    pub(crate) nodes: Vec<Node>,
    /// Those of node 0, then those of node 1, and so on.
    pub(crate) nics: Vec<Nic>,
    pub(crate) lines: Vec<Line>,
    pub(crate) counts: Counts,
    pub(crate) violations: Vec<Violation>,
}

impl World {
    pub(crate) fn new(settings: Settings) -> Self {
        let mut world = Self {
            settings,
            agenda: Agenda::new(settings.seed),
            office: Office::new(settings.shape()),
            nodes: (0..settings.nodes).map(|number| Node::new(number, settings.shape())).collect(),
            nics: vec![Nic::default(); settings.nodes as usize * usize::from(settings.rails)],
            lines: Vec::new(),
            counts: Counts::default(),
            violations: Vec::new(),
        };
        let spread = nanos(settings.assumptions.start_spread);
        for node in 0..settings.nodes {
            let delay = world.agenda.below(spread);
            world.agenda.after(delay, Event::Seek { node, attempt: 0 });
        }
        world
    }

    pub(crate) const fn now(&self) -> Nanos {
        self.agenda.now()
    }

    /// Lets things happen until nothing is left of what is waited for, at most this long. Returns when that was.
    pub(crate) fn run_until(
        &mut self,
        phase: &'static str,
        bound: Duration,
        left: impl Fn(&Self) -> u64,
    ) -> Nanos {
        let deadline = self.now() + nanos(bound);
        while left(self) > 0 {
            if self.now() <= deadline && self.step() {
                continue;
            }
            let seconds = (self.now() + nanos(bound)).saturating_sub(deadline) / 1_000_000_000;
            self.broken(Violation::Stuck { phase, seconds, left: left(self) });
            break;
        }
        self.now()
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.now() + nanos(time);
        while self.now() < end && self.step() {}
    }

    pub(crate) fn broken(&mut self, violation: Violation) {
        if self.violations.len() < KEPT {
            self.violations.push(violation);
        }
    }

    /// A latency with what chance adds.
    pub(crate) fn latency(&mut self, latency: Duration) -> Nanos {
        nanos(latency) + self.agenda.below(nanos(self.settings.assumptions.jitter))
    }

    /// The next event. Whether there was one.
    fn step(&mut self) -> bool {
        let Some(event) = self.agenda.next() else { return false };
        match event {
            Event::Seek { node, attempt } => self.seek(node, attempt),
            Event::Connected { node, attempt } => self.connected(node, attempt),
            Event::AskAgain { node, connection } => self.ask_again(node, connection),
            Event::ToScheduler { connection, body } => self.scheduler_hears(connection, body),
            Event::ToNode { node, connection, body } => self.node_hears(node, connection, body),
            Event::Turn => self.turn(),
            Event::Tick { node, connection, at_node: true } => self.tick_of_node(node, connection),
            Event::Tick { node, connection, at_node: false } => self.tick_of_scheduler(node, connection),
            Event::Closed { node, connection } => self.closed(node, connection),
            Event::Gone { connection } => self.gone(connection),
            Event::Link { worker, server } => self.link(worker, server),
            Event::Line { line, event } => self.happen(line, event),
            Event::Break { nic, length } => self.break_nic(nic, length),
        }
        true
    }
}
