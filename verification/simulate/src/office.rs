//! The scheduler: `af_api`'s own state of it, behind simulated connections and one simulated thread.
//!
//! The thread works in turns, as the control plane's does: it looks at every socket, handles what has come, and writes to
//! those for whom there is something. What that costs is assumed; what is said, to whom and in how many bytes is not.

use std::{collections::BTreeMap, net::SocketAddr, rc::Rc};

use af_api::{
    config::Shape,
    rendezvous::machine::{Heard, KIND, Outgoing, SchedulerState},
};
use pmd_host::control::{DownReason, sizes};

use crate::{
    clock::{Nanos, nanos},
    memory::counted,
    settings::Assumptions,
    violation::Violation,
    world::{Event, World},
};

/// What an event of the rendezvous carries.
pub(crate) type Notice = Rc<[u8]>;

/// Frames and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

impl Traffic {
    pub(crate) const fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes as u64;
    }
}

/// The scheduler's process.
#[derive(Debug)]
pub(crate) struct Office {
    shape: Shape,
    /// There is none while it is away.
    pub(crate) state: Option<SchedulerState>,
    /// Bytes that the state has allocated.
    pub(crate) held: i64,
    ports: BTreeMap<u64, Port>,
    inbox: Vec<(u64, Notice)>,
    turn_is_due: bool,
    busy_until: Nanos,
    /// Until then its port sends what it was given.
    sends_until: Nanos,
    pub(crate) last_connection: u64,
    pub(crate) said: Traffic,
    pub(crate) heard: Traffic,
    pub(crate) alive_frames: u64,
    /// Time that the thread has worked.
    pub(crate) worked: Nanos,
    /// Most bytes that have waited for the port.
    pub(crate) backlog: u64,
}

/// A connection at the scheduler's end.
#[derive(Clone, Copy, Debug)]
struct Port {
    node: u32,
    heard: Nanos,
    spoken: Nanos,
    /// When the last frame arrives at the node: those after it do not overtake it.
    arrives: Nanos,
}

impl Office {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            shape,
            state: Some(SchedulerState::new(shape)),
            held: 0,
            ports: BTreeMap::new(),
            inbox: Vec::new(),
            turn_is_due: false,
            busy_until: 0,
            sends_until: 0,
            last_connection: 0,
            said: Traffic::default(),
            heard: Traffic::default(),
            alive_frames: 0,
            worked: 0,
            backlog: 0,
        }
    }

    pub(crate) const fn is_there(&self) -> bool {
        self.state.is_some()
    }
}

impl World {
    /// A node's connection has been made.
    pub(crate) fn accept(&mut self, node: u32) -> u64 {
        let now = self.now();
        self.office.last_connection += 1;
        let connection = self.office.last_connection;
        self.office.ports.insert(connection, Port { node, heard: now, spoken: now, arrives: now });
        if let Some(state) = &mut self.office.state {
            counted(&mut self.office.held, || state.connected(connection));
        }
        connection
    }

    /// A frame has arrived; it waits for the next turn.
    pub(crate) fn scheduler_hears(&mut self, connection: u64, body: Option<Notice>) {
        let now = self.now();
        let Some(port) = self.office.ports.get_mut(&connection) else { return };
        port.heard = now;
        let Some(body) = body else { return };
        self.office.heard.add(sizes::event_bytes(KIND, &body));
        self.office.inbox.push((connection, body));
        if !self.office.turn_is_due {
            self.office.turn_is_due = true;
            self.agenda.at(self.office.busy_until, Event::Turn);
        }
    }

    pub(crate) fn turn(&mut self) {
        self.office.turn_is_due = false;
        let inbox = std::mem::take(&mut self.office.inbox);
        for (connection, body) in &inbox {
            self.handle(*connection, body);
        }
        self.tell(inbox.len() as u64);
    }

    fn handle(&mut self, connection: u64, body: &[u8]) {
        let Some(port) = self.office.ports.get(&connection) else { return };
        let (node, remote) = (port.node, address(port.node));
        let Some(state) = &mut self.office.state else { return };
        let heard = counted(&mut self.office.held, || state.heard(connection, remote, body));
        if heard == Heard::Nonsense {
            self.broken(Violation::Misunderstood { node });
        }
    }

    /// Sends what has come of a turn, in which so many frames were handled.
    fn tell(&mut self, handled: u64) {
        let Some(state) = &mut self.office.state else { return };
        let outgoing = state.take_outgoing();
        self.office.held -= allocated(&outgoing);
        let told: u64 = outgoing.iter().map(|outgoing| outgoing.to.len() as u64).sum();
        let sockets = self.office.ports.len() as u64;
        let Assumptions { look, handle, tell, write, .. } = self.settings.assumptions;
        let writes = told.min(sockets) * nanos(write);
        let cost = sockets * nanos(look) + handled * nanos(handle) + told * nanos(tell) + writes;
        self.office.worked += cost;
        self.office.busy_until = self.office.busy_until.max(self.now()) + cost;
        outgoing.into_iter().for_each(|outgoing| self.send(outgoing));
    }

