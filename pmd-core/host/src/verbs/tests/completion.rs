use pmd_core::{
    memory::{LocalKey, RemoteAddress, RemoteKey, Sge},
    provider::{
        Completion, CompletionError, CompletionKind, CompletionQueueError, Operation, QueuePairHandle,
        QueuePairNumber, ReceiveRequest, SendFlags, SendRequest,
    },
    queue::QueuePairState,
    wire::Syndrome,
};
use pmd_sys::{inline::ibv_post_recv, verbs::*};

use super::{
    super::{
        identity::Queue,
        objects::{Objects, Queues, Receives},
        receive::ReceiveChain,
        send::{SendChain, SendLimits},
    },
    Fake, chains, refuse_after,
};

/// Objects with one connected queue pair.
fn objects(fake: &mut Fake) -> (Objects, QueuePairHandle) {
    let mut objects = Objects::default();
    let (handle, generation) = objects.reserve().expect("a handle");
    let limits = SendLimits { requests: 8, sges: 2, inline: 16, message: 1 << 20 };
    let queues = Queues {
        queue_pair: fake.queue_pair(),
        number: QueuePairNumber(0x1234),
        state: QueuePairState::ReadyToSend,
        send: SendChain::new(limits, handle, generation),
        receive: Receives::Own(ReceiveChain::new(4, 1, Queue::Receive, handle, generation)),
    };
    let handle = objects.insert(handle, queues);
    (objects, handle)
}

/// Posts a read and rings; gives back its `wr_id`.
fn read(objects: &mut Objects, handle: QueuePairHandle, id: u64) -> u64 {
    let local = [Sge { address: 0x1000, length: 100, key: LocalKey(1) }];
    let remote = RemoteAddress { address: 0, key: RemoteKey(2) };
    let request =
        SendRequest { id, operation: Operation::Read { remote, local: &local }, flags: SendFlags::SIGNALED };
    let queues = objects.queues_mut(handle).expect("queues");
    queues.send.post(&request).expect("room");
    // SAFETY: the made-up queue pair lives.
    unsafe { queues.send.ring(queues.queue_pair.as_ptr()) };
    chains().last().and_then(|chain| chain.last()).expect("a request").wr_id
}

/// Posts a receive and rings; gives back its `wr_id`.
fn receive(objects: &mut Objects, handle: QueuePairHandle, id: u64) -> u64 {
    let queues = objects.queues_mut(handle).expect("queues");
    let raw = queues.queue_pair.as_ptr();
    let Receives::Own(chain) = &mut queues.receive else { panic!("no receives") };
    chain.post(&ReceiveRequest { id, scatter: &[] }).expect("room");
    // SAFETY: the made-up queue pair lives.
    chain.ring(|list, bad| unsafe { ibv_post_recv(raw, list, bad) });
    chains()[0][0].wr_id
}

fn entry(wr_id: u64, status: ibv_wc_status) -> ibv_wc {
    ibv_wc { wr_id, status, qp_num: 0x1234, vendor_err: 0x88, ..Default::default() }
}

#[test]
fn a_success_gives_back_what_was_posted() {
    let mut fake = Fake::new();
    let (mut objects, handle) = objects(&mut fake);
    let wr_id = read(&mut objects, handle, 42);
    let completion = objects.complete(&entry(wr_id, IBV_WC_SUCCESS));
    let expected = Completion {
        id: 42,
        queue_pair: QueuePairNumber(0x1234),
        byte_length: 100,
        immediate: None,
        result: Ok(CompletionKind::Read),
    };
    assert_eq!(completion, Ok(Some(expected)));
    let again = objects.complete(&entry(wr_id, IBV_WC_SUCCESS));
    assert_eq!(again, Err(CompletionQueueError::Foreign { queue_pair: 0x1234, index: 0 }));
}

#[test]
fn receives_say_their_length_kind_and_immediate() {
    let mut fake = Fake::new();
    let (mut objects, handle) = objects(&mut fake);
    let cases = [
        (IBV_WC_RECV, 0, CompletionKind::Receive, None),
        (IBV_WC_RECV, IBV_WC_WITH_IMM, CompletionKind::Receive, Some(0x0102_0304)),
        (
            IBV_WC_RECV_RDMA_WITH_IMM,
            IBV_WC_WITH_IMM,
            CompletionKind::ReceiveWriteImmediate,
            Some(0x0102_0304),
        ),
    ];
    for (opcode, wc_flags, kind, immediate) in cases {
        let wr_id = receive(&mut objects, handle, 7);
        let mut entry = ibv_wc { opcode, wc_flags, byte_len: 33, ..entry(wr_id, IBV_WC_SUCCESS) };
        entry.__bindgen_anon_1.imm_data = u32::from_ne_bytes([1, 2, 3, 4]);
        let completion = objects.complete(&entry).expect("known").expect("current");
        assert_eq!((completion.id, completion.byte_length), (7, 33));
        assert_eq!((completion.result, completion.immediate), (Ok(kind), immediate));
    }
}

