//! What both processes of a test have: a queue pair connected to the other's, memory to send from and to receive in.

use pmd_core::provider::QueuePairHandle;
use pmd_host::backend::{Backend, ConnectOptions, QueuePairConfig};

use super::{
    error::PerfError,
    fabric::Fabric,
    latency::{Buffers, SendTurns, Shape, WriteTurns},
    link::Link,
    peer::{Endpoint, Peer},
    plan::{Plan, RECEIVES, Test},
};
use crate::memory::Memory;

/// Which of the two a side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

impl Role {
    const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    /// Pattern of this side's message in one place of a buffer.
    const fn seed(self, size: u32, place: u64) -> u64 {
        place << 33 | (size as u64) << 1 | self as u64
    }
}

/// A side whose queue pair is not connected yet.
#[derive(Debug)]
pub(super) struct Unconnected<B> {
    backend: B,
    queue_pair: QueuePairHandle,
    outgoing: Memory,
    incoming: Memory,
    role: Role,
    plan: Plan,
}

/// A connected side.
#[derive(Debug)]
pub(super) struct Side<B> {
    pub(super) link: Link<B>,
    pub(super) outgoing: Memory,
    pub(super) incoming: Memory,
    pub(super) remote: Endpoint,
    pub(super) plan: Plan,
    role: Role,
}

/// Most slots that are asked for; deeper queues are of no use here.
const SLOTS: u32 = 1 << 15;

/// 64-byte slots for the requests of a plan, with as many again for those that are being retired.
fn send_slots(plan: &Plan) -> u32 {
    const SEGMENTS: u32 = 36;
    let inline = if plan.is_inline(plan.largest()) { plan.largest() } else { plan.inline_bytes };
    let each = (SEGMENTS + inline).div_ceil(64);
    (2 * plan.queue_depth.max(64)).saturating_mul(each).min(SLOTS)
}

impl<B: Backend> Unconnected<B> {
    /// Creates the queue pair and the memory for all sizes of `plan`.
    pub(super) fn new(
        mut backend: B,
        fabric: &impl Fabric,
        role: Role,
        plan: &Plan,
    ) -> Result<Self, PerfError> {
        let config = QueuePairConfig {
            send_slots: send_slots(plan),
            receives: if plan.test == Test::SendLat { RECEIVES } else { 1 },
            sges: 1,
            inline_bytes: plan.inline_bytes,
            shared_receive: None,
        };
        let queue_pair = backend.create_queue_pair(&config)?;
        let outgoing = fabric.memory(plan.buffer_length(), plan.memory)?;
        let incoming = fabric.memory(plan.buffer_length(), plan.memory)?;
        Ok(Self { backend, queue_pair, outgoing, incoming, role, plan: plan.clone() })
    }

    /// What the other side must know.
    pub(super) fn endpoint(&self) -> Result<Endpoint, PerfError> {
        Ok(Endpoint {
            address: self.backend.address(self.queue_pair)?,
            outgoing: self.outgoing.remote().into(),
            incoming: self.incoming.remote().into(),
        })
    }

    /// Connects the queue pair to the other side's.
    pub(super) fn connect(&mut self, remote: &Endpoint) -> Result<(), PerfError> {
        Ok(self.backend.connect(self.queue_pair, &remote.address, &ConnectOptions::default())?)
    }

    /// The side, once the queue pair is connected.
    pub(super) fn with(self, peer: Peer, remote: Endpoint) -> Side<B> {
        Side {
            link: Link::new(self.backend, self.queue_pair, peer, self.plan.idle),
            outgoing: self.outgoing,
            incoming: self.incoming,
            remote,
            plan: self.plan,
            role: self.role,
        }
    }
}

impl<B: Backend> Side<B> {
    /// Fills what will be sent, spoils what will be received.
    pub(super) fn prepare(&mut self, size: u32) {
        self.incoming.poison();
        for place in 0..self.filled(size) {
            self.outgoing.fill(place * u64::from(size), size, self.role.seed(size, place));
        }
    }

    /// Places of the outgoing buffer that are in use: a ping-pong sends from one.
    fn filled(&self, size: u32) -> u64 {
        if self.plan.test == Test::SendLat { 1 } else { self.plan.places(size) }
    }

    /// WRITE ping-pong.
    pub(super) fn write_turns(&mut self, size: u32) -> WriteTurns<'_, B> {
        let shape = self.shape(size);
        let buffers = Buffers { outgoing: &mut self.outgoing, incoming: &self.incoming };
        WriteTurns::new(&mut self.link, buffers, self.remote.incoming, shape)
    }

    /// SEND ping-pong of `total` turns.
    pub(super) fn send_turns(&mut self, size: u32, total: u64) -> Result<SendTurns<'_, B>, PerfError> {
        let (shape, places) = (self.shape(size), self.plan.places(size));
        let buffers = Buffers { outgoing: &mut self.outgoing, incoming: &self.incoming };
        SendTurns::new(&mut self.link, buffers, shape, places, total)
    }

    /// What messages of this size are made of.
    pub(super) fn shape(&self, size: u32) -> Shape {
        Shape { size, inline: self.plan.is_inline(size), seed: self.role.other().seed(size, 0) }
    }

    /// Compares the first `messages` places of the incoming buffer with what the other side had there.
    pub(super) fn verify_places(&self, size: u32, messages: u64) -> Result<(), PerfError> {
        for place in 0..self.plan.places(size).min(messages) {
            let seed = self.role.other().seed(size, place);
            self.incoming.check(place * u64::from(size), size, seed, None)?;
        }
        Ok(())
    }
}
