//! Connecting two queue pairs over TCP, without waiting for the other side.
//!
//! ```text
//!  side that connects (lower device id, queue pair)      the other side
//!  dial all streams, hello on each --------------------> hub keeps them until the queue pair connects
//!                                                        takes them, hello on the wire
//!  <----------------------------------------------------
//!  Ready on the wire, linked --------------------------> linked
//! ```
//! With a key there is a handshake on each stream, see [`greeting`](super::greeting). Who connects and is refused for its key
//! gives up at once. Who is connected to goes on waiting: whoever knocks with another key need not be the peer.
//! Streams that the other side hangs up on before it has answered, or that it loses, are dialled again until the time for
//! connecting is over. A port at which nobody listens says that the peer is gone.

use std::{
    cmp::Ordering,
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::errno::Errno;

use super::{
    carrier::{Carrier, LinkRings, Sockets, lines},
    greeting::{Answerer, Caller, State},
    hub::{Hub, Offered},
    poller::Poller,
    record::{Hello, Protection},
    socket,
    stream::Stream,
};
use crate::{
    backend::TcpAddress,
    security::{KeyMismatch, NoiseFault, PreSharedKey},
    soft::{Device, connect::LinkFault, exchange::Pair},
};

/// Time before streams are dialled again.
const AGAIN: Duration = Duration::from_millis(20);

/// A connection that is not complete yet. Dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Pending {
    device: Device,
    poller: Arc<Poller>,
    /// Names the queue pair to the poller.
    tag: u32,
    remote: TcpAddress,
    /// This host's address that streams leave from.
    source: Option<IpAddr>,
    pair: Pair,
    role: Role,
}

#[derive(Debug)]
enum Role {
    /// This side connects.
    Dialling(Option<Dialled>, Instant),
    /// The other side does.
    Answering(Option<Answered>, Option<KeyMismatch>),
    /// Both sides.
    Alone,
}

/// Streams that this side has dialled.
#[derive(Debug)]
struct Dialled {
    hello: Hello,
    callers: Vec<Caller>,
}

/// Streams that were offered, on which this side has said hello.
#[derive(Debug)]
struct Answered {
    /// The peer's.
    hello: Hello,
    answerers: Vec<Answerer>,
}

/// Why streams were not dialled.
enum NotDialled {
    System(Errno),
    Handshake(NoiseFault),
}

impl Pending {
    /// Begins to connect queue pair `queue_pair` of `device` to `remote`. The engine's `poller` will know the streams under
    /// `tag`; those that are dialled here leave from `source`, or from where the system says.
    pub(crate) fn connect(
        device: &Device,
        queue_pair: u32,
        remote: &TcpAddress,
        (poller, tag, source): (Arc<Poller>, u32, Option<IpAddr>),
    ) -> Self {
        let role = match (device.id(), queue_pair).cmp(&(remote.device, remote.queue_pair)) {
            Ordering::Less => Role::Dialling(None, Instant::now()),
            Ordering::Equal => Role::Alone,
            Ordering::Greater => Role::Answering(None, None),
        };
        let pair = Pair { mine: queue_pair, device: remote.device, theirs: remote.queue_pair };
        Self { device: device.clone(), poller, tag, remote: *remote, source, pair, role }
    }

    /// Goes on as far as possible without waiting, and gives the link's parts once it is complete.
    ///
    /// # Errors
    /// [`LinkFault`]; the queue pair will not be connected.
    pub(crate) fn poll(&mut self) -> Result<Option<(LinkRings, Carrier)>, LinkFault> {
        let device = self.device.clone();
        device.service();
        let ring_lines = lines(device.config().ring_bytes);
        let Some(hub) = device.hub() else { return Err(self.gone()) };
        let sockets = match &mut self.role {
            Role::Alone => {
                let alone = Carrier::alone(device.clone(), self.pair.mine, ring_lines);
                return alone.map(Some).map_err(failed);
            }
            Role::Dialling(..) => self.dial(hub, ring_lines)?,
            Role::Answering(..) => self.answer(hub, ring_lines),
        };
        let Some(sockets) = sockets else { return Ok(None) };
        let ends = (device, self.pair.theirs);
        Carrier::connected(ends, sockets, (&self.poller, self.tag)).map(Some).map_err(failed)
    }

