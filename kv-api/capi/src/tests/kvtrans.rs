use std::ffi::c_void;

use super::*;
use crate::kvtrans::*;

/// Two engines that are connected: handle, connection there and back.
struct Two {
    here: *mut pmd_kvtrans,
    there: *mut pmd_kvtrans,
    to: u64,
    from: u64,
}

fn engine(interface: &CStr, ncpus: u32) -> Result<*mut pmd_kvtrans, pmd_kv_status> {
    // SAFETY: a name, and a place for the engine.
    made(null_mut(), |place| unsafe { pmd_kvtrans_open(interface.as_ptr(), ncpus, 1, 0, place) })
}

fn port_of(engine: *const pmd_kvtrans) -> u16 {
    let mut room = [0_u8; 64];
    assert_eq!(
        // SAFETY: room for 64 bytes.
        unsafe { pmd_kvtrans_address(engine, room.as_mut_ptr().cast(), 64, null_mut()) },
        pmd_kv_status::Ok
    );
    let text = CStr::from_bytes_until_nul(&room).expect("a zero byte").to_str().expect("text");
    text.rsplit_once(':').expect("a port").1.parse().expect("a number")
}

impl Two {
    fn new() -> Self {
        let (here, there) = (engine(c"lo", 2).expect("opened"), engine(c"lo", 2).expect("opened"));
        let port = port_of(there);
        // SAFETY: an address, and a place for the connection.
        let connect = |place| unsafe { pmd_kvtrans_connect(here, c"127.0.0.1".as_ptr(), port, place) };
        let to = made(0, connect).expect("connected");
        let (mut ip, mut back) = ([0_u8; 46], 0);
        // SAFETY: room for 46 bytes, and places for results.
        let accept = |place| unsafe {
            pmd_kvtrans_accept(there, PATIENCE, place, ip.as_mut_ptr().cast(), 46, &mut back)
        };
        let from = made(0, accept).expect("accepted");
        assert_eq!(CStr::from_bytes_until_nul(&ip).expect("a zero byte"), c"127.0.0.1");
        assert_eq!(back, port_of(here));
        Self { here, there, to, from }
    }
}

impl Drop for Two {
    fn drop(&mut self) {
        let _ = (pmd_kvtrans_close(self.here), pmd_kvtrans_close(self.there));
    }
}

fn kv(engine: *const pmd_kvtrans, connection: u64, memory: &mut [u8]) -> pmd_kvtrans_via {
    let (address, length) = (memory.as_mut_ptr().cast::<c_void>(), memory.len());
    // SAFETY: the tests keep the memory for longer than the engine, and look at it when nothing is under way.
    let number = made(0, |place| unsafe { pmd_kvtrans_reg_kv(engine, connection, address, length, place) });
    pmd_kvtrans_via { connection: 0, number: number.expect("registered") }
}

#[test]
fn sends_meet_receives_and_lengths_come_back() {
    let (mut sent, mut got) = (vec![5_u8; 1 << 20], vec![0_u8; 2 << 20]);
    let two = Two::new();
    let (source, target) = (kv(two.here, two.to, &mut sent), kv(two.there, two.from, &mut got));
    // SAFETY: registered memory.
    let receive = made(null_mut(), |place| unsafe {
        pmd_kvtrans_post_receive(two.there, target, null_mut(), usize::MAX, 0, place)
    });
    let receive = receive.expect("posted");
    // SAFETY: nowhere to write to.
    assert_eq!(unsafe { pmd_kvtrans_operation_wait(receive, 0, null_mut()) }, pmd_kv_status::Timeout);
    // SAFETY: registered memory.
    let status = unsafe { pmd_kvtrans_send_kv(two.here, source, sent.as_ptr().cast(), 1 << 20) };
    assert_eq!(status, pmd_kv_status::Ok, "{}", last_error());
    // SAFETY: a place for the length.
    let length = made(0, |place| unsafe { pmd_kvtrans_operation_wait(receive, PATIENCE, place) });
    assert_eq!(length, Ok(1 << 20));
    assert_eq!(pmd_kvtrans_operation_release(receive), pmd_kv_status::Ok);
    assert_eq!(pmd_kvtrans_dereg_kv(two.there, target.number), pmd_kv_status::Ok);
    assert!(got[..1 << 20].iter().all(|byte| *byte == 5) && got[1 << 20..].iter().all(|byte| *byte == 0));
}

#[test]
fn memory_of_every_connection_goes_by_address() {
    let (mut sent, mut got) = (vec![6_u8; 4096], vec![0_u8; 4096]);
    let two = Two::new();
    let register = |engine, memory: &mut [u8]| {
        let (address, length) = (memory.as_mut_ptr().cast::<c_void>(), memory.len());
        // SAFETY: the memory outlives the engines.
        made(0, |place| unsafe { pmd_kvtrans_reg_memory(engine, address, length, place) })
            .expect("registered")
    };
    let source = pmd_kvtrans_via { connection: two.to, number: register(two.here, &mut sent) };
    let target = pmd_kvtrans_via { connection: two.from, number: register(two.there, &mut got) };
    // SAFETY: registered memory.
    let send = made(null_mut(), |place| unsafe {
        pmd_kvtrans_post_send(two.here, source, sent.as_ptr().cast(), 100, 0, place)
    });
    // SAFETY: registered memory, and a place for the length.
    let received = made(0, |place| unsafe {
        pmd_kvtrans_recv_kv(two.there, target, got.as_mut_ptr().wrapping_add(8).cast(), 200, place)
    });
    assert_eq!(received, Ok(100));
    let send = send.expect("posted");
    // SAFETY: nowhere to write to.
    assert_eq!(unsafe { pmd_kvtrans_operation_wait(send, PATIENCE, null_mut()) }, pmd_kv_status::Ok);
    assert_eq!(pmd_kvtrans_operation_release(send), pmd_kv_status::Ok);
    assert_eq!(pmd_kvtrans_dereg_memory(two.there, target.number), pmd_kv_status::Ok);
    assert_eq!(pmd_kvtrans_dereg_memory(two.there, target.number), pmd_kv_status::InvalidHandle);
    assert!(got[8..108].iter().all(|byte| *byte == 6) && got[108..].iter().all(|byte| *byte == 0));
}

