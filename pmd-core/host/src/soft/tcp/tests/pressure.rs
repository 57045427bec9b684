//! Peers that take nothing, and peers that are gone.

use pmd_core::memory::RemoteKey;

use super::*;
use crate::soft::tcp::record::BulkHead;

#[test]
fn a_peer_that_reads_nothing_holds_up_its_own_queue_pair_only() {
    let (mut node, peer) = Peer::dialling();
    let mut other = Node::new();
    let (mut memory, mut target) = (vec![0x5a_u8; 8 << 20], vec![0_u8; 8 << 20]);
    let source = node.register(&mut memory, Access::LOCAL_WRITE);
    let landing = other.register(&mut target, Access::READ_WRITE);
    let local = [whole(&source)];
    let remote = landing.remote_address(0).unwrap();
    for id in 0..16 {
        node.send(id, Operation::Write { remote, local: Payload::Gather(&local) });
    }
    (0..2000).for_each(|_| assert_eq!(node.poll(), [], "nothing is acknowledged"));

    let stuck = node.queue_pair;
    node.queue_pair = node.backend.create_queue_pair(&QueuePairConfig::default()).unwrap();
    let (ours, theirs) = (node.address(), other.address());
    node.connect(theirs);
    other.connect(ours);
    node.send(100, Operation::Write { remote, local: Payload::Gather(&local) });
    carry_out(&mut node, &mut other, 1);

    // The stuck one fails at once, and lets go of the memory.
    node.backend.fail(stuck).unwrap();
    let failures = node.failures(16);
    assert_eq!(failures.len(), 16);
    assert!(failures.iter().all(|(_, syndrome)| *syndrome == Syndrome::Flushed));
    drop((source, landing));
    assert!(target.iter().all(|byte| *byte == 0x5a));
    drop(peer);
}

#[test]
fn the_end_of_the_streams_fails_what_is_outstanding() {
    for make in [Peer::dialling, Peer::dialled] {
        let (mut node, peer) = make();
        node.post();
        drop(peer);
        assert_eq!(node.failures(2), [(2, Syndrome::RetryExceeded), (1, Syndrome::Flushed)]);
    }
}

#[test]
fn bytes_of_a_read_are_taken_though_nothing_else_comes() {
    const LENGTH: usize = 1 << 16;
    let (mut node, mut peer) = Peer::dialling();
    let mut memory = vec![0_u8; LENGTH];
    let region = node.register(&mut memory, Access::LOCAL_WRITE);
    let remote = RemoteAddress { address: 4096, key: RemoteKey(1) };
    let local = [whole(&region)];
    node.send(3, Operation::Read { remote, local: &local });
    (0..100).for_each(|_| assert_eq!(node.poll(), []));
    let head = BulkHead { length: LENGTH as u32, message: 0, offset: 0 };
    peer.asked.write_all(&[&head.to_bytes()[..], &[9; LENGTH]].concat()).unwrap();
    let done = within("a completion", || node.poll().pop());
    assert!(done.result.is_ok(), "{done:?}");
    drop((local, region));
    assert!(memory.iter().all(|byte| *byte == 9));
}

#[test]
fn a_read_whose_bytes_do_not_come_fails_with_the_connection() {
    let (mut node, peer) = Peer::dialling();
    let mut memory = vec![0_u8; 1 << 20];
    let region = node.register(&mut memory, Access::LOCAL_WRITE);
    let remote = RemoteAddress { address: 4096, key: RemoteKey(1) };
    let local = [whole(&region)];
    node.send(3, Operation::Read { remote, local: &local });
    (0..100).for_each(|_| assert_eq!(node.poll(), []));
    let Peer { wire, mut asked, asking } = peer;
    let head = BulkHead { length: 1 << 16, message: 0, offset: 0 };
    asked.write_all(&head.to_bytes()).unwrap();
    asked.write_all(&[1; 1000]).unwrap();
    drop(wire);
    assert_eq!(node.failures(1), [(3, Syndrome::RetryExceeded)]);
    drop((asked, asking, region));
}
