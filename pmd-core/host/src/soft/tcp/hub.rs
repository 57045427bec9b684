//! A device's listener, the streams that came over it and wait to be taken, and the streams that are on their way out.
//!
//! Serviced as the exchange is: by whichever engine has time, never waiting. A stream says hello within
//! [`HELLO_TIME`] and is then kept for the queue pair that it names until that takes it, at most [`OFFER_TIME`]. Nothing
//! else of what it sends is read here, and nothing is allocated for it beyond its entry. Of both kinds there is a bounded
//! number, of which the oldest is hung up on for a new one; who is hung up on before it was answered tries again.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
    time::{Duration, Instant},
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{
    record::{HELLO, Hello},
    socket::{self, Accepted},
    stream::Stream,
};
use crate::{identity::DeviceId, soft::exchange::Pair};

/// Time for a hello.
const HELLO_TIME: Duration = Duration::from_secs(3);
/// Time for a queue pair to take the streams that are meant for it.
const OFFER_TIME: Duration = Duration::from_secs(20);
/// Time for the other end to take what was left, and to close.
const LINGER_TIME: Duration = Duration::from_secs(5);
/// Streams without a hello.
const MOST_ANONYMOUS: usize = 256;
/// Streams that wait to be taken.
const MOST_OFFERED: usize = 4096;
/// The listener's tag.
const LISTENER: u64 = 0;
/// Connections taken in one round.
const ACCEPTS: usize = 64;
/// Time between two looks at the times of others.
const PAUSE: Duration = Duration::from_millis(100);
/// Rounds of one service: a new connection is found in the first, its hello in the second.
const ROUNDS: usize = 4;

/// Where a device is connected to.
#[derive(Debug)]
pub(crate) struct Hub {
    device: DeviceId,
    address: SocketAddr,
    poll: Epoll,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    listener: OwnedFd,
    next_tag: u64,
    /// By tag, and the tags in the order in which they came.
    anonymous: HashMap<u64, Anonymous>,
    arrivals: VecDeque<u64>,
    /// Oldest first.
    offered: VecDeque<Offered>,
    lingering: HashMap<u64, Lingering>,
    /// When the times were last looked at.
    looked: Instant,
    /// The listener is not polled for now.
    paused: bool,
}

#[derive(Debug)]
struct Anonymous {
    stream: Stream,
    bytes: [u8; HELLO],
    have: usize,
    since: Instant,
}

/// Streams of one connection that a peer makes.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) hello: Hello,
    pair: Pair,
    /// By index.
    pub(super) streams: Vec<Option<Stream>>,
    since: Instant,
}

#[derive(Debug)]
struct Lingering {
    stream: Stream,
    rest: Vec<u8>,
    sent: usize,
    until: Instant,
}

