//! A node: `af_api`'s own state of one, and its end of a simulated connection to the scheduler.

use std::{rc::Rc, time::Duration};

use af_api::{
    config::{Config, ProcessRole, Shape},
    rendezvous::{
        Barrier, DataAddress, Event as News, Refused,
        machine::{Admission, KIND, NodeState, Outcome},
    },
};
use pmd_host::{
    control::{DownReason, KeepAlive, PeerIdentity, sizes},
    endpoint::EndpointConfig,
    identity::{DeviceId, HostId},
};

use crate::{
    clock::{Nanos, nanos},
    memory::counted,
    office::{Notice, Traffic, address},
    violation::Violation,
    world::{Event, World},
};

/// Pause between two attempts to reach the scheduler, and the longest attempt: as `af_api`'s node has them.
const PAUSE: Duration = Duration::from_millis(50);
const ATTEMPT: Duration = Duration::from_secs(2);

/// Round trips until both ends of a control connection know each other: TCP's, and the greetings'.
const GREETING_TRIPS: u64 = 2;

/// A process.
pub(crate) struct Node {
    config: Config,
    pub(crate) state: NodeState,
    /// Bytes that the state has allocated.
    pub(crate) held: i64,
    pub(crate) lives: bool,
    /// The network between it and the scheduler, and those on the scheduler's side, is out until then.
    pub(crate) cut_until: Nanos,
    /// Number of its connection to the scheduler; 0 for none.
    pub(crate) connection: u64,
    attempt: u64,
    heard_at: Nanos,
    spoken: Nanos,
    /// When its last frame arrives at the scheduler.
    arrives: Nanos,
    pub(crate) said: Traffic,
    pub(crate) heard: Traffic,
    /// It knows that everybody is there.
    pub(crate) formed: bool,
    pub(crate) formed_at: Nanos,
    pub(crate) ticket: Option<u64>,
    /// Until then it sets up queue pairs.
    pub(crate) sets_up_until: Nanos,
}

impl Node {
    /// The first half are workers, the others servers.
    pub(crate) fn new(number: u32, shape: Shape) -> Self {
        let config = config(number, shape);
        let mut held = 0;
        let state = counted(&mut held, || NodeState::new(&config).expect("a rank of the shape"));
        Self {
            config,
            state,
            held,
            lives: true,
            cut_until: 0,
            connection: 0,
            attempt: 0,
            heard_at: 0,
            spoken: 0,
            arrives: 0,
            said: Traffic::default(),
            heard: Traffic::default(),
            formed: false,
            formed_at: 0,
            ticket: None,
            sets_up_until: 0,
        }
    }

    /// Interval of keep-alives, and the silence after which the other end is down.
    pub(crate) const fn keep_alive(&self) -> (Nanos, Nanos) {
        (nanos(self.config.keep_alive), nanos(self.config.down_after))
    }

    /// The process that is started in the place of one that has died.
    pub(crate) fn start_again(&mut self, number: u32, shape: Shape) {
        let attempt = self.attempt + 1;
        *self = Self { attempt, ..Self::new(number, shape) };
    }
}

pub(crate) fn config(number: u32, shape: Shape) -> Config {
    let (role, rank) = if number < shape.workers {
        (ProcessRole::Worker, number)
    } else {
        (ProcessRole::Server, number - shape.workers)
    };
    let scheduler = ([10, 255, 255, 254], 4700).into();
    let mut config = Config::new(role, shape.workers, shape.servers, scheduler)
        .with_node_rank(rank)
        .with_name(format!("host-{number}"));
    let data = DataAddress { address: address(number), incarnation: incarnation(number) };
    match role {
        ProcessRole::Server => config.server_data = Some(data),
        _ => config.worker_data = Some(data),
    }
    config
}

fn incarnation(number: u32) -> DeviceId {
    let mut bytes = [0xa5; 16];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    DeviceId(bytes)
}

