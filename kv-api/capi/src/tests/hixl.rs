use std::{ffi::c_void, net::TcpListener};

use kv_api::hixl::{AsyncConnectStatus, Status, TransferStatus};

use super::*;
use crate::{hixl::*, pmd_kv_option};

const TIMEOUT_MS: i32 = 20_000;

/// A server and a client of its own.
struct Two {
    server: *mut pmd_hixl,
    client: *mut pmd_hixl,
    name: CString,
}

fn made_by<T>(initial: T, call: impl FnOnce(*mut T) -> u32) -> Result<T, u32> {
    let mut place = initial;
    match call(&mut place) {
        0 => Ok(place),
        code => Err(code),
    }
}

fn engine(name: &CStr) -> *mut pmd_hixl {
    // SAFETY: a place for the engine.
    let engine = made_by(null_mut(), |place| unsafe { pmd_hixl_create(place) }).expect("made");
    // SAFETY: a name, and no options.
    assert_eq!(unsafe { pmd_hixl_initialize(engine, name.as_ptr(), null(), 0) }, 0, "{}", last_error());
    engine
}

impl Two {
    fn new() -> Self {
        let free =
            TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).expect("a port");
        let name = CString::new(free.to_string()).expect("text");
        Self { server: engine(&name), client: engine(c"127.0.0.1"), name }
    }

    fn connected() -> Self {
        let two = Self::new();
        assert_eq!(
            // SAFETY: a name.
            unsafe { pmd_hixl_connect(two.client, two.name.as_ptr(), TIMEOUT_MS) },
            0,
            "{}",
            last_error()
        );
        two
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        let _ = (pmd_hixl_destroy(self.client), pmd_hixl_destroy(self.server));
    }
}

fn register(engine: *const pmd_hixl, memory: &mut [u8]) -> *mut c_void {
    let (address, length) = (memory.as_mut_ptr() as u64, memory.len() as u64);
    // SAFETY: the tests keep the memory for longer than the engine, and look at it when nothing is under way.
    made_by(null_mut(), |place| unsafe { pmd_hixl_register(engine, address, length, 1, place) })
        .expect("registered")
}

fn piece(near: &mut [u8], far: &mut [u8]) -> pmd_hixl_op {
    let (local_address, remote_address) = (near.as_mut_ptr() as u64, far.as_mut_ptr() as u64);
    pmd_hixl_op { local_address, remote_address, length: near.len() as u64 }
}

#[test]
fn bytes_are_read_and_written_and_their_ends_are_told_once() {
    let (mut near, mut far) = (vec![1_u8; 4096], vec![2_u8; 4096]);
    let two = Two::connected();
    let handle = register(two.client, &mut near);
    assert_eq!(register(two.client, &mut near), handle);
    register(two.server, &mut far);
    let (name, whole) = (two.name.as_ptr(), piece(&mut near, &mut far));
    assert_eq!(
        // SAFETY: registered memory.
        unsafe { pmd_hixl_transfer_sync(two.client, name, 0, &whole, 1, TIMEOUT_MS) },
        0,
        "{}",
        last_error()
    );
    assert!(near.iter().all(|byte| *byte == 2));
    near.fill(3);
    let data = near.as_ptr().cast::<c_void>();
    // SAFETY: registered memory, and a place for the request.
    let request = made_by(null_mut(), |place| unsafe {
        pmd_hixl_transfer_async(two.client, name, 1, &whole, 1, data, 0, place)
    });
    let request = request.expect("begun");
    let (mut list, mut count) = (null_mut(), 0);
    let found = loop {
        // SAFETY: places for results.
        assert_eq!(unsafe { pmd_hixl_transfer_statuses(two.client, 9, false, &mut list, &mut count) }, 0);
        assert_eq!(count, 1);
        let empty = pmd_hixl_result { request: null_mut(), user_data: null(), status: -1 };
        // SAFETY: a place for the result.
        let result = made_by(empty, |place| unsafe { pmd_hixl_result_at(list, 0, place) }).expect("one");
        assert_eq!(
            // SAFETY: a place for the result.
            made_by(empty, |place| unsafe { pmd_hixl_result_at(list, 1, place) }).err(),
            Some(103_900)
        );
        assert_eq!((pmd_hixl_results_release(list), pmd_hixl_results_release(list)), (0, 103_900));
        if result.status != TransferStatus::Waiting as i32 {
            break result;
        }
    };
    assert_eq!(
        (found.request, found.user_data, found.status),
        (request, data, TransferStatus::Completed as i32)
    );
    // SAFETY: a place for the status.
    let again = made_by(-1, |place| unsafe { pmd_hixl_transfer_status(two.client, request, place) });
    assert_eq!(again, Err(Status::ParamInvalid.code()));
    assert_eq!(pmd_hixl_deregister(two.client, handle), 0);
    assert!(far.iter().all(|byte| *byte == 3));
}

