//! Transfers over rails that have devices of their own: what the regions of a work list are called there.
//!
//! ```text
//!  submitted --keys of this end known--> asking --the peer's keys come--> the bundle
//!                    | not                   | the peer does not know one
//!                    v                       v
//!                 the route              the route
//! ```
//! Asking takes a round trip of the control connection, for each transfer anew: see [`ports`](crate::endpoint::ports). Nothing
//! of a transfer is posted before, so one that is stopped meanwhile, or whose peer goes, ends at once. What a peer answers is
//! used for its own memory only.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use pmd_core::memory::{LocalKey, RemoteKey};
use serde::{Deserialize, Serialize};

use super::{
    Rails,
    turn::{Event, State, Submission},
};
use crate::{
    endpoint::{
        handshake::{self, RESERVED},
        ports::{KeyTable, OurKeys},
    },
    lane::Route,
    transfer::{
        Observer, SubmitError, Transfer, TransferEnd, TransferError, TransferObserver, TransferOptions,
        WorkList,
    },
};

/// Keys that are asked for at a time; a list with more goes over the route.
const MOST_KEYS: usize = 4096;

/// Devices of a rail: that of the end which opens it, and that of the other, by their places in the configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) opener: u16,
    pub(super) other: u16,
}

/// Asks what regions are called on the devices of the other end's rails.
#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    number: u64,
    fabric: bool,
    keys: Vec<u32>,
}

/// What they are called there: for each key that was asked for, in that order, one on each device; none at all where not every
/// one is known.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answer {
    number: u64,
    devices: u16,
    keys: Vec<u32>,
}

/// Answers what a peer asks.
pub(in crate::endpoint) fn answer(table: &KeyTable, body: &[u8]) -> Option<Vec<u8>> {
    let Ask { number, fabric, keys } = handshake::decode(body).ok()?;
    let known = if keys.len() > MOST_KEYS { None } else { table.by_remote(fabric, &keys) };
    let known = known.unwrap_or_default();
    let devices = known.first().map_or(0, |keys| keys.len() as u16);
    let keys = known.iter().flat_map(|keys| keys.iter().map(|keys| keys.remote.0)).collect();
    Some(handshake::encode(&Answer { number, devices, keys }))
}

/// A transfer whose keys on the devices of this end are known, and the route that it goes over if those of the peer are not.
#[derive(Debug)]
pub(super) struct Beside {
    ours: OurKeys,
    route: Route,
}

impl Beside {
    /// None where a key of this end is not known.
    pub(super) fn of(work: &WorkList, fabric: bool, table: &KeyTable, route: &Route) -> Option<Self> {
        let ours = table.by_local(fabric, work.sges().iter().map(|sge| sge.key))?;
        Some(Self { ours, route: route.clone() })
    }
}

/// The keys of a transfer on all devices of both ends.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) ours: OurKeys,
    /// Those of the list, in order, and what each is on every device.
    asked: Vec<u32>,
    theirs: Vec<u32>,
    devices: usize,
}

impl Keys {
    /// The work as the devices `here` and `there` know it. None where they do not: another device's key may be that of other
    /// memory.
    pub(super) fn translated(&self, work: WorkList, (here, there): (usize, usize)) -> Option<WorkList> {
        let ours = |key: LocalKey| Some(self.ours.on_ports.get(&key.0)?.get(here)?.local);
        work.with_keys(ours, |key| self.their(key, there))
    }

    fn their(&self, key: RemoteKey, device: usize) -> Option<RemoteKey> {
        let row = self.asked.binary_search(&key.0).ok()?;
        let row = self.theirs.get(row * self.devices..)?.get(..self.devices)?;
        row.get(device).copied().map(RemoteKey)
    }
}

/// A transfer for whose keys the peer was asked.
#[derive(Debug)]
pub(super) struct Asking {
    pub(super) submission: Submission,
    beside: Beside,
    asked: Vec<u32>,
}

/// A transfer that goes over the route after all.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) submission: Submission,
    route: Route,
    /// Once the lane has taken it.
    transfer: Option<Transfer>,
}

impl Rails {
    /// Asks the peer for the keys of a list.
    pub(super) fn ask(&self, state: &mut State, submission: Submission, beside: Beside) {
        let keys: BTreeSet<u32> = submission.work.entries().iter().map(|entry| entry.rkey.0).collect();
        let number = state.next_number();
        let asked: Vec<u32> = keys.into_iter().collect();
        let ask = Ask { number, fabric: self.maker.is_fabric(), keys: asked.clone() };
        let is_asked =
            asked.len() <= MOST_KEYS && self.connection.event(RESERVED.ask, handshake::encode(&ask)).is_ok();
        if is_asked {
            state.asking.insert(number, Asking { submission, beside, asked });
        } else {
            // A connection that takes nothing is down, and then the route knows why.
            self.aside(state, number, submission, beside.route);
        }
    }

    /// The peer answers.
    pub(in crate::endpoint) fn keys_told(&self, body: &[u8]) {
        if let Ok(answer) = handshake::decode(body) {
            self.happen(Event::Keys(answer));
        }
    }

    /// Hands a transfer to the bundle whose keys have come, or to the route.
    pub(super) fn keys_come(&self, state: &mut State, answer: Answer) {
        let Answer { number, devices, keys: theirs } = answer;
        let Some(Asking { submission, beside, asked }) = state.asking.remove(&number) else { return };
        let devices = usize::from(devices);
        if devices <= self.farthest() || theirs.len() != asked.len() * devices {
            return self.aside(state, number, submission, beside.route);
        }
        self.begin(state, submission, Some(Keys { ours: beside.ours, asked, theirs, devices }));
    }

