//! Areas that the server takes back while the worker is about to use them.

use std::{sync::Arc, thread};

use super::support::*;
use crate::{
    wire::{AreaAgreed, AreaGone},
    worker::{
        PushPull,
        areas::{Areas, Room},
        reserve,
    },
};

const AGREED: AreaAgreed = AreaAgreed {
    address: 4096,
    remote_key: 1,
    capacity: 100,
    stride: 128,
    first_slot: 8,
    depth: 2,
    write_only: false,
};

#[test]
fn one_that_is_taken_back_before_it_is_known_is_not_used() {
    let gone = AreaGone { key: 1, first_slot: 8 };
    let mut areas = Areas::default();
    areas.ask(1);
    assert_eq!(areas.revoke(AreaGone { key: 2, ..gone }), []);
    assert_eq!(areas.revoke(gone), []);
    assert_eq!(areas.insert(1, AGREED), [gone], "let go of at once");
    assert_eq!((areas.room(1, 100), areas.take(1, 100)), (Room::Ask, None));
    // What was taken back is one area, not the number for ever.
    areas.ask(1);
    assert_eq!(areas.insert(1, AGREED), []);
    assert_eq!(areas.room(1, 100), Room::Agreed { depth: 2 });
    assert_eq!(areas.revoke(gone), [gone]);
}

#[test]
fn one_that_is_taken_back_while_it_is_reserved_is_let_go_of() {
    let server = server(0);
    let buffer = theirs(&server, 2000, 0);
    server.offer(0, 1, &buffer, 2).unwrap();
    let worker = worker(0, &[&server]);
    let pieces = worker.prepare(&PushPull::new().push(1, &ours(&worker, 1000, 1))).unwrap();
    let Ok(Ok(reserved)) = reserve(pieces) else { panic!("there is room") };
    let connection = Arc::clone(reserved[0].connection());
    thread::scope(|scope| {
        let taking = scope.spawn(|| server.take_back(0, 1, soon()));
        until("the worker is told", || connection.state().areas.room(1, 1000) == Room::Ask);
        reserved.into_iter().for_each(|one| drop(one.cancel()));
        assert_eq!(taking.join().unwrap(), Ok(()));
    });
}
