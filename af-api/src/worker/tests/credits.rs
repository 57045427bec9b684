//! Slots: how much may be in flight, and what happens beyond.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::support::*;
use crate::worker::{PushPull, PushPullError, WorkerConfig, wait_any};

#[test]
fn many_are_in_flight_under_one_key_and_no_more_than_agreed() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    worker.declare(0, 1, 3000, 4).unwrap();
    let pushes: Vec<_> = (0..5).map(|fill| ours(&worker, 3000, fill)).collect();
    let push = |index: usize| PushPull::new().push(1, &pushes[index]);
    let mut handles: Vec<_> = (0..4).map(|index| worker.try_push_pull(&push(index)).unwrap()).collect();
    assert_eq!(worker.try_push_pull(&push(4)).unwrap_err(), PushPullError::Full { server: 0 });
    let just_now = Some(Instant::now() + Duration::from_millis(5));
    assert_eq!(worker.push_pull(&push(4), just_now).unwrap_err(), PushPullError::Timeout { server: 0 });

    let requests: Vec<_> = (0..4).map(|_| next(&server)).collect();
    for (fill, request) in (0..).zip(&requests) {
        assert_eq!(pushed(request), [(1, vec![fill; 3000])], "each has a slot of its own");
    }
    // The third is answered first; its slot serves the one that waits.
    let mut requests = requests.into_iter();
    let (first, second, third, fourth) = (
        requests.next().unwrap(),
        requests.next().unwrap(),
        requests.next().unwrap(),
        requests.next().unwrap(),
    );
    thread::scope(|scope| {
        let waiting = scope.spawn(|| worker.push_pull(&push(4), soon()).unwrap());
        third.respond(&[]).unwrap();
        handles.push(waiting.join().unwrap());
    });
    assert_eq!(wait_any(&handles, soon()), Some(2));
    assert_eq!(pushed(&first), [(1, vec![0; 3000])], "unanswered ones stay as they are");
    let fifth = next(&server);
    assert_eq!(pushed(&fifth), [(1, vec![4; 3000])]);
    for request in [first, second, fourth, fifth] {
        request.respond(&[]).unwrap();
    }
    for handle in &handles {
        handle.wait(soon()).unwrap();
    }
    assert_eq!(wait_any([], soon()), None);
}

#[test]
fn requests_in_flight_are_bounded_too() {
    let server = server(0);
    let config = WorkerConfig { identity: node(0), requests: 2, ..WorkerConfig::default() };
    let worker = worker_with(config, &[&server]);
    let handles = [(); 2].map(|()| worker.try_push_pull(&PushPull::new()).unwrap());
    assert_eq!(worker.try_push_pull(&PushPull::new()).unwrap_err(), PushPullError::Full { server: 0 });
    for handle in handles {
        next(&server).respond(&[]).unwrap();
        handle.wait(soon()).unwrap();
    }
    drop(worker.try_push_pull(&PushPull::new()).unwrap());
}

#[test]
fn a_key_grows_with_its_pushes_unless_its_capacity_was_declared() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    for bytes in [10, 5000, 100, 300_000, 1_000_000, 7] {
        let push = ours(&worker, bytes, bytes as u8);
        // Two in flight, so that one of them is in the old area while the new one is agreed on.
        let request = PushPull::new().push(1, &push);
        let handles = [(); 2].map(|()| worker.push_pull(&request, soon()).unwrap());
        for handle in handles {
            let request = next(&server);
            assert_eq!(pushed(&request), [(1, vec![bytes as u8; bytes as usize])]);
            request.respond(&[]).unwrap();
            handle.wait(soon()).unwrap();
        }
    }
    worker.declare(0, 2, 100, 1).unwrap();
    let (fits, beyond) = (ours(&worker, 100, 1), ours(&worker, 101, 1));
    let refused = worker.push_pull(&PushPull::new().push(2, &beyond), soon()).unwrap_err();
    assert_eq!(refused, PushPullError::Capacity { server: 0, key: 2, given: 101, capacity: 100 });
    let handle = worker.push_pull(&PushPull::new().push(2, &fits), soon()).unwrap();
    next(&server).respond(&[]).unwrap();
    handle.wait(soon()).unwrap();
    let twice = PushPull::new().push(2, &fits).push(2, &fits);
    let refused = worker.push_pull(&twice, soon()).unwrap_err();
    assert_eq!(refused, PushPullError::Depth { key: 2, given: 2, depth: 1 });
}

#[test]
fn a_broadcast_that_does_not_fit_everywhere_holds_nothing() {
    let servers = [server(0), server(1)];
    let worker = worker(0, &[&servers[0], &servers[1]]);
    worker.declare(0, 1, 100, 1).unwrap();
    worker.declare(1, 1, 100, 2).unwrap();
    let push = ours(&worker, 100, 1);
    let first = worker.try_push_pull(&PushPull::new().push(1, &push)).unwrap();
    assert_eq!(
        worker.try_push_pull(&PushPull::new().push(1, &push)).unwrap_err(),
        PushPullError::Full { server: 0 }
    );
    // Server 1 has its second slot still.
    let alone = worker.try_push_pull(&PushPull::new().push_to(1, 1, &push)).unwrap();
    for server in [&servers[0], &servers[1], &servers[1]] {
        next(server).respond(&[]).unwrap();
    }
    first.wait(soon()).unwrap();
    alone.wait(soon()).unwrap();
}
