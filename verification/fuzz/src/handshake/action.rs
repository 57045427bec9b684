//! Three bytes of input as something that one side, or somebody between, does.

use super::frame::{FRAME_LIMIT, preamble, preamble_of};
use crate::seeds::noise;

/// What it is (low three bits of the first byte) and whose bytes it is about (0x80: of the side that is connected to); the
/// other bytes tell how much.
///
/// | kind | does |
/// |---|---|
/// | 0 | the side says an event |
/// | 1 | so many of its bytes arrive |
/// | 2 | a bit of them changes |
/// | 3 | so many are lost |
/// | 4 | so many that were sent go again, in front |
/// | 5 | so many go back to their sender |
/// | 6 | its peer hears something that was made up: [`Injected`] |
/// | 7 | both sides begin another connection |
#[derive(Clone, Copy, Debug)]
pub struct Action(pub [u8; 3]);

/// What is made up, by the second byte of an action; the third is the seed or the length.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Injected {
    /// The hello of a side that has a key.
    Keyed,
    /// The hello of one that has none.
    Clear,
    /// The hello of another release.
    OtherVersion,
    /// Bytes of no meaning, as long as a handshake's message.
    Handshake,
    /// A record's length beyond any record's.
    Oversized,
    /// A record without anything in it.
    Empty,
    /// A record of no meaning.
    Record,
    /// Frames in the clear, the first of them too long.
    Frames,
    /// Anything.
    Noise,
}

impl Injected {
    const ALL: [Self; 8] = [
        Self::Keyed,
        Self::Clear,
        Self::OtherVersion,
        Self::Handshake,
        Self::Oversized,
        Self::Empty,
        Self::Record,
        Self::Frames,
    ];
}

impl Action {
    /// What it is.
    pub(super) const fn kind(self) -> u8 {
        self.0[0] & 7
    }

    /// Whose bytes it is about.
    pub(super) const fn side(self) -> usize {
        (self.0[0] >> 7) as usize
    }

    /// Bytes of what is said.
    pub(super) const fn said(self) -> usize {
        // The third byte reaches about the length of a record and beyond.
        self.0[1] as usize + ((self.0[2] as usize) << 8)
    }

    /// So many bytes; 0xffff for all.
    pub(super) const fn length(self) -> usize {
        match u16::from_le_bytes([self.0[1], self.0[2]]) {
            u16::MAX => usize::MAX,
            length => length as usize,
        }
    }

    /// What is made up.
    pub(super) fn injected(self) -> Vec<u8> {
        let [_, kind, detail] = self.0;
        let seed = u64::from(detail);
        let record = |length: u16| [&length.to_le_bytes()[..], &noise(seed, usize::from(length))].concat();
        match Injected::ALL.get(usize::from(kind)).copied().unwrap_or(Injected::Noise) {
            Injected::Keyed => preamble_of(true).to_vec(),
            Injected::Clear => preamble().to_vec(),
            Injected::OtherVersion => {
                let mut hello = preamble_of(true);
                hello[8] ^= detail | 1;
                hello.to_vec()
            }
            Injected::Handshake => noise(seed, 48),
            Injected::Oversized => {
                [&(u16::MAX - u16::from(detail)).to_le_bytes()[..], &noise(seed, 300)].concat()
            }
            Injected::Empty => record(u16::from(detail) % 17),
            Injected::Record => record(17 + 4 * u16::from(detail)),
            Injected::Frames => [&(FRAME_LIMIT + 1).to_le_bytes()[..], &noise(seed, 40)].concat(),
            Injected::Noise => noise(seed, usize::from(detail)),
        }
    }
}
