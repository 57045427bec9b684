//! The state table of queue pairs, whole, and through the provider.

mod queue_device;

use pmd_core::{
    provider::{Operation, PostError, Provider, QueuePairHandle, ReceiveRequest, SendFlags, SendRequest},
    queue::{HandleError, ProhibitedTransition, QueuePairState as State},
};
use queue_device::setup::Plan;

/// Rows: from. Columns: to. The order is that of `State::ALL`.
const ALLOWED: [[bool; 6]; 6] = [
    // Reset Init   RTR    RTS    SQD    Error
    [true, true, false, false, false, false], // Reset
    [true, true, true, false, false, true],   // Init
    [true, false, false, true, false, true],  // ReadyToReceive
    [true, false, false, true, true, true],   // ReadyToSend
    [true, false, false, true, true, true],   // SendQueueDrained
    [true, false, false, false, false, true], // Error
];

#[test]
fn the_whole_table() {
    for (from, row) in State::ALL.into_iter().zip(ALLOWED) {
        for (to, allowed) in State::ALL.into_iter().zip(row) {
            match from.transition(to) {
                Ok(state) => assert!(allowed && state == to, "{from:?} -> {to:?}"),
                Err(refused) => {
                    assert!(!allowed, "{from:?} -> {to:?}");
                    assert_eq!((refused.from, refused.to), (from, to));
                    assert!(refused.to_string().ends_with(refused.reason) && !refused.reason.is_empty());
                }
            }
        }
    }
}

#[test]
fn the_provider_follows_the_table() {
    let mut setup = Plan::default().build();
    let handle = setup.handles[0];
    let back = setup.provider.set_state(handle, State::Init);
    let Err(HandleError::Transition(ProhibitedTransition { from, to, .. })) = back else {
        panic!("{back:?}");
    };
    assert_eq!((from, to), (State::ReadyToSend, State::Init));
    assert_eq!(setup.provider.state(handle), State::ReadyToSend);
    assert_eq!(setup.provider.set_state(handle, State::Reset), Err(HandleError::CallReset));
    setup.provider.set_state(handle, State::SendQueueDrained).expect("allowed");
    setup.provider.set_state(handle, State::ReadyToSend).expect("allowed");
    let unknown = HandleError::UnknownQueuePair { handle: 9 };
    assert_eq!(setup.provider.set_state(QueuePairHandle(9), State::Init), Err(unknown));
    assert_eq!(setup.provider.state(QueuePairHandle(9)), State::Reset);
}

#[test]
fn each_state_takes_what_it_should() {
    let sends = [State::ReadyToSend];
    let receives = [State::Init, State::ReadyToReceive, State::ReadyToSend, State::SendQueueDrained];
    for state in State::ALL {
        let mut setup = Plan::default().build();
        let handle = setup.handles[0];
        setup.provider.reset(handle).expect("attached");
        let path: &[State] = match state {
            State::Reset => &[],
            State::Init => &[State::Init],
            State::ReadyToReceive => &[State::Init, State::ReadyToReceive],
            State::ReadyToSend => &[State::Init, State::ReadyToReceive, State::ReadyToSend],
            State::SendQueueDrained => {
                &[State::Init, State::ReadyToReceive, State::ReadyToSend, State::SendQueueDrained]
            }
            State::Error => &[State::Init, State::Error],
        };
        path.iter().for_each(|to| setup.provider.set_state(handle, *to).expect("allowed"));
        let request = SendRequest { id: 1, operation: Operation::Nop, flags: SendFlags::SIGNALED };
        let refused = Err(PostError::WrongState { state });
        let sent = setup.provider.post_send(handle, &request);
        assert_eq!(sent, if sends.contains(&state) { Ok(()) } else { refused }, "{state:?}");
        let received = setup.provider.post_receive(handle, &ReceiveRequest { id: 1, scatter: &[] });
        assert_eq!(received, if receives.contains(&state) { Ok(()) } else { refused }, "{state:?}");
    }
}
