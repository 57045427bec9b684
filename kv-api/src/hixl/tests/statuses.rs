//! The numbers, and those statuses that no other test produces.

use pmd_core::{
    memory::{RemoteAddress, RemoteKey},
    wire::Syndrome,
};
use pmd_host::{
    backend::Transport,
    control::{DownReason, RequestError},
    endpoint::{ChoiceError, EndpointError},
    transfer::{RouteFault, SubmitError, TransferError},
};

use super::*;
use crate::fabric::FabricError;

#[test]
fn numbers_are_those_of_the_original() {
    let codes = Status::ALL.map(Status::code);
    let wanted = [0, 103_900, 103_901, 103_902, 103_903, 103_904, 103_905, 503_900, 203_900];
    assert_eq!(codes, wanted);
    assert_eq!([MemType::Device as i32, MemType::Host as i32], [0, 1]);
    assert_eq!([TransferOp::Read as i32, TransferOp::Write as i32], [0, 1]);
    let standing =
        [TransferStatus::Waiting, TransferStatus::Completed, TransferStatus::Timeout, TransferStatus::Failed];
    assert_eq!(standing.map(|status| status as i32), [0, 1, 2, 3]);
    let links = [
        AsyncConnectStatus::NotConnect,
        AsyncConnectStatus::ConnectPending,
        AsyncConnectStatus::Connecting,
        AsyncConnectStatus::Connected,
        AsyncConnectStatus::ConnectFailed,
        AsyncConnectStatus::DisconnectPending,
        AsyncConnectStatus::Disconnecting,
    ];
    assert_eq!(links.map(|status| status as i32), [0, 1, 2, 3, 4, 5, 6]);
}

#[test]
fn capabilities_are_asked_for_without_an_engine() {
    assert_eq!(Hixl::capability(FeatureType::AutoConnect as i32).expect("known"), FEATURE_SUPPORTED);
    assert_eq!(Hixl::capability(FeatureType::ClientServerComm as i32).expect("known"), FEATURE_SUPPORTED);
    assert_eq!(Hixl::capability(2).expect("unknown"), FEATURE_NOT_SUPPORTED);
    assert_eq!(Hixl::capability(i32::MAX).expect("unknown"), FEATURE_NOT_SUPPORTED);
    assert_eq!(status(Hixl::capability(-1)), Status::ParamInvalid);
}

#[test]
fn errors_of_the_layers_below_have_their_number() {
    let missing =
        EndpointError::Choice(ChoiceError::WishesDiffer { ours: Transport::Tcp, theirs: Transport::Verbs });
    let closed = SubmitError::RouteFailed(pmd_host::transfer::RouteFault::Closed);
    let statuses = [
        (FabricError::from(missing), Status::Unsupported),
        (RequestError::Timeout { patience: PATIENCE }.into(), Status::Timeout),
        (RequestError::Down(DownReason::Closed).into(), Status::NotConnected),
        (RequestError::Backlog { waiting: 1 }.into(), Status::Failed),
        (closed.into(), Status::NotConnected),
        (SubmitError::NotConnected.into(), Status::Failed),
        (
            FabricError::NotRegistered { index: 0, address: 1, transport: Transport::Verbs },
            Status::Unsupported,
        ),
        (FabricError::Malformed { length: 1 }, Status::Failed),
    ];
    for (error, wanted) in statuses {
        assert_eq!(HixlError::from(error).status(), wanted);
    }
    let remote = RemoteAddress { address: 64, key: RemoteKey(7) };
    let failed = |syndrome| TransferError::Failed { syndrome, vendor: 0, entry: 0, remote };
    let ends = [
        (TransferError::DeadlineExceeded, Status::Timeout),
        (TransferError::PeerDown, Status::NotConnected),
        (TransferError::RouteClosed, Status::NotConnected),
        (TransferError::Cancelled, Status::Failed),
        (failed(Syndrome::RetryExceeded), Status::NotConnected),
        (failed(Syndrome::Flushed), Status::NotConnected),
        (failed(Syndrome::RemoteAccess), Status::Failed),
        (RouteFault::Disconnected.transfer_error(), Status::NotConnected),
    ];
    for (error, wanted) in ends {
        assert_eq!(HixlError::from(error).status(), wanted);
    }
}

