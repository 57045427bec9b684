//! Shared receive queues.

use pmd_core::provider::{CompletionKind, Operation, Payload, PostError, ReceiveRequest};
use pmd_host::{
    backend::{Backend, QueuePairConfig},
    nic::Device,
};

use super::{Pair, config};

/// Both queue pairs take their receives from one queue, in the order of posting.
pub(crate) fn shared_receives<B: Backend>(device: &Device, mut backend: B) {
    let queue = backend.create_shared_receive_queue(8, 2).expect("creating a shared receive queue");
    let config = QueuePairConfig { shared_receive: Some(queue), ..config() };
    let mut pair = Pair::with(device, backend, &config);
    for round in 0..10_u64 {
        for id in 0..2_usize {
            let scatter = [pair.there.sge(id * 64, 32), pair.there.sge(id * 64 + 32, 32)];
            let request = ReceiveRequest { id: 100 + id as u64, scatter: &scatter };
            pair.backend.post_shared_receive(queue, &request).expect("posting a shared receive");
        }
        pair.backend.ring_shared_receive(queue);
        let message = [round as u8; 40];
        pair.post(1, Operation::Send { local: Payload::Inline(&message), immediate: Some(5) });
        pair.post(2, Operation::Send { local: Payload::Inline(&message[..8]), immediate: None });
        pair.backend.ring_send(pair.left);
        let mut received: Vec<_> = pair.wait(4).into_iter().filter(|one| one.id >= 100).collect();
        received.sort_by_key(|one| one.id);
        let told: Vec<_> =
            received.iter().map(|one| (one.id, one.byte_length, one.immediate, one.result)).collect();
        let message = Ok(CompletionKind::Receive);
        assert_eq!(told, [(100, 40, Some(5), message), (101, 8, None, message)]);
        assert_eq!(pair.there.content(0, 40), [round as u8; 40]);
        assert_eq!(pair.there.content(64, 8), [round as u8; 8]);
    }
    let own = ReceiveRequest { id: 1, scatter: &[] };
    assert_eq!(pair.backend.post_receive(pair.right, &own), Err(PostError::UsesSharedQueue));
}
