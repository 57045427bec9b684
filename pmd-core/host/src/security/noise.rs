//! The handshake and the sealing of records: the only place that knows the library for it.
//!
//! `Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s`, for control connections and for streams of data alike:
//!
//! ```text
//!  who connects (Asking)                       who is connected to (Answering)
//!    psk, e, tag        --- 48 bytes -------->  refuses at once who has another key, without a key agreement
//!                       <-- e, ee, tag -------  48 bytes and what is said in them
//!    Cipher             === sealed records ==>  the first that opens proves that this is no recording
//! ```
//! - psk0, because the first message is then already tied to the key: who does not have it costs the other side a few
//!   hashes and learns nothing but that it was hung up on.
//! - NN, because there are no other identities than "has the key". Both sides draw a new key pair for every
//!   connection, so recordings stay closed when the pre-shared key is lost later.
//! - A recorded first message sent again is answered, but its sender does not know the secret for it: whoever
//!   answers must not count the other side as authenticated before a record of it has opened.
//!
//! Numbers of records are counted, not sent: a record that is changed, left out, sent again or sent back to where it came
//! from does not open. Each direction takes a new key after [`REKEY_RECORDS`] records, long before any count matters,
//! so that a key that leaks from a process opens little of what was sent before.

use std::fmt;

use snow::{Builder, HandshakeState, TransportState};
use thiserror::Error;

use super::PreSharedKey;

/// What is spoken.
const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";
/// Bytes that sealing adds.
pub(crate) const TAG: usize = 16;
/// Bytes of the first message of a handshake, which says nothing.
pub(crate) const FIRST: usize = 32 + TAG;
/// Bytes of the second, without what it says.
pub(crate) const SECOND: usize = 32 + TAG;
/// Records of one direction under one key.
const REKEY_RECORDS: u64 = if cfg!(test) { 64 } else { 1 << 16 };

/// Why a handshake or a record is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum NoiseFault {
    /// The other side has another key, or somebody changed what it said.
    #[error("it does not verify")]
    Refused,
    /// This side cannot: there is no random source.
    #[error("no random source")]
    Unavailable,
}

impl From<snow::Error> for NoiseFault {
    fn from(error: snow::Error) -> Self {
        match error {
            snow::Error::Rng | snow::Error::Init(_) | snow::Error::Prereq(_) => Self::Unavailable,
            _ => Self::Refused,
        }
    }
}

/// The side that connects, its first message being said.
pub(crate) struct Asking(Box<HandshakeState>);

/// The side that is connected to, having verified the first message.
pub(crate) struct Answering(Box<HandshakeState>);

/// Both directions of a connection.
pub(crate) struct Cipher {
    state: Box<TransportState>,
    sealed: u64,
    opened: u64,
}

/// `prologue` is what both sides said in the clear before: they agree on it or not at all.
fn builder<'a>(key: &'a PreSharedKey, prologue: &'a [u8]) -> Result<Builder<'a>, NoiseFault> {
    let pattern = PATTERN.parse().map_err(|_| NoiseFault::Unavailable)?;
    Ok(Builder::new(pattern).psk(0, key.bytes())?.prologue(prologue)?)
}

impl Asking {
    /// Begins. What is to be sent comes with it.
    pub(crate) fn begin(key: &PreSharedKey, prologue: &[u8]) -> Result<(Self, [u8; FIRST]), NoiseFault> {
        let mut state = builder(key, prologue)?.build_initiator()?;
        let mut first = [0; FIRST];
        state.write_message(&[], &mut first)?;
        Ok((Self(Box::new(state)), first))
    }

    /// Takes the answer; what is said in it goes to `said`, whose length it has.
    pub(crate) fn finish(mut self, answer: &[u8], said: &mut [u8]) -> Result<Cipher, NoiseFault> {
        let length = self.0.read_message(answer, said)?;
        if length == said.len() { Cipher::of(*self.0) } else { Err(NoiseFault::Refused) }
    }
}

impl Answering {
    /// Verifies a first message, which may be a recording of one.
    pub(crate) fn hear(key: &PreSharedKey, prologue: &[u8], first: &[u8; FIRST]) -> Result<Self, NoiseFault> {
        let mut state = builder(key, prologue)?.build_responder()?;
        let length = state.read_message(first, &mut [0; FIRST])?;
        if length == 0 { Ok(Self(Box::new(state))) } else { Err(NoiseFault::Refused) }
    }

    /// Writes the answer, which says `say`, to `answer`, which has [`SECOND`] bytes more.
    pub(crate) fn answer(mut self, say: &[u8], answer: &mut [u8]) -> Result<Cipher, NoiseFault> {
        self.0.write_message(say, answer)?;
        Cipher::of(*self.0)
    }
}

impl Cipher {
    fn of(state: HandshakeState) -> Result<Self, NoiseFault> {
        Ok(Self { state: Box::new(state.into_transport_mode()?), sealed: 0, opened: 0 })
    }

    /// Seals `plain` into `room`, which has [`TAG`] bytes more at least. How many it takes there. Allocates nothing.
    pub(crate) fn seal(&mut self, plain: &[u8], room: &mut [u8]) -> Result<usize, NoiseFault> {
        let length = self.state.write_message(plain, room)?;
        self.sealed += 1;
        if self.sealed.is_multiple_of(REKEY_RECORDS) {
            self.state.rekey_outgoing();
        }
        Ok(length)
    }

    /// Opens `sealed` into `room`. How many bytes there are. Allocates nothing.
    ///
    /// # Errors
    /// [`NoiseFault::Refused`]: the connection must be given up.
    pub(crate) fn open(&mut self, sealed: &[u8], room: &mut [u8]) -> Result<usize, NoiseFault> {
        let length = self.state.read_message(sealed, room)?;
        self.opened += 1;
        if self.opened.is_multiple_of(REKEY_RECORDS) {
            self.state.rekey_incoming();
        }
        Ok(length)
    }
}

macro_rules! hide {
    ($($name:ident),*) => {$(
        /// Shows no keys.
        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(concat!(stringify!($name), "(hidden)"))
            }
        }
    )*};
}

hide!(Asking, Answering, Cipher);