    /// How the key of the last one differed that knocked in the peer's name. It may have been anybody, so it is waited on.
    pub(crate) fn mismatch(&self) -> Option<KeyMismatch> {
        match self.role {
            Role::Answering(_, mismatch) => mismatch,
            Role::Dialling(..) | Role::Alone => None,
        }
    }

    fn dial(&mut self, hub: &Hub, lines: u32) -> Result<Option<Sockets>, LinkFault> {
        let (gone, hello) = (self.gone(), self.hello(hub, lines)?);
        let Role::Dialling(dialled, next) = &mut self.role else { return Ok(None) };
        if dialled.is_none() {
            if Instant::now() < *next {
                return Ok(None);
            }
            *dialled = match Dialled::new(hello, (self.source, &self.remote), hub.security().key.as_ref()) {
                Ok(dialled) => Some(dialled),
                Err(NotDialled::System(Errno::ECONNREFUSED)) => return Err(gone),
                Err(NotDialled::System(source)) => {
                    return Err(LinkFault::System { call: "bind or connect", source: source.into() });
                }
                Err(NotDialled::Handshake(fault)) => return Err(failed(fault)),
            };
        }
        match dialled.as_mut().map_or(State::Waits, Dialled::go_on) {
            State::Waits => Ok(None),
            State::Gone => Err(gone),
            State::Refused(mismatch) => Err(LinkFault::Keys(mismatch)),
            State::Lost => {
                (*dialled, *next) = (None, Instant::now() + AGAIN);
                Ok(None)
            }
            State::Complete(theirs) => {
                let Some(Dialled { callers, .. }) = dialled.take() else { return Ok(None) };
                let streams = callers.into_iter().map(|caller| caller.stream).collect();
                let lines = lines.min(theirs.lines);
                Ok(Sockets::of(streams, lines, true))
            }
        }
    }

    fn answer(&mut self, hub: &Hub, lines: u32) -> Option<Sockets> {
        let (device, pair) = (self.device.id(), self.pair);
        let Role::Answering(answered, mismatch) = &mut self.role else { return None };
        let (offered, refused) = hub.claim(pair);
        *mismatch = refused.or(*mismatch);
        if let Some(offered) = offered {
            let ours = Protection::of(hub.security());
            let hello = Hello {
                lines,
                protection: ours.max(offered.hello.protection),
                device,
                peer_device: pair.device,
                queue_pair: pair.mine,
                peer_queue_pair: pair.theirs,
                stream: 0,
                ..offered.hello
            };
            *answered = Answered::new(offered, &hello);
        }
        match answered.as_mut().map_or(State::Waits, Answered::go_on) {
            State::Waits => None,
            State::Lost | State::Gone | State::Refused(_) => {
                *answered = None;
                None
            }
            State::Complete(()) => {
                let Answered { hello, answerers } = answered.take()?;
                let streams = answerers.into_iter().map(Answerer::into_stream).collect();
                Sockets::of(streams, lines.min(hello.lines), false)
            }
        }
    }

    fn hello(&self, hub: &Hub, lines: u32) -> Result<Hello, LinkFault> {
        let mut serial = [0; 8];
        getrandom::fill(&mut serial).map_err(failed)?;
        Ok(Hello {
            stream: 0,
            streams: hub.streams(),
            lines,
            protection: Protection::of(hub.security()),
            serial: u64::from_le_bytes(serial),
            device: self.device.id(),
            peer_device: self.pair.device,
            queue_pair: self.pair.mine,
            peer_queue_pair: self.pair.theirs,
        })
    }

