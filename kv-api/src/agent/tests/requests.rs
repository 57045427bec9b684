//! Requests: by index, posted again, released in flight, failed in part.

use pmd_host::transfer::Direction;

use super::*;
use crate::agent::{AgentError, Phase};

#[test]
fn indices_choose_what_goes_where() {
    let (here, there) = pair();
    let (near, far) = room(&here, &there, 1 << 16);
    for (index, byte) in bytes(&near).iter_mut().enumerate() {
        *byte = (index / 1024) as u8;
    }
    let local = here.prepare_local(&blocks(&near, 1024)).expect("prepared");
    let remote = here.prepare_remote("there", &blocks(&far, 1024)).expect("prepared");
    assert_eq!((local.len(), remote.len(), local.is_empty()), (64, 64, false));
    let (from, to): (Vec<u32>, Vec<u32>) = (0..64).map(|index| (index, index * 37 % 64)).unzip();
    let write = here.make_request(Direction::Write, &local, &from, &remote, &to).expect("made");
    assert_eq!((write.bytes(), write.descriptors(), write.agent()), (1 << 16, 64, "there"));
    for round in 0..4_u8 {
        write.post(Some(&[round])).expect("posted");
        finish(&write);
        assert_eq!(there.wait_notifications(soon())[0].bytes, [round]);
    }
    for (from, to) in from.iter().zip(&to) {
        let block = &bytes(&far)[*to as usize * 1024..][..1024];
        assert!(block.iter().all(|byte| u32::from(*byte) == *from));
    }
    // One list can be read into several times.
    let read = here.make_request(Direction::Read, &local, &[5, 9], &remote, &[to[1], to[2]]).expect("made");
    read.post(None).expect("posted");
    finish(&read);
    assert_eq!((bytes(&near)[5 * 1024], bytes(&near)[9 * 1024]), (1, 2));
    // Contiguous blocks on both sides are one work request.
    let all: Vec<u32> = (0..64).collect();
    let merged = here.make_request(Direction::Write, &local, &all, &remote, &all).expect("made");
    assert_eq!((merged.descriptors(), merged.work_requests()), (64, 1));
}

#[test]
fn an_agent_transfers_to_itself_by_name() {
    let alone = agent("alone");
    let memory = alone.allocate(8192, ArenaOptions::default()).expect("memory");
    bytes(&memory)[..4096].fill(6);
    let list = blocks(&memory, 4096);
    let local = alone.prepare_local(&list).expect("prepared");
    let remote = alone.prepare_remote("alone", &list).expect("prepared");
    let request = alone.make_request(Direction::Write, &local, &[0], &remote, &[1]).expect("made");
    request.post(Some(b"moved")).expect("posted");
    finish(&request);
    assert!(bytes(&memory).iter().all(|byte| *byte == 6));
    let notifications = alone.wait_notifications(soon());
    assert_eq!((&*notifications[0].agent, &*notifications[0].bytes), ("alone", &b"moved"[..]));
}

/// More postings than the peer has receives for notifications, while it takes none: the last one cannot be done.
pub(super) fn stuck(here: &Agent, near: &Registration, far: &Registration) -> Vec<Request> {
    let make = || here.create_request(Direction::Write, &whole(near), &whole(far), "there").expect("made");
    let requests: Vec<Request> = (0..300).map(|_| make()).collect();
    for request in &requests {
        request.post(Some(b"!")).expect("posted");
    }
    requests
}

