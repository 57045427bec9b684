//! Peers that are killed in the middle of transfers. Alone in its process, because it counts what the process holds.

mod faults_support;

use std::{sync::Arc, thread, time::Duration};

use faults_support::{
    End, Memory, Node, PATIENCE, Seen, carry_out,
    child::{Process, holdings, run, shared_memory_files},
    list, open_with, until_failure, within,
};
use pmd_core::{
    memory::Access,
    sync::{AtomicBool, Ordering},
    wire::Syndrome,
};
use pmd_host::{
    control::{DownReason, RequestError},
    endpoint::Peer,
    lane::Idle,
    transfer::{Direction, RouteFault, SubmitError, TransferError, TransferOptions, WorkList},
};

/// Bytes of one transfer; each memory of a peer has a half to read and a half to write.
const LENGTH: usize = 16 << 20;
/// Killed while this side's lane sleeps when idle, and while it polls on.
const KILLS: [(Idle, u32); 2] = [(Idle::Park, 20), (Idle::Yield, 4)];
/// Bytes read from the peer that lives.
const SAMPLE: usize = 1 << 20;

/// Not a test: what the peers run.
#[test]
fn part() {
    run();
}

#[test]
fn killed_peers_fail_their_transfers_and_take_nothing_with_them() {
    let files = shared_memory_files();
    let at_first = holdings();
    for (idle, kills) in KILLS {
        // Sleeps for as long as nothing happens: what has to happen does not wait for a poll by chance.
        let node = open_with("survivor", |config| {
            config.lane.idle = idle;
            config.lane.longest_park = 60 * PATIENCE;
        });
        let bystander = Process::start("bystander", SAMPLE, 77);
        let living = node.endpoint.connect(bystander.address).unwrap();
        let local = Local::new(&node);
        let before = holdings();
        for round in 0..kills {
            kill_one(&node, &local, (&living, &bystander), Duration::from_millis(round.into()));
            within(|| is_back(before).then_some(()));
        }
        assert!(node.endpoint.peers() == std::slice::from_ref(&living));
        bystander.kill();
        assert_eq!(node.sees_down("bystander"), DownReason::Closed);
        drop((living, local, node));
        within(|| (holdings() == at_first).then_some(()));
    }
    assert!(shared_memory_files().is_subset(&files), "a file is left in /dev/shm");
}

/// Whether everything of a killed peer is given back, of which the memory alone is twice [`LENGTH`]. The peer that
/// lives may be mapped a little later than `before` was taken; of what each kill leaves there would soon be too much.
fn is_back(before: (usize, u64)) -> bool {
    let now = holdings();
    now.0 <= before.0 + 4 && now.1 <= before.1 + LENGTH as u64 / 2
}

/// This side's memory: two to pull into, two to push from, a sample of the peer that lives.
struct Local {
    memories: [Memory; 4],
    sample: Memory,
}

impl Local {
    fn new(node: &Node) -> Self {
        let memory = |arena: bool, length| match arena {
            true => Memory::arena(&node.endpoint, length, Access::READ_WRITE),
            false => Memory::heap(&node.endpoint, length, Access::READ_WRITE),
        };
        Self {
            memories: [true, false, true, false].map(|arena| memory(arena, LENGTH)),
            sample: memory(true, SAMPLE),
        }
    }

    /// Pulls and pushes between all kinds of memory.
    fn lists(&self, peer: &Process) -> Vec<Arc<WorkList>> {
        let list = |index: usize, direction, arena, offset| {
            let piece = self.memories[index].piece(0, LENGTH);
            list(direction, 1 << 20, [(piece, peer.remote(arena, offset))])
        };
        vec![
            list(0, Direction::Read, true, 0),
            list(1, Direction::Read, false, 0),
            list(2, Direction::Write, false, LENGTH),
            list(3, Direction::Write, true, LENGTH),
        ]
    }
}

/// Starts a peer, moves bytes in all ways at once, and kills it after `delay`.
fn kill_one(node: &Node, local: &Local, living: (&Peer, &Process), delay: Duration) {
    let victim = Process::start("victim", 2 * LENGTH, 55);
    let peer = node.endpoint.connect(victim.address).unwrap();
    let lists = local.lists(&victim);
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let streams: Vec<_> =
            lists.iter().map(|work| scope.spawn(|| until_failure(peer.route(), work))).collect();
        let witness = scope.spawn(|| read_from_the_living(local, living, &ended));
        thread::sleep(delay);
        victim.kill();
        for stream in streams {
            let (_, end) = stream.join().unwrap();
            assert!(is_an_end_by_death(&end), "{end:?}");
        }
        ended.store(true, Ordering::Relaxed);
        assert!(witness.join().unwrap() > 0, "the other peer was read at least once");
    });
    assert_eq!(node.sees(), Seen::Down("victim".into(), DownReason::Closed));
    let refused = peer.route().submit(&lists[0], TransferOptions::default()).unwrap_err();
    assert!(matches!(refused, SubmitError::RouteFailed(_)), "{refused}");
    let refused = peer.request(1, vec![1], PATIENCE);
    assert_eq!(refused, Err(RequestError::Down(DownReason::Closed)));
}

fn read_from_the_living(local: &Local, (peer, process): (&Peer, &Process), ended: &AtomicBool) -> u64 {
    let work = list(Direction::Read, 1 << 20, [(local.sample.piece(0, SAMPLE), process.remote(true, 0))]);
    let mut times = 0;
    loop {
        local.sample.fill(0);
        assert_eq!(carry_out(peer.route(), &work).map(|outcome| outcome.bytes), Ok(SAMPLE as u64));
        assert!(local.sample.holds_only(&[77]));
        times += 1;
        if ended.load(Ordering::Relaxed) {
            return times;
        }
    }
}

/// Found out by the device, or by the control plane.
fn is_an_end_by_death(end: &End) -> bool {
    let lost = |syndrome: &Syndrome| *syndrome == Syndrome::RetryExceeded;
    let fault = |fault: &RouteFault| match fault {
        RouteFault::PeerDown | RouteFault::Disconnected => true,
        RouteFault::WorkRequest { syndrome, .. } => lost(syndrome),
        _ => false,
    };
    match end {
        End::Submit(SubmitError::RouteFailed(cause)) | End::Transfer(TransferError::Flushed { cause }) => {
            fault(cause)
        }
        End::Transfer(TransferError::PeerDown) => true,
        End::Transfer(TransferError::Failed { syndrome, .. }) => lost(syndrome),
        _ => false,
    }
}
