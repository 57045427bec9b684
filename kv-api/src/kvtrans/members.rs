//! Who is connected: the engine's side that the fabric and the engine's own thread call.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use pmd_host::{
    control::{DownReason, Refusal},
    endpoint::Peer,
    lane::Message,
};

use super::{
    AcceptError, Accepted, ConnectionFault, ConnectionId,
    connection::{Connection, Limits},
    signal::Bell,
    wire::{self, HELLO, Hello, VERSION},
};
use crate::fabric::Handler;

/// Connections that may wait to be accepted.
const BACKLOG: usize = 1024;

/// Longest sleep of the engine's thread.
const TICK: Duration = Duration::from_millis(100);

/// Refusal codes of [`HELLO`].
const MALFORMED: u16 = 1;
const OTHER_VERSION: u16 = 2;
const CLOSED: u16 = 3;
const BACKLOG_FULL: u16 = 4;

/// What the engine's handles, its thread and the fabric share.
pub(super) struct Members {
    pub(super) bell: Arc<Bell>,
    pub(super) limits: Limits,
    /// What peers are told, once it is known where the engine listens.
    pub(super) hello: OnceLock<Hello>,
    table: Mutex<Table>,
    arrived: Condvar,
}

#[derive(Default)]
struct Table {
    connections: BTreeMap<ConnectionId, Arc<Connection>>,
    /// By the number of the control connection.
    by_peer: HashMap<u64, Arc<Connection>>,
    last_id: u64,
    arrivals: VecDeque<Accepted>,
    is_closed: bool,
}

impl Members {
    pub(super) fn new(limits: Limits) -> Self {
        let (bell, hello) = (Arc::default(), OnceLock::new());
        Self { bell, limits, hello, table: Mutex::default(), arrived: Condvar::new() }
    }

    /// Takes a peer in. `None` once the engine is closed.
    pub(super) fn admit(&self, peer: &Peer) -> Option<Arc<Connection>> {
        let mut table = self.table();
        if table.is_closed {
            return None;
        }
        table.last_id += 1;
        let id = ConnectionId(table.last_id);
        let connection = Arc::new(Connection::new(id, peer.clone(), self.limits, Arc::clone(&self.bell)));
        table.connections.insert(id, Arc::clone(&connection));
        table.by_peer.insert(peer.connection().number(), Arc::clone(&connection));
        drop(table);
        // It may have gone down before it was known here.
        if let Some(reason) = peer.down_reason() {
            connection.close(ConnectionFault::PeerDown(reason));
        }
        Some(connection)
    }

    /// Forgets a connection.
    pub(super) fn dismiss(&self, connection: &Connection) {
        let mut table = self.table();
        table.by_peer.remove(&connection.peer.connection().number());
        let removed = table.connections.remove(&connection.id);
        drop(table);
        drop(removed);
    }

    pub(super) fn connection(&self, id: ConnectionId) -> Option<Arc<Connection>> {
        self.table().connections.get(&id).cloned()
    }

    pub(super) fn connections(&self) -> Vec<Arc<Connection>> {
        self.table().connections.values().cloned().collect()
    }

    /// Takes nobody in any more.
    pub(super) fn close(&self) -> Vec<Arc<Connection>> {
        self.table().is_closed = true;
        self.arrived.notify_all();
        self.connections()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.table().is_closed
    }

    /// The connection that arrived first, of those that live.
    pub(super) fn accept(&self, timeout: Duration) -> Result<Accepted, AcceptError> {
        let deadline = Instant::now().checked_add(timeout);
        let mut table = self.table();
        loop {
            if table.is_closed {
                return Err(AcceptError::Closed);
            }
            while let Some(accepted) = table.arrivals.pop_front() {
                let connection = table.connections.get(&accepted.connection);
                if connection.is_some_and(|connection| connection.peer.down_reason().is_none()) {
                    return Ok(accepted);
                }
            }
            let left = deadline.map_or(TICK, |deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Err(AcceptError::Timeout(timeout));
            }
            table = self.arrived.wait_timeout(table, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The engine's thread: deadlines, what peers had no room for, the end of connections, tasks to wake.
    pub(super) fn run(&self) {
        loop {
            let now = Instant::now();
            let soonest = self.connections().iter().filter_map(|connection| connection.look_after(now)).min();
            let tick = now + TICK;
            if !self.bell.sleep(soonest.map_or(tick, |soonest| soonest.min(tick))) {
                return;
            }
        }
    }

    fn greet(&self, peer: &Peer, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let refuse = |code, detail: &str| Refusal { code, detail: detail.to_owned() };
        let malformed = || refuse(MALFORMED, "this is no greeting of a KVTrans engine");
        let theirs: Hello = wire::parse(body).ok_or_else(malformed)?;
        if theirs.version != VERSION {
            let detail = format!("version {VERSION} of the protocol is spoken here, not {}", theirs.version);
            return Err(refuse(OTHER_VERSION, &detail));
        }
        let ours = self.hello.get().ok_or_else(|| refuse(CLOSED, "the engine is being opened"))?;
        if self.table().arrivals.len() >= BACKLOG {
            return Err(refuse(BACKLOG_FULL, "too many connections wait to be accepted"));
        }
        let connection = self.admit(peer).ok_or_else(|| refuse(CLOSED, "the engine is closed"))?;
        let ip: IpAddr = peer.connection().remote().ip();
        let (port, label) = (theirs.listen_port, theirs.label);
        self.table().arrivals.push_back(Accepted { ip, port, label, connection: connection.id });
        self.arrived.notify_all();
        Ok(wire::emit(ours))
    }

    fn of_peer(&self, peer: &Peer) -> Option<Arc<Connection>> {
        self.table().by_peer.get(&peer.connection().number()).cloned()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Members {
    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        match kind {
            HELLO => self.greet(peer, body),
            kind => {
                Err(Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("no request of kind {kind}") })
            }
        }
    }

    fn message(&self, peer: &Peer, message: Message<'_>) {
        if let Some(connection) = self.of_peer(peer) {
            connection.heard(message.bytes);
        }
    }

    fn down(&self, peer: &Peer, reason: &DownReason) {
        if let Some(connection) = self.of_peer(peer) {
            connection.close(ConnectionFault::PeerDown(reason.clone()));
        }
    }
}
