//! Lanes that take nothing more, and work that their queues cannot hold.

use std::{
    future::Future,
    pin::pin,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use pmd_host::{
    backend::QueuePairConfig,
    endpoint::EndpointConfig,
    lane::LaneConfig,
    transfer::{SubmitError, TransferError},
};

use super::support::*;
use crate::{
    server::{Gather, RespondError, Server, ServerConfig},
    worker::{Failure, FailureCause, PushPull, WaitError, WorkerConfig},
};

/// Keeps the thread that wakes it until the test lets go: a lane, which takes no work meanwhile.
struct Holding {
    held: Mutex<Sender<()>>,
    let_go: Mutex<Receiver<()>>,
}

impl Wake for Holding {
    fn wake(self: Arc<Self>) {
        let _ = self.held.lock().unwrap().send(());
        let _ = self.let_go.lock().unwrap().recv_timeout(PATIENCE);
    }
}

/// A waker that holds its thread, what is heard when it does, and what lets it go when it is dropped.
fn holding() -> (Waker, Receiver<()>, Sender<()>) {
    let ((held, is_held), (go, let_go)) = (channel(), channel());
    (Arc::new(Holding { held: Mutex::new(held), let_go: Mutex::new(let_go) }).into(), is_held, go)
}

fn two_submissions(endpoint: &EndpointConfig) -> EndpointConfig {
    let lane = LaneConfig { submissions: 2, ..endpoint.lane.clone() };
    EndpointConfig { lane, ..endpoint.clone() }
}

#[test]
fn a_request_that_the_lane_does_not_take_in_time_has_failed() {
    let server = server(0);
    let config = WorkerConfig { identity: node(0), ..WorkerConfig::default() };
    let endpoint = two_submissions(&config.endpoint);
    let worker = worker_with(WorkerConfig { endpoint, ..config }, &[&server]);
    let (waker, is_held, go) = holding();
    let first = worker.push_pull(&PushPull::new(), soon()).unwrap();
    assert!(pin!(first.clone()).poll(&mut Context::from_waker(&waker)).is_pending());
    next(&server).respond(&[]).unwrap();
    is_held.recv_timeout(PATIENCE).unwrap();

    let mut taken = Vec::new();
    let failed = (0..10).find_map(|_| {
        let handle = worker.try_push_pull(&PushPull::new()).unwrap();
        let ended = handle.poll();
        taken.extend(ended.is_none().then_some(handle));
        ended
    });
    assert_eq!(failed, Some(Err(Failure { server: 0, cause: FailureCause::Busy })));
    drop(go);
    for handle in taken {
        next(&server).respond(&[]).unwrap();
        handle.wait(soon()).unwrap();
    }
}

#[test]
fn a_response_that_the_lane_does_not_take_in_time_ends_the_connection() {
    let config = ServerConfig { identity: node(0), patience: Duration::ZERO, ..ServerConfig::default() };
    let endpoint = two_submissions(&config.endpoint);
    let server = Server::open(ServerConfig { endpoint, ..config }).unwrap();
    let worker = worker(0, &[&server]);
    let ask = || worker.push_pull(&PushPull::new(), soon()).unwrap();
    let handles = [(); 5].map(|()| ask());
    let requests = [(); 5].map(|()| next(&server));
    let (waker, is_held, go) = holding();
    let mut more = pin!(server.next_batch(Gather::Any));
    assert!(more.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let _unread = ask();
    is_held.recv_timeout(PATIENCE).unwrap();

    let refused = requests.into_iter().find_map(|request| request.respond(&[]).err());
    assert!(matches!(refused, Some(RespondError::Submit(SubmitError::Full(_)))), "{refused:?}");
    drop(go);
    // Whatever became of the others: the worker does not wait for one that was never sent.
    let down = |handle: &crate::worker::Handle| {
        matches!(handle.wait(soon()), Err(WaitError::Failed(Failure { cause: FailureCause::Down(_), .. })))
    };
    assert!(handles.iter().any(down));
}

#[test]
fn rows_that_the_queue_cannot_hold_are_an_error_of_the_request_alone() {
    let server = server(0);
    let config = WorkerConfig { identity: node(0), ..WorkerConfig::default() };
    let queue_pair = QueuePairConfig { send_slots: 2, ..config.endpoint.queue_pair };
    let endpoint = EndpointConfig { queue_pair, ..config.endpoint.clone() };
    let worker = worker_with(WorkerConfig { endpoint, ..config }, &[&server]);
    let tokens = rows(&worker, 64, 1000);
    let scattered = PushPull::new().push_rows(0, 1, &tokens, (0..32).map(|row| 2 * row)).unwrap();
    let handle = worker.push_pull(&scattered, soon()).unwrap();
    let Err(WaitError::Failed(failure)) = handle.wait(soon()) else { panic!("it does not fit") };
    let FailureCause::Transfer(TransferError::Refused { .. }) = failure.cause else { panic!("{failure}") };
    let handle = worker.push_pull(&PushPull::new().push(2, &tokens), soon()).unwrap();
    next(&server).respond(&[]).unwrap();
    handle.wait(soon()).unwrap();
}
