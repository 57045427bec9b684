//! What is measured: the test, its sizes, and the parameters that both sides must share.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A test, by perftest's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Test {
    /// WRITE ping-pong, found by polling memory: half a round trip.
    WriteLat,
    /// WRITEs, a queue of them in flight.
    WriteBw,
    /// READs, a queue of them in flight.
    ReadBw,
    /// One READ at a time, posted to completed.
    ReadLat,
    /// SEND ping-pong, found by polling completions: half a round trip.
    SendLat,
    /// CPU cost of posting a work request.
    Post,
    /// CPU cost of polling a completion.
    Poll,
}

impl Test {
    /// Name on the command line and in reports.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::WriteLat => "write_lat",
            Self::WriteBw => "write_bw",
            Self::ReadBw => "read_bw",
            Self::ReadLat => "read_lat",
            Self::SendLat => "send_lat",
            Self::Post => "post",
            Self::Poll => "poll",
        }
    }

    /// Whether one request is under way at a time.
    pub(super) const fn is_latency(self) -> bool {
        matches!(self, Self::WriteLat | Self::ReadLat | Self::SendLat)
    }

    /// Whether one process does it all.
    pub(super) const fn is_cpu_cost(self) -> bool {
        matches!(self, Self::Post | Self::Poll)
    }
}

/// Where the bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MemoryChoice {
    /// Memory of the driver's allocator, which a peer on this host maps.
    Arena,
    /// Ordinary memory of the process.
    Heap,
}

/// What to do while there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Idle {
    /// Poll on.
    Spin,
    /// Let another thread run, then poll on.
    Yield,
}

/// What both sides must know; travels to the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    pub(super) test: Test,
    /// Sizes in turn, at least one.
    pub(super) sizes: Vec<u32>,
    /// Measured iterations; `None` chooses by test and size.
    pub(super) iterations: Option<u64>,
    pub(super) memory: MemoryChoice,
    pub(super) idle: Idle,
    /// Requests in flight (bandwidth).
    pub(super) queue_depth: u32,
    /// Requests per doorbell and per completion (bandwidth).
    pub(super) batch: u32,
    /// Payloads up to this size are copied into the queue entry.
    pub(super) inline_bytes: u32,
    /// Memory that a bandwidth test walks through.
    pub(super) footprint: u64,
}

/// Bytes of receives that are kept posted by send_lat, at most.
const RECEIVE_BYTES: u64 = 16 << 20;

/// Receives that send_lat keeps posted, at most.
pub(super) const RECEIVES: u32 = 64;

impl Plan {
    /// The largest size.
    pub(super) fn largest(&self) -> u32 {
        self.sizes.iter().copied().max().unwrap_or(1)
    }

    /// Iterations before the measured ones: page tables, caches and branch predictors fill.
    pub(super) fn warm_up(&self, size: u32) -> u64 {
        self.iterations(size).div_ceil(10).min(1000)
    }

    /// Measured iterations of one size.
    pub(super) fn iterations(&self, size: u32) -> u64 {
        const AT_MOST: u64 = 8 << 30;
        let by_default = if self.test.is_latency() { 20_000 } else { 50_000 };
        let by_size = (AT_MOST / u64::from(size.max(1))).max(64);
        self.iterations.unwrap_or_else(|| by_size.min(by_default))
    }

    /// Messages that lie beside one another in a buffer of this test.
    pub(super) fn places(&self, size: u32) -> u64 {
        let size = u64::from(size.max(1));
        match self.test {
            Test::WriteLat | Test::ReadLat | Test::Post | Test::Poll => 1,
            Test::SendLat => (RECEIVE_BYTES / size).clamp(2, RECEIVES.into()),
            Test::WriteBw | Test::ReadBw => (self.footprint / size).max(1),
        }
    }

    /// Bytes of each of a side's two buffers, enough for every size.
    pub(super) fn buffer_length(&self) -> u64 {
        self.sizes.iter().map(|size| self.places(*size) * u64::from(*size)).max().unwrap_or(1)
    }

    /// Whether a payload of this size is copied into the queue entry. Reads never are.
    pub(super) fn is_inline(&self, size: u32) -> bool {
        size <= self.inline_bytes && !matches!(self.test, Test::ReadBw | Test::ReadLat)
    }
}

/// Sizes of `--all-sizes`: powers of two from 2 bytes to 8 MiB, as perftest's.
pub(super) fn all_sizes() -> Vec<u32> {
    (1..=23).map(|shift| 1 << shift).collect()
}

#[cfg(test)]
mod tests;
