//! A worker that does not keep to the protocol, made of an endpoint alone.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Instant,
};

use pmd_host::{
    control::{DownReason, RequestError},
    endpoint::{Endpoint, EndpointConfig, Peer, PeerService},
    lane::Message,
    transfer::SendError,
};

use crate::{
    server::{BatchError, Gather, Server},
    tensor::Layout,
    wire::{
        AgreeArea, AreaAgreed, BatchPart, CancelAnswer, CancelRequest, Definition, Flags, INLINE,
        Introduction, NO_SLOT, PushEntry, Refusal, RequestHeader, RequestView, ResponseView, VERSION, kind,
    },
    worker::{
        MESSAGE_BYTES,
        tests::{
            device::{server_on, shielded},
            support::*,
        },
    },
};

struct Sink(Mutex<mpsc::Sender<(u32, Vec<u8>)>>);

impl PeerService for Sink {
    fn message(&self, _: &Peer, message: Message<'_>) {
        let _ = self.0.lock().unwrap().send((message.immediate.unwrap(), message.bytes.to_vec()));
    }
}

struct FakeWorker {
    _endpoint: Endpoint,
    peer: Peer,
    responses: mpsc::Receiver<(u32, Vec<u8>)>,
}

impl FakeWorker {
    fn connect(server: &Server) -> Self {
        let (sender, responses) = mpsc::channel();
        let config = EndpointConfig { message_bytes: MESSAGE_BYTES, ..EndpointConfig::default() };
        let endpoint = Endpoint::open(config, Arc::new(Sink(Mutex::new(sender)))).unwrap();
        let peer = endpoint.connect(server.local_address().unwrap()).unwrap();
        Self { _endpoint: endpoint, peer, responses }
    }

    fn introduce(&self, version: u8) -> Result<Vec<u8>, RequestError> {
        let ours = Introduction { version, node: node(0), message_bytes: MESSAGE_BYTES as u32 };
        self.peer.request(kind::INTRODUCE, postcard::to_allocvec(&ours).unwrap(), PATIENCE)
    }

    fn area(&self, key: u64, capacity: u64, depth: u16) -> Result<AreaAgreed, RequestError> {
        let question = postcard::to_allocvec(&AgreeArea { key, capacity, depth }).unwrap();
        let answer = self.peer.request(kind::AGREE_AREA, question, PATIENCE)?;
        Ok(postcard::from_bytes(&answer).unwrap())
    }

    fn cancel(&self, slot: u16, generation: u16) -> CancelAnswer {
        let question = postcard::to_allocvec(&CancelRequest { slot, generation }).unwrap();
        postcard::from_bytes(&self.peer.request(kind::CANCEL, question, PATIENCE).unwrap()).unwrap()
    }

    fn send(&self, view: &RequestView<'_>) {
        let mut bytes = Vec::new();
        view.emit(&mut bytes);
        let until = Instant::now() + PATIENCE;
        while let Err(error) = self.peer.route().send(&bytes, None) {
            assert!(matches!(error, SendError::Full) && Instant::now() < until, "{error}");
            std::thread::yield_now();
        }
    }

    fn response(&self) -> (u32, ResponseView<'static>) {
        let (immediate, bytes) = self.responses.recv_timeout(PATIENCE).unwrap();
        (immediate, ResponseView::parse(bytes.leak()).unwrap())
    }
}

fn request(slot: u16, generation: u16) -> RequestView<'static> {
    let header = RequestHeader { slot, generation, ..RequestHeader::default() };
    RequestView { header, pushes: Vec::new(), pulls: Vec::new(), definitions: Vec::new(), data: &[] }
}

fn push(length: u32, layout: u16, slot: u16) -> PushEntry {
    PushEntry { key: 1, length, layout, slot }
}

#[test]
fn what_was_not_agreed_on_is_refused_and_the_worker_stays() {
    let server = server(0);
    let worker = FakeWorker::connect(&server);
    worker.introduce(VERSION).unwrap();
    assert_eq!(worker.area(1, 100, 2).unwrap().depth, 2);
    let known = Definition { number: 1, layout: Layout::of_bytes(100) };
    let large = Definition { number: 2, layout: Layout::of_bytes(200) };
    let wrong = [
        push(100, 9, 0),       // a layout that was never defined
        push(99, 1, 0),        // not the layout's length
        push(100, 1, 2),       // a slot beyond the area
        push(200, 2, 0),       // larger than the slot
        push(100, 1, NO_SLOT), // bytes, and nowhere to be
        PushEntry { key: 2, ..push(100, 1, 0) },
    ];
    for (slot, entry) in (0..).zip(wrong) {
        worker.send(&RequestView {
            pushes: vec![entry],
            definitions: vec![known, large],
            ..request(slot, 1)
        });
        assert_eq!(worker.response(), (1 << 16 | u32::from(slot), ResponseView::Refused(Refusal::Malformed)));
    }
    worker.send(&RequestView { pushes: vec![push(100, 1, 1)], ..request(9, 1) });
    assert_eq!(next(&server).pushes().count(), 1);
}

