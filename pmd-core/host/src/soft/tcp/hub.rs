//! A device's listener, the streams that came over it and wait to be taken, and the streams that are on their way out.
//!
//! Serviced as the exchange is: by whichever engine has time, never waiting. A stream says hello within
//! [`HELLO_TIME`], with a key the first message of a handshake that verifies, and is then kept for the queue pair that it names until that takes it, at most [`OFFER_TIME`]. Nothing
//! else of what it sends is read here, and nothing is allocated for it beyond its entry. Of both kinds there is a bounded
//! number, of which the oldest is hung up on for a new one; who is hung up on before it was answered tries again.

use std::{
    collections::{HashMap, VecDeque},
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
    thread,
    time::{Duration, Instant},
};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::{
    TcpConfig,
    greeting::{GREETING, refusal},
    record::{BadRecord, HELLO, Hello, Protection},
    socket::{self, Accepted},
    stream::Stream,
};
use crate::{
    identity::DeviceId,
    outage::{self, LAST_WORDS},
    security::{Answering, KeyMismatch, NoiseFault, PreSharedKey, Security},
    soft::exchange::Pair,
};

/// Time for a hello.
const HELLO_TIME: Duration = Duration::from_secs(3);
/// Time for a queue pair to take the streams that are meant for it.
const OFFER_TIME: Duration = Duration::from_secs(20);
/// Streams without a hello.
const MOST_ANONYMOUS: usize = 256;
/// Streams that wait to be taken.
const MOST_OFFERED: usize = 4096;
/// The listener's tag.
const LISTENER: u64 = 0;
/// Connections taken in one round.
const ACCEPTS: usize = 64;
/// Refusals that are remembered.
const MOST_REFUSED: usize = 64;
/// Time between two looks at the times of others.
const PAUSE: Duration = Duration::from_millis(100);
/// Time between two looks at what has arrived, while a device closes.
const STEP: Duration = Duration::from_millis(2);
/// Rounds of one service: a new connection is found in the first, its hello in the second.
const ROUNDS: usize = 4;

/// Where a device is connected to.
#[derive(Debug)]
pub(crate) struct Hub {
    device: DeviceId,
    address: SocketAddr,
    streams: u8,
    security: Security,
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
    /// Who was refused for its key, in whose name, and when; oldest first.
    refused: VecDeque<(Pair, KeyMismatch, Instant)>,
    /// When the times were last looked at.
    looked: Instant,
    /// The listener is not polled for now.
    paused: bool,
}

#[derive(Debug)]
struct Anonymous {
    stream: Stream,
    bytes: [u8; GREETING],
    have: usize,
    since: Instant,
}

/// A stream that said hello.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) stream: Stream,
    /// Where there is a key; its first message has verified.
    pub(super) handshake: Option<Answering>,
}

/// Streams of one connection that a peer makes.
#[derive(Debug)]
pub(super) struct Offered {
    pub(super) hello: Hello,
    pair: Pair,
    /// By index.
    pub(super) streams: Vec<Option<Arrival>>,
    since: Instant,
}

#[derive(Debug)]
struct Lingering {
    stream: Stream,
    rest: Vec<u8>,
    sent: usize,
    /// The other end was told that nothing more comes.
    finished: bool,
    until: Instant,
}

