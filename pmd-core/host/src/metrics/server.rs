//! A small HTTP server: one thread, a bounded number of connections, each for one request of bounded size and time.
//!
//! Opened by endpoints ([`MetricsConfig`]), asked by Prometheus and `pmd top`. A client that says nothing, or little by
//! little, has a few seconds; when there are as many as there may be, the one that has been silent longest makes room, so
//! whoever asks at once is always answered.

use std::{
    fmt,
    io::{self, ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pmd_core::sync::{AtomicBool, Ordering};
use thiserror::Error;

use super::{MetricsAddress, request};
use crate::backend::Waker;

/// How an endpoint tells its metrics; by default to nobody but its own process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where to answer `GET /metrics`. Whoever reaches it can read names of peers and counts; nothing can be changed.
    pub listen: Option<MetricsAddress>,
    /// Bounds of the server.
    pub limits: ServerLimits,
}

/// Bounds of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at one time, at least 1.
    pub connections: usize,
    /// Bytes of a request, its headers included.
    pub request_bytes: usize,
    /// Time for a whole exchange, from the connection's arrival on.
    pub patience: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self { connections: 16, request_bytes: 8192, patience: Duration::from_secs(5) }
    }
}

/// Answers `GET /metrics` until it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    local: SocketAddr,
    thread: Option<thread::JoinHandle<()>>,
}

struct Shared {
    waker: Waker,
    stop: AtomicBool,
}

