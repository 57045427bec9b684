//! Which transport carries the bytes to a peer: decided once for each link, from the same facts at both ends.
//!
//! The two ends tell each other their [`Terms`], each looks how it reaches the other ([`Findings`]), and [`decide`] makes
//! of both what either end arrives at by itself. `Inner::open_peer` comes here with the answer to its first request,
//! `Inner::accept_peer` checks that the connecting side has come to the same.
//!
//! ```text
//!  connecting side                                          the other
//!     | terms ------------------------------------------------> | looks
//!     | <------------------------------- its terms, what it found|
//!     | looks, decides                                           |
//!     | open: link, what was chosen, what both found ----------> | decides: the same, or refused
//! ```
//! Shared memory goes before a NIC, a NIC before TCP. The first of them that nothing is against is taken; what was against
//! the ones before it stays with the peer ([`Choice::not_taken`]). A wish leaves one transport, and what is against that
//! one is an error: nothing takes its place.

pub(super) mod fabric;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::fabric::{FabricObstacle, FabricTerms};
use super::TransportChoice;
use crate::{
    backend::Transport,
    identity::{DeviceId, LinkId, Separation},
};

/// What was chosen for a peer, and why nothing better. Both ends come to the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// What carries the bytes, as this end drives it.
    pub transport: Transport,
    /// Transports that would have gone before it, the best first, each with what was against it.
    pub not_taken: Vec<NotTaken>,
    /// The link it was made for.
    pub link: LinkId,
}

/// A transport that is not used, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotTaken {
    /// The transport; a NIC that is not there is told as [`Transport::Verbs`].
    pub transport: Transport,
    /// What was against it.
    pub obstacle: Obstacle,
}

/// What is against a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Obstacle {
    /// An end was told to use another.
    #[error("{end} was told to use {}", wish.name())]
    OtherWish {
        /// Which.
        end: End,
        /// What it was told.
        wish: Transport,
    },
    /// Memory cannot be shared.
    #[error("{separation}")]
    Separated {
        /// What separates the processes.
        separation: Separation,
    },
    /// An end has no NIC that can be used.
    #[error("{end} has no NIC that can be used: `pmd info` there tells why")]
    NoNic {
        /// Which.
        end: End,
    },
    /// Both ends have a NIC, and one cannot be shown to reach the other.
    #[error("as {end} found, {obstacle}")]
    Fabric {
        /// Who found it.
        end: End,
        /// What is in the way.
        obstacle: FabricObstacle,
    },
}

impl Obstacle {
    /// A word for labels: `wish`, `separated`, `no-nic` or `fabric`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OtherWish { .. } => "wish",
            Self::Separated { .. } => "separated",
            Self::NoNic { .. } => "no-nic",
            Self::Fabric { .. } => "fabric",
        }
    }
}

/// An end of a link, as this process sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// This process.
    Here,
    /// The peer.
    There,
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Here => "this end",
            Self::There => "the peer",
        })
    }
}

/// Why no transport carries bytes to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChoiceError {
    /// The ends were told to use different transports.
    #[error(
        "this end was told to use {} and the peer {}: tell both the same, or one of them auto",
        ours.name(),
        theirs.name()
    )]
    WishesDiffer {
        /// What this end was told.
        ours: Transport,
        /// What the peer was told.
        theirs: Transport,
    },
    /// The transport that was asked for cannot be used between these two.
    #[error("{end} was told to use {} and it cannot be used: {obstacle}. Use auto, or tcp", wish.name())]
    Unmet {
        /// What was asked for.
        wish: Transport,
        /// Who was told so; this end where both were.
        end: End,
        /// What is against it.
        obstacle: Obstacle,
    },
}

/// What carries bytes, whichever way the ends drive it. Travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Carrier {
    SharedMemory,
    Fabric,
    Tcp,
}

impl Carrier {
    /// The best first.
    const ALL: [Self; 3] = [Self::SharedMemory, Self::Fabric, Self::Tcp];

    pub(super) const fn of(transport: Transport) -> Self {
        match transport {
            Transport::SharedMemory => Self::SharedMemory,
            Transport::Mlx5 | Transport::Verbs => Self::Fabric,
            Transport::Tcp => Self::Tcp,
        }
    }
}

/// What an end brings to the choice. Travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    pub(super) wish: TransportChoice,
    /// Names the socket by which memory is shared.
    pub(super) device: DeviceId,
    pub(super) fabric: Option<FabricTerms>,
}

