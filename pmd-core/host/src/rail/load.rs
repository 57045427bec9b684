//! What a rail has in hand, and how fast it moves bytes. Kept by the bundle for each rail.

use std::time::Duration;

/// How much a new measurement counts against all earlier ones: one in this many.
const SMOOTHING: u64 = 4;

/// The shortest time that is measured: chunks that land together are told one after the other, in no time at all.
const SHORTEST: Duration = Duration::from_micros(500);

/// Load and rate of one rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Load {
    bytes: u64,
    chunks: u32,
    rate: u64,
    /// When it got busy or last landed something.
    progress: Duration,
    /// Since when bytes are measured, and those that have landed since.
    measured_from: Duration,
    measured: u64,
}

impl Load {
    /// Bytes in hand.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Chunks in hand.
    #[must_use]
    pub const fn chunks(&self) -> u32 {
        self.chunks
    }

    /// Bytes a second, smoothed; `None` before the first has landed.
    #[must_use]
    pub const fn rate(&self) -> Option<u64> {
        if self.rate == 0 { None } else { Some(self.rate) }
    }

    /// Since when it has had chunks in hand and landed none; `None` when it has none in hand.
    #[must_use]
    pub const fn busy_since(&self) -> Option<Duration> {
        if self.chunks == 0 { None } else { Some(self.progress) }
    }

    /// The time in which one of the chunks in hand should land; nothing where the rate is not known.
    #[must_use]
    pub fn expected_turn(&self) -> Duration {
        let average = self.bytes / u64::from(self.chunks.max(1));
        self.rate().map_or(Duration::ZERO, |rate| time_of(average, rate))
    }

    /// The time for `bytes` more behind what is in hand, at the measured rate, or at `otherwise` where there is none.
    #[must_use]
    pub fn time_for(&self, bytes: u64, otherwise: u64) -> Duration {
        time_of(self.bytes.saturating_add(bytes), self.rate().unwrap_or(otherwise))
    }

    /// A chunk was posted.
    pub(super) fn post(&mut self, bytes: u64, now: Duration) {
        if self.chunks == 0 {
            (self.progress, self.measured_from, self.measured) = (now, now, 0);
        }
        self.bytes += bytes;
        self.chunks += 1;
    }

    /// A chunk has landed: what lands in a stretch of time in which the rail is busy tells its rate.
    pub(super) fn land(&mut self, bytes: u64, now: Duration) {
        self.remove(bytes);
        self.progress = now;
        self.measured = self.measured.saturating_add(bytes);
        let took = now.saturating_sub(self.measured_from);
        // A rail that never has much in hand is judged by the little that it carries, rather than by nothing.
        let is_all = self.chunks == 0 && self.rate == 0;
        if took < SHORTEST && !is_all {
            return;
        }
        let nanos = took.max(SHORTEST).as_nanos();
        let rate = u128::from(self.measured) * 1_000_000_000 / nanos;
        let rate = u64::try_from(rate).unwrap_or(u64::MAX).max(1);
        self.rate = match self.rate {
            0 => rate,
            before => (before - before / SMOOTHING).saturating_add(rate / SMOOTHING).max(1),
        };
        (self.measured_from, self.measured) = (now, 0);
    }

    /// A chunk came back unfinished.
    pub(super) fn remove(&mut self, bytes: u64) {
        self.bytes -= bytes;
        self.chunks -= 1;
    }

    /// Forgets the rate of a rail that has been idle so long that it says nothing about now.
    pub(super) fn forget_rate(&mut self, now: Duration, age: Duration) {
        if self.chunks == 0 && now.saturating_sub(self.progress) >= age {
            self.rate = 0;
        }
    }
}

/// The time that bytes take at a rate in bytes a second.
pub(super) fn time_of(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
