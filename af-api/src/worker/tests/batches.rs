//! Batches: whose they are, and that what was not taken leaves no gap in one.

use std::{
    sync::{Barrier, Mutex, mpsc::channel},
    thread,
};

use pmd_core::accelerator::Stream;
use pmd_host::accelerator::{CpuAccelerator, KernelFault, wait_for};

use super::support::*;
use crate::{
    gate::GateConfig,
    server::{Gather, Server},
    tensor::Tensor,
    wire::Refusal,
    worker::{
        CancelOutcome, Failure, FailureCause, Handle, Part, PushPull, PushPullError, WaitError, Worker,
        WorkerConfig,
    },
};

fn part(part: Part, tensor: &Tensor) -> PushPull {
    PushPull::new().push(1, tensor).part(part)
}

/// What was pushed with the next request, byte by byte; it is answered.
fn fills(server: &Server) -> Vec<u8> {
    let request = next(server);
    let fills = pushed(&request).into_iter().map(|(_, bytes)| bytes[0]).collect();
    request.respond(&[]).unwrap();
    fills
}

fn done(handles: &[Handle]) {
    handles.iter().for_each(|handle| drop(handle.wait(soon()).unwrap()));
}

/// A worker that has room for as many pushes of key 1 as a test has.
fn roomy(server: &Server) -> Worker {
    let worker = worker(0, &[server]);
    worker.declare(0, 1, 1000, 16).unwrap();
    worker
}

#[test]
fn threads_that_submit_batches_at_once_do_not_mix_them() {
    let server = server(0);
    let worker = roomy(&server);
    let in_turn = Barrier::new(2);
    let handles = Mutex::new(Vec::new());
    let submit = |fill: u8| {
        let tensor = ours(&worker, 1000, fill);
        for of in [Part::Start, Part::Middle, Part::Middle, Part::End] {
            handles.lock().unwrap().push(worker.push_pull(&part(of, &tensor), soon()).unwrap());
            // Neither begins its next part before the other has submitted this one.
            in_turn.wait();
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| submit(1));
        submit(2);
    });
    let mut batches = [fills(&server), fills(&server)];
    batches.sort_unstable();
    assert_eq!(batches, [vec![1; 4], vec![2; 4]]);
    done(&handles.into_inner().unwrap());
}

#[test]
fn a_batch_with_a_number_is_submitted_by_any_thread() {
    let server = server(0);
    let worker = roomy(&server);
    let tensors = [1, 2, 3].map(|fill| ours(&worker, 1000, fill));
    let submit = |of: Part, tensor: &Tensor| {
        let request = PushPull::new().push(1, tensor).part_of(77, of);
        worker.push_pull(&request, soon()).unwrap()
    };
    let begun = submit(Part::Start, &tensors[0]);
    // This thread's own batch goes on beside it.
    let own = [Part::Start, Part::End].map(|of| worker.push_pull(&part(of, &tensors[2]), soon()).unwrap());
    let ended = thread::scope(|scope| scope.spawn(|| submit(Part::End, &tensors[1])).join().unwrap());
    assert_eq!((fills(&server), fills(&server)), (vec![3, 3], vec![1, 2]));
    done(&own);
    done(&[begun, ended]);
}

#[test]
fn a_part_of_no_batch_is_refused_and_sends_nothing() {
    let servers = [server(0), server(1)];
    let worker = worker(0, &[&servers[0], &servers[1]]);
    let tensor = ours(&worker, 1000, 1);
    for of in [Part::Middle, Part::End] {
        let refused = worker.push_pull(&part(of, &tensor), soon()).unwrap_err();
        assert_eq!(refused, PushPullError::NoBatch { server: 0 });
    }
    // Begun at one server only: the part that goes to both is refused, and the batch goes on.
    let to = |of, servers: &[u32]| part(of, &tensor).servers(servers.iter().copied());
    let begun = worker.push_pull(&to(Part::Start, &[0]), soon()).unwrap();
    let refused = worker.push_pull(&to(Part::Middle, &[0, 1]), soon()).unwrap_err();
    assert_eq!(refused, PushPullError::NoBatch { server: 1 });
    let elsewhere = thread::scope(|scope| {
        scope.spawn(|| worker.push_pull(&to(Part::End, &[0]), soon()).unwrap_err()).join().unwrap()
    });
    assert_eq!(elsewhere, PushPullError::NoBatch { server: 0 }, "it is not that thread's");
    let ended = worker.push_pull(&to(Part::End, &[0]), soon()).unwrap();
    assert_eq!(fills(&servers[0]), [1, 1]);
    done(&[begun, ended]);
    assert!(servers[1].try_batch(Gather::Any).unwrap().is_none());
}