/// Bytes with which a node introduces itself.
pub(crate) fn greeting_bytes(number: u32) -> usize {
    let host = HostId { boot: [7; 16], network_namespace: 4_026_531_840, user: 1000 };
    let name = format!("host-{number}");
    let identity = PeerIdentity { incarnation: incarnation(number), name, host };
    let EndpointConfig { keep_alive: interval, down_after: timeout, .. } = EndpointConfig::default();
    sizes::greeting_bytes(&identity, KeepAlive { interval, timeout })
}

impl World {
    /// Looks for the scheduler.
    pub(crate) fn seek(&mut self, node: u32, attempt: u64) {
        let now = self.now();
        let round_trip = self.settings.assumptions.round_trip();
        let there = self.office.is_there();
        let one = &mut self.nodes[node as usize];
        if !one.lives || one.attempt != attempt || one.connection != 0 {
            return;
        }
        let (delay, event) = if one.cut_until > now {
            (nanos(ATTEMPT + PAUSE), Event::Seek { node, attempt })
        } else if there {
            (GREETING_TRIPS * round_trip, Event::Connected { node, attempt })
        } else {
            (round_trip + nanos(PAUSE), Event::Seek { node, attempt })
        };
        let jitter = self.latency(Duration::ZERO);
        self.agenda.after(delay + jitter, event);
    }

    pub(crate) fn connected(&mut self, node: u32, attempt: u64) {
        let one = &self.nodes[node as usize];
        if !one.lives || one.attempt != attempt || one.connection != 0 {
            return;
        }
        if !self.office.is_there() || one.cut_until > self.now() {
            return self.seek(node, attempt);
        }
        let connection = self.accept(node);
        let now = self.now();
        let one = &mut self.nodes[node as usize];
        (one.connection, one.heard_at, one.arrives) = (connection, now, now);
        one.said.add(greeting_bytes(node));
        let interval = one.keep_alive().0;
        for at_node in [true, false] {
            self.agenda.after(interval, Event::Tick { node, connection, at_node });
        }
        self.join(node);
    }

    fn join(&mut self, node: u32) {
        let one = &mut self.nodes[node as usize];
        if std::mem::take(&mut one.formed) {
            self.counts.formed -= 1;
        }
        let body = counted(&mut one.held, || one.state.join(false));
        one.held -= body.capacity() as i64;
        self.say(node, body);
    }

    /// The place was held by a predecessor.
    pub(crate) fn ask_again(&mut self, node: u32, connection: u64) {
        let one = &self.nodes[node as usize];
        if one.lives && one.connection == connection {
            self.join(node);
        }
    }

    /// Tells the scheduler something.
    fn say(&mut self, node: u32, body: Vec<u8>) {
        let body: Notice = Rc::from(body);
        self.nodes[node as usize].said.add(sizes::event_bytes(KIND, &body));
        self.say_frame(node, Some(body));
    }

    fn say_frame(&mut self, node: u32, body: Option<Notice>) {
        let now = self.now();
        let arrives = self.arrival(node, now);
        let one = &mut self.nodes[node as usize];
        one.spoken = now;
        one.arrives = arrives.max(one.arrives);
        self.agenda.at(one.arrives, Event::ToScheduler { connection: one.connection, body });
    }

    /// A frame of the scheduler has come.
    pub(crate) fn node_hears(&mut self, node: u32, connection: u64, body: Option<Notice>) {
        let now = self.now();
        let one = &mut self.nodes[node as usize];
        if !one.lives || one.connection != connection {
            return;
        }
        one.heard_at = now;
        let Some(body) = body else { return };
        one.heard.add(sizes::event_bytes(KIND, &body));
        counted(&mut one.held, || one.state.heard(&body));
        if !one.formed && one.state.is_formed() {
            self.has_formed(node);
        }
        self.look_at_answers(node);
    }

    fn has_formed(&mut self, node: u32) {
        let now = self.now();
        let one = &mut self.nodes[node as usize];
        let is_first = one.formed_at == 0;
        (one.formed, one.formed_at) = (true, now);
        one.state.listen();
        self.counts.formed += 1;
        if is_first {
            self.link_all_of(node);
        }
    }

