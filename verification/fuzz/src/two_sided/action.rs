//! What an input can ask for.

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Posts a send-side request, without ringing.
    Post {
        /// 0 or 1.
        side: usize,
        /// What it does.
        kind: Kind,
        /// Bytes.
        size: usize,
        /// Elements of its list.
        pieces: usize,
        /// Gives a completion.
        signalled: bool,
        /// Waits for earlier reads and atomics.
        fence: bool,
    },
    /// Rings a send queue's doorbell.
    Ring {
        /// 0 or 1.
        side: usize,
    },
    /// Lets a device run, and takes completions.
    Poll {
        /// 0 or 1.
        side: usize,
        /// At most so many.
        limit: usize,
    },
    /// Posts a receive, without ringing.
    Receive {
        /// 0 or 1.
        side: usize,
        /// Bytes that it takes.
        size: usize,
        /// Elements of its list.
        pieces: usize,
    },
    /// Hands receives over.
    RingReceive {
        /// 0 or 1.
        side: usize,
    },
    /// Moves a queue pair to the error state.
    Fail {
        /// 0 or 1.
        side: usize,
    },
    /// Resets both queue pairs and connects them again.
    Restart,
    /// Destroys both queue pairs and connects others in their place.
    Replace,
    /// Lets a side sleep, though not for long.
    Park {
        /// 0 or 1.
        side: usize,
    },
    /// Takes the key of a side's window away and gives another one.
    Revoke {
        /// 0 or 1.
        side: usize,
    },
    /// Lets everything finish.
    Settle,
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Nop,
    /// A WRITE, inline where it is short and `pieces` is one.
    Write,
    /// A WRITE with immediate.
    WriteImmediate,
    /// A READ.
    Read,
    /// A SEND.
    Send,
    /// A SEND with immediate.
    SendImmediate,
    /// A compare-and-swap that finds what it expects.
    Swap,
    /// A compare-and-swap that does not.
    Miss,
    /// A fetch-and-add.
    Add,
    /// A WRITE into the peer's window, whose key may be revoked meanwhile.
    WriteWindow,
    /// A READ from it.
    ReadWindow,
    /// A WRITE under a remote key that nobody gave out, or that was revoked.
    WrongRemoteKey,
    /// A READ beyond the end of the peer's memory.
    Beyond,
    /// A WRITE from memory whose local key nobody gave out.
    WrongLocalKey,
    /// An atomic on bytes that are not aligned.
    Unaligned,
}

impl Kind {
    /// All, the harmless ones first and more than once, so that most inputs get far.
    const TABLE: [Self; 32] = [
        Self::Nop,
        Self::Write,
        Self::Write,
        Self::Write,
        Self::Write,
        Self::WriteImmediate,
        Self::WriteImmediate,
        Self::Read,
        Self::Read,
        Self::Read,
        Self::Read,
        Self::Send,
        Self::Send,
        Self::Send,
        Self::SendImmediate,
        Self::SendImmediate,
        Self::Swap,
        Self::Swap,
        Self::Miss,
        Self::Add,
        Self::Add,
        Self::WriteWindow,
        Self::WriteWindow,
        Self::ReadWindow,
        Self::ReadWindow,
        Self::Nop,
        Self::Write,
        Self::Send,
        Self::WrongRemoteKey,
        Self::Beyond,
        Self::WrongLocalKey,
        Self::Unaligned,
    ];
}

/// Sizes at which something changes: empty, around a word, a line, an inline limit, a fragment.
const SIZES: [usize; 16] = [0, 1, 7, 8, 9, 31, 60, 61, 64, 128, 129, 500, 1000, 1024, 2047, 2048];

impl Action {
    /// Reads an action; every three bytes are one.
    ///
    /// First byte: low four bits the action, 0x10 the side; second and third by the action.
    #[must_use]
    pub fn decode([first, second, third]: [u8; 3]) -> Self {
        let side = usize::from(first >> 4 & 1);
        let (size, pieces) = (SIZES[usize::from(third & 15)], 1 + usize::from(third >> 4 & 3));
        match first & 15 {
            0..=4 => Self::Post {
                side,
                kind: Kind::TABLE[usize::from(second & 31)],
                size,
                pieces,
                signalled: third & 0x40 != 0,
                fence: third & 0x80 != 0,
            },
            5 | 6 => Self::Ring { side },
            8 if second & 0xc0 == 0xc0 => Self::Park { side },
            7 | 8 => Self::Poll { side, limit: usize::from(second % 17) },
            9 | 10 => Self::Receive { side, size, pieces },
            11 => Self::RingReceive { side },
            12 => Self::Settle,
            13 => Self::Revoke { side },
            14 if second & 1 == 0 => Self::Restart,
            14 => Self::Replace,
            _ => Self::Fail { side },
        }
    }

    /// Bytes that decode to a posting, for seeds.
    #[must_use]
    pub fn post(side: u8, kind: Kind, size: u8, signalled: bool) -> [u8; 3] {
        let kind = Kind::TABLE.iter().position(|known| *known == kind).unwrap_or(0) as u8;
        [side << 4, kind, size | if signalled { 0x40 } else { 0 }]
    }
}
