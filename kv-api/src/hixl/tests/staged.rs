//! Transfers of memory that is not registered.

use super::*;

const MEBIBYTE: usize = 1 << 20;

/// Buffers small enough that transfers need many chunks.
fn small() -> Given {
    options(&[(OPTION_BUFFER_POOL, "2:1")])
}

/// Every combination of memory that is registered and memory that is not, both ways, with pieces that are cut.
#[test]
fn unregistered_memory_moves_through_buffers() {
    for (here, there) in [(false, false), (false, true), (true, false)] {
        let (client, server, name) = pair(&small());
        const PIECES: u64 = 33;
        let length = 150_001;
        let mut near = Memory::new(PIECES as usize * length, |index| (index % 251) as u8);
        let mut far = Memory::zeroed(PIECES as usize * length);
        if here {
            near.register(&client);
        }
        if there {
            far.register(&server);
        }
        let list = permuted(near.address(), far.address(), PIECES, length as u64);
        transfer(&client, &name, TransferOp::Write, &list, PATIENCE).expect("written");
        for index in 0..PIECES {
            let (from, to) = (index as usize * length, turned(index, PIECES) as usize * length);
            assert!(far.bytes()[to..to + length] == near.bytes()[from..from + length], "piece {index}");
        }
        let mut back = Memory::zeroed(PIECES as usize * length);
        if here {
            back.register(&client);
        }
        let list = permuted(back.address(), far.address(), PIECES, length as u64);
        transfer(&client, &name, TransferOp::Read, &list, PATIENCE).expect("read");
        assert!(back.bytes() == near.bytes(), "registered here {here}, there {there}");
    }
}

#[test]
fn asynchronous_transfers_are_staged_too() {
    let (client, server, name) = pair(&small());
    let mut near = Memory::new(5 * MEBIBYTE, |index| (index >> 12) as u8);
    let mut far = Memory::zeroed(5 * MEBIBYTE);
    let list = permuted(near.address(), far.address(), 5, MEBIBYTE as u64);
    let reqs = [(); 3].map(|()| {
        transfer_async(&client, &name, TransferOp::Write, &list, TransferArgs::default()).expect("begun")
    });
    for req in reqs {
        assert_eq!(ended(&client, req), TransferStatus::Completed);
    }
    for index in 0..5 {
        let (from, to) = (index as usize * MEBIBYTE, turned(index, 5) as usize * MEBIBYTE);
        assert!(far.bytes()[to..to + MEBIBYTE] == near.bytes()[from..from + MEBIBYTE], "piece {index}");
    }
    drop(server);
}

#[test]
fn two_engines_stage_for_each_other_at_the_same_time() {
    let given = options(&[(OPTION_BUFFER_POOL, "1:1")]);
    let ((one, one_name), (other, other_name)) = (server(&given), server(&given));
    let (mut of_one, mut of_other) = (Memory::new(8 * MEBIBYTE, |_| 1), Memory::new(8 * MEBIBYTE, |_| 2));
    let (a, b) = (of_one.address(), of_other.address());
    let half = 4 * MEBIBYTE as u64;
    one.connect(&other_name, PATIENCE).expect("connected");
    other.connect(&one_name, PATIENCE).expect("connected");
    thread::scope(|scope| {
        for (engine, remote, local, there) in [(&one, &other_name, a, b), (&other, &one_name, b, a)] {
            scope.spawn(move || {
                let whole = TransferOpDesc { local_addr: local, remote_addr: there + half, len: half };
                for _ in 0..4 {
                    transfer(engine, remote, TransferOp::Write, &[whole], PATIENCE).expect("written");
                }
            });
        }
    });
    assert!(of_one.bytes()[4 * MEBIBYTE..].iter().all(|byte| *byte == 2));
    assert!(of_other.bytes()[4 * MEBIBYTE..].iter().all(|byte| *byte == 1));
}

