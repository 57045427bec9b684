//! Events: each is read once or taken back.

use std::io::Read;

use super::*;
use crate::{
    kernel::events::deliver,
    state::{Asynchronous, AsynchronousKind},
};

/// A completion channel.
fn channel(library: &Library) -> c_int {
    let answer = library.plain(command::CREATE_COMP_CHANNEL, Answer::default()).expect("a channel");
    word(&answer, 0).cast_signed()
}

/// As the device does when an armed queue gets entries.
fn raise(library: &Library, queue: u32, events: u32) {
    let device = library.device();
    if let Some(queue) = device.lock().completion_queues.find_mut(queue) {
        queue.events_pending += events;
    }
    deliver(device);
}

#[test]
fn destroying_a_queue_waits_for_events_that_were_read_only() {
    let (library, _) = Library::allocated();
    let channel = channel(&library);
    let (handle, cqn) = library.completion_queue(0xabc, channel);
    let (other_handle, other) = library.completion_queue(0xdef, channel);
    raise(&library, cqn, 3);
    raise(&library, other, 1);
    let mut record = [0; 8];
    let mut file = take(channel);
    file.read_exact(&mut record).expect("an event");
    assert_eq!(u64::from_ne_bytes(record), 0xabc);
    let destroy = |handle| library.plain(command::DESTROY_CQ, Answer::default().u32(&[handle, 0]));
    assert_eq!(word(&destroy(handle).expect("unused"), 0), 1);
    // The other queue's event is still there.
    file.read_exact(&mut record).expect("an event");
    assert_eq!(u64::from_ne_bytes(record), 0xdef);
    assert_eq!(word(&destroy(other_handle).expect("unused"), 0), 1);
    shim::close(std::os::fd::IntoRawFd::into_raw_fd(file));
}

#[test]
fn events_that_a_full_channel_loses_are_waited_for_by_nobody() {
    let (library, _) = Library::allocated();
    let channel = channel(&library);
    let (handle, cqn) = library.completion_queue(0x111, channel);
    raise(&library, cqn, 10_000);
    let answer = library.plain(command::DESTROY_CQ, Answer::default().u32(&[handle, 0])).expect("unused");
    assert_eq!(word(&answer, 0), 0);
    shim::close(channel);
}

#[test]
fn asynchronous_events_reach_the_context_that_has_the_object() {
    let (one, asynchronous) = Library::allocated();
    let (_other, elsewhere) = Library::allocated();
    let (completions, _) = one.completion_queue(1, -1);
    let (handle, qpn) = one.queue_pair(0x777, one.domain(), completions);
    let owner = one.device().process;
    for _ in 0..2 {
        let kind = AsynchronousKind::QueuePairAccessError;
        let event = Asynchronous { owner, kind, number: qpn, user_handle: 0x777 };
        one.device().lock().asynchronous.push(event);
    }
    deliver(one.device());
    let mut record = [0; 16];
    take(asynchronous).read_exact(&mut record).expect("an event");
    assert_eq!((word(&record, 0), word(&record, 8)), (0x777, 3));
    let file = take(elsewhere);
    assert_eq!(unread(&file), 0);
    // One was read, the other is taken back.
    let answer = one.plain(command::DESTROY_QP, Answer::default().u32(&[handle, 0])).expect("a queue pair");
    assert_eq!(word(&answer, 0), 1);
}

#[test]
fn events_of_the_port_reach_every_context() {
    let contexts = [Library::allocated(), Library::allocated()];
    let device = contexts[0].0.device();
    let event =
        Asynchronous { owner: device.process, kind: AsynchronousKind::PortError, number: 1, user_handle: 1 };
    device.lock().asynchronous.push(event);
    deliver(device);
    for (_, asynchronous) in &contexts {
        let mut record = [0; 16];
        take(*asynchronous).read_exact(&mut record).expect("an event");
        assert_eq!((word(&record, 0), word(&record, 8)), (1, 10));
    }
}

/// Bytes that wait in a pipe.
#[expect(unsafe_code, reason = "asks a pipe")]
fn unread(file: &std::fs::File) -> c_int {
    let mut count = 0;
    // SAFETY: room for the answer.
    unsafe { libc::ioctl(file.as_raw_fd(), libc::FIONREAD, &raw mut count) };
    count
}
