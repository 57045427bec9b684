//! Messages that arrive: every form of send and receive, in order, over one lane and over several.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread,
};

use super::*;

#[test]
fn a_message_arrives_whole_and_its_length_is_told() {
    for (ncpus, nconn_per_cpu) in [(1, 1), (2, 2), (3, 1)] {
        for length in [1, 4096, (512 << 10) + 1, 5_000_000] {
            let source = pattern(length, 1);
            let mut target = vec![0xee; length * 2];
            let pair = pair(ncpus, nconn_per_cpu);
            let (from, to) =
                (reg_kv(&pair.sender, pair.out, &source), reg_kv(&pair.receiver, pair.back, &target));
            let receive = pair.receiver.post_receive(to, u64::MAX, None).expect("posted");
            send_kv(&pair.sender, from, &source).expect("sent");
            assert_eq!(receive.wait().expect("received"), length as u64, "twice the room, the true length");
            drop((receive, pair));
            assert!(target[..length] == source, "{ncpus} lanes, {length} bytes");
            assert!(
                target.split_off(length).iter().all(|byte| *byte == 0xee),
                "nothing beyond it is written"
            );
        }
    }
}

#[test]
fn the_kth_send_meets_the_kth_receive_whichever_side_is_first() {
    let sources: Vec<Vec<u8>> = (0..20).map(|number| pattern(1000 * (number + 1), number as u8)).collect();
    for is_sender_first in [true, false] {
        let target = vec![0_u8; 20 * 20_000];
        let pair = pair(2, 1);
        let to = reg_memory(&pair.receiver, &target);
        let from = reg_memory(&pair.sender, &sources[0]);
        let place = |number: usize| Memory::from(&target[number * 20_000..(number + 1) * 20_000]);
        let sends = || -> Vec<_> {
            sources.iter().map(|source| post_send(&pair.sender, (pair.out, from), source, None)).collect()
        };
        let receives = || -> Vec<_> {
            // SAFETY: the test looks at the memory only when all receives are done.
            let post =
                |number| unsafe { pair.receiver.post_receive_into((pair.back, to), place(number), None) };
            (0..20).map(|number| post(number).expect("posted")).collect()
        };
        let (sends, receives) = if is_sender_first {
            let sends = sends();
            (sends, receives())
        } else {
            let receives = receives();
            (sends(), receives)
        };
        for (number, receive) in receives.iter().enumerate() {
            assert_eq!(receive.wait().expect("received"), sources[number].len() as u64);
        }
        sends.iter().for_each(|send| send.wait().expect("sent"));
        drop((sends, receives));
        for (number, source) in sources.iter().enumerate() {
            assert!(target[number * 20_000..][..source.len()] == **source, "message {number}");
        }
    }
}

#[test]
fn messages_of_no_bytes_arrive_in_their_turn() {
    let (source, target) = (pattern(100, 3), vec![0_u8; 100]);
    let pair = pair(2, 1);
    let (from, to) = (reg_kv(&pair.sender, pair.out, &source), reg_kv(&pair.receiver, pair.back, &target));
    for length in [0, 100, 0] {
        let receive = pair.receiver.post_receive(to, 100, None).expect("posted");
        send_kv(&pair.sender, from, &source[..length]).expect("sent");
        assert_eq!(receive.wait().expect("received"), length as u64);
    }
    // A receive without room takes a message without bytes.
    let receive = pair.receiver.post_receive(to, 0, None).expect("posted");
    send_kv(&pair.sender, from, &[]).expect("sent");
    assert_eq!(receive.wait().expect("received"), 0);
    drop((receive, pair));
    assert!(target == source);
}

#[test]
fn memory_beside_the_registration_is_registered_for_the_operation() {
    let (registered, source, target) = (vec![0_u8; 16], pattern(300_000, 9), vec![0_u8; 300_000]);
    let pair = pair(1, 1);
    let (from, to) =
        (reg_kv(&pair.sender, pair.out, &registered), reg_kv(&pair.receiver, pair.back, &registered));
    let into = Memory::from(&target[..]);
    // SAFETY: the test looks at the memory only when the receive is done.
    let receive = unsafe { pair.receiver.post_receive_into(to, into, None) }.expect("posted");
    send_kv(&pair.sender, from, &source).expect("sent");
    assert_eq!(receive.wait().expect("received"), 300_000);
    assert!(pair.receiver.fabric().segment(into.address, into.length).is_none(), "released with its receive");
    let source_at = Memory::from(&source[..]);
    assert!(
        pair.sender.fabric().segment(source_at.address, source_at.length).is_none(),
        "released with its send"
    );
    drop((receive, pair));
    assert!(target == source);
}

