//! All, any, quorum, deadline; waiting, trying, as a future, by a handler.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use crate::{
    server::{BatchError, Gather, Request, Server, ServerConfig},
    worker::{PushPull, Worker, tests::support::*},
};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    let until = Instant::now() + PATIENCE;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        assert!(Instant::now() < until, "the future was not woken");
        thread::park_timeout(PATIENCE);
    }
}

fn ranks(batch: &[Request]) -> Vec<u32> {
    batch.iter().map(|request| request.worker().rank).collect()
}

fn answer(batch: Vec<Request>) {
    batch.into_iter().for_each(|request| drop(request.respond(&[]).unwrap()));
}

fn ask(worker: &Worker) -> crate::worker::Handle {
    worker.push_pull(&PushPull::new(), soon()).unwrap()
}

/// Waits until so many workers have a request there.
fn await_ready(server: &Server, count: usize) {
    let until = Instant::now() + PATIENCE;
    while server.inbox().progress(Gather::All).0 < count {
        assert!(Instant::now() < until);
        thread::yield_now();
    }
}

#[test]
fn a_batch_of_all_has_one_request_of_each_in_the_order_of_ranks() {
    let config = ServerConfig { identity: node(0), workers: Some(3), ..ServerConfig::default() };
    let server = Server::open(config).unwrap();
    let workers: Vec<_> = [2, 0].map(|rank| worker(rank, &[&server])).into();
    let mut handles: Vec<_> = workers.iter().flat_map(|worker| [ask(worker), ask(worker)]).collect();
    await_ready(&server, 2);
    assert!(server.try_batch(Gather::All).unwrap().is_none(), "a worker is missing");
    let at_once = server.batch(Gather::All, Some(Instant::now()));
    assert!(matches!(at_once, Err(BatchError::Timeout { ready: 2, wanted: 3 })));
    // A late joiner completes it.
    let late = worker(1, &[&server]);
    handles.push(ask(&late));
    let batch = server.batch(Gather::All, soon()).unwrap();
    assert_eq!(ranks(&batch), [0, 1, 2]);
    answer(batch);
    let rest = server.batch(Gather::Quorum(2), soon()).unwrap();
    assert_eq!(ranks(&rest), [0, 2]);
    answer(rest);
    handles.iter().for_each(|handle| drop(handle.wait(soon()).unwrap()));
}

#[test]
fn any_gives_the_oldest_and_a_deadline_what_there_is() {
    let server = server(0);
    let workers = [worker(0, &[&server]), worker(1, &[&server])];
    let first = ask(&workers[1]);
    await_ready(&server, 1);
    let second = ask(&workers[0]);
    await_ready(&server, 2);
    let oldest = server.try_batch(Gather::Any).unwrap().unwrap();
    assert_eq!(ranks(&oldest), [1]);
    let rest = server.batch_until(Instant::now() + Duration::from_millis(2)).unwrap();
    assert_eq!(ranks(&rest), [0], "one of two");
    assert!(server.batch_until(Instant::now()).unwrap().is_empty());
    answer(oldest);
    answer(rest);
    first.wait(soon()).unwrap();
    second.wait(soon()).unwrap();
}

#[test]
fn batches_handles_and_responses_can_be_awaited() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let pull = ours(&worker, 5000, 0);
    thread::scope(|scope| {
        let serving = scope.spawn(|| {
            block_on(async {
                let request = server.next_batch(Gather::All).await.unwrap().remove(0);
                request.respond(&[theirs(&server, 5000, 4)]).unwrap().await
            })
        });
        let results =
            block_on(async { worker.push_pull(&PushPull::new().pull(1, &pull), soon()).unwrap().await });
        assert_eq!(results.unwrap().lengths, [5000]);
        serving.join().unwrap().unwrap();
    });
    assert!(is_filled(&pull, 4));
}

#[test]
fn a_handler_serves_until_it_is_dropped_and_a_closed_server_says_so() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let serving = server.serve(|request| drop(request.respond(&[]))).unwrap();
    for _ in 0..10 {
        ask(&worker).wait(soon()).unwrap();
    }
    drop(serving);
    let unserved = ask(&worker);
    await_ready(&server, 1);
    assert!(unserved.poll().is_none());
    let batches = server.next_batch(Gather::Quorum(9));
    drop(server);
    assert!(matches!(block_on(batches), Err(BatchError::Closed)));
    assert!(unserved.wait(soon()).is_err());
}
