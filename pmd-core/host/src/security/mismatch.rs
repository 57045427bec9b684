//! Why two sides do not talk over TCP: their keys.

use thiserror::Error;

/// How the pre-shared keys of two sides differ, as one of them sees it. Said by who refuses, and not authenticated: there is
/// nothing that it could be authenticated with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum KeyMismatch {
    /// Both have one.
    #[error("the peer has another pre-shared key: give both the same (--key-file, PMD_KEY_FILE)")]
    Another,
    /// The peer has none.
    #[error(
        "this side has a pre-shared key and the peer has none: give both the same (--key-file, PMD_KEY_FILE)"
    )]
    OnlyHere,
    /// This side has none.
    #[error(
        "the peer has a pre-shared key and this side has none: give both the same (--key-file, PMD_KEY_FILE)"
    )]
    OnlyThere,
}

/// The first of the vendor's bytes that stand for one; those of
/// [`DeviceFault`](crate::transfer::DeviceFault) are below.
const VENDOR: u8 = 0xb0;

impl KeyMismatch {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Another, Self::OnlyHere, Self::OnlyThere];

    /// Of a side that has a key or none, and one that has or has none, which do not talk.
    pub(crate) const fn of(here: bool, there: bool) -> Self {
        match (here, there) {
            (true, false) => Self::OnlyHere,
            (false, true) => Self::OnlyThere,
            _ => Self::Another,
        }
    }

    /// As the soft HCA's vendor byte has it, beside
    /// [`RetryExceeded`](pmd_core::wire::Syndrome::RetryExceeded).
    #[must_use]
    pub const fn to_vendor(self) -> u8 {
        VENDOR + self as u8
    }

    /// What a vendor's byte of the soft HCA stands for; `None` for every other.
    #[must_use]
    pub fn from_vendor(vendor: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|mismatch| mismatch.to_vendor() == vendor)
    }
}
