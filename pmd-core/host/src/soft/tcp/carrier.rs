//! What carries a link between hosts: the wire and the two groups of bulk streams, or nothing at all where a queue pair is
//! connected to itself.

use std::{os::fd::OwnedFd, sync::Arc, time::Instant};

use nix::sys::epoll::EpollFlags;
use pmd_core::ring::packet::{Consumer, LINE_BYTES, LineCount, Producer, ring};

use super::{
    group::Group,
    poller::Poller,
    record::LONGEST_BODY,
    stream::Stream,
    wire::{Consumed, Wire, WireFault, WireRings},
};
use crate::{outage::LAST_WORDS, soft::Device};

/// What carries a link.
#[derive(Debug)]
pub(crate) struct Carrier {
    device: Device,
    peer_queue_pair: u32,
    streams: Option<Box<Streams>>,
}

#[derive(Debug)]
struct Streams {
    wire: Wire,
    /// This side asks.
    asking: Group,
    /// The peer asks.
    serving: Group,
    /// When the wire was found to have ended, or the peer said that it has failed.
    ended: Option<Instant>,
    /// Knows all of these.
    poller: Arc<Poller>,
}

/// The engine's ends of the rings.
pub(crate) struct LinkRings {
    pub(crate) requests_out: Producer,
    pub(crate) requests_in: Consumer,
    pub(crate) responses_out: Producer,
    pub(crate) responses_in: Consumer,
}

/// Connected sockets that have said hello.
pub(super) struct Sockets {
    pub(super) wire: Stream,
    pub(super) asking: Vec<Stream>,
    pub(super) serving: Vec<Stream>,
    /// Lines of each ring.
    pub(super) lines: u32,
}

impl Carrier {
    /// A link over these sockets, of which `poller` tells the engine under the number of its queue pair.
    pub(super) fn connected(
        (device, peer_queue_pair): (Device, u32),
        sockets: Sockets,
        (poller, tag): (&Arc<Poller>, u32),
    ) -> Result<(LinkRings, Self), CarrierFault> {
        let lines = sockets.lines as usize;
        let (requests_out, requests_to_send) = ring(lines)?;
        let (responses_out, responses_to_send) = ring(lines)?;
        let (requests_come, requests_in) = ring(lines)?;
        let (responses_come, responses_in) = ring(lines)?;
        let Sockets { wire, asking, serving, .. } = sockets;
        let all = std::iter::once(&wire).chain(&asking).chain(&serving);
        for (index, stream) in all.enumerate() {
            poller.add(stream, tag, index)?;
        }
        let rings = WireRings {
            requests_out: requests_to_send,
            responses_out: responses_to_send,
            requests_in: requests_come,
            responses_in: responses_come,
        };
        let wire = Wire::new(wire, rings);
        let (asking, serving) = (Group::new(asking), Group::new(serving));
        let streams = Streams { wire, asking, serving, ended: None, poller: poller.clone() };
        let carrier = Self { device, peer_queue_pair, streams: Some(Box::new(streams)) };
        Ok((LinkRings { requests_out, requests_in, responses_out, responses_in }, carrier))
    }

    /// A queue pair connected to itself: what it sends it receives.
    pub(super) fn alone(device: Device, queue_pair: u32, lines: u32) -> Result<(LinkRings, Self), LineCount> {
        let (requests_out, requests_in) = ring(lines as usize)?;
        let (responses_out, responses_in) = ring(lines as usize)?;
        let carrier = Self { device, peer_queue_pair: queue_pair, streams: None };
        Ok((LinkRings { requests_out, requests_in, responses_out, responses_in }, carrier))
    }

    pub(crate) fn peer_queue_pair(&self) -> u32 {
        self.peer_queue_pair
    }

    /// Longest payload of a packet, with what comes in front of it.
    pub(crate) fn longest_packet(&self) -> usize {
        LONGEST_BODY
    }

    /// Whether large messages go over bulk streams.
    #[inline]
    pub(crate) fn has_bulk(&self) -> bool {
        self.streams.is_some()
    }

    /// The streams for this side's requests.
    pub(crate) fn asking(&mut self) -> Option<&mut Group> {
        self.streams.as_mut().map(|streams| &mut streams.asking)
    }

