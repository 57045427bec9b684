//! What is between a socket and its frames where there is a key: the handshake, then sealed records.
//!
//! ```text
//!  side that connects                    side that is connected to
//!  preamble, first message ----------->  preamble at once
//!                          <-----------  second message, once the first has verified
//!  records                 ===========   records
//! ```
//! A record is a length (u16) and so many bytes, which open to 1 to [`RECORD`] bytes of frames. Frames are cut into
//! records without regard to their ends. The control thread calls this, through
//! [`WireSocket`](super::wire_socket::WireSocket).

use std::io::{self, Read};

use super::frame::{FrameError, FrameReader, PREAMBLE, check_preamble, preamble_of};
use crate::security::{Answering, Asking, Cipher, FIRST, NoiseFault, PreSharedKey, SECOND, TAG};

/// Most bytes of frames in a record.
pub(super) const RECORD: usize = 16 << 10;
/// Bytes of a record's length.
const LENGTH: usize = 2;
/// Bytes that are read at a time, before the handshake is over and after.
const CHUNKS: [usize; 2] = [512, 32 << 10];

/// A connection with a key.
#[derive(Debug)]
pub(super) struct Channel {
    stage: Stage,
    /// Bytes that came and have not been taken.
    raw: Vec<u8>,
    /// A record that was opened, or frames that are to be sealed.
    clear: Vec<u8>,
}

#[derive(Debug)]
enum Stage {
    /// This side connects and has sent the first message.
    Asked(Asking),
    /// This side is connected to.
    Waits(PreSharedKey),
    /// Keys are agreed on.
    Agreed(Cipher),
    /// The handshake has failed.
    Failed,
}

impl Channel {
    /// Begins; what goes out first is appended to `out`.
    pub(super) fn begin(key: &PreSharedKey, connects: bool, out: &mut Vec<u8>) -> Result<Self, FrameError> {
        let preamble = preamble_of(true);
        out.extend_from_slice(&preamble);
        let stage = if connects {
            let (asking, first) = Asking::begin(key, &preamble).map_err(handshake_fault)?;
            out.extend_from_slice(&first);
            Stage::Asked(asking)
        } else {
            Stage::Waits(key.clone())
        };
        Ok(Self { stage, raw: Vec::new(), clear: Vec::new() })
    }

    /// Whether frames can be sent.
    pub(super) const fn is_agreed(&self) -> bool {
        matches!(self.stage, Stage::Agreed(_))
    }

    /// Reads once. Returns the number of bytes, zero at the end of the stream.
    pub(super) fn fill(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        let before = self.raw.len();
        self.raw.resize(before + CHUNKS[usize::from(self.is_agreed())], 0);
        let result = stream.read(&mut self.raw[before..]);
        self.raw.truncate(before + result.as_ref().copied().unwrap_or(0));
        result
    }

    /// Goes on with what came: the answer to a handshake goes to `out`, frames go to `reader`.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is of no more use.
    pub(super) fn take(&mut self, reader: &mut FrameReader, out: &mut Vec<u8>) -> Result<(), FrameError> {
        if !self.is_agreed() && !self.shake_hands(out)? {
            return Ok(());
        }
        let Self { stage: Stage::Agreed(cipher), raw, clear } = self else { return Ok(()) };
        let mut taken = 0;
        while let Some((length, rest)) = raw[taken..].split_first_chunk::<LENGTH>() {
            let length = usize::from(u16::from_le_bytes(*length));
            if length <= TAG || length > RECORD + TAG {
                return Err(FrameError::Forged);
            }
            let Some(sealed) = rest.get(..length) else { break };
            clear.resize(RECORD + TAG, 0);
            let opened = cipher.open(sealed, clear).map_err(|_| FrameError::Forged)?;
            let mut opened = &clear[..opened];
            while !opened.is_empty() {
                // Never fails: it reads from memory.
                let _ = reader.fill(&mut opened);
            }
            taken += LENGTH + length;
        }
        raw.drain(..taken);
        Ok(())
    }

    /// Goes on with the handshake; whether it is over.
    fn shake_hands(&mut self, out: &mut Vec<u8>) -> Result<bool, FrameError> {
        if !check_preamble(&self.raw, true)? {
            return Ok(false);
        }
        let Some(message) = self.raw[PREAMBLE..].first_chunk::<FIRST>() else { return Ok(false) };
        const { assert!(FIRST == SECOND) };
        let cipher = match std::mem::replace(&mut self.stage, Stage::Failed) {
            Stage::Asked(asking) => asking.finish(message, &mut []),
            Stage::Waits(key) => {
                let mut answer = [0; SECOND];
                let heard = Answering::hear(&key, &preamble_of(true), message);
                let cipher = heard.and_then(|heard| heard.answer(&[], &mut answer));
                // Zeroes tell one that has another key so: they never verify.
                out.extend_from_slice(if cipher.is_ok() { &answer } else { &[0; SECOND] });
                cipher
            }
            Stage::Agreed(cipher) => Ok(cipher),
            Stage::Failed => Err(NoiseFault::Refused),
        };
        self.stage = Stage::Agreed(cipher.map_err(handshake_fault)?);
        self.raw.drain(..PREAMBLE + FIRST);
        Ok(true)
    }

    /// Lets `collect` write frames, and appends them to `out` in records. Gives what `collect` gave.
    pub(super) fn seal<T>(
        &mut self,
        out: &mut Vec<u8>,
        collect: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> Result<T, FrameError> {
        let Self { stage, clear, .. } = self;
        clear.clear();
        let result = collect(clear);
        if let Stage::Agreed(cipher) = stage {
            for piece in clear.chunks(RECORD) {
                let length = piece.len() + TAG;
                out.extend_from_slice(&(length as u16).to_le_bytes());
                let start = out.len();
                out.resize(start + length, 0);
                cipher.seal(piece, &mut out[start..]).map_err(|_| FrameError::Forged)?;
            }
        }
        clear.clear();
        clear.shrink_to(READ_AHEAD);
        Ok(result)
    }
}

/// Room that is kept for frames between records; longer ones are rare.
const READ_AHEAD: usize = 64 << 10;

fn handshake_fault(fault: NoiseFault) -> FrameError {
    match fault {
        NoiseFault::Refused => FrameError::WrongKey,
        NoiseFault::Unavailable => FrameError::NoRandom,
    }
}
