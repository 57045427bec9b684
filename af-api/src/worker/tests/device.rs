//! Tensors in memory that only an accelerator's streams touch: touching it from the processor would end these tests with
//! SIGSEGV.

use std::sync::{
    Arc,
    mpsc::{Receiver, channel},
};

use pmd_core::accelerator::{Accelerator, Stream};
use pmd_host::{
    accelerator::{CpuAccelerator, CpuOptions, CpuStream, KernelFault},
    endpoint::{Endpoint, EndpointConfig},
    soft::DeviceConfig,
};

use super::support::*;
use crate::{
    server::{Gather, Request, Server, ServerConfig},
    tensor::{DataType, Layout, Memory, Stager, Tensor},
    worker::{PushPull, Worker, WorkerConfig},
};

pub(crate) fn shielded() -> CpuAccelerator {
    CpuAccelerator::new(CpuOptions { shielded: true, ..CpuOptions::default() })
}

/// As between processes: what belongs to another endpoint is opened by its handle.
fn apart(endpoint: EndpointConfig) -> EndpointConfig {
    EndpointConfig { soft: DeviceConfig { same_process: false, ..DeviceConfig::default() }, ..endpoint }
}

pub(crate) fn server_on(accelerator: &CpuAccelerator, device_areas: bool) -> Server {
    let accelerator: Option<Arc<dyn Accelerator>> = Some(Arc::new(accelerator.clone()));
    let default = ServerConfig { identity: node(0), accelerator, device_areas, ..ServerConfig::default() };
    Server::open(ServerConfig { endpoint: apart(default.endpoint.clone()), ..default }).unwrap()
}

pub(crate) fn worker_on(accelerator: &CpuAccelerator, servers: &[&Server]) -> Worker {
    let accelerator: Option<Arc<dyn Accelerator>> = Some(Arc::new(accelerator.clone()));
    let default = WorkerConfig { identity: node(0), accelerator, ..WorkerConfig::default() };
    worker_with(WorkerConfig { endpoint: apart(default.endpoint.clone()), ..default }, servers)
}

/// Bytes of the device, all the same.
pub(crate) fn on_device(endpoint: &Endpoint, accelerator: &CpuAccelerator, bytes: u32, fill: u8) -> Tensor {
    let memory = Memory::allocate_on(endpoint, accelerator, bytes.into()).unwrap();
    let tensor = bytes_in(&memory, bytes);
    store(&tensor, &vec![fill; bytes as usize]);
    tensor
}

#[expect(unsafe_code, reason = "prepares memory that no request uses")]
pub(crate) fn store(tensor: &Tensor, bytes: &[u8]) {
    // SAFETY: tests call it while no request uses the tensor.
    unsafe { Stager::new().upload(tensor, bytes, soon()) }.unwrap();
}

#[expect(unsafe_code, reason = "looks at memory that no request uses")]
pub(crate) fn fetch(tensor: &Tensor) -> Vec<u8> {
    // SAFETY: tests call it once the request is done, or before its answer.
    unsafe { Stager::new().download(tensor, soon()) }.unwrap()
}

fn fetched(request: &Request) -> Vec<(u64, Vec<u8>)> {
    request.pushes().map(|push| (push.key(), push.tensor().map_or_else(Vec::new, fetch))).collect()
}