impl Server {
    /// Listens on the first free one of the address's ports and starts the thread, which calls `page` for each request.
    ///
    /// # Errors
    /// [`ServerError`].
    pub fn start(
        address: MetricsAddress,
        limits: ServerLimits,
        page: impl Fn() -> String + Send + 'static,
    ) -> Result<Self, ServerError> {
        let listener = listen(address)?;
        let failed = |source| ServerError::Start { source };
        let local = listener.local_addr().map_err(failed)?;
        let waker = Waker::new().map_err(|source| failed(source.into()))?;
        let shared = Arc::new(Shared { waker, stop: AtomicBool::new(false) });
        let limits = ServerLimits { connections: limits.connections.max(1), ..limits };
        let mut state = Loop {
            listener,
            limits,
            page: Box::new(page),
            shared: Arc::clone(&shared),
            exchanges: Vec::new(),
            rest_until: None,
        };
        let thread =
            thread::Builder::new().name("pmd-metrics".into()).spawn(move || state.run()).map_err(failed)?;
        Ok(Self { shared, local, thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub const fn local_address(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.waker.wake();
        let here = thread::current().id();
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != here) {
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Server").field("local", &self.local).finish_non_exhaustive()
    }
}

/// The thread's own.
struct Loop {
    listener: TcpListener,
    limits: ServerLimits,
    page: Box<dyn Fn() -> String + Send>,
    shared: Arc<Shared>,
    /// The oldest first.
    exchanges: Vec<Exchange>,
    /// The system had no room for another connection: not asked again before this.
    rest_until: Option<Instant>,
}

/// One connection.
struct Exchange {
    stream: TcpStream,
    deadline: Instant,
    step: Step,
}

enum Step {
    /// The request, as far as it came.
    Reading(Vec<u8>),
    /// The answer, and how much of it is out.
    Writing(Vec<u8>, usize),
    /// The answer is out. A connection that is closed with something unread takes the answer back from the client.
    Draining,
}

impl Loop {
    fn run(&mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            self.sleep();
            self.accept();
            let now = Instant::now();
            let (limit, page) = (self.limits.request_bytes, &self.page);
            self.exchanges.retain_mut(|exchange| exchange.deadline > now && exchange.advance(limit, page));
        }
    }

    /// Waits for something to do.
    fn sleep(&self) {
        let now = Instant::now();
        let rests = self.rest_until.is_some_and(|until| until > now);
        let mut descriptors = vec![PollFd::new(self.shared.waker.0.as_fd(), PollFlags::POLLIN)];
        descriptors.extend((!rests).then(|| PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)));
        descriptors.extend(self.exchanges.iter().map(|exchange| {
            let wanted = match exchange.step {
                Step::Writing(..) => PollFlags::POLLOUT,
                Step::Reading(_) | Step::Draining => PollFlags::POLLIN,
            };
            PollFd::new(exchange.stream.as_fd(), wanted)
        }));
        let times = self.exchanges.iter().map(|exchange| exchange.deadline).chain(self.rest_until);
        let timeout = times.filter(|at| *at > now).min().map_or(PollTimeout::NONE, |at| {
            // Rounded up: a deadline that is almost there is no reason to spin.
            let left = (at - now) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        // An interrupted poll is a short sleep.
        let _ = poll(&mut descriptors, timeout);
        // EAGAIN: woken by something else.
        let _ = self.shared.waker.0.read();
    }

    /// Takes in who has connected, as many as there may be; the oldest of those that have asked nothing make room.
    fn accept(&mut self) {
        self.rest_until = self.rest_until.filter(|until| *until > Instant::now());
        if self.rest_until.is_some() {
            return;
        }
        // No more in one turn than there may be: a flood does not keep the others from being served.
        for _ in 0..self.limits.connections {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if is_of_the_client(&error) => continue,
                Err(_) => {
                    self.rest_until = Some(Instant::now() + Duration::from_millis(100));
                    return;
                }
            };
            if !self.make_room() || stream.set_nonblocking(true).is_err() {
                continue; // Dropping the stream closes it.
            }
            let deadline = Instant::now() + self.limits.patience;
            let mut exchange = Exchange { stream, deadline, step: Step::Reading(Vec::new()) };
            if exchange.advance(self.limits.request_bytes, &self.page) {
                self.exchanges.push(exchange);
            }
        }
    }

    fn make_room(&mut self) -> bool {
        if self.exchanges.len() < self.limits.connections {
            return true;
        }
        let idle = |exchange: &Exchange| !matches!(exchange.step, Step::Writing(..));
        let oldest = self.exchanges.iter().position(idle);
        oldest.map(|index| self.exchanges.remove(index)).is_some()
    }
}

impl Exchange {
    /// Goes on as far as it can without waiting. Returns whether there is more to do.
    fn advance(&mut self, limit: usize, page: &(dyn Fn() -> String + Send)) -> bool {
        let going_on = self.try_advance(limit, page);
        match going_on {
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
            Ok(going_on) => going_on,
        }
    }

    fn try_advance(&mut self, limit: usize, page: &(dyn Fn() -> String + Send)) -> io::Result<bool> {
        let mut chunk = [0; 1024];
        loop {
            match &mut self.step {
                Step::Reading(request) => {
                    let count = self.stream.read(&mut chunk)?;
                    if count == 0 {
                        return Ok(false);
                    }
                    request.extend_from_slice(&chunk[..count]);
                    if let Some(answer) = request::answer(request, limit) {
                        let page = || catch_unwind(AssertUnwindSafe(page)).ok();
                        self.step = Step::Writing(request::response(answer, page), 0);
                    }
                }
                Step::Writing(bytes, written) if *written < bytes.len() => {
                    *written += self.stream.write(&bytes[*written..])?;
                }
                Step::Writing(..) => {
                    self.stream.shutdown(Shutdown::Write)?;
                    self.step = Step::Draining;
                }
                // Once a turn: who sends without end is not to keep the others waiting.
                Step::Draining => return Ok(self.stream.read(&mut chunk)? > 0),
            }
        }
    }
}

/// Whether only this connection is lost.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted)
}

fn listen(address: MetricsAddress) -> Result<TcpListener, ServerError> {
    let mut last = io::Error::from(ErrorKind::AddrInUse);
    for candidate in address.candidates() {
        match TcpListener::bind(candidate) {
            Ok(listener) => {
                listener.set_nonblocking(true).map_err(|source| ServerError::Start { source })?;
                return Ok(listener);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => last = error,
            Err(source) => return Err(ServerError::Listen { address, source }),
        }
    }
    Err(ServerError::Listen { address, source: last })
}

/// Why metrics are not served.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error(
        "cannot serve metrics on {address} or the ports after it: choose a free one (0 lets the system choose) of an \
         address of this host"
    )]
    Listen {
        /// Address asked for.
        address: MetricsAddress,
        /// What the system said of the last one tried.
        #[source]
        source: io::Error,
    },
    /// No thread or no event descriptor.
    #[error("cannot start the thread that serves metrics")]
    Start {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}