#[test]
fn what_does_not_parse_ends_the_connection() {
    let server = server(0);
    let worker = FakeWorker::connect(&server);
    worker.introduce(VERSION).unwrap();
    worker.peer.route().send(b"nonsense", None).unwrap();
    let told = server.batch(Gather::Any, soon()).unwrap_err();
    assert!(matches!(told, BatchError::WorkerDown { worker, .. } if worker == node(0)));
    let until = Instant::now() + PATIENCE;
    while worker.peer.down_reason().is_none() {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    assert_eq!(worker.peer.down_reason(), Some(DownReason::Goodbye));
}

#[test]
fn questions_out_of_turn_or_range_are_refused_by_code() {
    let server = server(0);
    let worker = FakeWorker::connect(&server);
    let code = |result: Result<AreaAgreed, RequestError>| match result {
        Err(RequestError::Refused(refusal)) => refusal.code,
        other => panic!("{other:?}"),
    };
    assert_eq!(code(worker.area(1, 100, 1)), 3, "not introduced");
    let other_version = worker.introduce(VERSION + 1);
    assert!(matches!(other_version, Err(RequestError::Refused(refusal)) if refusal.code == 2));
    worker.introduce(VERSION).unwrap();
    for (capacity, depth) in [(0, 1), (1 << 32, 1), (100, 0)] {
        assert_eq!(code(worker.area(1, capacity, depth)), 1, "malformed");
    }
    assert_eq!(worker.area(1, 100, u16::MAX).unwrap().depth, 256, "as deep as the server allows");
    let nonsense = worker.peer.request(kind::AGREE_AREA, vec![0xff; 30], PATIENCE);
    assert!(matches!(nonsense, Err(RequestError::Refused(refusal)) if refusal.code == 1));
    assert!(matches!(worker.peer.request(99, vec![], PATIENCE), Err(RequestError::Refused(_))));
    // 127 areas of 256 slots are all that a key's slot numbers allow.
    let areas = (0..200).take_while(|_| worker.area(1, 1, 256).is_ok()).count();
    assert_eq!(areas, 126);
    assert_eq!(code(worker.area(1, 1, 256)), 7, "no slots left");
}

#[test]
fn cancels_meet_requests_in_every_state() {
    let server = server(0);
    let worker = FakeWorker::connect(&server);
    worker.introduce(VERSION).unwrap();
    // Before it arrives: it is dropped when it does, and its slot's next life is not.
    assert_eq!(worker.cancel(0, 1), CancelAnswer::Quiet);
    worker.send(&request(0, 1));
    worker.send(&request(0, 2));
    let second = next(&server);
    assert!(server.try_batch(Gather::Any).unwrap().is_none());
    // In hands, then answered, then long gone.
    worker.send(&request(1, 1));
    let third = next(&server);
    assert_eq!(worker.cancel(1, 1), CancelAnswer::Quiet);
    assert!(third.is_cancelled() && third.respond(&[]).is_err());
    second.respond(&[]).unwrap().wait(soon()).unwrap();
    assert_eq!(worker.response(), (2 << 16, ResponseView::Complete));
    assert_eq!(worker.cancel(0, 2), CancelAnswer::Quiet);
    worker.send(&request(0, 3));
    assert!(!next(&server).is_cancelled());
}

#[test]
fn parts_of_a_batch_may_come_in_any_order() {
    let server = server(0);
    let worker = FakeWorker::connect(&server);
    worker.introduce(VERSION).unwrap();
    let part = |slot: u16, batch: u32, index: u16, flags: Flags| {
        let batch = Some(BatchPart { batch, index });
        let header = RequestHeader { slot, generation: 1, flags, tag: u32::from(index), batch };
        RequestView { header, ..request(slot, 1) }
    };
    let middle = Flags::CONTINUES | Flags::MORE;
    worker.send(&part(0, 7, 2, Flags::CONTINUES));
    worker.send(&part(1, 8, 0, Flags::MORE));
    worker.send(&part(2, 7, 0, Flags::MORE));
    worker.send(&part(3, 7, 1, middle));
    let whole = next(&server);
    assert!(whole.is_batch() && whole.tag() == 0);
    assert!(server.try_batch(Gather::Any).unwrap().is_none(), "batch 8 lacks its end");
    whole.respond(&[]).unwrap();
    let mut answered: Vec<u32> = (0..3).map(|_| worker.response().0 & 0xffff).collect();
    answered.sort_unstable();
    assert_eq!(answered, [0, 2, 3]);
}

#[test]
fn what_comes_after_its_cancel_is_not_written() {
    let server = server(0);
    let worker = FakeWorker::connect(&server);
    worker.introduce(VERSION).unwrap();
    worker.area(1, 100, 1).unwrap();
    assert_eq!(worker.cancel(0, 1), CancelAnswer::Quiet);
    // The slot is the next request's, which the server reads first here.
    let known = Definition { number: 1, layout: Layout::of_bytes(100) };
    let of = |slot, data| RequestView {
        pushes: vec![push(100, 1, INLINE)],
        definitions: vec![known],
        data,
        ..request(slot, 1)
    };
    worker.send(&of(1, &[2; 100]));
    let kept = next(&server);
    worker.send(&of(0, &[1; 100]));
    worker.send(&request(2, 1));
    let _later = next(&server);
    assert_eq!(pushed(&kept), [(1, vec![2; 100])]);
}

#[test]
fn what_waits_is_not_handed_out_when_it_is_cancelled_and_its_slot_is_used_again() {
    let server = server(0);
    let worker = FakeWorker::connect(&server);
    worker.introduce(VERSION).unwrap();
    worker.send(&request(0, 1));
    worker.send(&request(1, 1));
    // The second comes after the first, which is there then.
    until("both are there", || server.inbox().waiting() == 2);
    assert_eq!(worker.cancel(0, 1), CancelAnswer::Quiet);
    worker.send(&request(0, 2));
    until("the third is there", || server.inbox().waiting() == 3);
    for immediate in [1 << 16 | 1, 2 << 16] {
        next(&server).respond(&[]).unwrap();
        assert_eq!(worker.response(), (immediate, ResponseView::Complete));
    }
    assert!(server.try_batch(Gather::Any).unwrap().is_none());
}

/// A part of a batch: its slot, its batch, its place there.
fn part(slot: u16, batch: u32, index: u16, flags: Flags) -> RequestView<'static> {
    let header =
        RequestHeader { slot, generation: 1, flags, batch: Some(BatchPart { batch, index }), tag: 0 };
    RequestView { header, ..request(slot, 1) }
}