#[test]
fn a_receive_into_the_registration_has_room_up_to_its_end() {
    let (source, target) = (pattern(600, 5), vec![0_u8; 1000]);
    let pair = pair(1, 1);
    let (from, to) = (reg_memory(&pair.sender, &source), reg_memory(&pair.receiver, &target));
    // As upstream's own test: a max_size of twice the tensor.
    let place = Memory { length: 2000, ..Memory::from(&target[400..]) };
    // SAFETY: the test looks at the memory only when the receive is done.
    let receive = unsafe { pair.receiver.post_receive_into((pair.back, to), place, None) }.expect("posted");
    send_kv(&pair.sender, (pair.out, from), &source).expect("sent");
    assert_eq!(receive.wait().expect("received"), 600);
    drop((receive, pair));
    assert!(target[400..] == source && target[..400].iter().all(|byte| *byte == 0));
}

#[test]
fn both_sides_send_at_the_same_time() {
    let (ours, theirs) = (pattern(2_000_000, 1), pattern(2_000_000, 2));
    let (here, there) = (vec![0_u8; 2_000_000], vec![0_u8; 2_000_000]);
    let pair = pair(2, 2);
    let end = |engine: &Engine, connection, source: &[u8], target: &[u8]| {
        let (from, to) = (reg_kv(engine, connection, source), reg_kv(engine, connection, target));
        for _ in 0..10 {
            let receive = engine.post_receive(to, u64::MAX, None).expect("posted");
            send_kv(engine, from, source).expect("sent");
            assert_eq!(receive.wait().expect("received"), 2_000_000);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| end(&pair.sender, pair.out, &ours, &here));
        end(&pair.receiver, pair.back, &theirs, &there);
    });
    drop(pair);
    assert!(here == theirs && there == ours);
}

#[test]
fn engines_of_different_lanes_and_queue_pairs_understand_each_other() {
    let (source, target) = (pattern(4_000_000, 7), vec![0_u8; 4_000_000]);
    for (ours, theirs) in [((1, 1), (4, 2)), ((4, 2), (1, 1)), ((3, 1), (2, 5))] {
        let pair = pair_of(config(ours.0, ours.1), config(theirs.0, theirs.1));
        let (from, to) =
            (reg_kv(&pair.sender, pair.out, &source), reg_kv(&pair.receiver, pair.back, &target));
        let receive = pair.receiver.post_receive(to, u64::MAX, None).expect("posted");
        send_kv(&pair.sender, from, &source).expect("sent");
        assert_eq!(receive.wait().expect("received"), 4_000_000);
        drop((receive, pair));
        assert!(target == source);
    }
}

/// Wakes a thread that runs a future.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park_timeout(PATIENCE);
    }
}

#[test]
fn handles_can_be_awaited() {
    let (source, target) = (pattern(1_000_000, 4), vec![0_u8; 1_000_000]);
    let pair = pair(2, 1);
    let (from, to) = (reg_kv(&pair.sender, pair.out, &source), reg_kv(&pair.receiver, pair.back, &target));
    for _ in 0..10 {
        let receive = pair.receiver.post_receive(to, u64::MAX, None).expect("posted");
        assert!(receive.poll().is_none(), "nothing was sent yet");
        let send = post_send(&pair.sender, from, &source, None);
        assert_eq!(block_on(receive).expect("received"), 1_000_000);
        block_on(send).expect("sent");
    }
    drop(pair);
    assert!(target == source);
}

#[test]
fn an_accepted_peer_is_named() {
    let receiver = engine(Config { label: 3, ..config(1, 1) });
    let sender = engine(Config { label: 7, ..config(1, 1) });
    let address = receiver.listen_address().expect("it listens");
    sender.connect(address.ip(), address.port()).expect("connected");
    let Accepted { ip, port, label, connection } = receiver.accept(PATIENCE).expect("accepted");
    assert_eq!((ip, port), (address.ip(), sender.listen_address().expect("it listens").port()));
    assert_eq!((label, connection), (7, ConnectionId(1)));
    // The address leads back.
    let back = receiver.connect(ip, port).expect("connected");
    assert_eq!(back, ConnectionId(2));
    assert_eq!(sender.accept(PATIENCE).expect("accepted").label, 3);
    assert_eq!(receiver.transport(back).expect("it has one"), Transport::SharedMemory);
}
