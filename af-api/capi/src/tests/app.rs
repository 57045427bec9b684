//! Requests between applications.

use std::{
    ffi::c_void,
    sync::mpsc::{Sender, channel},
    time::Duration,
};

use super::*;
use crate::app::*;

/// Answers with the bytes turned round; not at all at head 0.
unsafe extern "C" fn reverse(_: *mut c_void, request: *const pmd_af_app_message, reply: *mut pmd_af_reply) {
    // SAFETY: a message, valid during the call.
    let request = unsafe { &*request };
    // SAFETY: so many bytes.
    let mut body = unsafe { std::slice::from_raw_parts(request.body, request.length) }.to_vec();
    body.reverse();
    if request.head != 0 {
        // SAFETY: the reply of this call.
        let set = unsafe { pmd_af_reply_set(reply, body.as_ptr(), body.len()) };
        assert_eq!(set, pmd_af_status::Ok);
    }
}

type Told = (u32, u32, u64, i32, Vec<u8>);

/// Tells a test.
unsafe extern "C" fn tell(context: *mut c_void, response: *const pmd_af_app_message) {
    // SAFETY: the test's sender, which lives until the application is closed.
    let sender = unsafe { &*context.cast::<Sender<Told>>() };
    // SAFETY: a message, valid during the call.
    let response = unsafe { &*response };
    // SAFETY: so many bytes.
    let body = unsafe { std::slice::from_raw_parts(response.body, response.length) }.to_vec();
    let _ = sender.send((response.role, response.rank, response.timestamp, response.head, body));
}

#[test]
fn applications_ask_and_answer() {
    let cluster = Cluster::new();
    let (sender, told_of) = channel::<Told>();
    let open = |node, role, request, response, context| {
        // SAFETY: functions of this test, and a place for the application.
        made(null_mut(), |place| unsafe { pmd_af_app_open(node, role, 7, request, response, context, place) })
    };
    let context = (&raw const sender).cast_mut().cast::<c_void>();
    let worker = told(open(cluster.worker, PMD_AF_WORKERS, None, Some(tell as _), context));
    let server = told(open(cluster.server, PMD_AF_SERVERS, Some(reverse as _), None, null_mut()));
    let ask = |rank, head| {
        // SAFETY: three bytes, and a place for the number.
        made(0, |place| unsafe {
            pmd_af_app_request(worker, PMD_AF_SERVERS, rank, head, b"abc".as_ptr(), 3, place)
        })
    };
    for rank in [0, -1] {
        let timestamp = told(ask(rank, 5));
        assert_eq!(pmd_af_app_wait(worker, timestamp, PATIENCE), pmd_af_status::Ok, "{}", last_error());
        let answer = told_of.recv_timeout(Duration::from_secs(20)).expect("it was given out");
        assert_eq!(answer, (PMD_AF_SERVERS, 0, timestamp, 5, b"cba".to_vec()));
        assert_eq!(pmd_af_app_wait(worker, timestamp, PATIENCE), pmd_af_status::NotFound);
    }
    let unanswered = told(ask(0, 0));
    assert_eq!(pmd_af_app_wait(worker, unanswered, 1), pmd_af_status::Timeout);
    assert_eq!(ask(9, 5).err(), Some(pmd_af_status::PeerDown));
    // SAFETY: no body, and a place for the number.
    let nobody =
        made(0, |place| unsafe { pmd_af_app_request(worker, PMD_AF_WORKERS, -1, 0, null(), 0, place) });
    assert_eq!(nobody, Err(pmd_af_status::NotFound), "a worker is connected to no worker");
    // SAFETY: no reply.
    let no_reply = unsafe { pmd_af_reply_set(null_mut(), null(), 0) };
    assert_eq!(no_reply, pmd_af_status::NullPointer);
    let chief = open(cluster.worker, PMD_AF_SCHEDULER, None, None, null_mut());
    assert_eq!(chief.err(), Some(pmd_af_status::InvalidArgument));
    let other = open(cluster.worker, PMD_AF_SERVERS, None, None, null_mut());
    assert_eq!(other.err(), Some(pmd_af_status::InvalidArgument), "it is no server");
    for app in [worker, server] {
        assert_eq!(pmd_af_app_close(app), pmd_af_status::Ok);
        assert_eq!(pmd_af_app_close(app), pmd_af_status::InvalidHandle);
    }
}