#[test]
fn a_request_is_not_posted_while_active_and_drains_behind_its_release() {
    // Work behind a message waits for the peer to take it. That must not make the lane give the peer up.
    let (here, there) = (patient("here"), agent("there"));
    here.load_remote_metadata(&there.local_metadata()).expect("loaded");
    let (near, far) = room(&here, &there, 4096);
    here.connect("there").expect("connected");
    let held = there.backend().inbox().hold();
    let requests = stuck(&here, &near, &far);
    let last = &requests[299];
    assert_eq!((last.phase(), last.check().expect("active")), (Phase::Active, Status::InProgress));
    let again = last.post(None).expect_err("active");
    assert_eq!(again.status(), Status::RepostActive);
    assert_eq!(last.invalid_descriptors(), [0]);
    assert_eq!(last.wait(Some(Instant::now())).expect("active"), Status::InProgress);

    let error = last.release().err();
    assert!(matches!(error, None | Some(AgentError::Aborting)), "{error:?}");
    assert!(matches!(last.phase(), Phase::Aborting | Phase::Aborted));
    assert_eq!(last.check().expect_err("released").status(), Status::Canceled);

    // Others are not disturbed: once the peer takes notifications again, the rest gets done.
    drop(held);
    within(|| last.release().is_ok());
    requests[..299].iter().for_each(finish);
    // It may have been done before the lane looked.
    let aborted = last.phase() == Phase::Aborted;
    let status = if aborted { Err(Status::Canceled) } else { Ok(Status::Success) };
    assert_eq!(last.check().map_err(|error| error.status()), status);
    let (mut came, expected) = (0, if aborted { 299 } else { 300 });
    within(|| {
        came += there.take_notifications().len();
        came == expected
    });
    // What was aborted can be posted again.
    last.post(None).expect("posted");
    finish(last);
}

#[test]
fn dropping_requests_in_flight_stops_them() {
    let (here, there) = pair();
    let (near, far) = room(&here, &there, 4096);
    here.connect("there").expect("connected");
    let held = there.backend().inbox().hold();
    // One with a notification that stays here until it is read.
    let long = here.create_request(Direction::Write, &whole(&near), &whole(&far), "there").expect("made");
    long.post(Some(&vec![1; 100_000])).expect("posted");
    let requests = stuck(&here, &near, &far);
    drop((long, requests));
    drop(held);
    within(|| here.backend().active_requests() == 0);
    assert!(here.backend().flush(soon()), "nothing of it is kept");
    here.deregister(&whole(&near)).expect("nobody uses it");
}

#[test]
fn deregistering_stops_what_uses_the_memory() {
    let (here, there) = pair();
    let (near, far) = room(&here, &there, 4096);
    here.connect("there").expect("connected");
    let held = there.backend().inbox().hold();
    let requests = stuck(&here, &near, &far);
    here.deregister(&whole(&near)).expect("deregistered");
    let last = &requests[299];
    assert_eq!(last.check().expect_err("stopped").status(), Status::Canceled);
    let gone = last.post(None).expect_err("its memory is not registered");
    assert!(matches!(gone, AgentError::Deregistered { .. }), "{gone}");
    let twice = here.deregister(&whole(&near)).expect_err("only once");
    assert_eq!(twice.status(), Status::NotFound);
    drop(held);
}

#[test]
fn a_failed_request_names_what_did_not_arrive() {
    let (here, there) = (agent("here"), agent("there"));
    let near = here.allocate(8192, ArenaOptions::default()).expect("memory");
    let first = there.allocate(4096, ArenaOptions::default()).expect("memory");
    let second = there.allocate(4096, ArenaOptions::default()).expect("memory");
    here.load_remote_metadata(&there.local_metadata()).expect("loaded");
    let far = DescriptorList::dram([(first.address(), 4096), (second.address(), 4096)]);
    let request = here.create_request(Direction::Write, &blocks(&near, 4096), &far, "there").expect("made");
    request.post(None).expect("posted");
    finish(&request);
    assert_eq!(request.invalid_descriptors(), Vec::<usize>::new());

    bytes(&near).fill(8);
    there.deregister(&whole(&second)).expect("deregistered");
    request.post(None).expect("the key was good when it was made");
    let failed = request.wait(Some(soon())).expect_err("half of it is gone");
    assert_eq!(failed.status(), Status::Backend, "{failed}");
    assert_eq!((request.phase(), request.invalid_descriptors()), (Phase::Failed, vec![1]));
    assert!(bytes(&first).iter().all(|byte| *byte == 8));

    // The route is down with it; the next request makes a new one.
    let rest = here
        .create_request(Direction::Write, &blocks(&near, 4096), &far, "there")
        .expect_err("no such memory");
    assert!(matches!(rest, AgentError::Deregistered { .. }), "{rest}");
    let good = here.create_request(
        Direction::Write,
        &DescriptorList::dram([(near.address(), 4096)]),
        &whole(&first),
        "there",
    );
    let good = good.expect("made");
    good.post(None).expect("posted");
    finish(&good);
}

