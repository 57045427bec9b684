//! The control thread: one poll loop over the listener and all connections.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pmd_core::sync::{AtomicU64, Ordering};
use thiserror::Error;

use super::{
    ControlConfig, KeepAliveError, Service,
    connection::{Connection, DownReason},
    frame::{Frame, FrameError, Refusal},
    wire_socket::WireSocket,
};
use crate::{
    backend::Waker,
    outage::{LAST_WORDS, go_on_soon},
};

/// Connections that are accepted in one turn.
const ACCEPTS: usize = 64;
/// Reads of what a peer said before its end closed.
const LAST_READS: usize = 64;
/// Time between two looks at what has arrived of the last words, while the thread ends.
const STEP: Duration = Duration::from_millis(2);
/// Longest sleep of the control thread.
const TICK: Duration = Duration::from_millis(100);

/// The control thread and its listener. Dropping it says goodbye to every peer and ends the thread.
#[derive(Debug)]
pub struct ControlPlane {
    shared: Arc<PlaneShared>,
    local: Mutex<Option<SocketAddr>>,
    /// Longest wait for the thread.
    turn: Duration,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct PlaneShared {
    waker: Waker,
    /// What every peer is told first.
    hello: Frame,
    keyed: bool,
    next_number: AtomicU64,
    inbox: Mutex<Inbox>,
}

impl PlaneShared {
    fn connection(&self, remote: SocketAddr) -> Result<Connection, FrameError> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        Connection::new(number, remote, self.waker.clone(), (&self.hello, self.keyed))
    }
}

#[derive(Debug, Default)]
struct Inbox {
    connections: Vec<(TcpStream, Connection)>,
    listener: Option<Replacement>,
    stop: bool,
}

/// Takes the place of the listener.
#[derive(Debug)]
struct Replacement {
    listener: Option<TcpListener>,
    /// Hears when the one before is closed.
    done: SyncSender<()>,
}

impl ControlPlane {
    /// Opens the listener, if one is asked for, and starts the thread.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn start(config: ControlConfig, service: Arc<dyn Service>) -> Result<Self, ControlError> {
        config.keep_alive().check()?;
        let listener = config.listen.map(listen).transpose()?;
        let local = Mutex::new(local_address(listener.as_ref()));
        let waker = Waker::new().map_err(|source| ControlError::Start { source: source.into() })?;
        let hello = Frame::Hello { identity: config.identity.clone(), keep_alive: config.keep_alive() };
        let turn = config.timeout;
        let next_number = AtomicU64::new(1);
        let keyed = config.key.is_some();
        let shared = Arc::new(PlaneShared { waker, hello, keyed, next_number, inbox: Mutex::default() });
        let mut state = Loop {
            config,
            service,
            listener,
            sockets: Vec::new(),
            leaving: Vec::new(),
            shared: Arc::clone(&shared),
        };
        let thread = thread::Builder::new()
            .name("pmd-control".into())
            .spawn(move || state.run())
            .map_err(|source| ControlError::Start { source })?;
        Ok(Self { shared, local, turn, thread: Some(thread) })
    }

    /// Address that peers connect to, with the port that was chosen where the configuration said 0.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        *lock(&self.local)
    }

    /// Listens on another address from now on, or no more. Connections that are there stay. When this returns the
    /// address before is free. Not to be called on the control thread, which does it.
    ///
    /// # Errors
    /// [`ControlError::Listen`]; then nothing has changed.
    pub fn listen(&self, address: Option<SocketAddr>) -> Result<(), ControlError> {
        let mut local = lock(&self.local);
        if address == *local {
            return Ok(());
        }
        let listener = address.map(listen).transpose()?;
        *local = local_address(listener.as_ref());
        let (done, closed) = sync_channel(1);
        lock(&self.shared.inbox).listener = Some(Replacement { listener, done });
        self.shared.waker.wake();
        // The thread does it in its next turn; a turn takes as long as the service's answers.
        let _ = closed.recv_timeout(self.turn);
        Ok(())
    }

    /// Connects to a peer and waits until both sides know each other, at most `patience`.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(&self, remote: SocketAddr, patience: Duration) -> Result<Connection, ConnectError> {
        let deadline = Instant::now() + patience;
        let unreachable = |source| ConnectError::Unreachable { remote, source };
        let stream = TcpStream::connect_timeout(&remote, patience).map_err(unreachable)?;
        prepare(&stream).map_err(unreachable)?;
        let connection = self.shared.connection(remote).map_err(|error| ConnectError::Down(error.into()))?;
        lock(&self.shared.inbox).connections.push((stream, connection.clone()));
        self.shared.waker.wake();
        match connection.wait_introduced(deadline) {
            Ok(()) => Ok(connection),
            Err(Some(reason)) => Err(ConnectError::Down(reason)),
            Err(None) => {
                connection.close();
                Err(ConnectError::Silent { remote, patience })
            }
        }
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        lock(&self.shared.inbox).stop = true;
        self.shared.waker.wake();
        if let Some(thread) =
            self.thread.take().filter(|thread| thread.thread().id() != thread::current().id())
        {
            let _ = thread.join();
        }
    }
}

