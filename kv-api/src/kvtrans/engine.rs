//! The engine: connections, registrations, and every form of send and receive.
#![allow(unsafe_code)] // registers memory on the caller's word

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pmd_core::memory::{LocalKey, RegionDescription};
use pmd_host::{
    backend::Transport,
    control::{Refusal, RequestError},
    endpoint::{EndpointConfig, Peer},
    interface,
};

use super::{
    AcceptError, Accepted, Config, ConnectError, ConnectionFault, ConnectionId, Counts, KvId, Memory,
    MemoryId, OpenError, PostError, ReceiveError, ReceiveHandle, RegisterError, SendError, SendHandle,
    connection::{Connection, Limits},
    members::Members,
    receiving::Target,
    sending::Source,
    signal::Interest,
    wire::{self, HELLO, Hello, VERSION},
};
use crate::fabric::{Fabric, FabricError, Segment};

/// Beyond every deadline that matters.
const FAR_FUTURE: Duration = Duration::from_secs(365 * 24 * 3600);

/// A KVTrans engine. Clones are handles to the same engine.
///
/// The last handle closes it: connections go down, and nothing reads or writes registered memory any more. Handles of
/// sends and receives may outlive it; they have their outcomes.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    fabric: Fabric,
    members: Arc<Members>,
    buffers: Mutex<Buffers>,
    patience: Duration,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Buffers {
    last: u64,
    by_number: BTreeMap<u64, Buffer>,
}

#[derive(Clone)]
struct Buffer {
    segment: Segment,
    /// The only connection that it is for, if it is bound to one.
    connection: Option<ConnectionId>,
}

/// What an operation is to use: a kv of stage 0, or memory of stage 1 on any connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// The kv's own connection.
    Kv(KvId),
    /// This connection.
    Memory(ConnectionId, MemoryId),
}

impl From<KvId> for Via {
    fn from(kv: KvId) -> Self {
        Self::Kv(kv)
    }
}

impl From<(ConnectionId, MemoryId)> for Via {
    fn from((connection, memory): (ConnectionId, MemoryId)) -> Self {
        Self::Memory(connection, memory)
    }
}

