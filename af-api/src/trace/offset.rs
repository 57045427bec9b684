//! How far a server's clock is from the worker's, estimated from stamps alone.
//!
//! A request that was posted at `p` and received at `r`, and its response sent at `s` and arrived at `a`, tell that
//! `r - p` and `a - s` are the two ways' durations plus and minus the offset. Were both ways equally long, the offset
//! would be `((r - p) + (s - a)) / 2`; as neither takes less than nothing, it is at most half of the time on the wire
//! away from that. So the request with the shortest time on the wire bounds it best. This is the estimate of NTP.

use super::{ServerStamps, WorkerStamps};

/// A server's clock minus the worker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockOffset {
    /// Nanoseconds to subtract from a stamp of the server to have it in the worker's clock.
    pub nanoseconds: i64,
    /// The true offset is at most so many nanoseconds away, as far as neither clock drifted since.
    pub uncertainty: u64,
}

impl ClockOffset {
    /// What one request tells; none where a moment is missing.
    #[must_use]
    pub fn of(worker: &WorkerStamps, server: &ServerStamps) -> Option<Self> {
        let wire = server.network(worker)?;
        let difference = |server: u64, worker: u64| i128::from(server) - i128::from(worker);
        let sum = difference(server.received, worker.posted) + difference(server.sent, worker.arrived);
        let nanoseconds = i64::try_from(sum / 2).ok()?;
        Some(Self { nanoseconds, uncertainty: wire.div_ceil(2) })
    }

    /// The better of two estimates of the same clock.
    #[must_use]
    pub fn better(self, other: Self) -> Self {
        if other.uncertainty < self.uncertainty { other } else { self }
    }

    /// A stamp of the server in the worker's clock; 0 stays 0.
    #[must_use]
    pub fn to_worker(self, stamp: u64) -> u64 {
        match stamp {
            0 => 0,
            stamp => (i128::from(stamp) - i128::from(self.nanoseconds)).clamp(1, i128::from(u64::MAX)) as u64,
        }
    }
}