    fn look_at_answers(&mut self, node: u32) {
        let one = &mut self.nodes[node as usize];
        let connection = one.connection;
        match one.state.admission() {
            Admission::Refused(Refused::Taken { .. }) => {
                self.agenda.after(nanos(PAUSE), Event::AskAgain { node, connection });
            }
            Admission::Refused(refused) => {
                let reason = refused.to_string();
                self.broken(Violation::Refused { node, reason });
            }
            _ => {}
        }
        let one = &mut self.nodes[node as usize];
        let counts = &mut self.counts;
        counted(&mut one.held, || {
            while let Some(news) = one.state.take_event() {
                counts.heard_down += u64::from(matches!(news, News::Down { .. }));
                counts.heard_joined += u64::from(matches!(news, News::Joined(_)));
            }
        });
        if let Some(outcome) = one.ticket.and_then(|ticket| one.state.outcome(ticket)) {
            if let Some(ticket) = one.ticket.take() {
                one.state.close_ticket(ticket);
            }
            self.counts.released += 1;
            if outcome != Outcome::Released {
                self.broken(Violation::Barrier { node });
            }
        }
    }

    /// The node's end of a connection looks at the clock, by the rule of the control plane.
    pub(crate) fn tick_of_node(&mut self, node: u32, connection: u64) {
        let now = self.now();
        let one = &self.nodes[node as usize];
        if !one.lives || one.connection != connection {
            return;
        }
        let (interval, bound) = one.keep_alive();
        if now.saturating_sub(one.heard_at) > bound {
            let arrives = self.arrival(node, now);
            self.agenda.at(arrives, Event::Gone { connection });
            return self.lose(node, &DownReason::Silent(Duration::from_nanos(bound)));
        }
        if now.saturating_sub(one.spoken) >= interval {
            self.say_frame(node, None);
        }
        self.agenda.after(interval, Event::Tick { node, connection, at_node: true });
    }

    pub(crate) fn closed(&mut self, node: u32, connection: u64) {
        let one = &self.nodes[node as usize];
        if one.lives && one.connection == connection {
            self.lose(node, &DownReason::Closed);
        }
    }

    /// The scheduler is lost; the node joins again.
    fn lose(&mut self, node: u32, reason: &DownReason) {
        let one = &mut self.nodes[node as usize];
        counted(&mut one.held, || one.state.lost(reason));
        if std::mem::take(&mut one.formed) {
            self.counts.formed -= 1;
        }
        one.connection = 0;
        one.attempt += 1;
        let attempt = one.attempt;
        self.agenda.after(nanos(PAUSE), Event::Seek { node, attempt });
    }

    /// Enters a barrier.
    pub(crate) fn enter(&mut self, node: u32, barrier: &Barrier) {
        let one = &mut self.nodes[node as usize];
        let (ticket, body) = one.state.enter(barrier);
        one.ticket = Some(ticket);
        match body {
            Some(body) => self.say(node, body),
            None => self.broken(Violation::Barrier { node }),
        }
    }

    /// A process is killed, or its host falls silent.
    pub(crate) fn die(&mut self, node: u32, silently: bool) {
        let one = &mut self.nodes[node as usize];
        let connection = std::mem::take(&mut one.connection);
        one.lives = false;
        if std::mem::take(&mut one.formed) {
            self.counts.formed -= 1;
        }
        if !silently && connection != 0 {
            let arrives = self.arrival(node, self.now());
            self.agenda.at(arrives, Event::Gone { connection });
        }
        self.lose_lines_of(node, silently);
    }

    /// Starts a process in the place of one that has died.
    pub(crate) fn start_again(&mut self, node: u32) {
        let one = &mut self.nodes[node as usize];
        one.start_again(node, self.settings.shape());
        let attempt = one.attempt;
        self.agenda.after(nanos(PAUSE), Event::Seek { node, attempt });
    }
}
