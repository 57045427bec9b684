//! What came of a world, in figures: as a table, and as an object.

use std::fmt::Write as _;

use pmd_core::ring::credits::{Account, Credits};
use pmd_host::rail::{Bundle, Inbox};
use serde_json::{Value, json};

use crate::{
    clock::Nanos,
    line::Why,
    memory::PeerMemory,
    office::Traffic,
    settings::Settings,
    violation::Violation,
    world::{Counts, World},
};

/// What came of one world. Times are simulated.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What was run.
    pub settings: Settings,
    /// Stands for everything that happened, when, and to whom: the same for the same settings.
    pub digest: u64,
    /// Events that happened.
    pub events: u64,
    /// Promises that did not hold; none in a good world.
    pub violations: Vec<Violation>,
    pub(crate) formed: Nanos,
    pub(crate) linked: Nanos,
    pub(crate) links: u64,
    pub(crate) said: Traffic,
    pub(crate) heard: Traffic,
    pub(crate) scheduler_said: Traffic,
    pub(crate) scheduler_worked: Nanos,
    pub(crate) scheduler_backlog: u64,
    pub(crate) scheduler_held: u64,
    pub(crate) node_held: u64,
    pub(crate) line_held: u64,
    pub(crate) formed_again: Nanos,
    pub(crate) barrier: Nanos,
    pub(crate) barrier_frames: u64,
    pub(crate) deaths: u64,
    pub(crate) down_heard: Nanos,
    pub(crate) replaced: Nanos,
    pub(crate) healed: Nanos,
    pub(crate) counts: Counts,
}

/// Percent by which what a node says of itself is longer in the largest cluster than in the smallest: its name, its rank and
/// the number of places take more digits.
pub(crate) const DIGITS: u64 = 20;

/// A figure that should not grow with the number of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flat {
    pub(crate) what: &'static str,
    pub(crate) value: u64,
    /// It may grow by so many in a hundred.
    pub(crate) tolerance: u64,
}

impl Run {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            digest: 0,
            events: 0,
            violations: Vec::new(),
            formed: 0,
            linked: 0,
            links: 0,
            said: Traffic::default(),
            heard: Traffic::default(),
            scheduler_said: Traffic::default(),
            scheduler_worked: 0,
            scheduler_backlog: 0,
            scheduler_held: 0,
            node_held: 0,
            line_held: 0,
            formed_again: 0,
            barrier: 0,
            barrier_frames: 0,
            deaths: 0,
            down_heard: 0,
            replaced: 0,
            healed: 0,
            counts: Counts::default(),
        }
    }

    pub(crate) fn end(&mut self, world: &World) {
        (self.digest, self.events) = (world.agenda.digest(), world.agenda.events());
        self.violations.clone_from(&world.violations);
        self.counts = world.counts;
    }

    /// Bytes of the driver's structures for one peer at one end, without queues: the bundle of rails and what it has
    /// allocated, the memory of notifications, the credits.
    #[must_use]
    pub fn structures_per_peer(&self) -> u64 {
        let own = size_of::<Bundle<Why>>() + size_of::<Inbox>() + size_of::<Credits>() + size_of::<Account>();
        own as u64 + self.line_held
    }

    /// Bytes that a node keeps for each member of the cluster.
    #[must_use]
    pub fn bytes_per_member(&self) -> u64 {
        self.node_held / u64::from(self.settings.nodes)
    }

    /// Bytes of a peer in all: structures, queues, messages, and what the control connection reads into.
    #[must_use]
    pub fn bytes_per_peer(&self) -> u64 {
        self.structures_per_peer() + PeerMemory::of_defaults().total(self.settings.rails.into())
    }

    /// Frames that a node says until it knows everybody.
    #[must_use]
    pub fn frames_said(&self) -> u64 {
        self.said.frames / u64::from(self.settings.nodes)
    }

    /// Frames that a node hears until then.
    #[must_use]
    pub fn frames_heard(&self) -> u64 {
        self.heard.frames / u64::from(self.settings.nodes)
    }

    fn bytes_heard(&self) -> u64 {
        self.heard.bytes / u64::from(self.settings.nodes)
    }

    pub(crate) fn flat(&self) -> [Flat; 4] {
        let nodes = u64::from(self.settings.nodes);
        [
            Flat {
                what: "frames that a node says until it is formed",
                value: self.frames_said(),
                tolerance: 0,
            },
            Flat {
                what: "bytes that a node says until it is formed",
                value: self.said.bytes / nodes,
                tolerance: DIGITS,
            },
            Flat { what: "bytes of structures for a peer", value: self.structures_per_peer(), tolerance: 0 },
            Flat { what: "frames for a node at a barrier", value: self.barrier_frames / nodes, tolerance: 0 },
        ]
    }

    /// The figures as an object.
    #[must_use]
    pub fn json(&self) -> Value {
        let Counts {
            transfers, failed, bytes, returned, again, rails_lost, messages, credit_messages, ..
        } = self.counts;
        json!({
            "nodes": self.settings.nodes,
            "links": self.links,
            "seed": self.settings.seed,
            "digest": format!("{:016x}", self.digest),
            "events": self.events,
            "formed_ms": milliseconds(self.formed),
            "linked_ms": milliseconds(self.linked),
            "frames_said": self.frames_said(),
            "frames_heard": self.frames_heard(),
            "bytes_heard": self.bytes_heard(),
            "scheduler_frames": self.scheduler_said.frames,
            "scheduler_bytes": self.scheduler_said.bytes,
            "scheduler_worked_ms": milliseconds(self.scheduler_worked),
            "scheduler_backlog": self.scheduler_backlog,
            "bytes_per_member": self.bytes_per_member(),
            "bytes_per_peer": self.bytes_per_peer(),
            "formed_again_ms": milliseconds(self.formed_again),
            "barrier_ms": milliseconds(self.barrier),
            "down_heard_ms": milliseconds(self.down_heard),
            "replaced_ms": milliseconds(self.replaced),
            "healed_ms": milliseconds(self.healed),
            "transfers": transfers,
            "transfers_failed": failed,
            "bytes": bytes,
            "chunks_returned": returned,
            "chunks_again": again,
            "rails_lost": rails_lost,
            "messages": messages,
            "credit_messages": credit_messages,
            "violations": self.violations.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })
    }
}

