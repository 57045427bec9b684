#![allow(unsafe_code)] // makes up events as libibverbs hands them out

use std::os::fd::AsRawFd;

use pmd_sys::verbs::*;

use super::super::{
    events::{Event, EventRouter, Happened, parse},
    room::CompletionRoom,
};
use crate::backend::SetupError;

/// A router over a descriptor that never says anything.
fn router() -> (EventRouter, std::io::PipeReader, std::io::PipeWriter) {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    (EventRouter::new(reader.as_raw_fd()).expect("a router"), reader, writer)
}

#[test]
fn the_descriptor_no_longer_blocks() {
    let (_router, mut reader, _writer) = router();
    let nothing = std::io::Read::read(&mut reader, &mut [0]).expect_err("nothing to read");
    assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn an_event_reaches_its_own_back_end_once() {
    let (router, _reader, _writer) = router();
    let (first, second) = (router.sink(0x1000), router.sink(0x2000));
    router.route(Event::QueuePair { queue: 0x2000, number: 5 });
    router.route(Event::QueuePair { queue: 0x2000, number: 5 });
    assert!(!first.is_pending());
    assert!(second.is_pending());
    assert_eq!(second.take(), Happened { queue_pairs: vec![5], ..Happened::default() });
    assert!(!second.is_pending());
    router.route(Event::CompletionQueue { queue: 0x1000 });
    assert_eq!(first.take(), Happened { completion_queue_failed: true, ..Happened::default() });
    assert_eq!(second.take(), Happened::default());
}

#[test]
fn what_concerns_all_reaches_all_that_live() {
    let (router, _reader, _writer) = router();
    let (first, second) = (router.sink(0x1000), router.sink(0x2000));
    drop(first);
    let third = router.sink(0x1000);
    router.route(Event::Device);
    router.route(Event::SharedReceive);
    let both = Happened { device_failed: true, shared_receive_failed: true, ..Happened::default() };
    assert_eq!((second.take(), third.take()), (both.clone(), both));
    router.route(Event::Other);
    assert!(!second.is_pending());
}

#[test]
fn events_are_taken_apart_by_their_type() {
    let mut queue = ibv_cq::default();
    let mut queue_pair = ibv_qp { send_cq: &raw mut queue, qp_num: 77, ..Default::default() };
    let at = (&raw const queue).addr();
    let event = |event_type, element| {
        // SAFETY: what the event names lives on this stack.
        unsafe { parse(&ibv_async_event { element, event_type }) }
    };
    let fatal = ibv_async_event__bindgen_ty_1 { qp: &raw mut queue_pair };
    let failed = Event::QueuePair { queue: at, number: 77 };
    for kind in [IBV_EVENT_QP_FATAL, IBV_EVENT_QP_REQ_ERR, IBV_EVENT_QP_ACCESS_ERR] {
        assert_eq!(event(kind, fatal), failed);
    }
    assert_eq!(event(IBV_EVENT_COMM_EST, fatal), Event::Other);
    let of_queue = ibv_async_event__bindgen_ty_1 { cq: &raw mut queue };
    assert_eq!(event(IBV_EVENT_CQ_ERR, of_queue), Event::CompletionQueue { queue: at });
    let of_port = ibv_async_event__bindgen_ty_1 { port_num: 2 };
    assert_eq!(event(IBV_EVENT_PORT_ERR, of_port), Event::PortDown { port: 2 });
    assert_eq!(event(IBV_EVENT_PORT_ACTIVE, of_port), Event::PortActive { port: 2 });
    assert_eq!(event(IBV_EVENT_DEVICE_FATAL, of_port), Event::Device);
    assert_eq!(event(IBV_EVENT_SRQ_ERR, of_port), Event::SharedReceive);
}

#[test]
fn a_completion_queue_is_not_promised_twice() {
    let mut room = CompletionRoom::new(100);
    room.promise(60).expect("room");
    let refused = room.promise(41);
    assert!(matches!(refused, Err(SetupError::Limit { wanted: 41, limit: 40, .. })), "{refused:?}");
    room.promise(40).expect("room");
    room.release(60);
    room.promise(60).expect("room again");
    room.promise(1).expect_err("full");
}
