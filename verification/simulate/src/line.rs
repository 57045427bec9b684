//! A link between a worker and a server, at both ends: `pmd_host`'s bundle of rails, and `pmd_core`'s credits.
//!
//! What is on a broken rail is kept and tried again, as a NIC does, until its end gives up; so pieces of an attempt that was
//! given up may land long after. The link has the memory of both ends, and notes it when something lands where nobody may
//! write any more.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pmd_core::ring::credits::{Account, Arrived, Credits};
use pmd_host::{
    lane::MINIMUM_RECEIVES,
    rail::{Bundle, ChunkId, Inbox, RailId, RailState, Role, TransferId},
    transfer::Direction,
};

use crate::{clock::Nanos, memory::counted, node::Node, settings::Settings, world::World};

/// Longer than any world lasts.
const NEVER: Nanos = Nanos::MAX / 2;

/// Why a transfer or a chunk did not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its rail was lost.
    Rail,
    /// The peer is down.
    Peer,
}

/// What travels on a rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Freight {
    Chunk(ChunkId),
    Notification { transfer: TransferId, sequence: u64, settled: u64 },
}

/// Frames of the link's control connection that concern rails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Offer(RailId),
    Answer(RailId, bool),
    Quiet(RailId),
}

/// Something happens on a link.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LineEvent {
    /// Both ends have their route; rails come next.
    Opened,
    /// It arrives at the other end: bytes of a WRITE, the request of a READ, a notification.
    There {
        end: usize,
        rail: RailId,
        freight: Freight,
    },
    /// It comes back to the end that posted: an answer, or the bytes of a READ.
    Back {
        end: usize,
        rail: RailId,
        freight: Freight,
    },
    Probed {
        end: usize,
        rail: RailId,
    },
    Closing {
        end: usize,
        rail: RailId,
    },
    /// The device of an end gives up what is outstanding on a rail, if it is still broken.
    GivesUp {
        end: usize,
        rail: RailId,
    },
    /// An end whose rail drains sees that the other end is closed.
    Ended {
        end: usize,
        rail: RailId,
    },
    Control {
        to: usize,
        frame: Frame,
    },
    Submit {
        end: usize,
    },
    /// So many messages are to be sent.
    Send {
        end: usize,
        count: u32,
    },
    Message {
        to: usize,
        kind: Arrived,
        credits: u16,
    },
    Timer {
        end: usize,
        at: Nanos,
    },
    /// An end notices that its peer is gone.
    PeerDown {
        end: usize,
    },
}

impl LineEvent {
    /// Kind and end in one number.
    pub(crate) const fn trace(&self) -> u64 {
        match *self {
            Self::Opened => 0,
            Self::There { end, rail, .. } => 10 + end as u64 + 100 * rail.number as u64,
            Self::Back { end, rail, .. } => 20 + end as u64 + 100 * rail.number as u64,
            Self::Probed { end, .. } => 30 + end as u64,
            Self::Closing { end, .. } => 32 + end as u64,
            Self::GivesUp { end, .. } => 34 + end as u64,
            Self::Control { to, .. } => 36 + to as u64,
            Self::Submit { end } => 38 + end as u64,
            Self::Send { end, .. } => 40 + end as u64,
            Self::Message { to, credits, .. } => 42 + to as u64 + 100 * credits as u64,
            Self::Timer { end, .. } => 44 + end as u64,
            Self::PeerDown { end } => 46 + end as u64,
            Self::Ended { end, .. } => 48 + end as u64,
        }
    }
}

/// What the link knows of a transfer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) direction: Direction,
    pub(crate) chunks: u32,
    /// Bit for each chunk that is in the target memory.
    pub(crate) there: u64,
    /// Times that the other end was told.
    pub(crate) told: u32,
    pub(crate) ended: bool,
}

impl Work {
    pub(crate) const fn is_there(&self) -> bool {
        self.there.count_ones() == self.chunks
    }
}

/// One end.
pub(crate) struct End {
    pub(crate) bundle: Bundle<Why>,
    pub(crate) inbox: Inbox,
    /// Bytes that the bundle and the inbox have allocated.
    pub(crate) held: i64,
    pub(crate) work: BTreeMap<TransferId, Work>,
    /// Lives of rails that are open here.
    pub(crate) open: BTreeMap<u16, u32>,
    /// What was posted and has not come back.
    pub(crate) outstanding: BTreeSet<(RailId, Freight)>,
    /// When the last frame arrives here, and the last message.
    pub(crate) frames_arrive: Nanos,
    pub(crate) messages_arrive: Nanos,
    pub(crate) timer: Option<Nanos>,
    /// Messages that the peer has receives for.
    pub(crate) credits: Credits,
    /// Of this end's receives.
    pub(crate) account: Account,
    pub(crate) to_send: u32,
    /// On their way here, in order.
    pub(crate) coming: VecDeque<Arrived>,
}