fn abandoned(slot: u16) -> (u32, ResponseView<'static>) {
    (1 << 16 | u32::from(slot), ResponseView::Refused(Refusal::Abandoned))
}

#[test]
fn a_part_that_is_cancelled_before_it_comes_ends_its_batch() {
    let server = server(0);
    let worker = FakeWorker::connect(&server);
    worker.introduce(VERSION).unwrap();
    assert_eq!(worker.cancel(0, 1), CancelAnswer::Quiet);
    worker.send(&part(0, 5, 0, Flags::MORE));
    worker.send(&part(1, 5, 1, Flags::CONTINUES));
    worker.send(&request(2, 1));
    assert!(!next(&server).is_batch());
    assert_eq!(worker.response(), abandoned(1));
}

#[test]
fn batches_that_are_given_up_or_too_many_are_refused() {
    let server = server(0);
    let worker = FakeWorker::connect(&server);
    worker.introduce(VERSION).unwrap();
    let give_up = |batch: u32| {
        let body = postcard::to_allocvec(&batch).unwrap();
        worker.peer.connection().event(kind::GIVE_UP_BATCH, body).unwrap();
    };
    worker.send(&part(0, 1, 0, Flags::MORE));
    give_up(1);
    assert_eq!(worker.response(), abandoned(0));
    // What comes later is refused too.
    worker.send(&part(1, 1, 1, Flags::CONTINUES));
    assert_eq!(worker.response(), abandoned(1));
    for batch in 2..2 + 1024 {
        worker.send(&part(batch as u16, batch, 0, Flags::MORE));
    }
    worker.send(&part(2000, 2000, 0, Flags::MORE));
    assert_eq!(worker.response(), abandoned(2), "the oldest makes way");
    worker.send(&part(2001, 2000, 1, Flags::CONTINUES));
    assert!(next(&server).is_batch());
}

#[test]
fn data_inside_of_a_header_for_an_area_of_a_device_is_refused() {
    let accelerator = shielded();
    let server = server_on(&accelerator, true);
    let worker = FakeWorker::connect(&server);
    worker.introduce(VERSION).unwrap();
    assert!(worker.area(1, 100, 1).unwrap().write_only, "it is told");
    let known = Definition { number: 1, layout: Layout::of_bytes(4) };
    let inside = RequestView {
        pushes: vec![push(4, 1, INLINE)],
        definitions: vec![known],
        data: b"data",
        ..request(0, 1)
    };
    worker.send(&inside);
    assert_eq!(worker.response(), (1 << 16, ResponseView::Refused(Refusal::Malformed)));
    // Written, it is taken.
    worker.send(&RequestView { pushes: vec![push(4, 1, 0)], data: &[], ..request(1, 1) });
    assert_eq!(next(&server).pushes().count(), 1);
}