    fn gone(&self) -> LinkFault {
        LinkFault::PeerGone { device: self.pair.device }
    }
}

impl Dialled {
    fn new(
        hello: Hello,
        (source, remote): (Option<IpAddr>, &TcpAddress),
        key: Option<&PreSharedKey>,
    ) -> Result<Self, NotDialled> {
        let dial = |stream| {
            let socket = socket::connect_to(remote.socket, source).map_err(NotDialled::System)?;
            let hello = Hello { stream: stream as u8, ..hello };
            Caller::new(Stream::new(socket), hello, key).map_err(NotDialled::Handshake)
        };
        let callers = (0..hello.count()).map(dial).collect::<Result<_, _>>()?;
        Ok(Self { hello, callers })
    }

    fn go_on(&mut self) -> State<Hello> {
        let mut greeted = true;
        for caller in &mut self.callers {
            if caller.is_greeted() {
                continue;
            }
            match caller.stream.fault() {
                None => {}
                Some(Errno::ECONNREFUSED) => return State::Gone,
                Some(_) => return State::Lost,
            }
            greeted &= caller.greet();
        }
        if greeted { self.hear() } else { State::Waits }
    }

    /// Hears the answers, and says that they were heard.
    fn hear(&mut self) -> State<Hello> {
        let ours = self.hello;
        let mut answer = None;
        for (stream, caller) in self.callers.iter_mut().enumerate() {
            match caller.hear() {
                State::Waits => return State::Waits,
                State::Lost => return State::Lost,
                State::Gone => return State::Gone,
                State::Refused(mismatch) => return State::Refused(mismatch),
                State::Complete(Some(theirs))
                    if theirs.protection.is_keyed() != ours.protection.is_keyed() =>
                {
                    let keyed = [ours, theirs].map(|hello| hello.protection.is_keyed());
                    return State::Refused(KeyMismatch::of(keyed[0], keyed[1]));
                }
                State::Complete(Some(theirs)) if !ours.is_answered_by(&theirs, stream) => return State::Gone,
                State::Complete(theirs) => answer = answer.or(theirs),
            }
        }
        let Some(theirs) = answer else { return State::Gone };
        let confirmed = self.callers.iter_mut().all(|caller| caller.confirm(theirs.protection));
        if confirmed { State::Complete(theirs) } else { State::Lost }
    }
}

impl Answered {
    fn new(offered: Offered, hello: &Hello) -> Option<Self> {
        let theirs = offered.hello;
        let arrivals = offered.streams.into_iter().collect::<Option<Vec<_>>>()?;
        let answer = |(stream, arrival)| Answerer::new(arrival, Hello { stream: stream as u8, ..*hello });
        let answerers = arrivals.into_iter().enumerate().map(answer).collect::<Result<_, _>>().ok()?;
        Some(Self { hello: theirs, answerers })
    }

    fn go_on(&mut self) -> State<()> {
        let mut waits = false;
        for answerer in &mut self.answerers {
            match answerer.go_on() {
                State::Complete(()) => {}
                State::Waits => waits = true,
                over => return over,
            }
        }
        if waits { State::Waits } else { State::Complete(()) }
    }
}

impl Sockets {
    /// Sorts the streams of a connection. The first ones of the bulk streams are for the requests of the side that connects.
    fn of(mut streams: Vec<Stream>, lines: u32, connects: bool) -> Option<Self> {
        let half = (streams.len().checked_sub(1)?) / 2;
        let last = streams.split_off(1 + half);
        let first = streams.split_off(1);
        let mut wire = streams.pop()?;
        (wire.readable, wire.writable) = (true, true);
        let (asking, serving) = if connects { (first, last) } else { (last, first) };
        Some(Self { wire, asking, serving, lines })
    }
}

fn failed(source: impl std::error::Error + Send + Sync + 'static) -> LinkFault {
    LinkFault::System { call: "connecting over TCP", source: io::Error::other(source) }
}