impl Engine {
    /// Opens devices and lanes, and listens.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(config: Config) -> Result<Self, OpenError> {
        config.check()?;
        let Config { if_name, listen_port, label, chunk_bytes, in_flight, patience, .. } = config;
        let found = interface::find(&if_name, listen_port)?;
        let limits = Limits { chunk_bytes, in_flight, withdraw_patience: config.withdraw_patience };
        let mut endpoint = EndpointConfig {
            listen: Some(found.address),
            lanes: config.ncpus as usize,
            queue_pairs: config.nconn_per_cpu as usize,
            ..config.endpoint
        };
        endpoint.nic.device = endpoint.nic.device.or(found.device);
        let members = Arc::new(Members::new(limits));
        let fabric = Fabric::open(endpoint, Arc::clone(&members) as Arc<dyn crate::fabric::Handler>)?;
        let listen_port = fabric.local_address().map_or(listen_port, |address| address.port());
        // The engine is opened once.
        let _ = members.hello.set(Hello { version: VERSION, listen_port, label });
        let run = {
            let members = Arc::clone(&members);
            move || members.run()
        };
        let thread =
            thread::Builder::new().name("pmd-kvtrans".to_owned()).spawn(run).map_err(OpenError::Thread)?;
        let (buffers, thread) = (Mutex::default(), Mutex::new(Some(thread)));
        Ok(Self(Arc::new(Inner { fabric, members, buffers, patience, thread })))
    }

    /// Where peers connect to.
    #[must_use]
    pub fn listen_address(&self) -> Option<SocketAddr> {
        self.0.fabric.local_address()
    }

    /// Connects to the engine that listens at `ip` and `port`.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(&self, ip: IpAddr, port: u16) -> Result<ConnectionId, ConnectError> {
        let address = SocketAddr::from((ip, port));
        if self.0.members.is_closed() {
            return Err(ConnectError::Closed);
        }
        let peer = self.0.fabric.connect(address)?;
        let connection = self.0.members.admit(&peer).ok_or(ConnectError::Closed)?;
        self.greet(address, &peer).map(|()| connection.id).inspect_err(|_| {
            connection.close(ConnectionFault::Closed);
            self.0.members.dismiss(&connection);
        })
    }

    fn greet(&self, address: SocketAddr, peer: &Peer) -> Result<(), ConnectError> {
        let hello = self.0.members.hello.get().ok_or(ConnectError::Closed)?;
        let answer = peer.request(HELLO, wire::emit(hello), self.0.patience);
        let answer = answer.map_err(|error| match error {
            RequestError::Refused(Refusal { detail, .. }) => ConnectError::NotKvTrans { address, detail },
            error => ConnectError::Fabric(FabricError::Request(error)),
        })?;
        let malformed = || ConnectError::Fabric(FabricError::Malformed { length: answer.len() });
        let theirs: Hello = wire::parse(&answer).ok_or_else(malformed)?;
        match theirs.version {
            VERSION => Ok(()),
            theirs => Err(ConnectError::Version { address, ours: VERSION, theirs }),
        }
    }

    /// Waits for a peer to connect. Peers that have gone again are not told of.
    ///
    /// # Errors
    /// [`AcceptError`].
    pub fn accept(&self, timeout: Duration) -> Result<Accepted, AcceptError> {
        self.0.members.accept(timeout)
    }

    /// Closes a connection. What was sent before has been taken by the peer when this returns, unless it does not
    /// answer within [`Config::withdraw_patience`]; what is under way still fails, and nothing touches its memory any
    /// more.
    ///
    /// # Errors
    /// [`PostError::UnknownConnection`].
    pub fn disconnect(&self, connection: ConnectionId) -> Result<(), PostError> {
        let connection = self.connection(connection)?;
        connection.part();
        end(&connection);
        self.0.members.dismiss(&connection);
        Ok(())
    }

    /// What carries the bytes of a connection.
    ///
    /// # Errors
    /// [`PostError::UnknownConnection`].
    pub fn transport(&self, connection: ConnectionId) -> Result<Transport, PostError> {
        Ok(self.connection(connection)?.peer.transport())
    }

    /// What registers memory, be it the host's or that of one of the engine's accelerators: for callers that have an
    /// address and are not told which ([`Fabric::kind_of`]).
    #[must_use]
    pub fn describe(&self, memory: Memory) -> RegionDescription {
        self.0.fabric.describe(memory.address, memory.length)
    }

    /// Registers memory for one connection (stage 0): the host's, or an accelerator's that the engine was opened with
    /// ([`Memory::device`]).
    ///
    /// # Errors
    /// [`RegisterError`].
    ///
    /// # Safety
    /// As [`Fabric::register`]: the memory stays mapped until [`Engine::dereg_kv`] returns or the engine is closed, and
    /// its bytes are not borrowed while a send or receive with it is under way.
    pub unsafe fn reg_kv(
        &self,
        connection: ConnectionId,
        memory: &RegionDescription,
    ) -> Result<KvId, RegisterError> {
        if self.0.members.connection(connection).is_none() {
            return Err(RegisterError::UnknownConnection(connection));
        }
        // SAFETY: passed on to the caller.
        unsafe { self.register(memory, Some(connection)) }.map(KvId)
    }

    /// Registers memory for every connection (stages 0b and 1).
    ///
    /// # Errors
    /// [`RegisterError`].
    ///
    /// # Safety
    /// As [`Engine::reg_kv`].
    pub unsafe fn reg_memory(&self, memory: &RegionDescription) -> Result<MemoryId, RegisterError> {
        // SAFETY: passed on to the caller.
        unsafe { self.register(memory, None) }.map(MemoryId)
    }

    /// Releases a kv: cancels what is under way with it and waits until nothing touches the memory any more.
    ///
    /// # Errors
    /// [`RegisterError::Unknown`].
    pub fn dereg_kv(&self, kv: KvId) -> Result<(), RegisterError> {
        self.release(kv.0, true)
    }

    /// Releases memory: cancels what is under way with it and waits until nothing touches it any more.
    ///
    /// # Errors
    /// [`RegisterError::Unknown`].
    pub fn dereg_memory(&self, memory: MemoryId) -> Result<(), RegisterError> {
        self.release(memory.0, false)
    }

    /// Sends the bytes of `memory` to the peer's next receive, and waits until they are there.
    ///
    /// # Errors
    /// [`SendError`].
    ///
    /// # Safety
    /// As [`Engine::post_send`]; when this returns nothing reads the memory any more.
    pub unsafe fn send_kv(&self, via: impl Into<Via>, memory: Memory) -> Result<(), SendError> {
        // SAFETY: passed on to the caller.
        unsafe { self.post_send(via, memory, None) }?.wait()
    }

    /// Receives the peer's next send into the registered memory, from its start, and says how many bytes it had. There
    /// is room for `max_size` bytes, or for as many as are registered.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn recv_kv(&self, via: impl Into<Via>, max_size: u64) -> Result<u64, ReceiveError> {
        self.post_receive(via, max_size, None)?.wait()
    }

    /// Receives the peer's next send into `memory`, and says how many bytes it had.
    ///
    /// # Errors
    /// [`ReceiveError`].
    ///
    /// # Safety
    /// As [`Engine::post_receive_into`]; when this returns nothing writes the memory any more.
    pub unsafe fn recv_kv_into(&self, via: impl Into<Via>, memory: Memory) -> Result<u64, ReceiveError> {
        // SAFETY: passed on to the caller.
        unsafe { self.post_receive_into(via, memory, None) }?.wait()
    }

    /// Begins a send. Memory that is not part of the registration is registered for the send alone, as
    /// [`Engine::describe`] finds it.
    ///
    /// # Errors
    /// [`PostError`].
    ///
    /// # Safety
    /// The memory stays mapped, and is not written, until the send has an outcome.
    pub unsafe fn post_send(
        &self,
        via: impl Into<Via>,
        memory: Memory,
        timeout: Option<Duration>,
    ) -> Result<SendHandle, PostError> {
        let (connection, number, buffer) = self.resolve(via.into())?;
        let Memory { address, length } = memory;
        // SAFETY: passed on to the caller.
        let segment = unsafe { self.cover(&buffer.segment, memory) }?;
        let key = segment.as_ref().map_or(Ok(LocalKey(0)), |segment| {
            segment.local_key(connection.peer.transport()).ok_or(PostError::Unreachable)
        })?;
        let source = Source { address, length, key, segment, buffer: number };
        let number = connection.post_send(source, self.deadline(timeout))?;
        Ok(SendHandle::new(connection, number))
    }

    /// Begins a receive into the registered memory, as [`Engine::recv_kv`].
    ///
    /// # Errors
    /// [`PostError`].
    pub fn post_receive(
        &self,
        via: impl Into<Via>,
        max_size: u64,
        timeout: Option<Duration>,
    ) -> Result<ReceiveHandle, PostError> {
        let (connection, number, buffer) = self.resolve(via.into())?;
        let (address, room) = (buffer.segment.address(), buffer.segment.length().min(max_size));
        self.receive(connection, number, Memory { address, length: room }, Some(buffer.segment), timeout)
    }

    /// Begins a receive into `memory`. Where it begins in the registration and ends beyond it, there is room up to the
    /// registration's end; where it begins elsewhere, it is registered for the receive alone.
    ///
    /// # Errors
    /// [`PostError`].
    ///
    /// # Safety
    /// The memory stays mapped, and is not borrowed, until the receive has an outcome. A handle that is dropped before
    /// leaves that open: end it with [`Engine::dereg_kv`] or [`Engine::disconnect`].
    pub unsafe fn post_receive_into(
        &self,
        via: impl Into<Via>,
        memory: Memory,
        timeout: Option<Duration>,
    ) -> Result<ReceiveHandle, PostError> {
        let (connection, number, buffer) = self.resolve(via.into())?;
        let registered = &buffer.segment;
        let memory = match registered.length().checked_sub(memory.address.wrapping_sub(registered.address()))
        {
            Some(left) if left > 0 => Memory { length: memory.length.min(left), ..memory },
            _ => memory,
        };
        // SAFETY: passed on to the caller.
        let segment = unsafe { self.cover(registered, memory) }?;
        self.receive(connection, number, memory, segment, timeout)
    }

    /// How much of everything there is now.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let connections = self.0.members.connections();
        let mut counts = Counts { registrations: self.buffers().by_number.len(), ..Counts::default() };
        for connection in &connections {
            let state = connection.lock();
            counts.connections += usize::from(state.fault.is_none());
            counts.sends += state.sending.unfinished();
            counts.receives += state.receiving.unfinished();
        }
        counts
    }

    /// The fabric below, for memory that peers of this host can map ([`Fabric::allocate`]): the fastest kind, to be
    /// registered like any other.
    #[must_use]
    pub fn fabric(&self) -> &Fabric {
        &self.0.fabric
    }

    /// Closes the engine for all handles, and every connection as [`Engine::disconnect`] does. A process that ends
    /// without that may leave peers with failures for messages that it has received.
    pub fn close(&self) {
        self.0.close();
    }
}

