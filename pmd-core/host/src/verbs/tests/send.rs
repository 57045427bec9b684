use pmd_core::{
    memory::{LocalKey, RemoteAddress, RemoteKey, Sge},
    provider::{CompletionKind, Operation, Payload, PostError, SendFlags, SendRequest},
};
use pmd_sys::verbs::*;

use super::{
    super::{
        identity::{Identity, Queue},
        send::{Refusal, SendChain, SendLimits},
    },
    Fake, Posted, chains, refuse_after,
};

const REMOTE: RemoteAddress = RemoteAddress { address: 0x7000, key: RemoteKey(0xbeef) };

fn chain() -> SendChain {
    SendChain::new(SendLimits { requests: 4, sges: 2, inline: 16, message: 1 << 20 }, 3, 9)
}

fn sge(address: u64, length: u32) -> Sge {
    Sge { address, length, key: LocalKey(0xcafe) }
}

fn signalled(id: u64, operation: Operation<'_>) -> SendRequest<'_> {
    SendRequest { id, operation, flags: SendFlags::SIGNALED }
}

fn write<'a>(id: u64, list: &'a [Sge]) -> SendRequest<'a> {
    signalled(id, Operation::Write { remote: REMOTE, local: Payload::Gather(list) })
}

fn ring(chain: &mut SendChain, fake: &mut Fake) -> bool {
    // SAFETY: the made-up queue pair lives, and nothing is transferred.
    unsafe { chain.ring(fake.queue_pair().as_ptr()) }
}

/// Posts, rings, and gives back the one request that the provider saw.
fn posted(request: &SendRequest<'_>) -> Posted {
    let (mut chain, mut fake) = (chain(), Fake::new());
    chain.post(request).expect("posting");
    assert!(!ring(&mut chain, &mut fake));
    let mut chains = chains();
    assert_eq!((chains.len(), chains[0].len()), (1, 1));
    chains.remove(0).remove(0)
}

#[test]
fn posts_become_one_chain_at_the_ring() {
    let (mut chain, mut fake) = (chain(), Fake::new());
    assert!(!ring(&mut chain, &mut fake));
    assert_eq!(chains(), Vec::<Vec<Posted>>::new(), "nothing was posted");
    for id in 0..3 {
        chain.post(&write(id, &[sge(0x1000 * id, 64)])).expect("room");
    }
    assert_eq!(chains(), Vec::<Vec<Posted>>::new(), "nothing was rung");
    assert!(!ring(&mut chain, &mut fake));
    assert!(!ring(&mut chain, &mut fake));
    let seen = chains();
    assert_eq!(seen.len(), 1, "one call for the chain, none for nothing");
    let addresses: Vec<u64> = seen[0].iter().map(|request| request.entries[0].0).collect();
    assert_eq!(addresses, [0, 0x1000, 0x2000]);
    let identities: Vec<Identity> =
        seen[0].iter().map(|request| Identity::from_bits(request.wr_id)).collect();
    let expected = |index| Identity { queue: Queue::Send, generation: 9, handle: 3, index };
    assert_eq!(identities, [expected(0), expected(1), expected(2)]);
}

#[test]
fn chains_wrap_around_the_array() {
    let (mut chain, mut fake) = (chain(), Fake::new());
    for round in 0..10_u32 {
        for part in 0..3 {
            chain.post(&write(u64::from(round * 3 + part), &[sge(u64::from(part), 8)])).expect("room");
        }
        assert!(!ring(&mut chain, &mut fake));
        let seen = chains();
        let addresses: Vec<u64> = seen[0].iter().map(|request| request.entries[0].0).collect();
        assert_eq!(addresses, [0, 1, 2], "round {round}");
        let shadow = chain.retire(round * 3 + 2).expect("outstanding");
        assert_eq!((shadow.id, chain.room()), (u64::from(round * 3 + 2), 4));
    }
}