impl Terms {
    /// Whether it would use a carrier at all.
    pub(super) fn allow(&self, carrier: Carrier) -> bool {
        self.wanted().is_none_or(|wanted| Carrier::of(wanted) == carrier)
    }

    const fn wanted(&self) -> Option<Transport> {
        match self.wish {
            TransportChoice::Auto => None,
            TransportChoice::Only(transport) => Some(transport),
        }
    }

    /// How this end drives a carrier.
    fn transport(&self, carrier: Carrier) -> Transport {
        match carrier {
            Carrier::SharedMemory => Transport::SharedMemory,
            Carrier::Fabric => self.fabric.as_ref().map_or(Transport::Verbs, |fabric| fabric.driver()),
            Carrier::Tcp => Transport::Tcp,
        }
    }
}

/// What an end found on its way to the other, once it had heard its terms. Travels. What was not looked for because
/// somebody wishes otherwise is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Findings {
    pub(super) separation: Option<Separation>,
    pub(super) fabric: Option<FabricObstacle>,
}

/// One end, with all that is known of it.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) terms: &'a Terms,
    pub(super) found: &'a Findings,
}

/// What both ends use. With the two exchanged the outcome is the same, seen from there.
pub(super) fn decide(ours: Known<'_>, theirs: Known<'_>) -> Result<(Carrier, Vec<NotTaken>), ChoiceError> {
    let (mine, others) = (ours.terms.wanted(), theirs.terms.wanted());
    if let (Some(ours), Some(theirs)) = (mine, others)
        && Carrier::of(ours) != Carrier::of(theirs)
    {
        return Err(ChoiceError::WishesDiffer { ours, theirs });
    }
    let wish = mine.map(|wish| (End::Here, wish)).or_else(|| others.map(|wish| (End::There, wish)));
    let against = |carrier| match wish {
        Some((end, wish)) if Carrier::of(wish) != carrier => Some(Obstacle::OtherWish { end, wish }),
        _ => obstacle(carrier, ours, theirs),
    };
    if let Some((end, wish)) = wish
        && let Some(obstacle) = against(Carrier::of(wish))
    {
        return Err(ChoiceError::Unmet { wish, end, obstacle });
    }
    let mut not_taken = Vec::new();
    for carrier in Carrier::ALL {
        match against(carrier) {
            Some(obstacle) => {
                not_taken.push(NotTaken { transport: ours.terms.transport(carrier), obstacle });
            }
            None => return Ok((carrier, not_taken)),
        }
    }
    // Nothing is ever against TCP but a wish, and then what is wished for was taken.
    Ok((Carrier::Tcp, not_taken))
}

/// What is against a carrier, wishes aside.
fn obstacle(carrier: Carrier, ours: Known<'_>, theirs: Known<'_>) -> Option<Obstacle> {
    match carrier {
        Carrier::SharedMemory => {
            let separation = ours.found.separation.or(theirs.found.separation)?;
            Some(Obstacle::Separated { separation })
        }
        Carrier::Fabric => fabric_obstacle(ours, theirs),
        Carrier::Tcp => None,
    }
}

/// A wish for a NIC counts for what cannot be seen from here: then connecting shows it.
fn fabric_obstacle(ours: Known<'_>, theirs: Known<'_>) -> Option<Obstacle> {
    let ends = [(End::Here, ours), (End::There, theirs)];
    let missing = ends.iter().find(|(_, known)| known.terms.fabric.is_none());
    if let Some((end, _)) = missing {
        return Some(Obstacle::NoNic { end: *end });
    }
    let wished = ends.iter().any(|(_, known)| known.terms.wanted().is_some());
    let mut found = ends.iter().filter_map(|(end, known)| Some((*end, known.found.fabric?)));
    let (end, obstacle) = found.find(|(_, obstacle)| !wished || *obstacle != FabricObstacle::Unproven)?;
    Some(Obstacle::Fabric { end, obstacle })
}

impl Choice {
    pub(super) fn new(terms: &Terms, (carrier, not_taken): (Carrier, Vec<NotTaken>), link: LinkId) -> Self {
        Self { transport: terms.transport(carrier), not_taken, link }
    }
}

/// `tcp (not shm: the peer is in another network namespace; not verbs: the peer has no NIC that can be used)`.
impl fmt::Display for Choice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.transport.name())?;
        for (number, NotTaken { transport, obstacle }) in self.not_taken.iter().enumerate() {
            let separator = if number == 0 { " (" } else { "; " };
            write!(formatter, "{separator}not {}: {obstacle}", transport.name())?;
        }
        if self.not_taken.is_empty() { Ok(()) } else { formatter.write_str(")") }
    }
}