impl Engine {
    fn receive(
        &self,
        connection: Arc<Connection>,
        buffer: u64,
        memory: Memory,
        segment: Option<Segment>,
        timeout: Option<Duration>,
    ) -> Result<ReceiveHandle, PostError> {
        let Memory { address, length: room } = memory;
        let segment = segment.filter(|_| room > 0);
        let key = segment.as_ref().map_or(Ok(0), |segment| {
            let key = segment.exported().key(connection.peer.transport());
            key.map(|key| key.0).ok_or(PostError::Unreachable)
        })?;
        let target = Target { address, room, key, segment, buffer };
        let ticket = connection.post_receive(target, self.deadline(timeout))?;
        Ok(ReceiveHandle::new(connection, ticket))
    }

    /// A registration that holds all of `memory`: the given one, or one for this operation. `None` for no bytes.
    ///
    /// # Safety
    /// As [`Fabric::register`].
    unsafe fn cover(&self, registered: &Segment, memory: Memory) -> Result<Option<Segment>, PostError> {
        let Memory { address, length } = memory;
        if length == 0 {
            return Ok(None);
        }
        let offset = address.wrapping_sub(registered.address());
        if registered.length().checked_sub(offset).is_some_and(|left| length <= left) {
            return Ok(Some(registered.clone()));
        }
        let memory = self.0.fabric.describe(address, length);
        // SAFETY: passed on to the caller.
        let segment = unsafe { self.0.fabric.register(&memory) };
        Ok(Some(segment.map_err(|error| PostError::Register(Arc::new(error)))?))
    }

