//! A queue pair's connection that is not complete yet, over whatever carries it.

use super::{Link, PendingLink, Quiet, connect::LinkFault, tcp::Pending};
use crate::security::KeyMismatch;

/// A connection that is not complete yet. Dropping it gives it up.
#[derive(Debug)]
pub(crate) enum Joining {
    /// Over shared memory.
    Memory(PendingLink),
    /// Over TCP.
    Tcp(Pending),
}

impl Joining {
    /// Goes on as far as possible without waiting, and gives the link once it is complete.
    ///
    /// # Errors
    /// [`LinkFault`]; the queue pair will not be connected.
    pub(crate) fn poll(&mut self) -> Result<Option<Link>, LinkFault> {
        match self {
            Self::Memory(pending) => pending.poll(),
            Self::Tcp(pending) => {
                let parts = pending.poll()?;
                Ok(parts.map(|(rings, carrier)| Link::over_tcp(rings, carrier)))
            }
        }
    }

    /// Why the other side may have stayed away, as far as it is known: who knocks without the key may be anybody.
    pub(crate) fn mismatch(&self) -> Option<KeyMismatch> {
        match self {
            Self::Memory(_) => None,
            Self::Tcp(pending) => pending.mismatch(),
        }
    }

    /// Gives the connection up. If the peer was faster and moves bytes already, the result tells when it has ended.
    pub(crate) fn close(self) -> Option<Quiet> {
        match self {
            Self::Memory(pending) => pending.close(),
            Self::Tcp(_) => None,
        }
    }
}
