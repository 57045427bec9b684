//! Every status of NIXL, and a call that gives it.

use pmd_core::{
    memory::{RemoteAddress, RemoteKey},
    wire::Syndrome,
};
use pmd_host::transfer::{Direction, RouteFault, TransferError};

use super::*;
use crate::agent::{AgentError, MemoryType};

#[test]
fn statuses_have_nixls_numbers() {
    let codes: Vec<i32> = Status::ALL.iter().map(|status| status.code()).collect();
    assert_eq!(codes, [1, 0, -1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -12]);
    let names: std::collections::HashSet<_> = Status::ALL.iter().map(|status| status.name()).collect();
    assert_eq!(names.len(), Status::ALL.len());
}

#[test]
fn parameters_that_cannot_be_are_refused() {
    let (here, there) = pair();
    let (near, far) = room(&here, &there, 8192);
    let local = here.prepare_local(&blocks(&near, 4096)).expect("prepared");
    let remote = here.prepare_remote("there", &blocks(&far, 4096)).expect("prepared");
    let odd = here.prepare_remote("there", &blocks(&far, 2048)).expect("prepared");
    let refused = |result: Result<Request, AgentError>| {
        let error = result.expect_err("refused");
        assert_eq!(error.status(), Status::InvalidParameter, "{error}");
    };
    let write = Direction::Write;
    refused(here.make_request(write, &local, &[0, 1], &remote, &[0]));
    refused(here.make_request(write, &local, &[2], &remote, &[0]));
    refused(here.make_request(write, &local, &[0], &remote, &[u32::MAX]));
    refused(here.make_request(write, &local, &[], &remote, &[]));
    refused(here.make_request(write, &local, &[0], &odd, &[0]));
    refused(here.make_request(write, &remote, &[0], &remote, &[0]));
    refused(here.make_request(write, &local, &[0], &local, &[0]));
    refused(here.create_request(write, &blocks(&near, 4096), &whole(&far), "there"));
    let own = here.load_remote_metadata(&here.local_metadata()).expect_err("its own");
    assert_eq!(own.status(), Status::InvalidParameter);
    assert_eq!(
        here.invalidate_remote_metadata("here").expect_err("oneself").status(),
        Status::InvalidParameter
    );
    // SAFETY: nothing is registered.
    let nothing = unsafe { here.register(&DescriptorList::default()) };
    assert_eq!(nothing.expect_err("nothing").status(), Status::InvalidParameter);
}

#[test]
fn what_is_not_known_is_not_found() {
    let (here, there) = pair();
    let (near, far) = room(&here, &there, 4096);
    let not_found = |error: AgentError| assert_eq!(error.status(), Status::NotFound, "{error}");
    not_found(here.prepare_remote("nobody", &whole(&far)).expect_err("unknown"));
    not_found(here.notify("nobody", b"?").expect_err("unknown"));
    not_found(here.connect("nobody").expect_err("unknown"));
    not_found(here.invalidate_remote_metadata("nobody").expect_err("unknown"));
    let beyond = DescriptorList::dram([(near.address(), 4097)]);
    not_found(here.prepare_local(&beyond).expect_err("beyond its end"));
    not_found(here.deregister(&beyond).expect_err("not what was registered"));

    let remote = here.prepare_remote("there", &whole(&far)).expect("prepared");
    let local = here.prepare_local(&whole(&near)).expect("prepared");
    let request = here.make_request(Direction::Read, &local, &[0], &remote, &[0]).expect("made");
    here.invalidate_remote_metadata("there").expect("known");
    not_found(request.post(None).expect_err("invalidated"));
    not_found(here.make_request(Direction::Read, &local, &[0], &remote, &[0]).expect_err("invalidated"));
    here.load_remote_metadata(&there.local_metadata()).expect("loaded");
    // What was made before stays void.
    not_found(request.post(None).expect_err("invalidated"));
    not_found(here.make_request(Direction::Read, &local, &[0], &remote, &[0]).expect_err("invalidated"));
    let fresh = here.prepare_remote("there", &whole(&far)).expect("prepared");
    let request = here.make_request(Direction::Read, &local, &[0], &fresh, &[0]).expect("made");
    request.post(None).expect("posted");
    finish(&request);
}