/// So many pieces of the same memory take longer than that.
#[test]
fn transfers_that_are_late_are_given_up() {
    let (mut near, mut far) = (vec![1_u8; 4 << 20], vec![2_u8; 4 << 20]);
    // What is stopped too late to be drained takes its link with it: so each has its own.
    let (two, other) = (Two::connected(), Two::connected());
    for two in [&two, &other] {
        register(two.client, &mut near);
        register(two.server, &mut far);
    }
    let (name, many) = (two.name.as_ptr(), vec![piece(&mut near, &mut far); 1024]);
    // SAFETY: registered memory.
    let late = unsafe { pmd_hixl_transfer_sync(two.client, name, 0, many.as_ptr(), many.len(), 20) };
    assert_eq!(late, Status::Timeout.code());
    let name = other.name.as_ptr();
    // SAFETY: registered memory, and a place for the request.
    let request = made_by(null_mut(), |place| unsafe {
        pmd_hixl_transfer_async(other.client, name, 0, many.as_ptr(), many.len(), null(), 20, place)
    });
    let request = request.expect("begun");
    let status = loop {
        // SAFETY: a place for the status.
        let status = made_by(-1, |place| unsafe { pmd_hixl_transfer_status(other.client, request, place) });
        if status != Ok(TransferStatus::Waiting as i32) {
            break status;
        }
    };
    assert_eq!(status, Ok(TransferStatus::Timeout as i32));
}

#[test]
fn notifications_are_taken_with_their_lengths() {
    let two = Two::connected();
    // SAFETY: names and messages of their lengths.
    let sent = unsafe {
        pmd_hixl_send_notify(
            two.client,
            two.name.as_ptr(),
            b"na".as_ptr(),
            2,
            b"m\0g".as_ptr(),
            3,
            TIMEOUT_MS,
        )
    };
    assert_eq!(sent, 0, "{}", last_error());
    let (mut list, mut count) = (null_mut(), 0);
    // SAFETY: places for results.
    assert_eq!(unsafe { pmd_hixl_take_notifies(two.server, &mut list, &mut count) }, 0);
    assert_eq!(count, 1);
    let empty = pmd_hixl_notify { name: null(), name_length: 0, message: null(), message_length: 0 };
    // SAFETY: a place for the notification.
    let found = made_by(empty, |place| unsafe { pmd_hixl_notify_at(list, 0, place) }).expect("one");
    // SAFETY: the list lives.
    let (name, message) = unsafe {
        (
            std::slice::from_raw_parts(found.name, found.name_length),
            std::slice::from_raw_parts(found.message, found.message_length),
        )
    };
    assert_eq!((name, message), (b"na".as_slice(), b"m\0g".as_slice()));
    assert_eq!((pmd_hixl_notifies_release(list), pmd_hixl_notifies_release(list)), (0, 103_900));
    let long = [0_u8; 1025];
    // SAFETY: a message of its length.
    let refused = unsafe {
        pmd_hixl_send_notify(two.client, two.name.as_ptr(), null(), 0, long.as_ptr(), 1025, TIMEOUT_MS)
    };
    assert_eq!(refused, Status::ParamInvalid.code());
}

#[test]
fn links_are_made_and_taken_down_in_the_background() {
    let two = Two::new();
    let name = two.name.as_ptr();
    let status = || {
        // SAFETY: a name, and a place for the status.
        made_by(-1, |place| unsafe { pmd_hixl_connect_status(two.client, name, place) }).expect("a status")
    };
    let until = |wanted: AsyncConnectStatus| while status() != wanted as i32 {};
    assert_eq!(status(), AsyncConnectStatus::NotConnect as i32);
    // SAFETY: a name.
    assert_eq!(unsafe { pmd_hixl_connect_async(two.client, name, TIMEOUT_MS) }, 0);
    until(AsyncConnectStatus::Connected);
    let (mut list, mut count, mut entry, mut value) = (null_mut(), 0, null(), -1);
    // SAFETY: places for results.
    unsafe {
        assert_eq!(pmd_hixl_connect_statuses(two.client, &mut list, &mut count), 0);
        assert_eq!((pmd_hixl_link_at(list, 0, &mut entry, &mut value), count), (0, 1));
        assert_eq!(
            (CStr::from_ptr(entry), value),
            (two.name.as_c_str(), AsyncConnectStatus::Connected as i32)
        );
        assert_eq!(pmd_hixl_link_at(list, 1, &mut entry, &mut value), 103_900);
    }
    assert_eq!((pmd_hixl_links_release(list), pmd_hixl_links_release(list)), (0, 103_900));
    // SAFETY: a name.
    assert_eq!(unsafe { pmd_hixl_disconnect_async(two.client, name, TIMEOUT_MS) }, 0);
    until(AsyncConnectStatus::NotConnect);
    // SAFETY: a name.
    assert_eq!(unsafe { pmd_hixl_disconnect(two.client, name, TIMEOUT_MS) }, Status::NotConnected.code());
}