    /// The streams for the peer's requests.
    pub(crate) fn serving(&mut self) -> Option<&mut Group> {
        self.streams.as_mut().map(|streams| &mut streams.serving)
    }

    /// Whether a socket has what the engine waits for.
    #[inline]
    pub(crate) fn is_ready(&self) -> bool {
        let Some(streams) = &self.streams else { return false };
        streams.wire.is_ready() || streams.asking.is_ready() || streams.serving.is_ready()
    }

    /// Whether the other end is closed or gone, and everything that it sent before has been taken in. The end of a bulk stream
    /// waits for that of the wire, which says why, and that of the wire for bytes of a READ: no longer than what is said last
    /// may take.
    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        let Some(streams) = &self.streams else { return false };
        let over = |since: Option<Instant>| since.is_some_and(|since| since.elapsed() > LAST_WORDS);
        let Streams { asking, serving, ended, .. } = &**streams;
        // What the peer has sent for a READ is still on its way.
        ended.is_some() && !asking.is_receiving()
            || over(*ended)
            || over(asking.ended())
            || over(serving.ended())
    }

    /// The peer has said that it failed, behind everything else on the wire. As [`Carrier::has_ended`].
    #[cold]
    pub(crate) fn has_said_all(&mut self) -> bool {
        let Some(streams) = &mut self.streams else { return true };
        streams.ended.get_or_insert_with(Instant::now);
        self.has_ended()
    }

    /// Notes what the poller said of a stream.
    pub(crate) fn note(&mut self, index: usize, flags: EpollFlags) {
        let Some(streams) = &mut self.streams else { return };
        let Streams { wire, asking, serving, .. } = &mut **streams;
        let count = asking.count();
        let stream = match index {
            0 => Some(wire.stream_mut()),
            _ if index <= count => asking.stream_mut(index - 1),
            _ => serving.stream_mut(index - 1 - count),
        };
        if let Some(stream) = stream {
            stream.note(flags);
        }
    }

    /// Puts what came into the engine's rings.
    pub(crate) fn take_in(&mut self, consumed: Consumed) -> Result<(), WireFault> {
        let Some(streams) = &mut self.streams else { return Ok(()) };
        streams.wire.take_in(consumed)?;
        if streams.wire.has_ended() {
            streams.ended.get_or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Sends what the engine has put into its rings. What was consumed may wait for the next pass.
    pub(crate) fn transmit(&mut self, consumed: Consumed) {
        if let Some(streams) = &mut self.streams {
            streams.wire.transmit(consumed);
        }
    }

    /// Whether what was consumed waits for the next pass.
    #[inline]
    pub(crate) fn is_overdue(&self) -> bool {
        self.streams.as_ref().is_some_and(|streams| streams.wire.is_overdue())
    }

    /// Sends what the engine has put into its rings, and what was consumed.
    pub(crate) fn tell(&mut self, consumed: Consumed) {
        if let Some(streams) = &mut self.streams {
            streams.wire.tell(consumed);
        }
    }

    /// Ends the connection. What is left goes out behind the engine's back; nothing that comes is looked at any more.
    pub(crate) fn close(&mut self, consumed: Consumed) {
        let Some(streams) = self.streams.take() else { return };
        let Some(hub) = self.device.hub() else { return };
        let Streams { wire, asking, serving, poller, .. } = *streams;
        let linger = |socket: OwnedFd, rest| {
            poller.remove(&socket);
            hub.linger(socket, rest);
        };
        let (socket, rest) = wire.into_rest(consumed);
        linger(socket, rest);
        asking.into_sockets().chain(serving.into_sockets()).for_each(|socket| linger(socket, Vec::new()));
    }
}

/// Why a link could not be made of good sockets.
#[derive(Debug, thiserror::Error)]
pub(super) enum CarrierFault {
    #[error(transparent)]
    Rings(#[from] LineCount),
    #[error(transparent)]
    Poller(#[from] nix::Error),
}

/// Lines of a ring of so many bytes.
pub(super) fn lines(ring_bytes: u32) -> u32 {
    ring_bytes / LINE_BYTES as u32
}
