//! Captured exchanges and services, replayed by hand in streams of the processor's stand-in.

use pmd_core::accelerator::Stream;
use pmd_host::accelerator::wait_for;

use super::{
    device::{cluster, soon, stream_of},
    *,
};
use crate::capture::*;

fn offer(cluster: &Cluster, key: u64, buffer: &Numbers) {
    // SAFETY: a tensor, and a worker and a key.
    let offered = unsafe { pmd_af_offer(cluster.server, &buffer.keyed(key), &0, &key, 1) };
    assert_eq!(offered, pmd_af_status::Ok, "{}", last_error());
}

fn exchange(
    node: *const pmd_af_node,
    pushes: &[pmd_af_keyed_tensor],
    pulls: &[pmd_af_keyed_tensor],
    timeout: u64,
) -> Result<*mut pmd_af_exchange, pmd_af_status> {
    let (pushed, pulled) = (pushes.as_ptr(), pulls.as_ptr());
    // SAFETY: tensors of their counts, and a place for the exchange.
    made(null_mut(), |place| unsafe {
        pmd_af_capture_exchange(node, pushed, pushes.len(), pulled, pulls.len(), timeout, place)
    })
}

fn service(
    cluster: &Cluster,
    pushes: &[pmd_af_keyed_tensor],
    answers: &[pmd_af_keyed_tensor],
    timeout: u64,
) -> Result<*mut pmd_af_service, pmd_af_status> {
    let worker = pmd_af_answering {
        worker: 0,
        pushes: pushes.as_ptr(),
        push_count: pushes.len(),
        answers: answers.as_ptr(),
        answer_count: answers.len(),
    };
    // SAFETY: tensors of their counts, and a place for the service.
    made(null_mut(), |place| unsafe { pmd_af_capture_service(cluster.server, &worker, 1, timeout, place) })
}

/// Status, launches that have ended, and the one that failed.
fn exchange_check(exchange: *const pmd_af_exchange) -> (pmd_af_status, u64, u64) {
    let (mut ended, mut failed) = (9, 9);
    // SAFETY: places for numbers.
    (unsafe { pmd_af_exchange_check(exchange, &mut ended, &mut failed) }, ended, failed)
}

fn service_check(service: *const pmd_af_service) -> (pmd_af_status, u64, u64) {
    let (mut ended, mut failed) = (9, 9);
    // SAFETY: places for numbers.
    (unsafe { pmd_af_service_check(service, &mut ended, &mut failed) }, ended, failed)
}

fn finish(stream: &dyn Stream) {
    assert_eq!(wait_for(&*stream.record().expect("an event"), soon()), Ok(true));
}

#[test]
fn streams_push_pull_and_answer_by_themselves() {
    let cluster = cluster();
    let (pushed, pulled) = (Numbers::new(cluster.worker, |_| 3.0), Numbers::new(cluster.worker, |_| 0.0));
    let (received, answer) = (Numbers::new(cluster.server, |_| 0.0), Numbers::new(cluster.server, |_| 5.0));
    let (push, pull) = ([pushed.keyed(7)], [pulled.keyed(8)]);
    let (received_at, answered) = ([received.keyed(7)], [answer.keyed(8)]);
    assert_eq!(service(&cluster, &received_at, &answered, 0).err(), Some(pmd_af_status::NotFound));
    offer(&cluster, 7, &received);
    let service = told(service(&cluster, &received_at, &answered, PATIENCE));
    let exchange = told(exchange(cluster.worker, &push, &pull, PATIENCE));
    let (ours, theirs) = (stream_of(cluster.worker), stream_of(cluster.server));
    for round in 1..=3 {
        pushed.all().fill(round as f32);
        answer.all().fill(10.0 * round as f32);
        let put = [
            pmd_af_service_put_batch(cluster.server, service, theirs.native()),
            pmd_af_service_put_responses(cluster.server, service, theirs.native()),
            pmd_af_exchange_put(cluster.worker, exchange, ours.native()),
        ];
        assert_eq!(put, [pmd_af_status::Ok; 3], "{}", last_error());
        finish(&*ours);
        finish(&*theirs);
        assert!(received.all().iter().all(|number| *number == round as f32));
        assert!(pulled.all().iter().all(|number| *number == 10.0 * round as f32));
        assert_eq!(exchange_check(exchange), (pmd_af_status::Ok, round, 0));
        assert_eq!(pmd_af_exchange_wait(exchange, round, PATIENCE), pmd_af_status::Ok);
        assert_eq!(pmd_af_service_wait(service, round, PATIENCE), pmd_af_status::Ok);
        assert_eq!(service_check(service), (pmd_af_status::Ok, round, 0));
    }
    assert_eq!(pmd_af_exchange_wait(exchange, 4, 1), pmd_af_status::Timeout);
    assert_eq!(pmd_af_service_wait(service, 4, 1), pmd_af_status::Timeout);
    let closed = (pmd_af_exchange_close(exchange, PATIENCE), pmd_af_service_close(service, PATIENCE));
    assert_eq!(closed, (pmd_af_status::Ok, pmd_af_status::Ok));
    let put = pmd_af_exchange_put(cluster.worker, exchange, ours.native());
    let asked = pmd_af_service_put_batch(cluster.server, service, theirs.native());
    assert_eq!((put, asked), (pmd_af_status::Ok, pmd_af_status::Ok));
    finish(&*ours);
    finish(&*theirs);
    assert_eq!(pmd_af_exchange_wait(exchange, 4, PATIENCE), pmd_af_status::Cancelled, "{}", last_error());
    assert_eq!(exchange_check(exchange), (pmd_af_status::Cancelled, 4, 4));
    assert_eq!(pmd_af_service_wait(service, 4, PATIENCE), pmd_af_status::Cancelled);
    assert_eq!(service_check(service), (pmd_af_status::Cancelled, 4, 4));
    let released = (pmd_af_exchange_release(exchange), pmd_af_service_release(service));
    assert_eq!(released, (pmd_af_status::Ok, pmd_af_status::Ok));
    assert_eq!(pmd_af_exchange_release(exchange), pmd_af_status::InvalidHandle);
    assert_eq!(pmd_af_service_close(service, 0), pmd_af_status::InvalidHandle);
}