#[test]
fn tensors_of_a_device_go_both_ways_whatever_their_size_and_wherever_they_arrive() {
    let (ours, theirs) = (shielded(), shielded());
    for device_areas in [false, true] {
        let server = server_on(&theirs, device_areas);
        let worker = worker_on(&ours, &[&server]);
        for bytes in [1, 8, 100, 5000, 300_000] {
            let push = on_device(worker.endpoint(), &ours, bytes, 3);
            let small = super::support::ours(&worker, 8, 4);
            let pulls =
                [on_device(worker.endpoint(), &ours, bytes, 0), super::support::ours(&worker, bytes, 0)];
            let request =
                PushPull::new().push(1, &push).push(2, &small).pull(3, &pulls[0]).pull(4, &pulls[1]);
            let handle = worker.push_pull(&request, soon()).unwrap();
            let request = next(&server);
            assert_eq!(fetched(&request), [(1, vec![3; bytes as usize]), (2, vec![4; 8])]);
            let arrived = request.pushes().all(|push| {
                push.tensor().is_some_and(|tensor| tensor.memory().accelerator().is_some() == device_areas)
            });
            assert!(arrived, "areas are where the server wants them");
            let answers = [
                on_device(server.endpoint(), &theirs, bytes, 7),
                on_device(server.endpoint(), &theirs, bytes, 8),
            ];
            request.respond(&answers).unwrap().wait(soon()).unwrap();
            assert_eq!(handle.wait(soon()).unwrap().lengths, [bytes; 2]);
            assert_eq!(fetch(&pulls[0]), vec![7; bytes as usize]);
            assert!(is_filled(&pulls[1], 8), "{bytes}");
        }
    }
    until("nothing is left", || ours.allocations() + theirs.allocations() == 0);
}

#[test]
fn rows_of_a_device_tensor_are_pushed_without_gaps() {
    let accelerator = shielded();
    let server = server_on(&accelerator, true);
    let worker = worker_on(&accelerator, &[&server]);
    let memory = Memory::allocate_on(worker.endpoint(), &accelerator, 5 * 4000).unwrap();
    let table = Tensor::new(&memory, 0, Layout::new(DataType::Uint8, &[5, 4000]).unwrap()).unwrap();
    store(&table, &(0..5).flat_map(|row| [row; 4000]).collect::<Vec<u8>>());
    let request = PushPull::new().push_rows(0, 1, &table, [4, 0, 4]).unwrap();
    let handle = worker.push_pull(&request, soon()).unwrap();
    let request = next(&server);
    assert_eq!(fetched(&request), [(1, [[4; 4000], [0; 4000], [4; 4000]].concat())]);
    request.respond(&[]).unwrap();
    handle.wait(soon()).unwrap();
}

#[test]
fn a_buffer_of_a_device_that_is_offered_for_a_key_is_written_and_never_by_the_processor() {
    let accelerator = shielded();
    let server = server_on(&accelerator, false);
    let buffer = on_device(server.endpoint(), &accelerator, 6000, 9);
    server.offer(0, 1, &buffer, 2).unwrap();
    let worker = worker_on(&accelerator, &[&server]);
    // Small enough to travel in the header, where it may.
    let push = ours(&worker, 5, 6);
    let handle = worker.push_pull(&PushPull::new().push(1, &push), soon()).unwrap();
    let request = next(&server);
    let place = request.pushes().next().and_then(|push| push.tensor()).unwrap().address();
    assert!((buffer.address()..buffer.address() + 6000).contains(&place));
    assert_eq!(fetched(&request), [(1, vec![6; 5])]);
    request.respond(&[]).unwrap();
    handle.wait(soon()).unwrap();
}

/// A kernel that waits to be let go and then fills a tensor.
fn filling(
    accelerator: &CpuAccelerator,
    stream: &CpuStream,
    tensor: &Tensor,
    fill: u8,
) -> std::sync::mpsc::Sender<()> {
    let (go, may_go) = channel::<()>();
    let (accelerator, tensor) = (accelerator.clone(), tensor.clone());
    stream.launch(move || {
        may_go.recv_timeout(PATIENCE).map_err(|_| KernelFault { code: -1 })?;
        on_kernels_side(&accelerator, &tensor).fill(fill);
        Ok(())
    });
    go
}

/// A kernel that tells what a tensor holds.
fn telling(accelerator: &CpuAccelerator, stream: &CpuStream, tensor: &Tensor) -> Receiver<Vec<u8>> {
    let (tell, told) = channel();
    let (accelerator, tensor) = (accelerator.clone(), tensor.clone());
    stream.launch(move || {
        tell.send(on_kernels_side(&accelerator, &tensor).to_vec()).map_err(|_| KernelFault { code: -2 })
    });
    told
}