    fn send(&mut self, outgoing: Outgoing) {
        let body: Notice = outgoing.body.into();
        let bytes = sizes::event_bytes(KIND, &body);
        for connection in outgoing.to {
            self.office.said.add(bytes);
            self.send_frame(connection, bytes, Some(Rc::clone(&body)));
        }
    }

    fn send_frame(&mut self, connection: u64, bytes: usize, body: Option<Notice>) {
        let Some(port) = self.office.ports.get(&connection).copied() else { return };
        let begin = self.office.busy_until.max(self.now());
        let waiting = self.office.sends_until.saturating_sub(begin);
        let bandwidth = self.settings.assumptions.control_bandwidth;
        let backlog = u128::from(waiting) * u128::from(bandwidth) / 1_000_000_000;
        self.office.backlog = self.office.backlog.max(backlog as u64);
        self.office.sends_until =
            self.office.sends_until.max(begin) + Assumptions::time_of(bytes as u64, bandwidth);
        let arrives = self.arrival(port.node, self.office.sends_until).max(port.arrives);
        if let Some(port) = self.office.ports.get_mut(&connection) {
            (port.spoken, port.arrives) = (begin, arrives);
        }
        self.agenda.at(arrives, Event::ToNode { node: port.node, connection, body });
    }

    /// When a frame between a node and the scheduler arrives that leaves at this time.
    pub(crate) fn arrival(&mut self, node: u32, leaves: Nanos) -> Nanos {
        let Assumptions { control_latency, control_loss, retransmission, .. } = self.settings.assumptions;
        let mut arrives = leaves + self.latency(control_latency);
        if self.agenda.happens(control_loss) {
            arrives += nanos(retransmission);
        }
        let cut_until = self.nodes[node as usize].cut_until;
        if cut_until > leaves {
            // TCP sends again when its timer goes off.
            arrives = cut_until + self.agenda.below(5 * nanos(retransmission));
        }
        arrives
    }

    /// The scheduler's end of a connection looks at the clock, by the rule of the control plane.
    pub(crate) fn tick_of_scheduler(&mut self, node: u32, connection: u64) {
        let now = self.now();
        let Some(port) = self.office.ports.get(&connection).copied() else { return };
        let (interval, bound) = self.nodes[node as usize].keep_alive();
        if now.saturating_sub(port.heard) > bound {
            return self.hang_up(connection, &DownReason::Silent(std::time::Duration::from_nanos(bound)));
        }
        if now.saturating_sub(port.spoken) >= interval {
            self.office.alive_frames += 1;
            self.send_frame(connection, sizes::keep_alive_bytes(), None);
        }
        self.agenda.after(interval, Event::Tick { node, connection, at_node: false });
    }

    /// A node's process is gone.
    pub(crate) fn gone(&mut self, connection: u64) {
        self.hang_up(connection, &DownReason::Closed);
    }

    fn hang_up(&mut self, connection: u64, reason: &DownReason) {
        let Some(port) = self.office.ports.remove(&connection) else { return };
        if let Some(state) = &mut self.office.state {
            counted(&mut self.office.held, || state.gone(connection, reason));
        }
        let arrives = self.arrival(port.node, self.now());
        self.agenda.at(arrives, Event::Closed { node: port.node, connection });
        self.tell(1);
    }

    /// The scheduler is killed: its nodes see their connections end.
    pub(crate) fn kill_scheduler(&mut self) {
        self.office.state = None;
        self.office.held = 0;
        self.office.inbox.clear();
        for (connection, port) in std::mem::take(&mut self.office.ports) {
            let arrives = self.arrival(port.node, self.now());
            self.agenda.at(arrives, Event::Closed { node: port.node, connection });
        }
    }

    /// Another one is started in its place, and knows nothing.
    pub(crate) fn start_scheduler(&mut self) {
        self.office.busy_until = self.now();
        self.office.state = Some(SchedulerState::new(self.office.shape));
    }
}

/// What the state has allocated for these, and gives away with them.
fn allocated(outgoing: &Vec<Outgoing>) -> i64 {
    let of = |one: &Outgoing| one.body.capacity() + one.to.capacity() * size_of::<u64>();
    (outgoing.capacity() * size_of::<Outgoing>() + outgoing.iter().map(of).sum::<usize>()) as i64
}

/// Where a node is.
pub(crate) fn address(node: u32) -> SocketAddr {
    let [_, high, middle, low] = node.to_be_bytes();
    ([10, high, middle, low], 4791).into()
}