impl End {
    fn new(role: Role, settings: &Settings) -> Self {
        let config = pmd_host::endpoint::EndpointConfig::default();
        let mut held = 0;
        let rails = usize::from(settings.rails);
        let bundle = counted(&mut held, || Bundle::new(rails, role, config.rails.bundle));
        let credits = Credits::new();
        credits.give(MINIMUM_RECEIVES);
        Self {
            bundle,
            inbox: Inbox::default(),
            held,
            work: BTreeMap::new(),
            open: BTreeMap::new(),
            outstanding: BTreeSet::new(),
            frames_arrive: 0,
            messages_arrive: 0,
            timer: None,
            credits,
            account: Account::new(config.message_receives, MINIMUM_RECEIVES),
            to_send: 0,
            coming: VecDeque::new(),
        }
    }

    /// Calls the bundle, and counts what it allocates.
    pub(crate) fn with<T>(&mut self, call: impl FnOnce(&mut Bundle<Why>) -> T) -> T {
        counted(&mut self.held, || call(&mut self.bundle))
    }

    pub(crate) fn is_open(&self, rail: RailId) -> bool {
        self.open.get(&rail.number) == Some(&rail.life)
    }
}

/// A link.
pub(crate) struct Line {
    /// The worker, which connected, and the server, by their numbers among all nodes.
    pub(crate) nodes: [u32; 2],
    pub(crate) ends: [End; 2],
    /// Every rail has been up once.
    pub(crate) is_up: bool,
    /// An end has died, or is taken for dead: another link takes its place.
    pub(crate) is_over: bool,
}

impl Line {
    pub(crate) fn new(nodes: [u32; 2], settings: &Settings) -> Self {
        let ends = [End::new(Role::Opens, settings), End::new(Role::Awaits, settings)];
        Self { nodes, ends, is_up: false, is_over: false }
    }

    /// Whether every rail carries chunks, at both ends.
    pub(crate) fn has_all_rails(&self, rails: u16) -> bool {
        self.first_rail_down(rails).is_none()
    }

    pub(crate) fn first_rail_down(&self, rails: u16) -> Option<u16> {
        let is_up =
            |number: &u16| self.ends.iter().all(|end| end.bundle.state(*number) == Some(RailState::Up));
        (0..rails).find(|number| !is_up(number))
    }
}

/// Links and their NICs.
impl World {
    /// Links a worker with its servers, those that have died and others alike: with those it goes on once they are back.
    pub(crate) fn link_all_of(&mut self, node: u32) {
        let workers = self.settings.shape().workers;
        if node < workers {
            for link in 0..self.settings.links {
                let server = workers + (node + link) % workers;
                self.agenda.after(0, crate::world::Event::Link { worker: node, server });
            }
        }
    }

    /// The NIC of a rail at an end of a link.
    pub(crate) fn nic(&self, line: u32, end: usize, rail: u16) -> usize {
        let node = self.lines[line as usize].nodes[end];
        node as usize * usize::from(self.settings.rails) + usize::from(rail)
    }

    /// Until when nothing gets through between both ends of a rail; the past where something does.
    pub(crate) fn broken_until(&self, line: u32, rail: u16) -> Nanos {
        let nics = [0, 1].map(|end| self.nics[self.nic(line, end, rail)].broken_until);
        nics[0].max(nics[1]).max(self.cut_until(line))
    }

    /// Until when the ends of a link are on different sides of a cut. For ever where one of them is dead.
    pub(crate) fn cut_until(&self, line: u32) -> Nanos {
        let [worker, server] = self.lines[line as usize].nodes.map(|node| &self.nodes[node as usize]);
        if !worker.lives || !server.lives {
            return NEVER;
        }
        let is_cut = |node: &Node| node.cut_until > self.now();
        if is_cut(worker) == is_cut(server) { 0 } else { worker.cut_until.max(server.cut_until) }
    }

    /// Live links.
    pub(crate) fn live_lines(&self) -> impl Iterator<Item = (u32, &Line)> {
        (0..).zip(&self.lines).filter(|(_, line)| !line.is_over)
    }
}