#[test]
fn what_cannot_be_has_its_status() {
    let mut memory = vec![0_u8; 4096];
    let two = Two::new();
    let ours = kv(two.here, two.to, &mut memory);
    let nothing = pmd_kvtrans_via { connection: 0, number: 999 };
    let bytes = memory.as_mut_ptr().cast::<c_void>();
    // SAFETY: places for results or null, and memory that is there.
    let refused = unsafe {
        [
            (pmd_kvtrans_send_kv(two.here, nothing, bytes, 1), pmd_kv_status::InvalidHandle),
            (pmd_kvtrans_reg_kv(two.here, 999, bytes, 1, &mut 0), pmd_kv_status::InvalidHandle),
            (pmd_kvtrans_reg_kv(two.here, two.to, null_mut(), 1, &mut 0), pmd_kv_status::Memory),
            (pmd_kvtrans_reg_kv(two.here, two.to, bytes, 1, null_mut()), pmd_kv_status::NullPointer),
            (pmd_kvtrans_dereg_kv(two.here, 999), pmd_kv_status::InvalidHandle),
            (pmd_kvtrans_disconnect(two.here, 999), pmd_kv_status::InvalidHandle),
            (pmd_kvtrans_connect(two.here, c"localhost".as_ptr(), 1, &mut 0), pmd_kv_status::InvalidArgument),
            (pmd_kvtrans_connect(two.here, c"127.0.0.1".as_ptr(), 1, &mut 0), pmd_kv_status::ConnectFailed),
            (pmd_kvtrans_accept(two.here, 1, &mut 0, null_mut(), 0, null_mut()), pmd_kv_status::Timeout),
            (
                pmd_kvtrans_accept(two.here, 1, &mut 0, bytes.cast(), 4, null_mut()),
                pmd_kv_status::BufferTooSmall,
            ),
            (pmd_kvtrans_close(null_mut()), pmd_kv_status::NullPointer),
        ]
    };
    for (at, (found, wanted)) in refused.into_iter().enumerate() {
        assert_eq!(found, wanted, "call {at}");
    }
    assert_eq!(engine(c"no-such-interface", 1), Err(pmd_kv_status::Unavailable));
    assert_eq!(engine(c"lo", 0), Err(pmd_kv_status::InvalidArgument));

    // One more than there may be under way.
    let mut posted = Vec::new();
    let last = loop {
        // SAFETY: registered memory.
        let next = made(null_mut(), |place| unsafe {
            pmd_kvtrans_post_receive(two.here, ours, null_mut(), 1, 0, place)
        });
        match next {
            Ok(operation) => posted.push(operation),
            Err(status) => break status,
        }
    };
    assert_eq!((last, posted.len()), (pmd_kv_status::Busy, 1024));
    assert_eq!(pmd_kvtrans_operation_cancel(posted[0]), pmd_kv_status::Cancelled);
    assert_eq!(pmd_kvtrans_disconnect(two.there, two.from), pmd_kv_status::Ok);
    assert_eq!(
        // SAFETY: nowhere to write to.
        unsafe { pmd_kvtrans_operation_wait(posted[1], PATIENCE, null_mut()) },
        pmd_kv_status::PeerDown
    );
    for operation in posted {
        assert_eq!(pmd_kvtrans_operation_release(operation), pmd_kv_status::Ok);
        assert_eq!(pmd_kvtrans_operation_release(operation), pmd_kv_status::InvalidHandle);
    }
}

#[test]
fn a_message_that_is_too_long_and_one_that_nobody_receives() {
    let mut memory = vec![0_u8; 4096];
    let two = Two::new();
    let (ours, theirs) = (kv(two.here, two.to, &mut memory), kv(two.there, two.from, &mut memory));
    // SAFETY: registered memory.
    let receive = made(null_mut(), |place| unsafe {
        pmd_kvtrans_post_receive(two.there, theirs, null_mut(), 10, 0, place)
    });
    let receive = receive.expect("posted");
    assert_eq!(
        // SAFETY: registered memory.
        unsafe { pmd_kvtrans_send_kv(two.here, ours, memory.as_ptr().cast(), 11) },
        pmd_kv_status::Mismatch
    );
    // SAFETY: nowhere to write to.
    assert_eq!(unsafe { pmd_kvtrans_operation_wait(receive, PATIENCE, null_mut()) }, pmd_kv_status::Mismatch);
    assert_eq!(pmd_kvtrans_operation_release(receive), pmd_kv_status::Ok);
    // SAFETY: registered memory.
    let send = made(null_mut(), |place| unsafe {
        pmd_kvtrans_post_send(two.here, ours, memory.as_ptr().cast(), 11, 1, place)
    });
    let send = send.expect("posted");
    assert_eq!(
        // SAFETY: nowhere to write to.
        unsafe { pmd_kvtrans_operation_wait(send, PATIENCE, null_mut()) },
        pmd_kv_status::DeadlineExceeded
    );
    assert_eq!(pmd_kvtrans_operation_release(send), pmd_kv_status::Ok);
}
