//! What this back end puts into `wr_id`: which queue a completion belongs to, and which request.
//!
//! ```text
//!   63       62      61..48       47..32   31..0
//!   receive  shared  generation   handle   sequence number (send) or slot (receive)
//! ```

/// Generations before they repeat; entries of a queue are gone long before.
const GENERATIONS: u16 = 1 << 14;
/// Most queue pairs, and most shared queues, of one back end.
pub(super) const MAX_HANDLES: usize = 1 << 16;

/// A request, as `wr_id` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) queue: Queue,
    /// Changes with every reset of the queue pair, and with every new owner of its handle.
    pub(super) generation: u16,
    pub(super) handle: u16,
    /// Sequence number of a send request, slot of a receive.
    pub(super) index: u32,
}

/// Which of a handle's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Send,
    Receive,
    SharedReceive,
}

impl Identity {
    #[inline]
    pub(super) fn to_bits(self) -> u64 {
        let queue = match self.queue {
            Queue::Send => 0,
            Queue::Receive => 0b10,
            Queue::SharedReceive => 0b11,
        };
        queue << 62 | u64::from(self.generation) << 48 | u64::from(self.handle) << 32 | u64::from(self.index)
    }

    #[inline]
    pub(super) fn from_bits(bits: u64) -> Self {
        let queue = match bits >> 62 {
            0b10 => Queue::Receive,
            0b11 => Queue::SharedReceive,
            _ => Queue::Send,
        };
        Self {
            queue,
            generation: (bits >> 48) as u16 % GENERATIONS,
            handle: (bits >> 32) as u16,
            index: bits as u32,
        }
    }
}

/// The generation after `generation`.
pub(super) fn following(generation: u16) -> u16 {
    (generation + 1) % GENERATIONS
}
