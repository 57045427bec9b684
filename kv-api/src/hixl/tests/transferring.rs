//! Transfers between registered memory.

use super::*;

#[test]
fn permuted_lists_move_both_ways() {
    let (client, server, name) = pair(&direct());
    const PIECES: u64 = 1024;
    const LENGTH: usize = 512;
    let mut near = Memory::new(PIECES as usize * LENGTH, |index| (index / LENGTH) as u8);
    let mut far = Memory::zeroed(PIECES as usize * LENGTH);
    near.register(&client);
    far.register(&server);
    let list = permuted(near.address(), far.address(), PIECES, LENGTH as u64);

    transfer(&client, &name, TransferOp::Write, &list, PATIENCE).expect("written");
    for index in 0..PIECES {
        let start = turned(index, PIECES) as usize * LENGTH;
        assert!(far.bytes()[start..start + LENGTH].iter().all(|byte| *byte == index as u8), "piece {index}");
    }
    let mut back = Memory::zeroed(PIECES as usize * LENGTH);
    back.register(&client);
    let list = permuted(back.address(), far.address(), PIECES, LENGTH as u64);
    transfer(&client, &name, TransferOp::Read, &list, PATIENCE).expect("read");
    assert_eq!(back.bytes(), near.bytes());
    client.disconnect(&name, PATIENCE).expect("disconnected");
}

#[test]
fn nothing_and_pieces_of_nothing_are_fine() {
    let (client, server, name) = pair(&direct());
    let (mut near, mut far) = (Memory::zeroed(16), Memory::new(16, |_| 9));
    near.register(&client);
    far.register(&server);
    transfer(&client, &name, TransferOp::Read, &[], PATIENCE).expect("nothing");
    let nothing = TransferOpDesc { local_addr: near.address(), remote_addr: far.address(), len: 0 };
    transfer(&client, &name, TransferOp::Read, &[nothing], PATIENCE).expect("nothing");
    assert_eq!(near.bytes(), [0; 16]);
}

#[test]
fn memory_that_is_registered_after_connecting_is_found() {
    let (client, server, name) = pair(&direct());
    let (mut near, mut far) = (Memory::zeroed(64), Memory::new(64, |index| index as u8));
    let whole = TransferOpDesc { local_addr: near.address(), remote_addr: far.address(), len: 64 };
    let read = || transfer(&client, &name, TransferOp::Read, &[whole], PATIENCE);
    assert_eq!(status(read()), Status::ParamInvalid, "neither is registered");
    near.register(&client);
    assert_eq!(status(read()), Status::ParamInvalid, "the peer's is not registered");
    let handle = far.register(&server);
    read().expect("both are registered");
    assert_eq!(near.bytes(), far.bytes());
    server.deregister_mem(handle).expect("deregistered");
    let deadline = Instant::now() + PATIENCE;
    // The peer's word that it is gone takes a moment; a transfer with the old key takes the link down.
    while status_of(read()) != Some(Status::ParamInvalid) {
        assert!(Instant::now() < deadline, "memory that is not registered is still reached");
        let _ = client.connect(&name, PATIENCE);
    }
}

fn status_of(result: Result<(), HixlError>) -> Option<Status> {
    result.err().map(|error| error.status())
}

