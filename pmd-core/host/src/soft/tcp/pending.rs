//! Connecting two queue pairs over TCP, without waiting for the other side.
//!
//! ```text
//!  side that connects (lower device id, queue pair)      the other side
//!  dial all streams, hello on each --------------------> hub keeps them until the queue pair connects
//!                                                        takes them, hello on the wire
//!  <----------------------------------------------------
//!  Ready on the wire, linked --------------------------> linked
//! ```
//! Streams that the other side hangs up on before it has answered, or that it loses, are dialled again until the time for
//! connecting is over. A port at which nobody listens says that the peer is gone.

use std::{
    cmp::Ordering,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use nix::errno::Errno;

use super::{
    carrier::{Carrier, LinkRings, Sockets, lines},
    hub::{Hub, Offered},
    poller::Poller,
    record::{HELLO, Hello, WIRE_HEAD, WireHead, WireKind},
    socket,
    stream::Stream,
};
use crate::{
    backend::TcpAddress,
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
    pair: Pair,
    role: Role,
}

#[derive(Debug)]
enum Role {
    /// This side connects.
    Dialling(Option<Dialled>, Instant),
    /// The other side does.
    Answering(Option<Answered>),
    /// Both sides.
    Alone,
}

/// Streams that this side has dialled.
#[derive(Debug)]
struct Dialled {
    hello: Hello,
    /// With the bytes of its hello that are sent.
    streams: Vec<(Stream, usize)>,
    answer: [u8; HELLO],
    have: usize,
}

/// Streams that were offered, on which this side has said hello.
#[derive(Debug)]
struct Answered {
    hello: Hello,
    streams: Vec<Stream>,
    answer: [u8; HELLO],
    sent: usize,
    ready: [u8; WIRE_HEAD],
    have: usize,
}

/// What has become of streams.
enum State<T> {
    /// Nothing yet.
    Waits,
    /// They are of no use any more.
    Lost,
    /// The peer is not there, or not what it should be.
    Gone,
    /// They are connected.
    Complete(T),
}

impl Pending {
    /// Begins to connect queue pair `queue_pair` of `device` to `remote`. The engine's `poller` will know the streams under
    /// `tag`.
    pub(crate) fn connect(
        device: &Device,
        queue_pair: u32,
        remote: &TcpAddress,
        (poller, tag): (Arc<Poller>, u32),
    ) -> Self {
        let role = match (device.id(), queue_pair).cmp(&(remote.device, remote.queue_pair)) {
            Ordering::Less => Role::Dialling(None, Instant::now()),
            Ordering::Equal => Role::Alone,
            Ordering::Greater => Role::Answering(None),
        };
        let pair = Pair { mine: queue_pair, device: remote.device, theirs: remote.queue_pair };
        Self { device: device.clone(), poller, tag, remote: *remote, pair, role }
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
            Role::Dialling(..) => self.dial(ring_lines)?,
            Role::Answering(_) => self.answer(hub, ring_lines),
        };
        let Some(sockets) = sockets else { return Ok(None) };
        let ends = (device, self.pair.theirs);
        Carrier::connected(ends, sockets, (&self.poller, self.tag)).map(Some).map_err(failed)
    }

    fn dial(&mut self, lines: u32) -> Result<Option<Sockets>, LinkFault> {
        let (gone, hello) = (self.gone(), self.hello(lines)?);
        let Role::Dialling(dialled, next) = &mut self.role else { return Ok(None) };
        if dialled.is_none() {
            if Instant::now() < *next {
                return Ok(None);
            }
            *dialled = match Dialled::new(hello, &self.remote) {
                Ok(dialled) => Some(dialled),
                Err(Errno::ECONNREFUSED) => return Err(gone),
                Err(source) => return Err(LinkFault::System { call: "connect", source: source.into() }),
            };
        }
        match dialled.as_mut().map_or(State::Waits, Dialled::go_on) {
            State::Waits => Ok(None),
            State::Gone => Err(gone),
            State::Lost => {
                (*dialled, *next) = (None, Instant::now() + AGAIN);
                Ok(None)
            }
            State::Complete(theirs) => {
                let Some(Dialled { streams, .. }) = dialled.take() else { return Ok(None) };
                let streams = streams.into_iter().map(|(stream, _)| stream).collect();
                let lines = lines.min(theirs.lines);
                Ok(Sockets::of(streams, lines, true))
            }
        }
    }

    fn answer(&mut self, hub: &Hub, lines: u32) -> Option<Sockets> {
        let (device, pair) = (self.device.id(), self.pair);
        let Role::Answering(answered) = &mut self.role else { return None };
        if let Some(offered) = hub.claim(pair) {
            let hello = Hello {
                lines,
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
            State::Lost | State::Gone => {
                *answered = None;
                None
            }
            State::Complete(()) => {
                let Answered { hello, streams, .. } = answered.take()?;
                Sockets::of(streams, lines.min(hello.lines), false)
            }
        }
    }

    fn hello(&self, lines: u32) -> Result<Hello, LinkFault> {
        let mut serial = [0; 8];
        getrandom::fill(&mut serial).map_err(failed)?;
        let streams = self.device.config().tcp.as_ref().map_or(1, |tcp| tcp.streams);
        Ok(Hello {
            stream: 0,
            streams,
            lines,
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
    fn new(hello: Hello, remote: &TcpAddress) -> Result<Self, Errno> {
        let dial = |_| socket::connect_to(remote.socket).map(|socket| (Stream::new(socket), 0));
        let streams = (0..hello.count()).map(dial).collect::<Result<_, _>>()?;
        Ok(Self { hello, streams, answer: [0; HELLO], have: 0 })
    }

    fn go_on(&mut self) -> State<Hello> {
        for index in 0..self.streams.len() {
            let (stream, sent) = &mut self.streams[index];
            if *sent == HELLO {
                continue;
            }
            match stream.fault() {
                None => {}
                Some(Errno::ECONNREFUSED) => return State::Gone,
                Some(_) => return State::Lost,
            }
            let bytes = Hello { stream: index as u8, ..self.hello }.to_bytes();
            stream.writable = true;
            *sent += stream.send(&bytes[*sent..]);
        }
        if self.streams.iter().any(|(_, sent)| *sent < HELLO) { State::Waits } else { self.hear() }
    }

    /// Hears the answer, and says that it was heard.
    fn hear(&mut self) -> State<Hello> {
        let Some((wire, _)) = self.streams.first_mut() else { return State::Lost };
        wire.readable = true;
        self.have += wire.receive(&mut self.answer[self.have..]);
        if self.have < HELLO {
            return if wire.ended { State::Lost } else { State::Waits };
        }
        let ours = self.hello;
        let is_it = |theirs: &Hello| {
            (theirs.serial, theirs.device, theirs.queue_pair)
                == (ours.serial, ours.peer_device, ours.peer_queue_pair)
        };
        let Some(theirs) = Hello::parse(&self.answer).ok().filter(is_it) else { return State::Gone };
        let ready = WireHead { kind: WireKind::Ready, length: 0, position: 0 };
        wire.writable = true;
        // Eight bytes always have room behind a hello.
        if wire.send(&ready.to_bytes()) == WIRE_HEAD { State::Complete(theirs) } else { State::Lost }
    }
}

impl Answered {
    fn new(offered: Offered, hello: &Hello) -> Option<Self> {
        let theirs = offered.hello;
        let streams = offered.streams.into_iter().collect::<Option<Vec<_>>>()?;
        let answer = hello.to_bytes();
        Some(Self { hello: theirs, streams, answer, sent: 0, ready: [0; WIRE_HEAD], have: 0 })
    }

    fn go_on(&mut self) -> State<()> {
        let Some(wire) = self.streams.first_mut() else { return State::Lost };
        (wire.readable, wire.writable) = (true, true);
        if self.sent < HELLO {
            self.sent += wire.send(&self.answer[self.sent..]);
        }
        self.have += wire.receive(&mut self.ready[self.have..]);
        match WireHead::parse(&self.ready) {
            _ if self.have < WIRE_HEAD && wire.ended => State::Lost,
            _ if self.have < WIRE_HEAD => State::Waits,
            Ok(WireHead { kind: WireKind::Ready, .. }) => State::Complete(()),
            _ => State::Lost,
        }
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
