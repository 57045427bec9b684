//! Receive buffers that the application gives.

use std::time::{Duration, Instant};

use crate::{
    server::OfferError,
    worker::{PushPull, PushPullError, tests::support::*},
};

#[test]
fn pushes_land_in_the_buffer_that_was_given_for_their_key() {
    let server = server(0);
    let buffer = theirs(&server, 6000, 0);
    server.offer_evenly(&buffer, &[(0, 1), (0, 2), (1, 1)]).unwrap();
    let workers = [worker(0, &[&server]), worker(1, &[&server])];
    for (worker, key, chunk) in [(0, 1, 0), (0, 2, 1), (1, 1, 2)] {
        let push = ours(&workers[worker], 2000, 10 + chunk);
        let handle = workers[worker].push_pull(&PushPull::new().push(key, &push), soon()).unwrap();
        let request = next(&server);
        let place =
            request.pushes().next().and_then(|push| push.tensor()).map(crate::tensor::Tensor::address);
        assert_eq!(place, Some(buffer.address() + 2000 * u64::from(chunk)));
        request.respond(&[]).unwrap();
        handle.wait(soon()).unwrap();
    }
    let expected: Vec<u8> = [10, 11, 12].into_iter().flat_map(|fill| vec![fill; 2000]).collect();
    assert_eq!(read(&buffer), expected);
    // Small ones too, and larger ones than the chunk not at all.
    let small = ours(&workers[0], 3, 77);
    let handle = workers[0].push_pull(&PushPull::new().push(1, &small), soon()).unwrap();
    next(&server).respond(&[]).unwrap();
    handle.wait(soon()).unwrap();
    assert_eq!(read(&buffer)[..4], [77, 77, 77, 10]);
    let large = ours(&workers[0], 2001, 1);
    let refused = workers[0].push_pull(&PushPull::new().push(1, &large), soon()).unwrap_err();
    assert_eq!(refused, PushPullError::Capacity { server: 0, key: 1, given: 2001, capacity: 2000 });
}

#[test]
fn a_buffer_that_is_taken_back_is_not_written_any_more() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let push = ours(&worker, 1000, 1);
    let round = || {
        let handle = worker.push_pull(&PushPull::new().push(1, &push), soon()).unwrap();
        let request = next(&server);
        let place =
            request.pushes().next().and_then(|push| push.tensor()).map(crate::tensor::Tensor::address);
        request.respond(&[]).unwrap();
        handle.wait(soon()).unwrap();
        place.unwrap()
    };
    let own = round();
    // Given while the key has an area: the worker is told, and moves.
    let buffer = theirs(&server, 2000, 0);
    server.offer(0, 1, &buffer, 2).unwrap();
    let until = Instant::now() + PATIENCE;
    let inside = || (buffer.address()..buffer.address() + 2000).contains(&round());
    while !inside() {
        assert!(Instant::now() < until, "the worker does not move");
    }
    assert!(!(buffer.address()..buffer.address() + 2000).contains(&own));

    // Taking it back waits for what is in flight.
    let handle = worker.push_pull(&PushPull::new().push(1, &push), soon()).unwrap();
    let request = next(&server);
    let at_once = server.take_back(0, 1, Some(Instant::now() + Duration::from_millis(5)));
    assert_eq!(at_once, Err(OfferError::Timeout { worker: 0, key: 1 }));
    request.respond(&[]).unwrap();
    handle.wait(soon()).unwrap();
    server.take_back(0, 1, soon()).unwrap();
    filled(&buffer, 9);
    for _ in 0..5 {
        round();
    }
    assert!(is_filled(&buffer, 9));
    assert_eq!(server.take_back(0, 1, soon()), Err(OfferError::NotOffered { worker: 0, key: 1 }));
}

#[test]
fn buffers_that_cannot_be_are_refused() {
    let server = server(0);
    let buffer = theirs(&server, 2, 0);
    assert_eq!(server.offer(0, 1, &buffer, 3), Err(OfferError::TooSmall { bytes: 2, shares: 3 }));
    assert_eq!(server.offer(0, 1, &buffer, 0), Err(OfferError::TooSmall { bytes: 2, shares: 0 }));
    assert_eq!(server.offer_evenly(&buffer, &[]), Err(OfferError::TooSmall { bytes: 2, shares: 0 }));
    let other = super::super::super::worker::tests::support::server(1);
    assert_eq!(server.offer(0, 1, &theirs(&other, 8, 0), 1), Err(OfferError::ForeignMemory));
}

#[test]
fn who_waits_for_room_gets_the_buffer_that_takes_its_place() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    worker.declare(0, 1, 1000, 1).unwrap();
    let (push, buffer) = (ours(&worker, 1000, 1), theirs(&server, 1000, 0));
    let first = worker.push_pull(&PushPull::new().push(1, &push), soon()).unwrap();
    let request = next(&server);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| worker.push_pull(&PushPull::new().push(1, &push), soon()));
        // So that it waits, as a rule; it must come through either way.
        std::thread::sleep(Duration::from_millis(20));
        server.offer(0, 1, &buffer, 1).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        request.respond(&[]).unwrap();
        first.wait(soon()).unwrap();
        let second = waiting.join().unwrap().unwrap();
        next(&server).respond(&[]).unwrap();
        second.wait(soon()).unwrap();
    });
    assert!(is_filled(&buffer, 1));
}
