//! Push-pulls of `af-api` over a NIC: what is pulled into memory that the NIC does not reach lands in the host's first.

use af_api::{
    gate::EventError,
    server::Server,
    tensor::LandingError,
    worker::{FailureCause, PushPull, PushPullError, Worker},
};
use pmd_core::accelerator::{AcceleratorError, AcceleratorKind};
use pmd_host::backend::Transport;

use super::{in_a_process, staged};
use crate::{
    cases::{
        Case,
        af::{BYTES, cause, counts, echo, next, place_of, read, server, soon, tensor, worker},
        case,
        kv::nothing_left,
    },
    context::{Context, Outcome, Skip, pattern},
    way::Way,
};

pub(super) const CASES: &[Case] = &[
    case("nic::af_tensors_go_both_ways_in_the_turn_of_a_stream", both_ways),
    case("nic::af_without_room_to_land_a_pull_is_refused_until_there_is", no_room),
    case("nic::af_a_landing_that_fails_fails_its_push_pull_and_no_other", landing),
];

/// A push and a pull of as much, which the server sends back, in the turn of a stream.
fn round(context: &Context, worker: &Worker, server: &Server, seed: u64) {
    let content = pattern(seed, BYTES);
    let (push, pull) =
        (tensor(context, worker.endpoint(), &content), tensor(context, worker.endpoint(), &[0; BYTES]));
    let way = context.nic.expect("over a NIC");
    assert_eq!(push.memory().path(Transport::Mlx5), Some(way.path()));
    let stream = context.stream();
    let request = PushPull::new().push_to(0, 1, &push).pull_from(0, 2, &pull);
    let handle = worker.push_pull_on(&*stream, &request, soon(context)).expect("taken");
    let behind = stream.record().expect("recording");
    assert_eq!(behind.query(), Ok(false), "what is behind waits for the answer");
    let request = next(context, server);
    let pushed = request.pushes().next().and_then(|push| push.tensor()).expect("a tensor");
    // Workers are let into the device, or push into the host's memory.
    assert_eq!(pushed.memory().accelerator().is_some(), way != Way::Staged);
    assert!(read(context, pushed) == content);
    echo(context, request);
    context.wait(&*behind);
    // The stream was let go of when everything was on the device.
    assert!(read(context, &pull) == content);
    assert!(handle.wait(soon(context)).is_ok());
}

fn both_ways(context: &Context) -> Outcome {
    context.nic.ok_or_else(|| Skip("no NIC".to_owned()))?;
    let before = counts(context);
    let server = server(context, 0);
    let worker = worker(context, 0, &[(0, place_of(&server))]);
    assert_eq!(worker.peer(0).map(|peer| peer.transport()), Some(Transport::Mlx5));
    (0..3).for_each(|seed| round(context, &worker, &server, seed));
    // Twice into the same memory, of which a part is pulled.
    let pull = tensor(context, worker.endpoint(), &[9; BYTES]);
    for rows in [(0, 1000), (5000, 70_000)] {
        let content = pattern(rows.0, rows.1 as usize);
        let push = tensor(context, worker.endpoint(), &content);
        let part = pull.rows(rows.0, rows.1).expect("rows");
        let request = PushPull::new().push_to(0, 3, &push).pull_from(0, 4, &part);
        let handle = worker.push_pull(&request, soon(context)).expect("taken");
        echo(context, next(context, &server));
        assert!(handle.wait(soon(context)).is_ok());
        assert!(read(context, &part) == content);
    }
    let whole = read(context, &pull);
    assert!(whole[1000..5000].iter().chain(&whole[75_000..]).all(|byte| *byte == 9), "beside the pulls");
    drop((pull, worker, server));
    nothing_left(context, before, BYTES as u64);
    Ok(())
}

fn no_room(context: &Context) -> Outcome {
    staged(context)?;
    // Where the runtime is CUDA's, flags and what streams keep for tables of blocks are in pinned memory too, before it.
    let before = if context.name.kind() == AcceleratorKind::Cuda { 2 } else { 0 };
    let landing = context.name.pinned_fault().split(',').nth(before).unwrap_or_default();
    in_a_process(context, "nic-af-no-room", landing.to_owned())
}

fn landing(context: &Context) -> Outcome {
    staged(context)?;
    in_a_process(context, "nic-af-landing", format!("stream@1={}", context.name.stream_fault()))
}

/// What the process of a case does.
pub(super) fn play(context: &Context, part: &str) {
    let before = counts(context);
    let server = server(context, 0);
    let worker = worker(context, 0, &[(0, place_of(&server))]);
    match part {
        "nic-af-no-room" => refused(context, &worker, &server),
        "nic-af-landing" => lost(context, &worker, &server),
        part => panic!("there is no part {part:?}"),
    }
    drop((worker, server));
    nothing_left(context, before, BYTES as u64);
}

/// A tensor whose memory no stream has touched.
fn untouched(context: &Context, worker: &Worker) -> af_api::tensor::Tensor {
    use af_api::tensor::{Layout, Memory, Tensor};
    let memory = Memory::of_device(worker.endpoint(), context.allocate(BYTES).into()).expect("memory");
    Tensor::new(&memory, 0, Layout::of_bytes(BYTES as u32)).expect("a tensor")
}

/// The first pinned memory is that of the landing.
fn refused(context: &Context, worker: &Worker, server: &Server) {
    let pull = untouched(context, worker);
    let request = PushPull::new().pull_from(0, 2, &pull);
    match worker.push_pull(&request, soon(context)) {
        Err(PushPullError::NoLanding { key: 2, server: 0, reason: LandingError::Accelerator(reason) }) => {
            assert!(matches!(reason, AcceleratorError::OutOfMemory { .. }), "{reason}");
        }
        other => panic!("{other:?}"),
    }
    round(context, worker, server, 4);
}

/// The first work of all streams is the copy to the device of what was pulled.
fn lost(context: &Context, worker: &Worker, server: &Server) {
    let pull = untouched(context, worker);
    let handle = worker.push_pull(&PushPull::new().pull_from(0, 2, &pull), soon(context)).expect("taken");
    let source =
        af_api::tensor::Memory::allocate(server.endpoint(), BYTES, Default::default()).expect("memory");
    let layout = af_api::tensor::Layout::of_bytes(BYTES as u32);
    let answer = af_api::tensor::Tensor::new(&source, 0, layout).expect("a tensor");
    let response = next(context, server).respond(&[answer]).expect("a response");
    response.wait(soon(context)).expect("sent");
    match cause(context, &handle) {
        FailureCause::Landing(EventError::Accelerator(_)) => {}
        other => panic!("{other:?}"),
    }
    round(context, worker, server, 5);
    // The same memory again, with another stream.
    let push = tensor(context, worker.endpoint(), &pattern(6, BYTES));
    let request = PushPull::new().push_to(0, 1, &push).pull_from(0, 2, &pull);
    let handle = worker.push_pull(&request, soon(context)).expect("taken");
    echo(context, next(context, server));
    assert!(handle.wait(soon(context)).is_ok());
    assert!(read(context, &pull) == pattern(6, BYTES));
}
