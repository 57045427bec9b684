//! Tests of keys and of the handshake without sockets; and a relay for tests with them.

mod keys;
mod noise;
pub(crate) mod relay;

use super::*;

/// A key for tests.
pub(crate) fn key(number: u8) -> PreSharedKey {
    PreSharedKey::from_bytes(&[number; KEY_BYTES])
}