/// The mean of some figures.
pub(crate) fn average(figures: impl Iterator<Item = u64>) -> u64 {
    let (sum, count) = figures.fold((0, 0), |(sum, count), figure| (sum + figure, count + 1));
    sum / u64::max(count, 1)
}

/// One line of the table: what it says, and of a run what.
type Row = (&'static str, fn(&Run) -> String);

/// What is reported, with a column for each run.
const ROWS: [Row; 27] = [
    ("**Coming together**", |_| String::new()),
    ("from the first start to all formed, ms", |run| ms(run.formed)),
    ("to every link up, ms", |run| ms(run.linked)),
    ("frames said by a node", |run| run.frames_said().to_string()),
    ("frames heard by a node", |run| run.frames_heard().to_string()),
    ("bytes heard by a node", |run| run.bytes_heard().to_string()),
    ("frames said by the scheduler", |run| run.scheduler_said.frames.to_string()),
    ("bytes said by the scheduler", |run| run.scheduler_said.bytes.to_string()),
    ("scheduler's thread busy, ms", |run| ms(run.scheduler_worked)),
    ("most bytes waiting for its port", |run| run.scheduler_backlog.to_string()),
    ("**Memory**", |_| String::new()),
    ("of a node, for each member, B", |run| run.bytes_per_member().to_string()),
    ("of the scheduler, in all, B", |run| run.scheduler_held.to_string()),
    ("of a peer at one end: structures, B", |run| run.structures_per_peer().to_string()),
    ("of a peer at one end: with queues, B", |run| run.bytes_per_peer().to_string()),
    ("**When things go wrong**", |_| String::new()),
    ("new scheduler: all formed again, ms", |run| ms(run.formed_again)),
    ("barrier of everybody, ms", |run| ms(run.barrier)),
    ("nodes that die", |run| run.deaths.to_string()),
    ("until all others know, ms", |run| ms(run.down_heard)),
    ("until their places are taken again, ms", |run| ms(run.replaced)),
    ("9 s cut: from its end to all formed, ms", |run| ms(run.healed)),
    ("**On the links**", |_| String::new()),
    ("transfers done / ended by a dead peer", |run| {
        format!("{} / {}", run.counts.transfers, run.counts.failed)
    }),
    ("ends of rails lost; chunks that came back; landed again", |run| {
        format!("{}; {}; {}", run.counts.rails_lost, run.counts.returned, run.counts.again)
    }),
    ("messages; of credits alone", |run| format!("{}; {}", run.counts.messages, run.counts.credit_messages)),
    ("digest", |run| format!("{:016x}", run.digest)),
];

fn milliseconds(time: Nanos) -> f64 {
    time as f64 / 1e6
}

fn ms(time: Nanos) -> String {
    format!("{:.1}", milliseconds(time))
}

/// The runs side by side, in Markdown.
#[must_use]
pub fn table(runs: &[Run]) -> String {
    let mut text = String::from("| nodes |");
    let line = |text: &mut String, cells: &mut dyn Iterator<Item = String>| {
        cells.for_each(|cell| {
            // A string takes everything.
            let _ = write!(text, " {cell} |");
        });
        text.push('\n');
    };
    line(&mut text, &mut runs.iter().map(|run| run.settings.nodes.to_string()));
    text.push_str("|---|");
    text.push_str(&"---:|".repeat(runs.len()));
    text.push('\n');
    for (what, of) in ROWS {
        let _ = write!(text, "| {what} |");
        line(&mut text, &mut runs.iter().map(of));
    }
    text
}