#[test]
fn storage_is_not_supported() {
    let here = agent("here");
    for memory in [MemoryType::Block, MemoryType::Object, MemoryType::File] {
        let list =
            DescriptorList { memory, descriptors: vec![Descriptor { address: 1, length: 1, device: 0 }] };
        // SAFETY: nothing is registered.
        let error = unsafe { here.register(&list) }.expect_err("storage");
        assert_eq!(error.status(), Status::NotSupported);
    }
    // No device of this machine reaches it: refused by the devices, not by the agent.
    let list = DescriptorList {
        memory: MemoryType::Vram,
        descriptors: vec![Descriptor { address: 4096, length: 64, device: 0 }],
    };
    // SAFETY: nothing is registered.
    let error = unsafe { here.register(&list) }.expect_err("no accelerator");
    assert_eq!(error.status(), Status::Backend, "{error}");
}

#[test]
fn telemetry_is_off_unless_it_was_switched_on() {
    let (here, there) = pair();
    let (near, far) = room(&here, &there, 64);
    let request = here.create_request(Direction::Write, &whole(&near), &whole(&far), "there").expect("made");
    assert_eq!(request.check().expect_err("never posted").status(), Status::NotPosted);
    request.post(None).expect("posted");
    finish(&request);
    assert_eq!(here.telemetry(&request).expect_err("off").status(), Status::NoTelemetry);
}

#[test]
fn a_peer_that_goes_ends_what_is_in_flight() {
    let (here, there) = pair();
    let (near, far) = room(&here, &there, 4096);
    let request = here.create_request(Direction::Write, &whole(&near), &whole(&far), "there").expect("made");
    request.post(None).expect("posted");
    finish(&request);
    drop(there);
    // The goodbye comes by itself, a little later.
    within(|| {
        let outcome = request.post(None).and_then(|_| request.wait(Some(soon())));
        outcome.is_err_and(|error| error.status() == Status::RemoteDisconnect)
    });
    within(|| here.notify("there", b"?").is_err_and(|error| error.status() == Status::RemoteDisconnect));
}

/// Devices may see that a connection broke before the control plane says why.
#[test]
fn a_route_that_breaks_is_a_disconnect_or_replaced_whoever_speaks_first() {
    let (here, there) = pair();
    let (near, far) = room(&here, &there, 4096);
    let request = here.create_request(Direction::Write, &whole(&near), &whole(&far), "there").expect("made");
    let connection = || here.backend().messenger().fabric().endpoint().peers();
    request.post(None).expect("posted");
    finish(&request);
    let before = connection();
    let peers = there.backend().messenger().fabric().endpoint().peers();
    peers[0].routes().for_each(|route| route.fail(RouteFault::Closed));
    within(|| match request.post(None).and_then(|_| request.wait(Some(soon()))) {
        Err(error) => {
            assert_eq!(error.status(), Status::RemoteDisconnect, "{error}");
            true
        }
        // It was noticed between two postings: the second went over another route.
        Ok(_) => connection().iter().any(|peer| !before.contains(peer)),
    });
    request.post(None).expect("over another route");
    finish(&request);
}

#[test]
fn every_word_of_a_device_for_a_broken_route_is_a_disconnect() {
    let remote = RemoteAddress { address: 64, key: RemoteKey(7) };
    let failed = |syndrome| TransferError::Failed { syndrome, vendor: 0, entry: 0, remote };
    let flushed = |syndrome| RouteFault::WorkRequest { syndrome, vendor: 0 }.transfer_error();
    let cases = [
        (failed(Syndrome::RetryExceeded), Status::RemoteDisconnect),
        (failed(Syndrome::Flushed), Status::RemoteDisconnect),
        (failed(Syndrome::RemoteAccess), Status::Backend),
        (flushed(Syndrome::RetryExceeded), Status::RemoteDisconnect),
        (flushed(Syndrome::RemoteAccess), Status::Backend),
        (RouteFault::Disconnected.transfer_error(), Status::RemoteDisconnect),
        (RouteFault::Unresponsive.transfer_error(), Status::Backend),
        (TransferError::RouteClosed, Status::RemoteDisconnect),
    ];
    for (error, wanted) in cases {
        assert_eq!(AgentError::Transfer(error).status(), wanted, "{error}");
    }
}

#[test]
fn a_lane_that_ends_is_unknown() {
    let (here, there) = pair();
    let (near, far) = room(&here, &there, 4096);
    here.connect("there").expect("connected");
    let held = there.backend().inbox().hold();
    let requests = super::requests::stuck(&here, &near, &far);
    here.backend().messenger().fabric().endpoint().peers()[0].route().lane().shutdown();
    let error = requests[299].wait(Some(soon())).expect_err("no lane");
    assert_eq!(error.status(), Status::Unknown, "{error}");
    drop(held);
}