#[test]
fn a_part_that_has_no_room_leaves_no_gap() {
    let server = server(0);
    let config = WorkerConfig { identity: node(0), requests: 3, ..WorkerConfig::default() };
    let worker = worker_with(config, &[&server]);
    let in_flight = [(); 2].map(|()| worker.push_pull(&PushPull::new(), soon()).unwrap());
    let tensor = ours(&worker, 100, 5);
    worker.declare(0, 1, 100, 3).unwrap();
    let mut handles = vec![worker.try_push_pull(&part(Part::Start, &tensor)).unwrap()];
    for (of, earlier) in [Part::Middle, Part::End].into_iter().zip(&in_flight) {
        let refused = worker.try_push_pull(&part(of, &tensor)).unwrap_err();
        assert_eq!(refused, PushPullError::Full { server: 0 });
        next(&server).respond(&[]).unwrap();
        earlier.wait(soon()).unwrap();
        handles.push(worker.try_push_pull(&part(of, &tensor)).unwrap());
    }
    assert_eq!(fills(&server), [5; 3]);
    done(&handles);
}

#[test]
fn a_part_whose_event_nobody_can_wait_for_leaves_no_gap() {
    let server = server(0);
    let events = GateConfig { depth: 1, ..GateConfig::default() };
    let config = WorkerConfig { identity: node(0), events, ..WorkerConfig::default() };
    let worker = worker_with(config, &[&server]);
    worker.declare(0, 1, 100, 8).unwrap();
    let stream = CpuAccelerator::default().open_cpu_stream().unwrap();
    let (end, ended) = channel();
    stream.launch(move || ended.recv_timeout(PATIENCE).unwrap_or(Err(KernelFault { code: -1 })));
    let event = stream.record().unwrap();
    let tensor = ours(&worker, 100, 6);
    let submit = |request: PushPull| worker.push_pull(&request, soon());
    let mut handles = vec![submit(part(Part::Start, &tensor).after(&event)).unwrap()];
    for of in [Part::Middle, Part::End, Part::Start] {
        let refused = submit(part(of, &tensor).after(&event)).unwrap_err();
        assert_eq!(refused, PushPullError::Events { held: 1 });
        if of == Part::Start {
            // It began none: there is none to go on with.
            assert_eq!(submit(part(Part::End, &tensor)).unwrap_err(), PushPullError::NoBatch { server: 0 });
        } else {
            handles.push(submit(part(of, &tensor)).unwrap());
        }
    }
    end.send(Ok(())).unwrap();
    assert_eq!(fills(&server), [6; 3]);
    done(&handles);
}

#[test]
fn the_parts_of_a_batch_of_which_one_is_cancelled_do_not_wait_for_it() {
    let server = server(0);
    let worker = roomy(&server);
    let tensor = ours(&worker, 1000, 1);
    // The header that is given up may have been sent by then or not.
    for _ in 0..20 {
        let begun = worker.push_pull(&part(Part::Start, &tensor), soon()).unwrap();
        let amid = worker.push_pull(&part(Part::Middle, &tensor), soon()).unwrap();
        assert_eq!(begun.cancel(), CancelOutcome::Cancelled);
        let ended = worker.push_pull(&part(Part::End, &tensor), soon());
        assert!(server.try_batch(Gather::Any).unwrap().is_none(), "it is not handed out");
        let mut others = vec![amid];
        match ended {
            Ok(ended) => others.push(ended),
            Err(refused) => assert_eq!(refused, PushPullError::NoBatch { server: 0 }),
        }
        for handle in others {
            // Who looks for a request lets go of what was given up.
            let abandoned = || {
                assert!(server.try_batch(Gather::Any).unwrap().is_none());
                handle.is_done()
            };
            until("the others are told", abandoned);
            let cause = FailureCause::Refused(Refusal::Abandoned);
            assert_eq!(handle.wait(soon()), Err(WaitError::Failed(Failure { server: 0, cause })));
        }
    }
}

#[test]
fn a_batch_of_which_a_part_is_never_sent_is_given_up() {
    let server = server(0);
    let worker = roomy(&server);
    let tensor = ours(&worker, 1000, 1);
    let stream = CpuAccelerator::default().open_cpu_stream().unwrap();
    stream.launch(|| Err(KernelFault { code: 3 }));
    let failed = stream.record().unwrap();
    assert!(wait_for(&*failed, soon()).is_err());
    let begun = worker.push_pull(&part(Part::Start, &tensor), soon()).unwrap();
    let unsent = worker.push_pull(&part(Part::Middle, &tensor).after(&failed), soon()).unwrap();
    assert!(matches!(
        unsent.wait(soon()),
        Err(WaitError::Failed(Failure { cause: FailureCause::Event(_), .. }))
    ));
    let cause = FailureCause::Refused(Refusal::Abandoned);
    assert_eq!(begun.wait(soon()), Err(WaitError::Failed(Failure { server: 0, cause })));
    let refused = worker.push_pull(&part(Part::End, &tensor), soon()).unwrap_err();
    assert_eq!(refused, PushPullError::NoBatch { server: 0 });
    let again = [Part::Start, Part::End].map(|of| worker.push_pull(&part(of, &tensor), soon()).unwrap());
    assert_eq!(fills(&server), [1, 1]);
    done(&again);
}