/// Devices may see that a connection broke before the control plane says why.
#[test]
fn a_route_that_breaks_is_a_link_that_is_down_whoever_speaks_first() {
    let (client, server, name) = pair(&direct());
    let (mut near, mut far) = (Memory::zeroed(1 << 20), Memory::new(1 << 20, |_| 1));
    near.register(&client);
    far.register(&server);
    let whole = TransferOpDesc { local_addr: near.address(), remote_addr: far.address(), len: 1 << 20 };
    let read = || transfer(&client, &name, TransferOp::Read, &[whole], PATIENCE);
    read().expect("read");
    let peers = server.engine().expect("initialised").fabric().endpoint().peers();
    peers[0].route().fail(RouteFault::Closed);
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        match read() {
            Err(error) => break error,
            Ok(()) => assert!(Instant::now() < deadline, "nobody notices"),
        }
    };
    assert_eq!(error.status(), Status::NotConnected, "{error}");
    assert_eq!(peers[0].down_reason(), None, "the control plane knows nothing of it");
    assert_eq!(status(read()), Status::NotConnected);
    // What broke is replaced.
    client.connect(&name, PATIENCE).expect("connected again");
    read().expect("read again");
}

/// A transfer that is too large for its time: nothing of it is written after it was given up.
#[test]
fn a_transfer_that_takes_too_long_is_stopped() {
    let (client, server, name) = pair(&direct());
    // More than a millisecond's worth, and less than what a busy machine moves while the link waits for it to be quiet.
    const BYTES: usize = 64 << 20;
    let (mut near, mut far) = (Memory::zeroed(BYTES), Memory::new(BYTES, |_| 1));
    near.register(&client);
    far.register(&server);
    let whole = TransferOpDesc { local_addr: near.address(), remote_addr: far.address(), len: BYTES as u64 };
    let refused = transfer(&client, &name, TransferOp::Read, &[whole], timeout(1));
    assert_eq!(status(refused), Status::Timeout);
    near.0.fill(2);
    let args = TransferArgs { user_data: 0, timeout_in_millis: 1 };
    let req = transfer_async(&client, &name, TransferOp::Read, &[whole], args).expect("begun");
    assert_eq!(ended(&client, req), TransferStatus::Timeout);
    near.0.fill(2);
    // The link goes on, and by the time that this is done anything that was left of the others would be too.
    let last = TransferOpDesc { local_addr: near.address() + 5, remote_addr: far.address(), len: 1 };
    transfer(&client, &name, TransferOp::Read, &[last], PATIENCE).expect("read");
    let bytes = near.bytes();
    assert_eq!(bytes[5], 1);
    assert!(bytes.iter().enumerate().all(|(index, byte)| index == 5 || *byte == 2));
}

/// Disconnecting ends what is in flight, and tells so.
#[test]
fn disconnecting_ends_what_is_in_flight() {
    let (client, server, name) = pair(&options(&[(OPTION_BUFFER_POOL, "1:1")]));
    const BYTES: usize = 64 << 20;
    let (mut near, mut far) = (Memory::zeroed(BYTES), Memory::new(BYTES, |_| 1));
    far.register(&server);
    let whole = TransferOpDesc { local_addr: near.address(), remote_addr: far.address(), len: BYTES as u64 };
    let begin = || transfer_async(&client, &name, TransferOp::Read, &[whole], TransferArgs::default());
    // Through a buffer of 1 MiB, as the memory here is not registered.
    let reqs: Vec<_> = (0..4).map(|_| begin().expect("begun")).collect();
    client.disconnect(&name, PATIENCE).expect("disconnected");
    near.0.fill(2);
    let ends: Vec<_> = reqs.iter().map(|req| client.transfer_status(*req).expect("known")).collect();
    assert_eq!(ends.last(), Some(&TransferStatus::Failed), "{ends:?}");
    assert!(
        ends.iter().all(|end| matches!(end, TransferStatus::Failed | TransferStatus::Completed)),
        "{ends:?}"
    );
    assert_eq!(status(begin()), Status::NotConnected);
    client.finalize();
    assert!(near.bytes().iter().all(|byte| *byte == 2), "nothing came later");
}

#[test]
fn nobody_asks_about_too_many() {
    let (client, _server, name) = pair(&direct());
    let begin = || transfer_async(&client, &name, TransferOp::Read, &[], TransferArgs::default());
    let engine = client.engine().expect("initialised");
    engine.pretend_requests(crate::hixl::requests::LIMIT - 1);
    begin().expect("one more");
    assert_eq!(status(begin()), Status::ResourceExhausted);
    assert_eq!(client.transfer_statuses(TransferStatusArgs::default()).expect("asked").len(), 1 << 16);
    begin().expect("there is room again");
}

#[test]
fn addresses_of_nothing_are_refused() {
    let (client, _server, name) = pair(&direct());
    let mut memory = Memory::zeroed(8);
    for (local, remote) in [(0, memory.address()), (memory.address(), 0)] {
        let piece = TransferOpDesc { local_addr: local, remote_addr: remote, len: 8 };
        assert_eq!(
            status(transfer(&client, &name, TransferOp::Read, &[piece], PATIENCE)),
            Status::ParamInvalid
        );
        let begun = transfer_async(&client, &name, TransferOp::Read, &[piece], TransferArgs::default());
        assert_eq!(status(begun), Status::ParamInvalid);
    }
}