struct Loop {
    config: ControlConfig,
    service: Arc<dyn Service>,
    listener: Option<TcpListener>,
    sockets: Vec<WireSocket>,
    /// Closed by this side, and until when its goodbye may take to arrive: a goodbye that is lost with its socket would look
    /// like a process that was killed.
    leaving: Vec<(WireSocket, Instant)>,
    shared: Arc<PlaneShared>,
}

impl Loop {
    fn run(&mut self) {
        loop {
            self.sleep();
            let Inbox { connections: new, listener, stop } = {
                let mut inbox = lock(&self.shared.inbox);
                let stop = inbox.stop;
                std::mem::replace(&mut *inbox, Inbox { stop, ..Inbox::default() })
            };
            if let Some(Replacement { listener, done }) = listener {
                self.listener = listener;
                // Whoever asked waits for it.
                let _ = done.send(());
            }
            for (stream, connection) in new {
                self.take_on((stream, true), connection);
            }
            self.accept();
            for index in 0..self.sockets.len() {
                self.serve(index);
            }
            self.bury();
            if stop {
                return self.farewell();
            }
        }
    }

    /// Waits for something to read, room to write where bytes wait, a wake-up, or the tick.
    fn sleep(&self) {
        let mut descriptors = vec![PollFd::new(self.shared.waker.0.as_fd(), PollFlags::POLLIN)];
        descriptors
            .extend(self.listener.iter().map(|listener| PollFd::new(listener.as_fd(), PollFlags::POLLIN)));
        descriptors.extend(self.sockets.iter().map(|socket| {
            let write = if socket.wants_to_write() { PollFlags::POLLOUT } else { PollFlags::empty() };
            PollFd::new(socket.stream.as_fd(), PollFlags::POLLIN | write)
        }));
        let tick = self.config.interval.min(TICK);
        let timeout = PollTimeout::try_from(tick).unwrap_or(PollTimeout::from(100_u8));
        // An interrupted poll is a short sleep.
        let _ = poll(&mut descriptors, timeout);
        // EAGAIN: woken by something else.
        let _ = self.shared.waker.0.read();
    }

    fn accept(&mut self) {
        // Whoever is taken on has a turn to speak before it may have to make room.
        let most = ACCEPTS.min(self.config.anonymous_limit / 2).max(1);
        for _ in 0..most {
            let Some(listener) = &self.listener else { return };
            let Ok((stream, remote)) = listener.accept() else { return };
            if prepare(&stream).is_err() {
                continue; // Dropping the stream closes it.
            }
            self.make_room();
            if let Ok(connection) = self.shared.connection(remote) {
                self.take_on((stream, false), connection);
            }
        }
    }

    /// Hangs up on a connection that has not said who it is, if there are too many for one more: the oldest of those that
    /// have said nothing, else the oldest. Nobody has heard of it, so dropping it is all.
    fn make_room(&mut self) {
        let is_anonymous = |socket: &WireSocket| !socket.connects() && !socket.connection.is_introduced();
        let count = self.sockets.iter().filter(|socket| is_anonymous(socket)).count();
        if count < self.config.anonymous_limit.max(1) {
            return;
        }
        let silent = self.sockets.iter().position(|socket| is_anonymous(socket) && !socket.has_spoken());
        if let Some(oldest) = silent.or_else(|| self.sockets.iter().position(is_anonymous)) {
            self.sockets.remove(oldest);
        }
    }

    /// Takes a connection on, which this side has made or accepted.
    fn take_on(&mut self, stream: (TcpStream, bool), connection: Connection) {
        match WireSocket::new(stream, connection.clone(), self.config.key.as_ref()) {
            Ok(socket) => self.sockets.push(socket),
            Err(error) => drop(connection.fail(&error.into())),
        }
    }

    fn serve(&mut self, index: usize) {
        let outcome = self.read(index).and_then(|()| {
            let socket = &mut self.sockets[index];
            socket.check_silence(&self.config)?;
            socket.write()
        });
        if let Err(mut reason) = outcome {
            if reason == DownReason::Closed {
                reason = self.hear_out(index);
            }
            // What was answered before the end (a preamble for a peer of another version) still goes out.
            let _ = self.sockets[index].write();
            self.take_down(index, &reason);
        }
    }