    /// # Safety
    /// As [`Engine::reg_kv`].
    unsafe fn register(
        &self,
        memory: &RegionDescription,
        connection: Option<ConnectionId>,
    ) -> Result<u64, RegisterError> {
        if self.0.members.is_closed() {
            return Err(RegisterError::Closed);
        }
        // SAFETY: passed on to the caller.
        let segment = unsafe { self.0.fabric.register(memory) }?;
        let mut buffers = self.buffers();
        buffers.last += 1;
        let number = buffers.last;
        buffers.by_number.insert(number, Buffer { segment, connection });
        Ok(number)
    }

    fn release(&self, number: u64, is_bound: bool) -> Result<(), RegisterError> {
        let mut buffers = self.buffers();
        let is_meant = |buffer: &Buffer| buffer.connection.is_some() == is_bound;
        if !buffers.by_number.get(&number).is_some_and(is_meant) {
            return Err(RegisterError::Unknown(number));
        }
        let buffer = buffers.by_number.remove(&number);
        drop(buffers);
        let connections = self.0.members.connections();
        connections.iter().for_each(|connection| {
            let mut state = connection.lock();
            connection.cancel_sends_of(&mut state, number);
            connection.cancel_receives_of(&mut state, number);
        });
        for connection in connections {
            let _ = connection.wait(Interest::Everything, None, |state| {
                connection.drive_urgent(state);
                let left = state.sending.unfinished_of(number) + state.receiving.unfinished_of(number);
                (left == 0).then_some(())
            });
            connection.bury();
        }
        drop(buffer);
        Ok(())
    }

    fn resolve(&self, via: Via) -> Result<(Arc<Connection>, u64, Buffer), PostError> {
        let find = |number: u64| self.buffers().by_number.get(&number).cloned();
        let (number, buffer, connection) = match via {
            Via::Kv(kv) => {
                let unknown = || PostError::UnknownKv(kv);
                let buffer = find(kv.0).ok_or_else(unknown)?;
                let connection = buffer.connection.ok_or_else(unknown)?;
                (kv.0, buffer, connection)
            }
            Via::Memory(connection, memory) => {
                let buffer = find(memory.0).filter(|buffer| buffer.connection.is_none());
                (memory.0, buffer.ok_or(PostError::UnknownMemory(memory))?, connection)
            }
        };
        Ok((self.connection(connection)?, number, buffer))
    }

    pub(super) fn connection(&self, id: ConnectionId) -> Result<Arc<Connection>, PostError> {
        self.0.members.connection(id).ok_or(PostError::UnknownConnection(id))
    }

    fn deadline(&self, timeout: Option<Duration>) -> Instant {
        let now = Instant::now();
        now + timeout.unwrap_or(self.0.patience).min(FAR_FUTURE)
    }

    fn buffers(&self) -> MutexGuard<'_, Buffers> {
        self.0.buffers()
    }
}

impl Inner {
    fn close(&self) {
        let connections = self.members.close();
        connections.iter().for_each(|connection| connection.part());
        connections.iter().for_each(|connection| connection.close(ConnectionFault::Closed));
        for connection in connections {
            end(&connection);
            self.members.dismiss(&connection);
        }
        self.members.bell.end();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A task that the engine's thread woke may drop the last handle there.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
        std::mem::take(&mut self.buffers().by_number);
    }

    fn buffers(&self) -> MutexGuard<'_, Buffers> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Takes a connection down and waits until it is quiet and everything on it has an outcome.
fn end(connection: &Connection) {
    connection.close(ConnectionFault::Closed);
    // This thread does what the engine's thread would: it may be that thread, or the connection known to it no more.
    while connection.wait(Interest::Everything, Some(Instant::now()), Connection::settled).is_none() {
        connection.look_after(Instant::now());
    }
    connection.bury();
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("listen_address", &self.listen_address())
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}
