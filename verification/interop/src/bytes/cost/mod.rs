//! What posting and polling cost: our queue pair beside libmlx5's, in instructions and in time.
//!
//! ```text
//!   case: a WRITE, how many for one doorbell and one poll
//!        |                      |                       |
//!   ours  pmd_core's queue   ibv_post_send list     ibv_wr_*        ibv_poll_cq behind both
//!     over plain memory        libmlx5 on the simulated ConnectX, out of the device's sight
//!        |                      |                       |
//!   gauge: callgrind's instructions, or the shortest time of a span
//! ```
//! The requests are ready before; every one is signalled. libmlx5 is told that one thread has its queues
//! ([`SETTINGS`]), so that it takes no locks either, and that it copies to BlueFlame what our driver copies: both write the
//! same bytes, which the command `bytes` shows. Completion entries are put in by hand, outside of what is measured.

mod gauge;
mod ours;

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey, Sge};

use super::theirs::{BareWrite, Chain, POLL, Theirs, Wanted};
use ours::Ours;

pub use gauge::{Figures, Gauge};

/// What libmlx5 is told: to copy to BlueFlame what is inline and nothing else, as our driver, and to take no locks.
pub const SETTINGS: [(&str, &str); 2] = [("MLX5_POST_SEND_PREFER_BF", "0"), ("MLX5_SINGLE_THREADED", "1")];

/// Requests of a round: they are posted, completed and polled before the next.
const ROUND: u64 = 256;

/// Slots of the send queue and entries of the completion queue, at least.
const SLOTS: u32 = 512;

/// Longest inline payload of a WRITE in one slot of 64 bytes.
const INLINE: u32 = 28;

/// Where the WRITEs go; nothing is executed.
const REMOTE: RemoteAddress = RemoteAddress { address: 0x1000, key: RemoteKey(7) };

const WANTED: Wanted = Wanted {
    send_requests: SLOTS,
    sges: 1,
    inline: INLINE,
    receives: 1,
    receive_sges: 1,
    entries: SLOTS,
    entry_bytes: 64,
    is_shared: false,
    scatter_to_completion: false,
};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// 8 bytes, copied into the work request.
    Inline8,
    /// 4 KiB of registered memory.
    Gather4k,
}

impl Size {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Inline8, Self::Gather4k];

    /// For names of rows.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inline8 => "8",
            Self::Gather4k => "4k",
        }
    }
}

/// Who posts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poster {
    /// This driver.
    Ours,
    /// ibv_post_send, a list for each batch.
    PostSend,
    /// ibv_wr_start .. ibv_wr_complete.
    WorkRequest,
}

impl Poster {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ours, Self::PostSend, Self::WorkRequest];

    /// For names of figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::PostSend => "ibv_post_send",
            Self::WorkRequest => "ibv_wr",
        }
    }
}

/// Requests for one doorbell, and completions of one poll.
pub const BATCHES: [usize; 2] = [1, POLL];

/// Name of the figure of one part (`post` or `poll`) of one poster's request.
#[must_use]
pub fn figure_name(size: Size, batch: usize, poster: Poster, part: &str) -> String {
    format!("{}-{batch}-{}-{part}", size.name(), poster.name())
}

/// Measures every case, on the device of this name.
///
/// # Panics
/// Where a library or the device is missing, or a side does not post or complete what it should.
pub fn measure(device: &str, rounds: u64, gauge: &mut Gauge) {
    let payload = [0x5a_u8; 8];
    for size in Size::ALL {
        let (address, length) = match size {
            Size::Inline8 => (payload.as_ptr().expose_provenance() as u64, payload.len() as u32),
            Size::Gather4k => (0x2000, 4096),
        };
        let local = Sge { address, length, key: LocalKey(9) };
        let write = BareWrite { remote: REMOTE, local, is_inline: size == Size::Inline8 };
        for batch in BATCHES {
            ours(size, batch, &payload, &write, rounds, gauge);
            theirs(size, batch, device, &write, rounds, gauge);
        }
    }
}

/// Our side of a case. The first round is not measured: it touches the memory.
fn ours(size: Size, batch: usize, payload: &[u8], write: &BareWrite, rounds: u64, gauge: &mut Gauge) {
    let mut side = Ours::new(SLOTS, INLINE);
    let list = [write.local];
    let requests = side.requests(write, payload, &list, batch);
    for part in ["post", "poll"] {
        for round in 0..=rounds {
            let is_measured = |wanted| round > 0 && part == wanted;
            gauge.span_if(is_measured("post"), || side.post(&requests, ROUND / batch as u64));
            side.complete(ROUND);
            gauge.span_if(is_measured("poll"), || side.poll(ROUND, batch));
        }
        gauge.end(&figure_name(size, batch, Poster::Ours, part), rounds, ROUND);
    }
}

/// Both of libmlx5's ways.
fn theirs(size: Size, batch: usize, device: &str, write: &BareWrite, rounds: u64, gauge: &mut Gauge) {
    let mut side = Theirs::new(device, WANTED);
    let mut chain = Chain::new(write, batch);
    // It has done one request.
    let mut position = 1;
    for poster in [Poster::PostSend, Poster::WorkRequest] {
        for part in ["post", "poll"] {
            for round in 0..=rounds {
                let is_measured = |wanted| round > 0 && part == wanted;
                let times = ROUND / batch as u64;
                gauge.span_if(is_measured("post"), || match poster {
                    Poster::WorkRequest => side.post_bare_calls(write, batch, times),
                    Poster::PostSend | Poster::Ours => side.post_chain(&mut chain, times),
                });
                (position..position + ROUND as u32).for_each(|slot| side.put_written(slot, slot));
                position += ROUND as u32;
                gauge.span_if(is_measured("poll"), || side.poll_bare(ROUND, batch));
            }
            gauge.end(&figure_name(size, batch, poster, part), rounds, ROUND);
        }
    }
}
