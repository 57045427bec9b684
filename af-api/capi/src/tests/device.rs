//! Memory of a device: ordinary memory in its place, which the processor must not touch.

use std::{
    ffi::CStr,
    sync::Arc,
    time::{Duration, Instant},
};

use af_api::tensor::{Stager, Tensor};
use pmd_core::accelerator::Stream;
use pmd_host::accelerator::wait_for;

use super::*;

pub(super) fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_millis(PATIENCE))
}

fn on_devices(roles: u32, port: u16, accelerators: &'static CStr) -> pmd_af_options {
    pmd_af_options { accelerators: accelerators.as_ptr(), device_areas: true, ..options(roles, port) }
}

/// A process that is worker and server, with one device for both.
pub(super) fn cluster() -> Cluster {
    let (scheduler, port) = scheduler();
    let node = told(start(&on_devices(PMD_AF_SERVERS | PMD_AF_WORKERS, port, c"cpu")));
    Cluster { scheduler, worker: node, server: node }
}

/// Numbers of a node on its device.
fn numbers(node: *const pmd_af_node) -> Numbers {
    let mut address = null_mut();
    // SAFETY: places for the memory and its address.
    let memory = told(made(null_mut(), |place| unsafe {
        pmd_af_memory_allocate_on(node, NUMBERS * 4, 0, place, &mut address)
    }));
    Numbers { memory, first: address.cast() }
}

fn tensor(keyed: &pmd_af_keyed_tensor, side: Side) -> Tensor {
    // SAFETY: one tensor, with a shape of its dimensions.
    let tensors = unsafe { tensors_at(keyed, 1, side) };
    tensors.map(|mut tensors| tensors.remove(0).1).unwrap_or_else(|failure| panic!("{failure:?}"))
}

fn fill(keyed: &pmd_af_keyed_tensor, side: Side, number: f32) {
    let bytes: Vec<u8> = [number; NUMBERS].iter().flat_map(|number| number.to_ne_bytes()).collect();
    // SAFETY: no request uses the tensor.
    unsafe { Stager::new().upload(&tensor(keyed, side), &bytes, soon()) }.expect("a copy");
}

fn holds(keyed: &pmd_af_keyed_tensor, side: Side, number: f32) -> bool {
    // SAFETY: no request uses the tensor.
    let bytes = unsafe { Stager::new().download(&tensor(keyed, side), soon()) }.expect("a copy");
    bytes.chunks_exact(4).all(|four| four == number.to_ne_bytes()) && bytes.len() == NUMBERS * 4
}

pub(super) fn stream_of(node: *const pmd_af_node) -> Arc<dyn Stream> {
    let process = process_of(node).expect("a node");
    process.accelerator(0).map(|of| of.open_stream().expect("a stream")).expect("an accelerator")
}

#[test]
fn tensors_of_devices_are_pushed_pulled_and_answered_with_in_the_turn_of_streams() {
    let cluster = cluster();
    let (pushed, pulled) = (numbers(cluster.worker), numbers(cluster.worker));
    let answer = numbers(cluster.server);
    let (ours, theirs) = (stream_of(cluster.worker), stream_of(cluster.server));
    for round in 1..=3_u8 {
        fill(&pushed.keyed(0), Side::Worker, round.into());
        fill(&answer.keyed(0), Side::Server, f32::from(round) * 10.0);
        let options = pmd_af_request_options { in_stream: true, stream: ours.native(), ..DEFAULTS };
        let request = told(push_pull(cluster.worker, &[pushed.keyed(7)], &[pulled.keyed(8)], Some(&options)));
        let behind = ours.record().expect("an event");
        let incoming = told(cluster.incoming());
        // SAFETY: a place for the tensor.
        let came = told(made(pushed.keyed(0), |place| unsafe { pmd_af_incoming_push(incoming, 0, place) }));
        assert_eq!((came.key, came.bytes, came.tensor.device_id), (7, NUMBERS as u64 * 4, 0));
        assert_ne!(came.tensor.device_type, 1, "it is no memory of the host");
        assert_eq!(behind.query(), Ok(false), "what is behind waits for the answer");
        let answers = [answer.keyed(0)];
        // SAFETY: one tensor, which is left alone until the worker has its answer.
        let responded =
            unsafe { pmd_af_respond_on(cluster.server, incoming, answers.as_ptr(), 1, theirs.native()) };
        assert_eq!(responded, pmd_af_status::Ok, "{}", last_error());
        assert_eq!(wait_for(&*behind, soon()), Ok(true));
        assert_eq!(pmd_af_request_wait(request, PATIENCE), pmd_af_status::Ok, "{}", last_error());
        assert!(holds(&pulled.keyed(0), Side::Worker, f32::from(round) * 10.0));
        let _ = (pmd_af_request_release(request), pmd_af_incoming_release(incoming));
    }
}

#[test]
fn devices_and_streams_that_are_not_there_are_refused() {
    let cluster = cluster();
    let pushed = numbers(cluster.worker);
    let mut room = [0_f32; 16];
    let mut register = |node, device| {
        let address = room.as_mut_ptr().cast();
        // SAFETY: refused.
        made(null_mut(), |place| unsafe { pmd_af_memory_register(node, address, 64, device, place) }).err()
    };
    assert_eq!(register(cluster.worker, 5), Some(pmd_af_status::Unavailable));
    assert_eq!(register(cluster.worker, 0), Some(pmd_af_status::Memory), "it is the host's");
    let mut address = null_mut();
    // SAFETY: places for the memory and its address.
    let none = made(null_mut(), |place| unsafe {
        pmd_af_memory_allocate_on(cluster.worker, 64, 1, place, &mut address)
    });
    assert_eq!(none.err(), Some(pmd_af_status::Unavailable));
    let options = pmd_af_request_options { in_stream: true, stream: 4242, ..DEFAULTS };
    let unknown = push_pull(cluster.worker, &[pushed.keyed(1)], &[], Some(&options));
    assert_eq!(unknown.err(), Some(pmd_af_status::NotFound));
    let (lone, port) = scheduler();
    let absent = start(&on_devices(PMD_AF_WORKERS, port, c"cuda:4000"));
    assert_eq!(absent.err(), Some(pmd_af_status::Unavailable), "{}", last_error());
    let _ = pmd_af_scheduler_close(lone);
}