/// Ordered by the remote agent's memory, and told in the caller's order.
#[test]
fn a_failed_permutation_names_the_descriptors_of_the_lost_memory() {
    let (here, there) = (agent("here"), agent("there"));
    let near = here.allocate(64 * 1024, ArenaOptions::default()).expect("memory");
    let halves = [0, 1].map(|_| there.allocate(32 * 1024, ArenaOptions::default()).expect("memory"));
    here.load_remote_metadata(&there.local_metadata()).expect("loaded");
    // Odd ones go to the second half, backwards.
    let to = |index: u64| halves[index as usize % 2].address() + (31 - index / 2) * 1024;
    let far = DescriptorList::dram((0..64).map(|index| (to(index), 1024)));
    let request = here.create_request(Direction::Write, &blocks(&near, 1024), &far, "there").expect("made");
    request.post(None).expect("posted");
    finish(&request);
    bytes(&near).fill(4);
    let lost = usize::from(halves[0].address() < halves[1].address());
    there.deregister(&whole(&halves[lost])).expect("deregistered");
    request.post(None).expect("the keys were good when it was made");
    assert_eq!(request.wait(Some(soon())).expect_err("half of it is gone").status(), Status::Backend);
    let expected: Vec<usize> = (0..64).filter(|index| index % 2 == lost).collect();
    assert_eq!(request.invalid_descriptors(), expected);
    assert!(bytes(&halves[1 - lost]).iter().all(|byte| *byte == 4));
}

#[test]
fn costs_are_estimated_from_what_was_measured() {
    let mut config = AgentConfig::new("here");
    config.telemetry = true;
    let (here, there) = (Agent::open(config).expect("an agent"), agent("there"));
    let (near, far) = room(&here, &there, 1 << 20);
    let request = here.create_request(Direction::Write, &blocks(&near, 4096), &blocks(&far, 4096), "there");
    let request = request.expect("made");
    let before = request.estimate();
    assert!(before.duration > Duration::ZERO);
    assert_eq!(here.telemetry(&request).expect_err("not posted").status(), Status::NotPosted);
    let mut slowest = Duration::ZERO;
    let mut fastest = Duration::MAX;
    for _ in 0..8 {
        request.post(None).expect("posted");
        finish(&request);
        let telemetry = here.telemetry(&request).expect("done");
        assert_eq!((telemetry.bytes, telemetry.descriptors, telemetry.work_requests), (1 << 20, 256, 1));
        assert!(telemetry.posting <= telemetry.transfer || telemetry.transfer > Duration::ZERO);
        (slowest, fastest) = (slowest.max(telemetry.transfer), fastest.min(telemetry.transfer));
    }
    let after = request.estimate();
    let slack = Duration::from_nanos(1);
    assert!(
        fastest <= after.duration + slack && after.duration <= slowest + slack,
        "{after:?} {fastest:?} {slowest:?}"
    );
}

#[test]
fn two_threads_share_one_request() {
    let (here, there) = pair();
    let (near, far) = room(&here, &there, 1 << 16);
    let request = here.create_request(Direction::Write, &whole(&near), &whole(&far), "there").expect("made");
    let posted = pmd_core::sync::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..500 {
                    match request.post(None) {
                        Ok(_) => drop(posted.fetch_add(1, pmd_core::sync::Ordering::Relaxed)),
                        Err(error) => assert_eq!(error.status(), Status::RepostActive, "{error}"),
                    }
                    let _ = request.wait(Some(soon()));
                }
            });
        }
    });
    assert!(posted.load(pmd_core::sync::Ordering::Relaxed) >= 500);
    finish(&request);
}
