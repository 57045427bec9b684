//! What goes wrong is said, and the queue pairs can be used again.

use pmd_core::{
    memory::{RemoteAddress, RemoteKey},
    provider::{CompletionKind, Operation, PostError, SendFlags, SendRequest},
    queue::QueuePairState,
    wire::Syndrome,
};
use pmd_host::backend::{Backend, SetupError};

use super::{Pair, gather, pattern};

/// A wrong rkey fails its request and flushes the later one; after a reset both sides work again.
pub(crate) fn wrong_key<B: Backend>(pair: &mut Pair<B>, exact: bool) {
    let entries = [pair.here.sge(0, 64)];
    let wrong = RemoteAddress { key: RemoteKey(0xdead_be00), ..pair.there.remote(0) };
    pair.post(1, Operation::Write { remote: wrong, local: gather(&entries) });
    let remote = pair.there.remote(0);
    pair.post(2, Operation::Write { remote, local: gather(&entries) });
    pair.backend.ring_send(pair.left);
    let failed = super::poll(&mut pair.backend, 2);
    assert_eq!((failed[0].id, failed[1].id), (1, 2));
    let first = failed[0].result.expect_err("a wrong key");
    assert!(!first.is_receive);
    if exact {
        assert_eq!(first.syndrome, Syndrome::RemoteAccess);
    }
    assert_eq!(failed[1].result.expect_err("flushed").syndrome, Syndrome::Flushed);
    assert_eq!(pair.backend.state(pair.left), QueuePairState::Error);
    let request = SendRequest { id: 3, operation: Operation::Nop, flags: SendFlags::SIGNALED };
    let refused = pair.backend.post_send(pair.left, &request);
    assert_eq!(refused, Err(PostError::WrongState { state: QueuePairState::Error }));
    reuse(pair);
}

/// Resets and connects both sides again; an operation must work, and nothing of before is left.
pub(crate) fn reuse<B: Backend>(pair: &mut Pair<B>) {
    let again = pair.backend.address(pair.right).expect("address");
    pair.backend.reset(pair.left).expect("resetting the left side");
    pair.backend.reset(pair.right).expect("resetting the right side");
    assert_eq!(pair.backend.state(pair.left), QueuePairState::Reset);
    assert_ne!(
        pair.backend.address(pair.right).expect("address"),
        again,
        "the sequence number is drawn anew"
    );
    pair.connect();
    pair.here.fill(0, &pattern(77, 64));
    let (entries, remote) = ([pair.here.sge(0, 64)], pair.there.remote(0));
    pair.done(4, Operation::Write { remote, local: gather(&entries) }, CompletionKind::Write);
    assert_eq!(pair.there.content(0, 64), pattern(77, 64));
}

/// Outstanding receives come back flushed from a queue pair that is failed on purpose.
pub(crate) fn failed_receives<B: Backend>(pair: &mut Pair<B>) {
    pair.receive(201, 0, 64);
    pair.receive(202, 64, 64);
    pair.backend.fail(pair.right).expect("failing");
    let flushed = pair.wait(2);
    let told: Vec<_> = flushed.iter().map(|one| (one.id, one.result)).collect();
    for ((id, result), expected) in told.iter().zip([201, 202]) {
        let error = result.expect_err("flushed");
        assert_eq!((*id, error.syndrome, error.is_receive), (expected, Syndrome::Flushed, true));
    }
    reuse(pair);
}

/// Requests that a reset swept away give no completions.
pub(crate) fn reset_is_silent<B: Backend>(pair: &mut Pair<B>) {
    pair.receive(301, 0, 64);
    let (entries, remote) = ([pair.here.sge(0, 64)], pair.there.remote(0));
    pair.post(302, Operation::Write { remote, local: gather(&entries) });
    pair.backend.ring_send(pair.left);
    reuse(pair);
}

/// Handles of destroyed queue pairs are refused, and given out again.
pub(crate) fn destroyed<B: Backend>(pair: &mut Pair<B>) {
    let (left, right) = (pair.left, pair.right);
    pair.backend.destroy_queue_pair(left).expect("destroying");
    pair.backend.destroy_queue_pair(right).expect("destroying");
    let gone = pair.backend.destroy_queue_pair(left);
    assert!(matches!(gone, Err(SetupError::UnknownQueuePair(handle)) if handle == left), "{gone:?}");
    let request = SendRequest { id: 1, operation: Operation::Nop, flags: SendFlags::SIGNALED };
    let refused = pair.backend.post_send(left, &request);
    assert_eq!(refused, Err(PostError::UnknownQueuePair { handle: left.0 }));
    pair.left = pair.backend.create_queue_pair(&super::config()).expect("creating");
    pair.right = pair.backend.create_queue_pair(&super::config()).expect("creating");
    pair.connect();
    let (entries, remote) = ([pair.here.sge(0, 64)], pair.there.remote(0));
    pair.done(2, Operation::Write { remote, local: gather(&entries) }, CompletionKind::Write);
}

/// A connected queue pair is not connected again.
pub(crate) fn connected_twice<B: Backend>(pair: &mut Pair<B>) {
    let address = pair.backend.address(pair.right).expect("address");
    let refused = pair.backend.connect(pair.left, &address, &super::options());
    assert!(
        matches!(refused, Err(SetupError::Transition { from: QueuePairState::ReadyToSend, .. })),
        "{refused:?}"
    );
}