#[test]
fn asynchronous_transfers_are_told_once_and_all_at_once() {
    let (client, server, name) = pair(&direct());
    let (mut near, mut far) = (Memory::zeroed(64 << 10), Memory::new(64 << 10, |index| (index >> 8) as u8));
    near.register(&client);
    far.register(&server);
    let pieces = permuted(near.address(), far.address(), 64, 1024);
    let args = |user_data| TransferArgs { user_data, timeout_in_millis: 0 };
    let begin = |piece: &TransferOpDesc, user_data| {
        transfer_async(&client, &name, TransferOp::Read, &[*piece], args(user_data)).expect("begun")
    };
    let first = begin(&pieces[0], 7);
    assert_eq!(ended(&client, first), TransferStatus::Completed);
    assert_eq!(status(client.transfer_status(first)), Status::ParamInvalid, "its end was told");
    assert_eq!(status(client.transfer_status(TransferReq(0))), Status::ParamInvalid);

    let reqs: Vec<_> = pieces[1..].iter().zip(100..).map(|(piece, data)| begin(piece, data)).collect();
    let mut told = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while told.len() < reqs.len() {
        let args = TransferStatusArgs { max_query_count: 5, skip_waiting: true };
        let results = client.transfer_statuses(args).expect("asked");
        assert!(results.len() <= 5);
        assert!(results.iter().all(|result| result.status == TransferStatus::Completed));
        told.extend(results.iter().map(|result| (result.req, result.user_data)));
        assert!(Instant::now() < deadline, "{} of {} have ended", told.len(), reqs.len());
    }
    told.sort();
    let wanted: Vec<_> = reqs.into_iter().zip(100..).collect();
    assert_eq!(told, wanted);
    assert_eq!(client.transfer_statuses(TransferStatusArgs::default()).expect("asked"), []);
    let wanted: Vec<u8> = (0..64_u64)
        .flat_map(|piece| (0..4).flat_map(move |page| [(turned(piece, 64) * 4 + page) as u8; 256]))
        .collect();
    assert_eq!(near.bytes(), wanted);
}

#[test]
fn servers_transfer_to_each_other_at_the_same_time() {
    let (one, one_name) = server(&direct());
    let (other, other_name) = server(&direct());
    let (mut of_one, mut of_other) = (Memory::new(1 << 20, |_| 1), Memory::new(1 << 20, |_| 2));
    of_one.register(&one);
    of_other.register(&other);
    let (a, b) = (of_one.address(), of_other.address());
    let half = 1 << 19;
    thread::scope(|scope| {
        // Each writes its own first half into the other's second.
        for (engine, remote, local, there) in [(&one, &other_name, a, b), (&other, &one_name, b, a)] {
            scope.spawn(move || {
                engine.connect(remote, PATIENCE).expect("connected");
                let list = permuted(local, there + half, 1 << 10, 512);
                for _ in 0..16 {
                    transfer(engine, remote, TransferOp::Write, &list, PATIENCE).expect("written");
                }
                engine.disconnect(remote, PATIENCE).expect("disconnected");
            });
        }
    });
    let halves = |memory: &mut Memory| [memory.bytes()[0], memory.bytes()[1 << 19]];
    assert_eq!((halves(&mut of_one), halves(&mut of_other)), ([1, 2], [2, 1]));
    assert!(of_one.bytes()[1 << 19..].iter().all(|byte| *byte == 2));
    assert!(of_other.bytes()[1 << 19..].iter().all(|byte| *byte == 1));
}

#[test]
fn many_threads_use_one_engine() {
    let (client, server, name) = pair(&direct());
    const SHARE: usize = 64 << 10;
    let mut near = Memory::new(8 * SHARE, |index| (index / SHARE) as u8 + 1);
    let mut far = Memory::zeroed(8 * SHARE);
    near.register(&client);
    far.register(&server);
    let (local, remote) = (near.address(), far.address());
    thread::scope(|scope| {
        for share in 0..8 {
            let (client, name) = (&client, &name);
            scope.spawn(move || {
                let start = share * SHARE as u64;
                for round in 0..50 {
                    let list = permuted(local + start, remote + start, 64, 1024);
                    if round % 2 == 0 {
                        transfer(client, name, TransferOp::Write, &list, PATIENCE).expect("written");
                    } else {
                        let req =
                            transfer_async(client, name, TransferOp::Write, &list, TransferArgs::default());
                        assert_eq!(ended(client, req.expect("begun")), TransferStatus::Completed);
                    }
                }
            });
        }
    });
    assert_eq!(far.bytes(), near.bytes());
}