#[expect(unsafe_code, clippy::mut_from_ref, reason = "what a kernel of a test does")]
fn on_kernels_side<'a>(accelerator: &CpuAccelerator, tensor: &'a Tensor) -> &'a mut [u8] {
    let length = tensor.bytes() as usize;
    let pointer = accelerator.kernel_pointer(tensor.address(), length as u64).unwrap();
    // SAFETY: memory of the device; the stream orders the kernel with everything else that uses it.
    unsafe { std::slice::from_raw_parts_mut(pointer, length) }
}

#[test]
fn a_push_pull_in_the_turn_of_a_stream_is_between_its_kernels_and_nobody_waits() {
    let accelerator = shielded();
    let server = server_on(&accelerator, true);
    let worker = worker_on(&accelerator, &[&server]);
    let stream = accelerator.open_cpu_stream().unwrap();
    let (push, pull) = (
        on_device(worker.endpoint(), &accelerator, 50_000, 1),
        on_device(worker.endpoint(), &accelerator, 50_000, 1),
    );
    let go = filling(&accelerator, &stream, &push, 5);
    let request = PushPull::new().push(1, &push).pull(2, &pull);
    let handle = worker.push_pull_on(&*stream, &request, soon()).unwrap();
    let seen = telling(&accelerator, &stream, &pull);
    let behind = stream.record().unwrap();
    assert!(server.try_batch(Gather::Any).unwrap().is_none(), "the kernel in front has not run");
    go.send(()).unwrap();
    let request = next(&server);
    assert_eq!(fetched(&request), [(1, vec![5; 50_000])]);
    assert_eq!(behind.query(), Ok(false), "the kernel behind waits for the answer");
    // The server's side follows a stream too.
    let (answer, computing) =
        (on_device(server.endpoint(), &accelerator, 50_000, 0), accelerator.open_cpu_stream().unwrap());
    let go = filling(&accelerator, &computing, &answer, 6);
    let (tell, told) = channel();
    server
        .respond_on(&*computing, (request, vec![answer]), soon(), move |outcome| tell.send(outcome).unwrap())
        .unwrap();
    assert!(handle.poll().is_none());
    go.send(()).unwrap();
    assert_eq!(seen.recv_timeout(PATIENCE), Ok(vec![6; 50_000]));
    handle.wait(soon()).unwrap();
    told.recv_timeout(PATIENCE).unwrap().unwrap().wait(soon()).unwrap();
}

#[test]
fn many_push_pulls_follow_one_stream() {
    let accelerator = shielded();
    let server = server_on(&accelerator, true);
    let worker = worker_on(&accelerator, &[&server]);
    let _serving = server
        .serve(|request| {
            // What was pushed goes back as it is.
            let tensors: Vec<_> = request.pushes().filter_map(|push| push.tensor().cloned()).collect();
            drop(request.respond(&tensors));
        })
        .unwrap();
    let stream = accelerator.open_cpu_stream().unwrap();
    let (push, pull) = (
        on_device(worker.endpoint(), &accelerator, 3000, 0),
        on_device(worker.endpoint(), &accelerator, 3000, 0),
    );
    let request = PushPull::new().push(1, &push).pull(2, &pull);
    let turns: Vec<_> = (1..=20)
        .map(|turn| {
            filling(&accelerator, &stream, &push, turn).send(()).unwrap();
            let handle = worker.push_pull_on(&*stream, &request, soon()).unwrap();
            (turn, handle, telling(&accelerator, &stream, &pull))
        })
        .collect();
    for (turn, handle, seen) in turns {
        assert_eq!(seen.recv_timeout(PATIENCE), Ok(vec![turn; 3000]));
        handle.wait(soon()).unwrap();
    }
}
