//! Key-values over push-pulls.
//!
//! A call becomes one push-pull with a request to each server that has some of the keys:
//!
//! | tensor | direction | holds |
//! |---|---|---|
//! | [`FRONT`] | pushed | what is wanted, the keys, the number of values of each (module `message`) |
//! | [`VALUES`] | pushed | the values of a push |
//! | [`LENGTHS`] | pulled | how many values each key has, u32 little-endian |
//! | [`VALUES`] | pulled | those values |

mod buffers;
mod completer;
mod server;
mod worker;

use std::time::Duration;

pub use server::{KvAnswer, KvRequest, KvServer, NOT_KEY_VALUES};
pub use worker::{KvCallback, KvOutcome, KvWorker};

/// Keys of push-pulls that are not the caller's begin with "kv".
const FRONT: u64 = 0x6b76_0000_0000_0000;
const VALUES: u64 = FRONT + 1;
const LENGTHS: u64 = FRONT + 2;

/// How long a request waits for room before it is refused.
const PATIENCE: Duration = Duration::from_secs(10);
