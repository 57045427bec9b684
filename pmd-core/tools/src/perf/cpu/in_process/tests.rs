use pmd_core::provider::{Completion, CompletionKind, Operation, Payload, Provider, SendFlags, SendRequest};

use super::{InProcess, REMOTE, SLOTS};

#[test]
fn completes_each_request_once_and_in_order_over_many_wraps() {
    let mut device = InProcess::new().unwrap();
    let queue_pair = device.queue_pair();
    // 100 bytes inline take three slots: wraps fall in every place.
    let bytes = [7; 100];
    let mut next = 0;
    for round in 0..500_u64 {
        let count = 1 + round % 250;
        for id in 0..count {
            let operation = Operation::Write { remote: REMOTE, local: Payload::Inline(&bytes) };
            let request = SendRequest { id: next + id, operation, flags: SendFlags::SIGNALED };
            device.provider().post_send(queue_pair, &request).unwrap();
        }
        device.provider().ring_send(queue_pair);
        let mut completions = [Completion::EMPTY; SLOTS];
        assert_eq!(device.provider().poll(&mut completions), Ok(0));
        InProcess::deliver(device.provider());
        assert_eq!(device.provider().poll(&mut completions), Ok(count as usize));
        for completion in &completions[..count as usize] {
            assert_eq!((completion.id, completion.result), (next, Ok(CompletionKind::Write)));
            next += 1;
        }
    }
}
