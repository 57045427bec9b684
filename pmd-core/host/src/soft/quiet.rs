//! Waiting until no engine can touch what was revoked: those of this device and those of every peer that can read
//! this device's region table.

use std::{sync::Arc, thread, time::Duration};

use pmd_core::ring::quiesce::{Revoked, Snapshot};

use super::{Device, peer::Peer, segment::Segment};

/// Engines that were moving bytes when something was revoked.
#[derive(Debug)]
pub(crate) struct Quiet {
    device: Device,
    /// Of this device.
    own: Lines,
    peers: Vec<(Arc<Peer>, Lines)>,
}

/// Activity lines of one segment, by index.
type Lines = Vec<(usize, Snapshot)>;

impl Quiet {
    /// Looks at every engine that may know what was revoked.
    pub(super) fn everywhere(device: &Device, revoked: &Revoked) -> Self {
        let own = busy(device.regions().segment(), revoked);
        let peers = device.exchange().known_peers();
        let mut quiet = Self { device: device.clone(), own, peers: Vec::new() };
        quiet.peers.extend(peers.into_iter().map(|peer| {
            let lines = busy(peer.segment(), revoked);
            (peer, lines)
        }));
        quiet
    }

    /// Looks at the engines of one peer.
    pub(super) fn of_peer(device: &Device, peer: Arc<Peer>, revoked: &Revoked) -> Self {
        let lines = busy(peer.segment(), revoked);
        Self { device: device.clone(), own: Vec::new(), peers: vec![(peer, lines)] }
    }

    /// Whether all of them have been idle since, or their process is gone. True stays true.
    pub(crate) fn is_reached(&mut self) -> bool {
        let own = self.device.regions().segment();
        self.own.retain(|line| is_busy(own, line));
        self.peers.retain_mut(|(peer, lines)| {
            lines.retain(|line| is_busy(peer.segment(), line));
            !lines.is_empty() && !peer.is_gone()
        });
        self.own.is_empty() && self.peers.is_empty()
    }

    /// Waits for that. An engine's round moves a bounded number of bytes; only a process that is stopped (SIGSTOP,
    /// a debugger) in the middle of one makes this wait for longer, until it goes on or is killed. Lanes ask
    /// [`Backend::quiesce`](crate::backend::Backend::quiesce) instead, before they reset or destroy a queue pair.
    pub(super) fn wait(mut self) {
        let mut turns = 0_u32;
        while !self.is_reached() {
            turns = turns.saturating_add(1);
            match turns {
                0..64 => std::hint::spin_loop(),
                64..1024 => thread::yield_now(),
                _ => thread::sleep(Duration::from_micros(100)),
            }
        }
    }
}

fn busy(segment: &Segment, revoked: &Revoked) -> Lines {
    let lines = segment.activities(revoked).iter().enumerate();
    lines
        .map(|(index, activity)| (index, activity, activity.snapshot(revoked)))
        .filter(|(_, activity, snapshot)| !snapshot.is_quiet(activity))
        .map(|(index, _, snapshot)| (index, snapshot))
        .collect()
}

fn is_busy(segment: &Segment, (index, snapshot): &(usize, Snapshot)) -> bool {
    !snapshot.is_quiet(&segment.all_activities()[*index])
}
