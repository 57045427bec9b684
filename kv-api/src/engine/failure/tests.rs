use pmd_core::{
    memory::{RemoteAddress, RemoteKey},
    wire::Syndrome,
};
use pmd_host::transfer::RouteFault;

use super::*;

#[test]
fn peers_hear_of_a_broken_route_and_of_a_wrong_request_apart() {
    let remote = RemoteAddress { address: 64, key: RemoteKey(7) };
    let failed = |syndrome| TransferError::Failed { syndrome, vendor: 0, entry: 0, remote };
    let unnotified = |syndrome| TransferError::NotificationFailed { syndrome, vendor: 0 };
    let cases = [
        (failed(Syndrome::RetryExceeded), Some(FailureReason::RouteDown)),
        (failed(Syndrome::RemoteAccess), Some(FailureReason::WorkRequest)),
        (RouteFault::Disconnected.transfer_error(), Some(FailureReason::RouteDown)),
        (TransferError::RouteClosed, Some(FailureReason::RouteDown)),
        // Every byte has moved, whatever became of the route.
        (unnotified(Syndrome::RetryExceeded), Some(FailureReason::NotificationLost)),
        (TransferError::Cancelled, Some(FailureReason::Cancelled)),
        (TransferError::DeadlineExceeded, Some(FailureReason::DeadlineExceeded)),
        (TransferError::PeerDown, None),
    ];
    for (error, reason) in cases {
        assert_eq!(FailureReason::of(&error), reason, "{error}");
    }
}