impl Hub {
    /// Listens at `address`, for `device`.
    pub(crate) fn open(device: DeviceId, address: SocketAddr) -> io::Result<Self> {
        let (listener, address) = socket::listen_at(address)?;
        let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        poll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        let state = State {
            listener,
            next_tag: LISTENER + 1,
            anonymous: HashMap::new(),
            arrivals: VecDeque::new(),
            offered: VecDeque::new(),
            lingering: HashMap::new(),
            looked: Instant::now(),
            paused: false,
        };
        Ok(Self { device, address, poll, state: Mutex::new(state) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes in what has come, unless another thread is at it. Whether there is something new for a queue pair.
    pub(crate) fn service(&self) -> bool {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let mut complete = false;
        for _ in 0..ROUNDS {
            let mut events = [EpollEvent::empty(); 32];
            let count = self.poll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
            for event in &events[..count] {
                complete |= self.handle(&mut state, event.data());
            }
            if count == 0 {
                break;
            }
        }
        if state.look_at_times(Instant::now()) && state.paused {
            self.pause(&mut state, false);
        }
        complete
    }

    /// Takes the connection that came last for `pair`; earlier ones are given up.
    pub(super) fn claim(&self, pair: Pair) -> Option<Offered> {
        let mut state = self.lock();
        let last = state.offered.iter().rposition(|offered| offered.pair == pair && offered.is_complete())?;
        let claimed = state.offered.remove(last);
        let mut index = 0;
        state.offered.retain(|offered| {
            index += 1;
            index > last || offered.pair != pair
        });
        claimed
    }

    /// Sends `rest` and closes the socket once the other end has: what a queue pair says last must not be lost because it
    /// has left something unread.
    pub(super) fn linger(&self, socket: OwnedFd, rest: Vec<u8>) {
        let mut state = self.lock();
        let tag = state.tag();
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        if self.poll.add(&socket, EpollEvent::new(flags, tag)).is_err() {
            return;
        }
        let until = Instant::now() + LINGER_TIME;
        let mut lingering = Lingering { stream: Stream::new(socket), rest, sent: 0, until };
        if !lingering.is_over() {
            state.lingering.insert(tag, lingering);
        }
    }

    fn handle(&self, state: &mut State, tag: u64) -> bool {
        if tag == LISTENER {
            self.accept(state);
            return false;
        }
        if let Some(lingering) = state.lingering.get_mut(&tag) {
            (lingering.stream.readable, lingering.stream.writable) = (true, true);
            if lingering.is_over() {
                state.lingering.remove(&tag);
            }
            return false;
        }
        let Some(anonymous) = state.anonymous.get_mut(&tag) else { return false };
        match anonymous.hear() {
            Heard::More => false,
            Heard::Hello(hello) => self.admit(state, tag, hello),
            Heard::Nonsense => {
                state.anonymous.remove(&tag);
                false
            }
        }
    }

    fn accept(&self, state: &mut State) {
        for _ in 0..ACCEPTS {
            let socket = match socket::accept(&state.listener) {
                Accepted::Connection(socket) => socket,
                Accepted::Nobody => return,
                Accepted::NoDescriptor => return self.pause(state, true),
            };
            if state.anonymous.len() >= MOST_ANONYMOUS {
                state.drop_oldest();
            }
            let tag = state.tag();
            if self.poll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, tag)).is_ok() {
                let stream = Stream::new(socket);
                let anonymous = Anonymous { stream, bytes: [0; HELLO], have: 0, since: Instant::now() };
                state.anonymous.insert(tag, anonymous);
                state.arrivals.push_back(tag);
            }
        }
    }

    /// Without a descriptor left the listener would keep everyone awake: it is asked again after a while.
    fn pause(&self, state: &mut State, paused: bool) {
        state.paused = paused;
        let flags = if paused { EpollFlags::empty() } else { EpollFlags::EPOLLIN };
        let _ = self.poll.modify(&state.listener, &mut EpollEvent::new(flags, LISTENER));
    }

    /// Keeps a stream that said hello. Whether its connection is complete by that.
    fn admit(&self, state: &mut State, tag: u64, hello: Hello) -> bool {
        let Some(Anonymous { stream, .. }) = state.anonymous.remove(&tag) else { return false };
        if hello.peer_device != self.device {
            return false;
        }
        // The engine's poll set takes it from here.
        let _ = self.poll.delete(&stream);
        let pair = Pair { mine: hello.peer_queue_pair, device: hello.device, theirs: hello.queue_pair };
        let same = |offered: &Offered| offered.pair == pair && offered.hello.serial == hello.serial;
        let index = state.offered.iter().position(same);
        let index = index.unwrap_or_else(|| state.make_room(Offered::new(hello, pair)));
        state.offered[index].put(&hello, stream)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Readable when [`Hub::service`] has something to do.
impl AsFd for Hub {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poll.0.as_fd()
    }
}

impl State {
    fn tag(&mut self) -> u64 {
        self.next_tag += 1;
        self.next_tag
    }

    fn drop_oldest(&mut self) {
        while let Some(tag) = self.arrivals.pop_front() {
            if self.anonymous.remove(&tag).is_some() {
                return;
            }
        }
    }

    /// Keeps a new offer, in place of old ones if there are too many. Its index.
    fn make_room(&mut self, offered: Offered) -> usize {
        while self.offered.iter().map(|offered| offered.streams.len()).sum::<usize>() >= MOST_OFFERED {
            self.offered.pop_front();
        }
        self.offered.push_back(offered);
        self.offered.len() - 1
    }

    /// Hangs up on those whose time is over. Whether it was time to look.
    fn look_at_times(&mut self, now: Instant) -> bool {
        if now.duration_since(self.looked) < PAUSE {
            return false;
        }
        self.looked = now;
        self.anonymous.retain(|_, anonymous| now.duration_since(anonymous.since) < HELLO_TIME);
        self.arrivals.retain(|tag| self.anonymous.contains_key(tag));
        self.offered.retain(|offered| now.duration_since(offered.since) < OFFER_TIME);
        self.lingering.retain(|_, lingering| now < lingering.until);
        true
    }
}

/// What an anonymous stream has said.
enum Heard {
    More,
    Hello(Hello),
    Nonsense,
}

impl Anonymous {
    fn hear(&mut self) -> Heard {
        self.stream.readable = true;
        self.have += self.stream.receive(&mut self.bytes[self.have..]);
        if self.have < HELLO {
            return if self.stream.ended { Heard::Nonsense } else { Heard::More };
        }
        Hello::parse(&self.bytes).map_or(Heard::Nonsense, Heard::Hello)
    }
}

impl Offered {
    fn new(hello: Hello, pair: Pair) -> Self {
        let streams = std::iter::repeat_with(|| None).take(hello.count()).collect();
        Self { hello, pair, streams, since: Instant::now() }
    }

    /// Takes a stream of the connection; whether it is complete by that.
    fn put(&mut self, hello: &Hello, mut stream: Stream) -> bool {
        stream.readable = true;
        match self.streams.get_mut(usize::from(hello.stream)) {
            Some(place @ None) if hello.streams == self.hello.streams => *place = Some(stream),
            _ => {}
        }
        self.is_complete()
    }

    fn is_complete(&self) -> bool {
        self.streams.iter().all(Option::is_some)
    }
}

impl Lingering {
    /// Goes on; whether nothing is left to do.
    fn is_over(&mut self) -> bool {
        const READS: usize = 16;
        let mut ignored = [0; 4096];
        while self.sent < self.rest.len() {
            let sent = self.stream.send(&self.rest[self.sent..]);
            self.sent += sent;
            if sent == 0 {
                break;
            }
        }
        if self.sent == self.rest.len() {
            self.stream.finish();
        }
        for _ in 0..READS {
            if self.stream.receive(&mut ignored) == 0 {
                break;
            }
        }
        self.stream.ended
    }
}