#[test]
fn addresses_that_are_nobodys_are_an_error_on_either_side() {
    let (client, server, name) = pair(&small());
    let mut near = Memory::new(4096, |_| 5);
    let mut far = Memory::new(4096, |_| 6);
    let nobodys = 4096;
    let piece = |local_addr, remote_addr| TransferOpDesc { local_addr, remote_addr, len: 4096 };
    for operation in [TransferOp::Read, TransferOp::Write] {
        for wrong in [piece(nobodys, far.address()), piece(near.address(), nobodys)] {
            let error = transfer(&client, &name, operation, &[wrong], PATIENCE).expect_err("nobody's");
            assert_eq!(error.status(), Status::ParamInvalid, "{error}");
            assert!(error.to_string().contains("0x1000"), "{error}");
        }
    }
    let wraps = TransferOpDesc { local_addr: near.address(), remote_addr: u64::MAX - 10, len: 4096 };
    assert_eq!(status(transfer(&client, &name, TransferOp::Read, &[wraps], PATIENCE)), Status::ParamInvalid);
    // The link goes on.
    let good = piece(near.address(), far.address());
    transfer(&client, &name, TransferOp::Read, &[good], PATIENCE).expect("read");
    assert_eq!(near.bytes(), [6; 4096]);
    drop(server);
}

/// Bytes of constants are mapped for reading only.
#[test]
fn memory_that_is_read_only_is_read_and_not_written() {
    static CONSTANT: [u8; 64] = [3; 64];
    let (client, server, name) = pair(&small());
    let mut near = Memory::zeroed(64);
    let piece = TransferOpDesc { local_addr: near.address(), remote_addr: CONSTANT.as_ptr() as u64, len: 64 };
    transfer(&client, &name, TransferOp::Read, &[piece], PATIENCE).expect("read");
    assert_eq!(near.bytes(), CONSTANT);
    let refused = transfer(&client, &name, TransferOp::Write, &[piece], PATIENCE);
    assert_eq!(status(refused), Status::ParamInvalid);
    let turned =
        TransferOpDesc { local_addr: CONSTANT.as_ptr() as u64, remote_addr: near.address(), len: 64 };
    assert_eq!(status(transfer(&client, &name, TransferOp::Read, &[turned], PATIENCE)), Status::ParamInvalid);
    drop(server);
}

#[test]
fn a_peer_without_buffers_refuses_and_one_with_smaller_buffers_too() {
    let client = client(&options(&[(OPTION_BUFFER_POOL, "1:2")]));
    let mut near = Memory::zeroed(2 * MEBIBYTE);
    let mut far = Memory::zeroed(2 * MEBIBYTE);
    let whole =
        TransferOpDesc { local_addr: near.address(), remote_addr: far.address(), len: 2 * MEBIBYTE as u64 };
    for (given, wanted) in [("0:0", StageFault::Off), ("1:1", too_large(2, 1))] {
        let (server, name) = server(&options(&[(OPTION_BUFFER_POOL, given)]));
        client.connect(&name, PATIENCE).expect("connected");
        let error = transfer(&client, &name, TransferOp::Write, &[whole], PATIENCE).expect_err("refused");
        assert_eq!(error.status(), Status::ParamInvalid);
        assert!(matches!(&error, HixlError::Stage(fault) if *fault == wanted), "{error}");
        drop(server);
    }
}

fn too_large(mebibytes: u64, limit: u64) -> StageFault {
    StageFault::TooLarge { bytes: mebibytes << 20, limit: limit << 20 }
}

#[test]
fn buffers_come_back_from_transfers_that_failed() {
    let given = options(&[(OPTION_BUFFER_POOL, "1:1")]);
    let (client, server, name) = pair(&given);
    let (mut near, mut far) = (Memory::new(3 * MEBIBYTE, |_| 1), Memory::zeroed(3 * MEBIBYTE));
    let piece = |local_addr, remote_addr| TransferOpDesc { local_addr, remote_addr, len: MEBIBYTE as u64 };
    let good = piece(near.address(), far.address());
    for _ in 0..20 {
        let bad = [good, piece(near.address(), 4096), good];
        assert_eq!(status(transfer(&client, &name, TransferOp::Write, &bad, PATIENCE)), Status::ParamInvalid);
        let bad = [good, piece(4096, far.address()), good];
        assert_eq!(status(transfer(&client, &name, TransferOp::Read, &bad, PATIENCE)), Status::ParamInvalid);
    }
    transfer(&client, &name, TransferOp::Write, &[good], PATIENCE).expect("written");
    drop(server);
}
