use pmd_core::{
    memory::{LocalKey, Sge},
    provider::{PostError, ReceiveRequest},
};
use pmd_sys::inline::ibv_post_recv;

use super::{
    super::{
        identity::{Identity, Queue},
        receive::ReceiveChain,
        send::Refusal,
    },
    Fake, chains, refuse_after,
};

fn chain() -> ReceiveChain {
    ReceiveChain::new(4, 2, Queue::Receive, 5, 1)
}

fn post(chain: &mut ReceiveChain, id: u64) -> Result<(), PostError> {
    let scatter = [
        Sge { address: id << 12, length: 0, key: LocalKey(1) },
        Sge { address: id << 12, length: 64, key: LocalKey(2) },
    ];
    chain.post(&ReceiveRequest { id, scatter: &scatter })
}

fn ring(chain: &mut ReceiveChain, fake: &mut Fake) -> bool {
    let queue_pair = fake.queue_pair().as_ptr();
    // SAFETY: the made-up queue pair lives.
    chain.ring(|list, bad| unsafe { ibv_post_recv(queue_pair, list, bad) })
}

#[test]
fn receives_become_one_chain_in_their_order() {
    let (mut chain, mut fake) = (chain(), Fake::new());
    for id in 0..3 {
        post(&mut chain, id).expect("room");
    }
    assert!(!ring(&mut chain, &mut fake));
    assert!(!ring(&mut chain, &mut fake));
    let seen = chains();
    assert_eq!(seen.len(), 1);
    let entries: Vec<_> = seen[0].iter().map(|request| request.entries.clone()).collect();
    assert_eq!(entries, [[(0, 64, 2)], [(0x1000, 64, 2)], [(0x2000, 64, 2)]]);
    let identity = Identity::from_bits(seen[0][2].wr_id);
    assert_eq!((identity.queue, identity.generation, identity.handle), (Queue::Receive, 1, 5));
}

#[test]
fn slots_come_back_in_any_order() {
    let (mut chain, mut fake) = (chain(), Fake::new());
    for id in 0..4 {
        post(&mut chain, id).expect("room");
    }
    let full = PostError::QueueFull { needed: 1, free: 0, capacity: 4 };
    assert_eq!(post(&mut chain, 4), Err(full));
    ring(&mut chain, &mut fake);
    let slots: Vec<u32> =
        chains()[0].iter().map(|request| Identity::from_bits(request.wr_id).index).collect();
    assert_eq!(chain.retire(slots[2]), Some(2));
    assert_eq!(chain.retire(slots[2]), None, "taken already");
    assert_eq!(chain.retire(slots[0]), Some(0));
    assert_eq!(chain.retire(99), None);
    post(&mut chain, 5).expect("room again");
    post(&mut chain, 6).expect("room again");
    assert_eq!(post(&mut chain, 7), Err(full));
    ring(&mut chain, &mut fake);
    let again = chains();
    let ids: Vec<u64> = again[0].iter().map(|request| request.entries[0].0 >> 12).collect();
    assert_eq!(ids, [5, 6], "links of an earlier chain are not followed");
}

#[test]
fn a_long_list_is_not_built() {
    let mut chain = chain();
    let scatter = [Sge::default(); 3];
    let refused = chain.post(&ReceiveRequest { id: 1, scatter: &scatter });
    assert_eq!(refused, Err(PostError::TooManySges { given: 3, limit: 2 }));
}

#[test]
fn refused_receives_are_reported_and_their_slots_are_free() {
    let (mut chain, mut fake) = (chain(), Fake::new());
    for id in 0..4 {
        post(&mut chain, id).expect("room");
    }
    refuse_after(1, libc::ENOMEM);
    assert!(ring(&mut chain, &mut fake));
    let refusal = |id, is_first| Refusal { id, errno: libc::ENOMEM, is_first };
    assert_eq!(chain.take_refusal(), Some(refusal(1, true)));
    // One slot came back; a second refusal queues behind the first.
    post(&mut chain, 9).expect("room");
    refuse_after(0, libc::EINVAL);
    assert!(ring(&mut chain, &mut fake));
    let rest: Vec<u64> = std::iter::from_fn(|| chain.take_refusal()).map(|refusal| refusal.id).collect();
    assert_eq!(rest, [2, 3, 9]);
    chains();
    for id in 10..13 {
        post(&mut chain, id).expect("the refused slots are free");
    }
    post(&mut chain, 13).expect_err("the first receive is still posted");
}