impl Hub {
    /// Listens as `tcp` says, for `device`.
    pub(crate) fn open(device: DeviceId, tcp: TcpConfig, security: Security) -> io::Result<Self> {
        let (listener, address) = socket::listen_at(tcp.listen)?;
        let poll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        poll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        let state = State {
            listener,
            next_tag: LISTENER + 1,
            anonymous: HashMap::new(),
            arrivals: VecDeque::new(),
            offered: VecDeque::new(),
            lingering: HashMap::new(),
            refused: VecDeque::new(),
            looked: Instant::now(),
            paused: false,
        };
        let streams = tcp.streams;
        Ok(Self { device, address, streams, security, poll, state: Mutex::new(state) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Streams for large messages of either side, where this device connects.
    pub(super) fn streams(&self) -> u8 {
        self.streams
    }

    /// What peers must know, and how their data goes.
    pub(super) fn security(&self) -> &Security {
        &self.security
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

    /// Takes the connection that came last for `pair`, and how the key of one differed that knocked in its name; earlier ones
    /// are given up.
    pub(super) fn claim(&self, pair: Pair) -> (Option<Offered>, Option<KeyMismatch>) {
        let mut state = self.lock();
        (state.claim(pair), state.take_refused(pair))
    }

    /// Sends `rest` and closes the socket once the other end has: what a queue pair says last must not be lost because it
    /// has left something unread.
    pub(super) fn linger(&self, socket: OwnedFd, rest: Vec<u8>) {
        let mut state = self.lock();
        let tag = state.tag();
        // What is not polled waits for its time.
        let _ = self.poll.add(&socket, lingering_event(tag));
        let until = Instant::now() + LAST_WORDS;
        let lingering = Lingering { stream: Stream::new(socket), rest, sent: 0, finished: false, until };
        state.lingering.insert(tag, lingering);
        self.see_to(&mut state, tag);
    }

    /// Goes on with a lingering stream.
    fn see_to(&self, state: &mut State, tag: u64) {
        let Some(lingering) = state.lingering.get_mut(&tag) else { return };
        if lingering.is_over() {
            state.lingering.remove(&tag);
        } else if lingering.stream.readable {
            // Others have their turn. Nothing new need come before the rest is read: so this is told once more.
            let _ = self.poll.modify(&lingering.stream, &mut lingering_event(tag));
        }
    }

    /// Streams whose queue pair is gone.
    #[cfg(test)]
    pub(super) fn lingering(&self) -> usize {
        self.lock().lingering.len()
    }

    /// Waits until what queue pairs have said last is with the other hosts. For the end of the device: no engine is left to
    /// see to it.
    pub(crate) fn see_off(&self) {
        loop {
            let (mut state, now) = (self.lock(), Instant::now());
            state.lingering.retain(|_, lingering| now < lingering.until && !lingering.has_arrived());
            if state.lingering.is_empty() {
                return;
            }
            drop(state);
            thread::sleep(STEP);
        }
    }

    fn handle(&self, state: &mut State, tag: u64) -> bool {
        if tag == LISTENER {
            self.accept(state);
            return false;
        }
        if let Some(lingering) = state.lingering.get_mut(&tag) {
            (lingering.stream.readable, lingering.stream.writable) = (true, true);
            self.see_to(state, tag);
            return false;
        }
        let Some(anonymous) = state.anonymous.get_mut(&tag) else { return false };
        match anonymous.hear(self.security.key.as_ref()) {
            Heard::More => false,
            Heard::Hello(hello, handshake) => self.admit(state, tag, (hello, handshake)),
            Heard::Stranger(hello) => {
                self.refuse(state, tag, &hello);
                false
            }
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
                let anonymous = Anonymous { stream, bytes: [0; GREETING], have: 0, since: Instant::now() };
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
    fn admit(&self, state: &mut State, tag: u64, (hello, handshake): (Hello, Option<Answering>)) -> bool {
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
        state.offered[index].put(&hello, Arrival { stream, handshake })
    }

    /// Hangs up on one whose key is not this side's, and says so to one that knows whom it has reached.
    fn refuse(&self, state: &mut State, tag: u64, theirs: &Hello) {
        let Some(Anonymous { mut stream, .. }) = state.anonymous.remove(&tag) else { return };
        if theirs.peer_device != self.device {
            return;
        }
        let ours = Hello {
            protection: Protection::of(&self.security),
            device: self.device,
            peer_device: theirs.device,
            queue_pair: theirs.peer_queue_pair,
            peer_queue_pair: theirs.queue_pair,
            ..*theirs
        };
        // All that it has said was read, so this arrives before the end; there is room, it is the first that is sent.
        stream.writable = true;
        stream.send(&refusal(ours, theirs));
        let pair = Pair { mine: ours.queue_pair, device: theirs.device, theirs: theirs.queue_pair };
        let keyed = [&ours, theirs].map(|hello| hello.protection.is_keyed());
        state.note_refused(pair, KeyMismatch::of(keyed[0], keyed[1]));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a lingering stream is polled for.
fn lingering_event(tag: u64) -> EpollEvent {
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    EpollEvent::new(flags, tag)
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

    fn claim(&mut self, pair: Pair) -> Option<Offered> {
        let last = self.offered.iter().rposition(|offered| offered.pair == pair && offered.is_complete())?;
        let claimed = self.offered.remove(last);
        let mut index = 0;
        self.offered.retain(|offered| {
            index += 1;
            index > last || offered.pair != pair
        });
        claimed
    }

    fn take_refused(&mut self, pair: Pair) -> Option<KeyMismatch> {
        let index = self.refused.iter().rposition(|(of, ..)| *of == pair)?;
        self.refused.remove(index).map(|(_, mismatch, _)| mismatch)
    }

    fn note_refused(&mut self, pair: Pair, mismatch: KeyMismatch) {
        self.refused.retain(|(of, ..)| *of != pair);
        while self.refused.len() >= MOST_REFUSED {
            self.refused.pop_front();
        }
        self.refused.push_back((pair, mismatch, Instant::now()));
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
        self.refused.retain(|(_, _, since)| now.duration_since(*since) < OFFER_TIME);
        true
    }
}

/// What an anonymous stream has said.
enum Heard {
    More,
    Hello(Hello, Option<Answering>),
    /// A hello of one that has another key, or a key where this side has none, or none where this side has one.
    Stranger(Hello),
    Nonsense,
}

impl Anonymous {
    /// Hears a hello, and what belongs to it where there is a key. Nothing that follows is read here.
    fn hear(&mut self, key: Option<&PreSharedKey>) -> Heard {
        self.stream.readable = true;
        self.receive(HELLO);
        let is_keyed = match self.hello() {
            None => false,
            Some(Ok(hello)) => hello.protection.is_keyed(),
            Some(Err(_)) => return Heard::Nonsense,
        };
        if is_keyed {
            self.receive(GREETING);
        }
        let length = if is_keyed { GREETING } else { HELLO };
        if self.have < length {
            return if self.stream.ended { Heard::Nonsense } else { Heard::More };
        }
        self.understand(key).unwrap_or(Heard::Nonsense)
    }

    fn receive(&mut self, length: usize) {
        if self.have < length {
            self.have += self.stream.receive(&mut self.bytes[self.have..length]);
        }
    }

    /// The hello, once it is there.
    fn hello(&self) -> Option<Result<Hello, BadRecord>> {
        self.bytes[..self.have].first_chunk().map(Hello::parse)
    }

    fn understand(&self, key: Option<&PreSharedKey>) -> Option<Heard> {
        let hello = self.hello()?.ok()?;
        match (key, hello.protection.is_keyed()) {
            (None, false) => Some(Heard::Hello(hello, None)),
            (Some(key), true) => {
                let (said, first) = self.bytes.split_first_chunk::<HELLO>()?;
                Some(match Answering::hear(key, said, first.first_chunk()?) {
                    Ok(handshake) => Heard::Hello(hello, Some(handshake)),
                    Err(NoiseFault::Refused) => Heard::Stranger(hello),
                    Err(NoiseFault::Unavailable) => Heard::Nonsense,
                })
            }
            _ => Some(Heard::Stranger(hello)),
        }
    }
}

impl Offered {
    fn new(hello: Hello, pair: Pair) -> Self {
        let streams = std::iter::repeat_with(|| None).take(hello.count()).collect();
        Self { hello, pair, streams, since: Instant::now() }
    }

    /// Takes a stream of the connection; whether it is complete by that.
    fn put(&mut self, hello: &Hello, mut arrival: Arrival) -> bool {
        arrival.stream.readable = true;
        let is_alike = Hello { stream: self.hello.stream, ..*hello } == self.hello;
        match self.streams.get_mut(usize::from(hello.stream)) {
            Some(place @ None) if is_alike => *place = Some(arrival),
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
        // Once: each time it is news to whoever polls the socket, this hub above all.
        if self.sent == self.rest.len() && !std::mem::replace(&mut self.finished, true) {
            self.stream.finish();
        }
        for _ in 0..READS {
            if self.stream.receive(&mut ignored) == 0 {
                break;
            }
        }
        self.stream.ended
    }

    /// Goes on; whether all that was left is with the other host, or nobody is there to take it.
    fn has_arrived(&mut self) -> bool {
        (self.stream.readable, self.stream.writable) = (true, true);
        self.is_over() || self.sent == self.rest.len() && outage::has_arrived(&self.stream)
    }
}