#[test]
fn a_full_chain_gives_the_request_back() {
    let (mut chain, mut fake) = (chain(), Fake::new());
    for id in 0..4 {
        chain.post(&write(id, &[sge(0, 8)])).expect("room");
    }
    let full = PostError::QueueFull { needed: 1, free: 0, capacity: 4 };
    assert_eq!(chain.post(&write(4, &[sge(0, 8)])), Err(full));
    ring(&mut chain, &mut fake);
    assert_eq!(chains()[0].len(), 4);
    assert_eq!(chain.post(&write(4, &[sge(0, 8)])), Err(full), "ringing makes no room");
    assert_eq!(chain.retire(1).map(|shadow| shadow.id), Some(1), "and the unsignalled one before it");
    assert_eq!(chain.room(), 2);
    assert!(chain.retire(1).is_none(), "retired already");
    assert!(chain.retire(4).is_none(), "never posted");
    chain.post(&write(4, &[sge(0, 8)])).expect("room again");
    assert!(chain.retire(4).is_none(), "not rung");
}

#[test]
fn each_operation_is_spelled_as_verbs_has_it() {
    let list = [sge(0x1000, 64), sge(0x2000, 0)];
    let gathered = vec![(0x1000, 64, 0xcafe)];
    let one = sge(0x3000, 8);
    let local = Payload::Gather(&list);
    let cases = [
        (Operation::Write { remote: REMOTE, local }, IBV_WR_RDMA_WRITE, gathered.clone(), 0),
        (
            Operation::WriteImmediate { remote: REMOTE, local, immediate: 0x0102_0304 },
            IBV_WR_RDMA_WRITE_WITH_IMM,
            gathered.clone(),
            0x0102_0304,
        ),
        (Operation::Read { remote: REMOTE, local: &list }, IBV_WR_RDMA_READ, gathered, 0),
        (
            Operation::CompareSwap { remote: REMOTE, local: one, compare: 1, swap: 2 },
            IBV_WR_ATOMIC_CMP_AND_SWP,
            vec![(0x3000, 8, 0xcafe)],
            0,
        ),
        (
            Operation::FetchAdd { remote: REMOTE, local: one, add: 1 },
            IBV_WR_ATOMIC_FETCH_AND_ADD,
            vec![(0x3000, 8, 0xcafe)],
            0,
        ),
    ];
    for (operation, opcode, entries, immediate) in cases {
        let seen = posted(&signalled(1, operation));
        assert_eq!((seen.opcode, &seen.entries, seen.remote), (opcode, &entries, (0x7000, 0xbeef)));
        assert_eq!((u32::from_be(seen.immediate), seen.flags), (immediate, IBV_SEND_SIGNALED));
    }
}

#[test]
fn sends_carry_their_immediate_in_network_order() {
    let send = |immediate| {
        let operation = Operation::Send { local: Payload::EMPTY, immediate };
        let seen = posted(&SendRequest { id: 1, operation, flags: SendFlags::FENCE | SendFlags::SOLICITED });
        assert_eq!(seen.flags, IBV_SEND_FENCE | IBV_SEND_SOLICITED);
        assert_eq!(seen.entries, []);
        (seen.opcode, seen.immediate.to_ne_bytes())
    };
    assert_eq!(send(None).0, IBV_WR_SEND);
    assert_eq!(send(Some(0x0102_0304)), (IBV_WR_SEND_WITH_IMM, [1, 2, 3, 4]));
}

#[test]
fn inline_bytes_outlive_the_callers() {
    let (mut chain, mut fake) = (chain(), Fake::new());
    for id in 0..3_u8 {
        let bytes = [id; 16];
        let operation = Operation::Write { remote: REMOTE, local: Payload::Inline(&bytes) };
        chain.post(&signalled(id.into(), operation)).expect("room");
    }
    ring(&mut chain, &mut fake);
    let seen = chains().remove(0);
    for (id, request) in (0..3_u8).zip(&seen) {
        assert_eq!(request.inline, [id; 16]);
        assert_eq!(request.flags, IBV_SEND_SIGNALED | IBV_SEND_INLINE);
    }
    let empty = posted(&signalled(1, Operation::Write { remote: REMOTE, local: Payload::Inline(&[]) }));
    assert_eq!((empty.entries, empty.flags), (vec![], IBV_SEND_SIGNALED));
}

