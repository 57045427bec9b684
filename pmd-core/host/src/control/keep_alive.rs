//! How often a side says that it lives, and how long it waits for the other one's word. Each tells the other in its Hello,
//! so that terms that cannot work are refused then, by both, and no living peer is taken for dead later.
//!
//! | this side's interval | the peer's bound | outcome |
//! |---|---|---|
//! | below the bound | above the interval | works, this way round; the other way is looked at alike |
//! | not below it | | refused: the peer would take this side for dead between two of its words |
//! | nothing | any | refused: it would speak without end |

use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A side's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 2]", into = "[u64; 2]")]
pub struct KeepAlive {
    /// A keep-alive goes out when nothing else did for this long. Peers are told whole microseconds.
    pub interval: Duration,
    /// Silence after which the peer is down. Peers are told whole microseconds, 584,000 years at most.
    pub timeout: Duration,
}

impl KeepAlive {
    /// Whether there can be a peer that these terms work with.
    pub(super) fn check(self) -> Result<(), KeepAliveError> {
        self.check_of(true)
    }

    /// Whether these terms, which are this side's, and the peer's work together.
    pub(super) fn check_with(self, peer: Self) -> Result<(), KeepAliveError> {
        peer.check_of(false)?;
        // As it was told, so that both sides judge alike.
        let told = Self::from(<[u64; 2]>::from(self));
        let speaks = |here, speaker: Self, hearer: Self| {
            let (interval, timeout) = (speaker.interval, hearer.timeout);
            if interval < timeout { Ok(()) } else { Err(KeepAliveError::TooRare { here, interval, timeout }) }
        };
        speaks(false, peer, told)?;
        speaks(true, told, peer)
    }

    fn check_of(self, here: bool) -> Result<(), KeepAliveError> {
        if self.interval.is_zero() || self.timeout.is_zero() {
            return Err(KeepAliveError::Nothing { here, interval: self.interval, timeout: self.timeout });
        }
        Ok(())
    }
}

impl From<[u64; 2]> for KeepAlive {
    fn from([interval, timeout]: [u64; 2]) -> Self {
        Self { interval: Duration::from_micros(interval), timeout: Duration::from_micros(timeout) }
    }
}

impl From<KeepAlive> for [u64; 2] {
    /// A part of a microsecond counts as one: what is not nothing here is not nothing there.
    fn from(terms: KeepAlive) -> Self {
        let whole = |time: Duration| u64::try_from(time.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX);
        [whole(terms.interval), whole(terms.timeout)]
    }
}

/// Why keep-alive terms do not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeepAliveError {
    /// An interval or a bound of nothing works with nobody.
    #[error(
        "{} keep-alive each {interval:?} and bound of {timeout:?}: set keep_alive and down_after {}to more than nothing",
        if *here { "this side's" } else { "the peer's" },
        if *here { "" } else { "there " }
    )]
    Nothing {
        /// Whether it is this side's.
        here: bool,
        /// The interval.
        interval: Duration,
        /// The bound.
        timeout: Duration,
    },
    /// One side speaks too rarely for the other, which would take it for dead.
    #[error(
        "{} keep-alive each {interval:?} is too rare for {}, which gives up after {timeout:?} of silence: set keep_alive {} below {timeout:?}, or down_after {} above {interval:?}",
        if *here { "this side's" } else { "the peer's" },
        if *here { "the peer" } else { "this side" },
        if *here { "here" } else { "there" },
        if *here { "there" } else { "here" }
    )]
    TooRare {
        /// Whether it is this side that speaks.
        here: bool,
        /// How often it does.
        interval: Duration,
        /// Silence after which the other side takes it for dead.
        timeout: Duration,
    },
}
