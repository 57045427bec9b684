//! Letters between queue pairs that wait to be taken: offers that came, and answers that are expected.

use std::{collections::HashMap, os::fd::OwnedFd, sync::Arc};

use pmd_core::ring::side::SideState;

use super::super::link::LinkMemory;
use crate::identity::DeviceId;

/// Two queue pairs that are to be connected, seen from one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Pair {
    pub(in super::super) mine: u32,
    pub(in super::super) device: DeviceId,
    pub(in super::super) theirs: u32,
}

/// A link that a peer offers.
#[derive(Debug)]
pub(in super::super) struct Offered {
    pub(in super::super) serial: u64,
    pub(in super::super) memory: Arc<LinkMemory>,
    pub(in super::super) event: Arc<OwnedFd>,
}

#[derive(Debug, Default)]
pub(in super::super) struct Mailbox {
    offers: HashMap<Pair, Offered>,
    expected: HashMap<Pair, Expected>,
    last_serial: u64,
}

#[derive(Debug)]
struct Expected {
    serial: u64,
    event: Option<Arc<OwnedFd>>,
}

impl Mailbox {
    /// Keeps an offer until it is taken, or until a later one for the same pair.
    pub(super) fn offer(&mut self, pair: Pair, offered: Offered) {
        self.offers.retain(|_, offered| offered.memory.state(0) != SideState::Abandoned);
        self.offers.insert(pair, offered);
    }

    /// The offer for `pair`, if one came.
    pub(in super::super) fn take_offer(&mut self, pair: Pair) -> Option<Offered> {
        self.offers.remove(&pair)
    }

    /// Expects the answer to a new offer for `pair`; one to an earlier offer is not looked at any more.
    pub(in super::super) fn expect(&mut self, pair: Pair) -> u64 {
        self.last_serial += 1;
        self.expected.insert(pair, Expected { serial: self.last_serial, event: None });
        self.last_serial
    }

    /// Keeps the answer, if it is the one expected.
    pub(super) fn answer(&mut self, pair: Pair, serial: u64, event: OwnedFd) {
        if let Some(expected) = self.expected.get_mut(&pair).filter(|expected| expected.serial == serial) {
            expected.event = Some(Arc::new(event));
        }
    }

    /// The event that came with the answer to offer `serial`.
    pub(in super::super) fn take_answer(&mut self, pair: Pair, serial: u64) -> Option<Arc<OwnedFd>> {
        let expected = self.expected.get(&pair).filter(|expected| expected.serial == serial)?;
        expected.event.as_ref()?;
        self.expected.remove(&pair)?.event
    }

    /// The answer to offer `serial` is not wanted any more.
    pub(in super::super) fn give_up(&mut self, pair: Pair, serial: u64) {
        if self.expected.get(&pair).is_some_and(|expected| expected.serial == serial) {
            self.expected.remove(&pair);
        }
    }

    /// The device is gone.
    pub(super) fn forget(&mut self, device: DeviceId) {
        self.offers.retain(|pair, _| pair.device != device);
        self.expected.retain(|pair, _| pair.device != device);
    }
}