#[test]
fn what_the_queue_pair_does_not_take_is_not_built() {
    let mut chain = chain();
    let three = [sge(0, 8), sge(8, 8), sge(16, 8)];
    let short = sge(0, 4);
    let cases = [
        (Operation::Nop, PostError::Unsupported { operation: "NOP" }),
        (Operation::Read { remote: REMOTE, local: &three }, PostError::TooManySges { given: 3, limit: 2 }),
        (
            Operation::Send { local: Payload::Inline(&[0; 17]), immediate: None },
            PostError::InlineTooLong { given: 17, limit: 16 },
        ),
        (Operation::FetchAdd { remote: REMOTE, local: short, add: 1 }, PostError::AtomicLength { given: 4 }),
    ];
    for (operation, expected) in cases {
        assert_eq!(chain.post(&signalled(1, operation)), Err(expected));
    }
    let long = [sge(0, 1 << 20), sge(0, 1)];
    let expected = PostError::MessageTooLong { given: (1 << 20) + 1, limit: 1 << 20 };
    assert_eq!(chain.post(&write(1, &long)), Err(expected));
    assert_eq!(chain.room(), 4);
}

#[test]
fn what_the_provider_refuses_is_reported_in_order_and_nothing_else() {
    let (mut chain, mut fake) = (chain(), Fake::new());
    chain.post(&write(10, &[])).expect("room");
    ring(&mut chain, &mut fake);
    chain.retire(0).expect("outstanding");
    for id in 11..15 {
        chain.post(&write(id, &[])).expect("room");
    }
    refuse_after(2, libc::EINVAL);
    assert!(ring(&mut chain, &mut fake), "a refusal");
    assert_eq!(chains()[1].len(), 2, "two were taken");
    let refusal = |id, is_first| Refusal { id, errno: libc::EINVAL, is_first };
    assert_eq!(chain.take_refusal(), Some(refusal(13, true)));
    assert_eq!(chain.take_refusal(), Some(refusal(14, false)));
    assert_eq!(chain.take_refusal(), None);
    assert_eq!(chain.retire(1).map(|shadow| shadow.id), Some(11), "what was taken completes as ever");
    assert_eq!(chain.retire(2).map(|shadow| shadow.id), Some(12));
}

#[test]
fn a_provider_that_refuses_all_or_points_nowhere_has_taken_nothing() {
    let (mut chain, mut fake) = (chain(), Fake::new());
    for id in 0..2 {
        chain.post(&write(id, &[])).expect("room");
    }
    refuse_after(0, libc::ENOMEM);
    assert!(ring(&mut chain, &mut fake));
    let refused: Vec<_> = std::iter::from_fn(|| chain.take_refusal()).map(|refusal| refusal.id).collect();
    assert_eq!(refused, [0, 1]);
    // Without an operation there is nobody who refuses; the port answers for it.
    let mut context = ibv_context::default();
    let mut nobody = ibv_qp { context: &raw mut context, ..Default::default() };
    chain.reset(10);
    chain.post(&write(5, &[])).expect("room");
    // SAFETY: the made-up queue pair lives.
    assert!(unsafe { chain.ring(&mut nobody) });
    assert_eq!(chain.take_refusal(), Some(Refusal { id: 5, errno: libc::EOPNOTSUPP, is_first: true }));
}

#[test]
fn a_reset_empties_the_chain() {
    let (mut chain, mut fake) = (chain(), Fake::new());
    for id in 0..4 {
        chain.post(&write(id, &[])).expect("room");
    }
    refuse_after(1, libc::EINVAL);
    ring(&mut chain, &mut fake);
    chains();
    chain.reset(10);
    assert_eq!((chain.room(), chain.take_refusal()), (4, None));
    chain.post(&write(7, &[])).expect("room");
    ring(&mut chain, &mut fake);
    let identity = Identity::from_bits(chains()[0][0].wr_id);
    assert_eq!((identity.generation, identity.index), (10, 0));
    let shadow = chain.retire(0).expect("outstanding");
    assert_eq!((shadow.id, shadow.kind, shadow.returned_length), (7, CompletionKind::Write, 0));
}
