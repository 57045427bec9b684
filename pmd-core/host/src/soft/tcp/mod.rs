//! The soft HCA across hosts: the same work requests, executed over TCP.
//!
//! [`SoftBackend::over_tcp`](super::SoftBackend::over_tcp) is the only one who asks for it; everything else of the soft HCA
//! is what it is within a host. A [link](super::Link) is either memory that two processes share or one of these.
//!
//! ```text
//!  engine    requester, responder: WQEs, packets, completions                     (as over shared memory)
//!     |  request and response rings, in memory of this process        ^
//!  wire      repeats the outgoing rings in the peer's incoming ones ---+---- one stream
//!  groups    bytes of large WRITEs and READs, from and to registered memory - several streams for each side
//! ```
//!
//! | module | |
//! |---|---|
//! | `record` | formats: hello, heads of records |
//! | `stream`, `socket` | one socket, never waited for |
//! | `hub` | a device's listener: streams that came, and streams on their way out |
//! | `pending` | connecting |
//! | `greeting` | what is said on a stream before its first record: hellos, handshakes |
//! | `seal` | sealed records of one stream |
//! | `wire` | packets |
//! | `group` | large messages, striped |
//! | `carrier` | the three of them as a link's carrier |
//! | `poller` | an engine's poll set |
//!
//! # Streams
//! A connected queue pair has streams of its own, so no lock is taken to send, and nobody waits behind another queue
//! pair: the wire, and [`TcpConfig::streams`] bulk streams for the requests of either side. Nothing has a thread: the
//! engine sends when it posts and receives when it polls, and when it parks it sleeps in `poll(2)` on its poll set. The
//! sets are edge-triggered; a poll costs one `epoll_wait` that does not wait, and a socket is asked only after it said
//! that it has something.
//!
//! - **The wire never stops.** What it carries has a place in a ring of the receiver before it is sent: rings of both ends
//!   have as many lines, packets lie at the same positions in them, and the sender's lines are free again when the
//!   receiver's engine has consumed the packet. A request that waits for a receive stays in the ring, and what comes
//!   behind it on the wire, responses above all, is taken in past it.
//! - **Small messages** (up to [`STREAMED_FROM`] bytes), SENDs, requests for READs, atomics, immediates, refusals and
//!   acknowledgements are packets. All packets of a pass leave with one call, without delay (`TCP_NODELAY`), and large
//!   messages are not in their way.
//! - **Large WRITEs and READs** are a packet that announces them and bytes on bulk streams, cut into pieces. The bytes are
//!   gathered from registered memory by `sendmsg` and scattered into registered memory by `readv`: no copy but the
//!   kernel's. A stream takes the next piece when its last one is out, so a slow stream gets less.
//! - **Back-pressure**: a full socket ends the turn of the message that is being sent, and its WQE stays at the head of its
//!   queue. A receiver that cannot take a message yet leaves its pieces in the sockets, whose windows close.
//!
//! # Framing
//! Every stream begins with a hello of 64 bytes in either direction that is needed; after that all bytes belong to
//! records: a head that tells the length, and that many bytes. Records of the wire are shorter than 64 KiB. With a key
//! ([`DeviceConfig::security`](super::DeviceConfig::security)) a handshake on each stream comes between hellos and records.
//! Then, unless both sides have switched that off, a stream's bytes are sealed: callers see the same bytes, and below them they
//! are gathered, encrypted and sent in records of up to 32 KiB, and the other way round, through buffers that each stream has
//! for that (192 KiB), two copies more on either side. Where they are not sealed nothing is different but one test.
//!
//! Before the hello is whole and names a queue pair of this device nothing is kept of a stream but its 64 bytes. Every
//! length is checked before anything is done with it, and no length makes anything be allocated: rings have the size that
//! both agreed on within the limits of [`DeviceConfig`](super::DeviceConfig), and payload goes to memory whose key,
//! bounds and rights are checked in the same round. A peer that does not keep to the protocol fails its own queue pair
//! (`BadResponse`), nothing else.
//!
//! # States
//! ```text
//!            hub has nobody                     Ready
//!  Pending --dial, hello--> hello heard ------------------> Linked --close--> lingering --both ends closed--> gone
//!     ^            |                                           |
//!     '--- lost ---'      refused: PeerGone, Keys              '-- the wire ends: RetryExceeded, flushed
//! ```
//! Of two queue pairs the one with the lower (device, number) dials. The other one gives no link out before it has heard
//! `Ready`, so streams of an earlier attempt, which nobody reads any more, are never taken for a connection. A queue pair
//! that is reset closes its streams, and connects with new ones: no packet of before can come.
//!
//! A queue pair that closes has its last words (acknowledgements, refusals, `Fatal`) sent by the hub, which then waits for
//! the other end to close, at most 5 seconds: a socket that is closed with something unread would take them back. A device
//! that closes waits until the other host has them, as long at most. A peer finds the end of
//! its wire behind all that was sent before, and fails once it has looked at that; a peer whose process was killed looks
//! the same. A host that vanished is noticed by TCP's keep-alives within half a minute, and by the control plane earlier.
//!
//! # A refusal
//! Who refuses a request fails, and hands its streams to the hub: the wire with all answers, the refusal as the last of them,
//! then `Fatal`, then the end; the others with what the kernel still has of READs, then the end. They are read until the other
//! side has closed its own, since unread bytes of a refused WRITE would have the kernel take back what was said. These ends
//! arrive in any order, each on its own stream. The side that is refused looks at them in this one:
//!
//! | it finds | and then |
//! |---|---|
//! | the refusal | READs before the refused request have their bytes first; then that request fails with it, and what is behind it is flushed, in the same pass |
//! | `Fatal`, or the end of the wire | bytes of READs come until all bulk streams have ended; then the oldest request fails with `RetryExceeded` |
//! | the end of a bulk stream, or one that breaks | the wire says why |
//!
//! It waits for no more than 5 seconds, the time of last words. Lanes and rails have an order of their own: what a device says
//! of a request is told although its route was given up before, and a peer's word that its end of a rail is closed, which
//! comes over the control connection, waits for what comes over the rail.
//!
//! # Order, and what a completion says
//! As on a reliable connection. Requests are executed in the order in which they were posted: the announcing packet of a
//! large WRITE is consumed when all of its bytes have landed, and what is behind it in the ring waits. So a completion
//! says that the peer's engine has executed the request, as it does for every packet. The responses of READs and atomics
//! are taken in order too: one that came over the wire waits for the bytes of a large READ before it. The last
//! 8 bytes of a large WRITE are stored when all others have landed.
//!
//! Positions in rings acknowledge, as over shared memory. They are sent with the packets that go out anyway. A pass that
//! consumed something and sends none keeps its word back, since who is told of a request answers at once as a rule, and a
//! record of its own would cost both sides as much as the answer; it goes out by itself with the next pass, which is the
//! next poll, with the end of a poll that used its budget up, before the engine sleeps, and where the caller goes on with
//! something else ([`Backend::settle`](crate::backend::Backend::settle)).
//!
//! # Who owns which bytes, and when memory is quiet
//! Bytes in a ring belong to the end that the ring says; a packet that is copied to the send buffer stays in its ring
//! until the peer has consumed it. Registered memory is touched by the engine of its own process only, within rounds, under
//! keys that are checked in the same round: deregistration waits for those rounds as it always does, and needs no word
//! from the peer. The calls are synchronous; when they return the kernel has its own copy, or has put its copy in place.
//! Failing or resetting a queue pair closes its streams at once, so nothing is written for it afterwards.
//!
//! # What there is not yet
//! Memory of accelerators (requests with it fail as on a device without accelerators).

mod carrier;
mod greeting;
mod group;
mod hub;
mod pending;
mod poller;
mod record;
mod seal;
mod socket;
mod stream;
#[cfg(test)]
mod tests;
mod wire;

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

pub(crate) use carrier::{Carrier, LinkRings};
pub(crate) use group::{Group, Parts};
pub(crate) use hub::Hub;
pub(crate) use pending::Pending;
pub(crate) use poller::Poller;
pub(crate) use record::BadRecord;
pub(crate) use wire::{Consumed, WireFault};

/// WRITEs and READs of more bytes than this go over bulk streams.
pub const STREAMED_FROM: u64 = 16 << 10;

/// How a soft HCA is reached over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpConfig {
    /// Where it listens for the streams of queue pairs; port 0 lets the system choose. Peers are told this address: one
    /// that is unspecified (`0.0.0.0`, `::`) stands for the address from which they are reached.
    pub listen: SocketAddr,
    /// Streams for the large messages of either side of a connection, 1 to 16; the side that connects says how many.
    pub streams: u8,
}

impl Default for TcpConfig {
    /// Any address, of IPv6 too where there is that, any port, two streams.
    fn default() -> Self {
        Self { listen: SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0), streams: 2 }
    }
}