    /// Why the peer has closed its end: a write may find that out before its goodbye is read.
    fn hear_out(&mut self, index: usize) -> DownReason {
        (0..LAST_READS).find_map(|_| self.read(index).err()).unwrap_or(DownReason::Closed)
    }

    fn read(&mut self, index: usize) -> Result<(), DownReason> {
        let more = self.sockets[index].fill();
        loop {
            let socket = &mut self.sockets[index];
            match socket.reader.next()? {
                Some(frame) => self.handle(index, frame)?,
                None => return more,
            }
        }
    }

    fn handle(&mut self, index: usize, frame: Frame) -> Result<(), DownReason> {
        let socket = &mut self.sockets[index];
        let connection = socket.connection.clone();
        if connection.is_introduced() == matches!(frame, Frame::Hello { .. }) {
            return Err(FrameError::OutOfTurn.into());
        }
        match frame {
            Frame::Hello { identity, keep_alive } => {
                if self.config.key.is_some() && identity == self.config.identity && !socket.is_local() {
                    return Err(FrameError::Reflected.into());
                }
                self.config.keep_alive().check_with(keep_alive)?;
                socket.reader.raise_limit();
                connection.introduce(identity)?;
                let _ = catch_unwind(AssertUnwindSafe(|| self.service.connected(&connection)));
            }
            Frame::KeepAlive => {}
            Frame::Request { number, kind, body } => {
                let answer =
                    catch_unwind(AssertUnwindSafe(|| self.service.request(&connection, kind, &body)));
                let panicked = || Refusal { code: Refusal::PANICKED, detail: "the service panicked".into() };
                let answer = answer.unwrap_or_else(|_| Err(panicked()));
                // A peer too stuck to take the answer goes down by its silence.
                let _ = connection.respond(number, answer);
            }
            Frame::Response { number, result } => connection.answer(number, result),
            Frame::Event { kind, body } => {
                let _ = catch_unwind(AssertUnwindSafe(|| self.service.event(&connection, kind, &body)));
            }
            Frame::Goodbye => return Err(DownReason::Goodbye),
        }
        Ok(())
    }

    fn take_down(&mut self, index: usize, reason: &DownReason) {
        let connection = self.sockets[index].connection.clone();
        let has_lived = connection.fail(reason);
        if has_lived && connection.is_introduced() {
            let _ = catch_unwind(AssertUnwindSafe(|| self.service.down(&connection, reason)));
        } else if has_lived && !self.sockets[index].connects() {
            let _ = catch_unwind(AssertUnwindSafe(|| self.service.refused(connection.remote(), reason)));
        }
    }

    fn bury(&mut self) {
        let until = Instant::now() + LAST_WORDS;
        let down = self.sockets.extract_if(.., |socket| socket.connection.down_reason().is_some());
        let closed_here = down.filter(|socket| socket.connection.down_reason() == Some(DownReason::Local));
        self.leaving.extend(closed_here.map(|socket| (socket, until)));
        self.leaving.retain_mut(|(socket, until)| Instant::now() < *until && !socket.has_arrived());
    }

    fn farewell(&mut self) {
        for index in 0..self.sockets.len() {
            self.sockets[index].connection.close();
            let _ = self.sockets[index].write();
            self.take_down(index, &DownReason::Local);
        }
        self.bury();
        while !self.leaving.is_empty() {
            thread::sleep(STEP);
            self.bury();
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, ControlError> {
    let failed = |source| ControlError::Listen { address, source };
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    Ok(listener)
}

fn local_address(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    listener.and_then(|listener| listener.local_addr().ok())
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    go_on_soon(stream);
    stream.set_nonblocking(true)
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why the control plane did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ControlError {
    /// No peer can work with the keep-alive terms of the configuration.
    #[error(transparent)]
    KeepAlive(#[from] KeepAliveError),
    /// The address cannot be listened on.
    #[error(
        "cannot listen on {address}: choose a free port (0 lets the system choose) of an address of this host"
    )]
    Listen {
        /// Address asked for.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No thread or no event descriptor.
    #[error("cannot start the control thread")]
    Start {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// Why a peer could not be connected to.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// Nothing answers at the address.
    #[error("cannot reach {remote}: is the peer running and listening there?")]
    Unreachable {
        /// Address asked for.
        remote: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Something answers but does not say who it is.
    #[error("{remote} accepted the connection but did not say hello within {patience:?}")]
    Silent {
        /// Address asked for.
        remote: SocketAddr,
        /// Time waited.
        patience: Duration,
    },
    /// The connection ended before the peers knew each other.
    #[error(transparent)]
    Down(DownReason),
}