#[test]
fn a_failure_moves_the_queue_pair_to_error() {
    let mut fake = Fake::new();
    let (mut objects, handle) = objects(&mut fake);
    let (sent, received) = (read(&mut objects, handle, 1), receive(&mut objects, handle, 2));
    let failed = objects.complete(&entry(sent, IBV_WC_REM_ACCESS_ERR)).expect("known").expect("current");
    let error = CompletionError { syndrome: Syndrome::RemoteAccess, vendor: 0x88, is_receive: false };
    assert_eq!((failed.id, failed.result), (1, Err(error)));
    assert_eq!(objects.queues(handle).map(|queues| queues.state), Some(QueuePairState::Error));
    let flushed = objects.complete(&entry(received, IBV_WC_WR_FLUSH_ERR)).expect("known").expect("current");
    let error = CompletionError { syndrome: Syndrome::Flushed, vendor: 0x88, is_receive: true };
    assert_eq!((flushed.id, flushed.result), (2, Err(error)));
}

#[test]
fn completions_of_before_a_reset_are_nobodys() {
    let mut fake = Fake::new();
    let (mut objects, handle) = objects(&mut fake);
    let (sent, received) = (read(&mut objects, handle, 1), receive(&mut objects, handle, 2));
    objects.reset(handle);
    for stale in [sent, received] {
        assert_eq!(objects.complete(&entry(stale, IBV_WC_WR_FLUSH_ERR)), Ok(None));
    }
    assert_eq!(objects.queues(handle).map(|queues| queues.state), Some(QueuePairState::Reset));
    let fresh = read(&mut objects, handle, 3);
    assert_ne!(fresh, sent);
    assert!(objects.complete(&entry(fresh, IBV_WC_SUCCESS)).expect("known").is_some());
    objects.remove(handle).expect("queues");
    assert_eq!(objects.complete(&entry(fresh, IBV_WC_SUCCESS)), Ok(None));
    assert_eq!(objects.reserve(), Some((0, 2)), "the handle is given out again, of another generation");
}

#[test]
fn refusals_become_failed_completions() {
    let mut fake = Fake::new();
    let (mut objects, handle) = objects(&mut fake);
    objects.has_refusals = true;
    let queues = objects.queues_mut(handle).expect("queues");
    let remote = RemoteAddress { address: 0, key: RemoteKey(2) };
    for id in 1..4 {
        let operation = Operation::Read { remote, local: &[] };
        queues.send.post(&SendRequest { id, operation, flags: SendFlags::empty() }).expect("room");
    }
    refuse_after(0, libc::EINVAL);
    // SAFETY: the made-up queue pair lives.
    assert!(unsafe { queues.send.ring(queues.queue_pair.as_ptr()) });
    let mut completions = [Completion::EMPTY; 2];
    assert_eq!(objects.report_refusals(&mut completions), 2);
    let error = |syndrome| CompletionError { syndrome, vendor: libc::EINVAL as u8, is_receive: false };
    assert_eq!(
        (completions[0].id, completions[0].result),
        (1, Err(error(Syndrome::LocalQueuePairOperation)))
    );
    assert_eq!((completions[1].id, completions[1].result), (2, Err(error(Syndrome::Flushed))));
    assert!(objects.has_refusals);
    assert_eq!(objects.report_refusals(&mut completions), 1);
    assert_eq!(completions[0].id, 3);
    assert!(!objects.has_refusals);
}

#[test]
fn shared_receives_name_the_queue_pair_that_took_them() {
    let mut fake = Fake::new();
    let (mut objects, handle) = objects(&mut fake);
    let mut chain = ReceiveChain::new(2, 1, Queue::SharedReceive, 0, 0);
    chain.post(&ReceiveRequest { id: 8, scatter: &[] }).expect("room");
    let raw = fake.queue_pair().as_ptr();
    // SAFETY: the made-up queue pair lives.
    chain.ring(|list, bad| unsafe { ibv_post_recv(raw, list, bad) });
    objects.shared.push(chain);
    let wr_id = chains()[0][0].wr_id;
    let failed = objects.complete(&entry(wr_id, IBV_WC_LOC_LEN_ERR)).expect("known").expect("current");
    assert_eq!((failed.id, failed.queue_pair), (8, QueuePairNumber(0x1234)));
    assert_eq!(objects.queues(handle).map(|queues| queues.state), Some(QueuePairState::Error));
    let again = objects.complete(&entry(wr_id, IBV_WC_SUCCESS));
    assert!(matches!(again, Err(CompletionQueueError::Foreign { .. })), "{again:?}");
}