    /// Has the route carry a transfer.
    fn aside(&self, state: &mut State, number: u64, submission: Submission, route: Route) {
        state.aside.insert(number, Aside { submission, route, transfer: None });
        self.post_aside(state, number);
    }

    /// Tries to again where the lanes had no room.
    pub(super) fn post_asides(&self, state: &mut State) {
        for number in std::mem::take(&mut state.again) {
            self.post_aside(state, number);
        }
    }

    fn post_aside(&self, state: &mut State, number: u64) {
        let Some(aside) = state.aside.get_mut(&number) else { return };
        let Submission { completer, work, options } = &aside.submission;
        let posted = if completer.cancel_requested() {
            Err(TransferError::Cancelled)
        } else if options.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            Err(TransferError::DeadlineExceeded)
        } else {
            let observer = self.this.upgrade().map(|rails| Observer(Arc::new(Watcher { rails, number })));
            let options = TransferOptions {
                observer,
                notify: options.notify.clone(),
                deadline: options.deadline,
                priority: options.priority,
                ..TransferOptions::default()
            };
            match aside.route.submit(work, options) {
                Err(SubmitError::Full(_)) => return state.again.push(number),
                Err(SubmitError::RouteFailed(fault)) => Err(fault.transfer_error()),
                Err(_) => Err(TransferError::RouteClosed),
                Ok(transfer) => Ok(transfer),
            }
        };
        match posted {
            Ok(transfer) => aside.transfer = Some(transfer),
            Err(error) => state.aside_ended(number, TransferEnd { outcome: Err(error), landed: 0 }),
        }
    }
}

impl State {
    /// Ends what waits for keys and was asked to stop, and has the route stop what it carries.
    pub(super) fn stop_unposted(&mut self) {
        self.stop_asking(|submission| submission.completer.cancel_requested(), TransferError::Cancelled);
        let asked = self.aside.values().filter(|aside| aside.submission.completer.cancel_requested());
        asked.filter_map(|aside| aside.transfer.as_ref()).for_each(Transfer::request_cancel);
    }

    /// Ends what waits for keys and is to end.
    pub(super) fn stop_asking(&mut self, which: impl Fn(&Submission) -> bool, error: TransferError) {
        let stopped = self.asking.iter().filter(|(_, asking)| which(&asking.submission));
        for number in stopped.map(|(number, _)| *number).collect::<Vec<_>>() {
            if let Some(Asking { submission, .. }) = self.asking.remove(&number) {
                self.ended_unposted(submission, Err(error), 0);
            }
        }
    }

    /// Ends what waits for keys and is late.
    pub(super) fn stop_late(&mut self, now: Instant) {
        let is_late = |submission: &Submission| submission.options.deadline.is_some_and(|at| at <= now);
        self.stop_asking(is_late, TransferError::DeadlineExceeded);
    }

    /// The route has carried a transfer, or not.
    pub(super) fn aside_ended(&mut self, number: u64, TransferEnd { outcome, landed }: TransferEnd) {
        if let Some(Aside { submission, .. }) = self.aside.remove(&number) {
            self.ended_unposted(submission, outcome, landed);
        }
    }

    /// When the next of those that wait for keys is late.
    pub(super) fn asking_deadline(&self) -> Option<Instant> {
        self.asking.values().filter_map(|asking| asking.submission.options.deadline).min()
    }
}

/// Brings the end of a transfer that the route carries.
struct Watcher {
    rails: Arc<Rails>,
    number: u64,
}

impl TransferObserver for Watcher {
    fn ended(&self, end: TransferEnd) {
        self.rails.happen(Event::AsideEnded { number: self.number, end });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pmd_core::memory::RemoteAddress;

    use super::*;
    use crate::{
        endpoint::ports::{Nearest, PortKeys},
        transfer::{Direction, LocalPiece, WorkListBuilder, WorkListLimits},
    };

    #[test]
    fn a_list_has_other_keys_on_each_device_and_none_that_are_not_known() {
        let local = |local| PortKeys { local: LocalKey(local), remote: RemoteKey(0) };
        let keys = Keys {
            ours: OurKeys {
                on_ports: BTreeMap::from([
                    (1, Arc::from([local(11), local(12)])),
                    (2, Arc::from([local(21), local(22)])),
                ]),
                nearest: Nearest::ALL,
            },
            asked: vec![5, 6],
            theirs: vec![50, 51, 52, 60, 61, 62],
            devices: 3,
        };
        let list = |remote: u32| {
            let mut work = WorkListBuilder::new(Direction::Write, WorkListLimits::default());
            for (key, rkey) in [(1, 5), (2, remote), (1, 6)] {
                // Apart from each other, so that neighbours do not merge.
                let address = 0x1_0000 * u64::from(key * 7 + rkey);
                let local = LocalPiece { address, length: 8, key: LocalKey(key) };
                work.push(local, RemoteAddress { address, key: RemoteKey(rkey) });
            }
            work.finish()
        };
        let found = |remote, devices| {
            let work = keys.translated(list(remote), devices)?;
            let rkeys = work.entries().iter().map(|entry| entry.rkey.0).collect::<Vec<_>>();
            Some((work.sges().iter().map(|sge| sge.key.0).collect::<Vec<_>>(), rkeys))
        };
        assert_eq!(found(5, (0, 2)), Some((vec![11, 21, 11], vec![52, 52, 62])));
        assert_eq!(found(6, (1, 0)), Some((vec![12, 22, 12], vec![50, 60, 60])));
        assert_eq!(found(5, (2, 0)), None, "there is no third device here");
        assert_eq!(found(5, (0, 3)), None, "nor a fourth there");
        assert_eq!(found(7, (0, 0)), None, "it was not asked for");
    }
}