#[test]
fn the_codes_are_hixls() {
    let mut memory = vec![0_u8; 64];
    let two = Two::connected();
    let (name, whole) = (two.name.as_ptr(), pmd_hixl_op { local_address: 1, remote_address: 1, length: 1 });
    let address = memory.as_mut_ptr() as u64;
    let invalid = Status::ParamInvalid.code();
    // SAFETY: places for results or null, and memory that is there.
    let calls = unsafe {
        [
            (pmd_hixl_create(null_mut()), invalid),
            (pmd_hixl_initialize(two.client, null(), null(), 0), invalid),
            (pmd_hixl_initialize(two.client, name, null(), 1), invalid),
            (pmd_hixl_register(two.client, address, 64, 2, &mut null_mut()), invalid),
            (pmd_hixl_register(two.client, 0, 64, 0, &mut null_mut()), invalid),
            (pmd_hixl_register(two.client, address, 64, 0, null_mut()), invalid),
            (pmd_hixl_deregister(two.client, null_mut()), invalid),
            (pmd_hixl_connect(two.client, name, TIMEOUT_MS), Status::AlreadyConnected.code()),
            (pmd_hixl_connect(two.client, c"nowhere".as_ptr(), TIMEOUT_MS), invalid),
            (pmd_hixl_connect(two.client, name, 0), invalid),
            (pmd_hixl_transfer_sync(two.client, name, 2, &whole, 1, TIMEOUT_MS), invalid),
            (pmd_hixl_transfer_sync(two.client, name, 0, null(), 1, TIMEOUT_MS), invalid),
            (
                pmd_hixl_transfer_sync(two.client, c"127.0.0.1:1".as_ptr(), 0, &whole, 1, 100),
                Status::NotConnected.code(),
            ),
            (pmd_hixl_capability(-1, &mut 0), invalid),
            (pmd_hixl_capability(0, null_mut()), invalid),
            (pmd_hixl_transfer_statuses(null(), 0, false, &mut null_mut(), &mut 0), invalid),
            (pmd_hixl_take_notifies(two.client, null_mut(), &mut 0), invalid),
        ]
    };
    for (at, (found, wanted)) in calls.into_iter().enumerate() {
        assert_eq!(found, wanted, "call {at}: {}", last_error());
    }
    // SAFETY: a place for the answer.
    let capability = |feature| made_by(-1, |place| unsafe { pmd_hixl_capability(feature, place) });
    assert_eq!((capability(0), capability(1), capability(2)), (Ok(1), Ok(1), Ok(0)));

    // SAFETY: a place for the engine.
    let late = made_by(null_mut(), |place| unsafe { pmd_hixl_create(place) }).expect("made");
    // SAFETY: a name.
    assert_eq!(unsafe { pmd_hixl_connect(late, name, TIMEOUT_MS) }, Status::Failed.code());
    let wrong = pmd_kv_option { name: c"AutoConnect".as_ptr(), value: c"perhaps".as_ptr() };
    // SAFETY: a name, and one option.
    assert_eq!(unsafe { pmd_hixl_initialize(late, c"127.0.0.1".as_ptr(), &wrong, 1) }, invalid);
    assert_eq!((pmd_hixl_finalize(late), pmd_hixl_destroy(late), pmd_hixl_destroy(late)), (0, 0, invalid));
}

#[test]
fn the_header_has_the_same_numbers() {
    let header = include_str!("../../include/hixl/hixl_types.h");
    let names = [
        "SUCCESS",
        "PARAM_INVALID",
        "TIMEOUT",
        "NOT_CONNECTED",
        "ALREADY_CONNECTED",
        "NOTIFY_FAILED",
        "UNSUPPORTED",
        "FAILED",
        "RESOURCE_EXHAUSTED",
    ];
    for (name, status) in names.into_iter().zip(Status::ALL) {
        let line = format!("constexpr Status {name} = {}U;", status.code());
        assert!(header.contains(&line), "{line}");
    }
}
