//! Memory is still once it was taken back: after deregistration by its owner, and after a cancel.

mod faults_support;

use std::{sync::Arc, time::Instant};

use faults_support::{
    End, Memory, Node, PATHS, PATIENCE, Path, carry_out, list, open_with, round_trip, until_failure, within,
};
use pmd_core::wire::Syndrome;
use pmd_host::{
    endpoint::Peer,
    transfer::{CancelOutcome, Direction, Outcome, TransferError, TransferOptions, WorkList},
};

const LENGTH: usize = 32 << 20;
const PART: u32 = 256 << 10;

fn pair(path: Path) -> (Node, Node, Peer) {
    let open = |name| open_with(name, |config| config.soft = path.device());
    let (owner, client) = (open("owner"), open("client"));
    let peer = client.connect(&owner);
    (owner, client, peer)
}

fn whole(direction: Direction, local: &Memory, remote: &Memory) -> Arc<WorkList> {
    list(direction, PART, [(local.piece(0, LENGTH), remote.remote(0))])
}

/// What a transfer fails with when the owner takes its region back.
fn assert_refused(end: &End, first: u64) {
    let End::Transfer(TransferError::Failed { syndrome, entry, remote, .. }) = end else { panic!("{end:?}") };
    assert_eq!(*syndrome, Syndrome::RemoteAccess);
    assert_eq!(remote.address, first + u64::from(*entry) * u64::from(PART), "the entry is where it says");
}

#[test]
fn a_region_that_its_owner_takes_back_is_not_read_any_more() {
    for path in PATHS {
        let (owner, client, peer) = pair(path);
        let target = Memory::of(path, &client.endpoint, LENGTH);
        let mut source = Memory::of(path, &owner.endpoint, LENGTH);
        source.fill(1);
        let (first, work) = (source.address(), whole(Direction::Read, &target, &source));
        let end = std::thread::scope(|scope| {
            let stream = scope.spawn(|| until_failure(peer.route(), &work).1);
            within(|| (target.byte(0) == 1).then_some(()));
            source.deregister();
            source.fill(2);
            stream.join().unwrap()
        });
        assert_refused(&end, first);
        assert!(target.holds_only(&[0, 1]), "{path:?}: read after deregistration");
        let again = client.connect(&owner);
        round_trip((&client, &again), (&owner, &newest(&owner)));
        assert!(target.holds_only(&[0, 1]), "{path:?}");
    }
}

#[test]
fn a_region_that_its_owner_takes_back_is_not_written_any_more() {
    for path in PATHS {
        let (owner, client, peer) = pair(path);
        let source = Memory::of(path, &client.endpoint, LENGTH);
        let mut target = Memory::of(path, &owner.endpoint, LENGTH);
        source.fill(1);
        let (first, work) = (target.address(), whole(Direction::Write, &source, &target));
        let end = std::thread::scope(|scope| {
            let stream = scope.spawn(|| until_failure(peer.route(), &work).1);
            within(|| (target.byte(0) == 1).then_some(()));
            target.deregister();
            target.fill(2);
            stream.join().unwrap()
        });
        assert_refused(&end, first);
        assert!(target.holds_only(&[2]), "{path:?}: written after deregistration");
        let again = client.connect(&owner);
        round_trip((&client, &again), (&owner, &newest(&owner)));
        assert!(target.holds_only(&[2]), "{path:?}");
    }
}

/// The peer that connected last.
fn newest(node: &Node) -> Peer {
    node.endpoint.peers().pop().unwrap()
}

#[test]
fn a_cancelled_transfer_is_over() {
    for path in PATHS {
        for direction in [Direction::Read, Direction::Write] {
            let (owner, client, peer) = pair(path);
            let local = Memory::of(path, &client.endpoint, LENGTH);
            let remote = Memory::of(path, &owner.endpoint, LENGTH);
            let (source, target) = match direction {
                Direction::Read => (&remote, &local),
                Direction::Write => (&local, &remote),
            };
            let (work, back) = (whole(direction, &local, &remote), owner.peer("client"));
            for at in [None, Some(0), Some(LENGTH / 4)] {
                source.fill(1);
                target.fill(0);
                let mut transfer = peer.route().submit(&work, TransferOptions::default()).unwrap();
                if let Some(at) = at {
                    within(|| (target.byte(at) == 1).then_some(()));
                }
                let cancelled = transfer.cancel();
                let (case, right_after) = ((path, direction, at), target.read(0, LENGTH));
                source.fill(2);
                assert!(
                    matches!(cancelled, CancelOutcome::Cancelled | CancelOutcome::Completed(_)),
                    "{case:?}: {cancelled:?}"
                );
                round_trip((&client, &peer), (&owner, &back));
                assert!(target.read(0, LENGTH) == right_after, "{case:?}: written after cancel");
                target.fill(3);
                round_trip((&client, &peer), (&owner, &back));
                assert!(target.holds_only(&[3]), "{case:?}: written after cancel");
                assert_eq!(peer.route().fault(), None, "{case:?}");
            }
            assert_eq!(carry_out(peer.route(), &work), Ok(Outcome { bytes: LENGTH as u64 }));
            assert!(target.holds_only(&[2]));
        }
    }
}

#[test]
fn a_peer_that_says_goodbye_in_the_middle_writes_no_more() {
    for path in PATHS {
        let (owner, client, peer) = pair(path);
        let source = Memory::of(path, &client.endpoint, LENGTH);
        let target = Memory::of(path, &owner.endpoint, LENGTH);
        source.fill(1);
        let work = whole(Direction::Write, &source, &target);
        let mut transfer = peer.route().submit(&work, TransferOptions::default()).unwrap();
        within(|| (target.byte(0) == 1).then_some(()));
        peer.close();
        let deadline = Some(Instant::now() + PATIENCE);
        let ended = faults_support::outcome(transfer.wait(deadline));
        assert!(
            matches!(
                ended,
                Ok(_)
                    | Err(TransferError::PeerDown
                        | TransferError::Failed { .. }
                        | TransferError::Flushed { .. })
            ),
            "{path:?}: {ended:?}"
        );
        // Quiet at the sender's side: nothing reads the source any more.
        source.fill(2);
        let again = client.connect(&owner);
        round_trip((&client, &again), (&owner, &newest(&owner)));
        assert!(target.holds_only(&[0, 1]), "{path:?}");
    }
}