#[test]
fn launches_that_fail_have_a_status_and_a_number() {
    let cluster = cluster();
    let (pushed, pulled) = (Numbers::new(cluster.worker, |_| 3.0), Numbers::new(cluster.worker, |_| 0.0));
    let late = told(exchange(cluster.worker, &[pushed.keyed(7)], &[pulled.keyed(8)], 20));
    let ours = stream_of(cluster.worker);
    assert_eq!(pmd_af_exchange_put(cluster.worker, late, ours.native()), pmd_af_status::Ok);
    finish(&*ours);
    assert_eq!(exchange_check(late), (pmd_af_status::Timeout, 1, 1));
    // One that is being served.
    let held = told(exchange(cluster.worker, &[pushed.keyed(7)], &[pulled.keyed(8)], 0));
    assert_eq!(pmd_af_exchange_put(cluster.worker, held, ours.native()), pmd_af_status::Ok);
    let incoming = told(cluster.incoming());
    assert_eq!(pmd_af_exchange_close(held, 0), pmd_af_status::Busy, "{}", last_error());
    assert_eq!(pmd_af_refuse(incoming, 3), pmd_af_status::Ok);
    finish(&*ours);
    assert_eq!(exchange_check(held), (pmd_af_status::Refused, 1, 1));
    // A server that is gone, and a worker.
    let (received, answer) = (Numbers::new(cluster.server, |_| 0.0), Numbers::new(cluster.server, |_| 5.0));
    offer(&cluster, 9, &received);
    let lonely = told(service(&cluster, &[received.keyed(9)], &[answer.keyed(8)], 0));
    assert_eq!(
        service(&cluster, &[received.keyed(9)], &[answer.keyed(8)], 0).err(),
        Some(pmd_af_status::Busy)
    );
    let theirs = stream_of(cluster.server);
    assert_eq!(pmd_af_service_put_batch(cluster.server, lonely, theirs.native()), pmd_af_status::Ok);
    assert_eq!(pmd_af_service_release(lonely), pmd_af_status::Ok);
    finish(&*theirs);
    let _ = (pmd_af_exchange_release(late), pmd_af_exchange_release(held), pmd_af_incoming_release(incoming));
}

#[test]
fn what_cannot_be_captured_is_refused() {
    let cluster = cluster();
    let pushed = Numbers::new(cluster.worker, |_| 3.0);
    let three = [pushed.keyed(7), pushed.keyed(7), pushed.keyed(7)];
    assert!(exchange(cluster.worker, &three, &[], 0).is_err(), "more than may be in flight");
    let captured = told(exchange(cluster.worker, &[pushed.keyed(7)], &[], 0));
    assert_eq!(pmd_af_exchange_put(cluster.worker, captured, 4242), pmd_af_status::NotFound);
    let stream = stream_of(cluster.worker);
    let none = pmd_af_exchange_put(cluster.worker, null(), stream.native());
    assert_eq!(none, pmd_af_status::NullPointer);
    // SAFETY: no place for the service, which is refused before anything is looked at.
    let nowhere = unsafe { pmd_af_capture_service(cluster.server, null(), 0, 0, null_mut()) };
    assert_eq!(nowhere, pmd_af_status::NullPointer);
    // SAFETY: no workers, and a place for the service.
    let nobody =
        made(null_mut(), |place| unsafe { pmd_af_capture_service(cluster.server, null(), 0, 0, place) });
    assert_eq!(nobody.err(), Some(pmd_af_status::InvalidArgument));
    let without = Cluster::new();
    assert_eq!(exchange(without.worker, &[], &[], 0).err(), Some(pmd_af_status::Unavailable));
    assert_eq!(exchange(without.server, &[], &[], 0).err(), Some(pmd_af_status::InvalidArgument));
    assert_eq!(pmd_af_exchange_release(captured), pmd_af_status::Ok);
}
