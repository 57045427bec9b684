//! Tensors of a device on both sides, and what is flushed before its streams go on.

use pmd_core::accelerator::{Accelerator, AcceleratorError};
use pmd_host::{endpoint::Endpoint, region::RegionPath};

use super::*;
use crate::{
    graph::{Answering, CapturedExchange, CapturedService, ExchangeCause, ServiceCause},
    tensor::{Memory, Tensor},
    worker::{
        FailureCause, PushPull, WaitError,
        tests::{device::*, support::*},
    },
};

const BYTES: u32 = 5000;

fn device(exchange: &CapturedExchange) -> Device {
    Device::new(|stream| exchange.put(stream).unwrap())
}

fn serving(service: &CapturedService) -> Device {
    Device::new(|stream| {
        service.put_batch(stream).unwrap();
        service.put_responses(stream).unwrap();
    })
}

/// A tensor as if a NIC reached it so.
fn reached(endpoint: &Endpoint, accelerator: &CpuAccelerator, path: RegionPath) -> Tensor {
    let memory = accelerator.allocate(BYTES.into()).unwrap();
    bytes_in(&Memory::claimed(endpoint, memory.into(), path), BYTES)
}

#[test]
fn pairs_of_tensors_go_both_ways_at_each_launch() {
    let accelerator = shielded();
    let server = server_on(&accelerator, true);
    let worker = worker_on(&accelerator, &[&server]);
    let sizes = [8, BYTES, 70_001];
    let of = |endpoint| sizes.map(|bytes| on_device(endpoint, &accelerator, bytes, 0));
    let (pushes, pulls) = (of(worker.endpoint()), of(worker.endpoint()));
    let (received, answers) = (of(server.endpoint()), of(server.endpoint()));
    let (mut request, mut answering) = (PushPull::new(), Answering::new(0));
    for pair in 0..sizes.len() {
        let key = pair as u64;
        request = request.push(key, &pushes[pair]).pull(key, &pulls[pair]);
        server.offer(0, key, &received[pair], 1).unwrap();
        answering = answering.pushed(key, &received[pair]).answer(&answers[pair]);
    }
    let service = server.capture(&accelerator, &[answering], Some(PATIENCE)).unwrap();
    let exchange = worker.capture(&accelerator, &request, Some(PATIENCE)).unwrap();
    let (theirs, ours) = (serving(&service), device(&exchange));
    let content =
        |round: u8, pair: usize| vec![round.wrapping_mul(5).wrapping_add(pair as u8); sizes[pair] as usize];
    for round in 1..=20 {
        (0..sizes.len()).for_each(|pair| store(&pushes[pair], &content(round, pair)));
        ours.ask();
        theirs.launch();
        (0..sizes.len()).for_each(|pair| assert_eq!(fetch(&received[pair]), content(round, pair)));
        (0..sizes.len()).for_each(|pair| store(&answers[pair], &content(round + 100, pair)));
        theirs.respond();
        ours.goes_on();
        (0..sizes.len()).for_each(|pair| assert_eq!(fetch(&pulls[pair]), content(round + 100, pair)));
    }
    assert_eq!(exchange.launches().check(), Ok(20));
    service.launches().wait(20, soon()).unwrap();
    assert_eq!((service.launches().failed(), accelerator.counters().flushes), (0, 0));
}

#[test]
fn what_nics_have_written_of_a_pull_is_flushed_once_before_the_stream_goes_on() {
    let accelerator = shielded();
    let server = server_on(&accelerator, false);
    let worker = worker_on(&accelerator, &[&server]);
    let paths = [RegionPath::DmaBuf, RegionPath::PeerMemory, RegionPath::DeviceCopy];
    let pulls = paths.map(|path| reached(worker.endpoint(), &accelerator, path));
    let request = (2..).zip(&pulls).fold(PushPull::new(), |all, (key, pull)| all.pull(key, pull));
    let exchange = worker.capture(&accelerator, &request, None).unwrap();
    let device = device(&exchange);
    for round in 1..=3 {
        device.ask();
        let request = next(&server);
        assert_eq!(accelerator.counters().flushes, u64::from(round) - 1, "nothing has come yet");
        let answers = [(); 3].map(|()| theirs(&server, BYTES, round));
        request.respond(&answers).unwrap();
        device.goes_on();
        assert_eq!(accelerator.counters().flushes, u64::from(round));
        assert!(pulls.iter().all(|pull| fetch(pull) == vec![round; BYTES as usize]));
    }
    assert_eq!(exchange.launches().check(), Ok(3));
}

#[test]
fn a_pull_that_is_not_flushed_fails_its_launch_and_lets_the_stream_go_on() {
    let accelerator = shielded();
    let server = server_on(&accelerator, false);
    let worker = worker_on(&accelerator, &[&server]);
    let pull = reached(worker.endpoint(), &accelerator, RegionPath::DmaBuf);
    let exchange = worker.capture(&accelerator, &PushPull::new().pull(2, &pull), None).unwrap();
    let device = device(&exchange);
    let launch = |fill| {
        device.ask();
        next(&server).respond(&[theirs(&server, BYTES, fill)]).unwrap();
        device.goes_on();
    };
    accelerator.fail_flushes(true);
    launch(1);
    let failure = exchange.launches().check().unwrap_err();
    let flush = AcceleratorError::Runtime {
        kind: accelerator.identity().kind,
        function: "flush_remote_writes",
        code: -1,
        name: "failed".to_owned(),
    };
    assert_eq!((failure.launch, failure.cause), (1, ExchangeCause::Flush(flush)));
    accelerator.fail_flushes(false);
    launch(2);
    assert_eq!(exchange.launches().wait(2, soon()), Ok(()));
    assert_eq!(fetch(&pull), vec![2; BYTES as usize]);
}

#[test]
fn what_nics_have_written_of_pushes_is_flushed_once_or_refused() {
    let accelerator = shielded();
    let server = server_on(&accelerator, false);
    let pushes = [
        reached(server.endpoint(), &accelerator, RegionPath::DmaBuf),
        reached(server.endpoint(), &accelerator, RegionPath::PeerMemory),
        theirs(&server, BYTES, 0),
    ];
    let mut answering = [Answering::new(0), Answering::new(1)];
    for (key, push) in (1..).zip(&pushes) {
        let rank = u32::from(key == 3);
        server.offer(rank, key, push, 1).unwrap();
        answering[rank as usize] = answering[rank as usize].clone().pushed(key, push);
    }
    let service = server.capture(&accelerator, &answering, None).unwrap();
    let device = serving(&service);
    let workers = [worker_on(&accelerator, &[&server]), worker(1, &[&server])];
    let ask = |fill| {
        let of_device = |key| (key, on_device(workers[0].endpoint(), &accelerator, BYTES, fill));
        let both = [of_device(1), of_device(2)];
        let first = both.iter().fold(PushPull::new(), |all, (key, tensor)| all.push(*key, tensor));
        let second = PushPull::new().push(3, &ours(&workers[1], BYTES, fill));
        [workers[0].push_pull(&first, soon()).unwrap(), workers[1].push_pull(&second, soon()).unwrap()]
    };
    let handles = ask(4);
    device.launch();
    assert_eq!(accelerator.counters().flushes, 1, "of two tensors");
    assert!(pushes[..2].iter().all(|push| fetch(push) == vec![4; BYTES as usize]));
    device.respond();
    handles.iter().for_each(|handle| drop(handle.wait(soon()).unwrap()));
    service.launches().wait(1, soon()).unwrap();
    accelerator.fail_flushes(true);
    let [refused, served] = ask(5);
    device.launch();
    device.respond();
    served.wait(soon()).unwrap();
    let Err(WaitError::Failed(failure)) = refused.wait(soon()) else { panic!("it was served") };
    assert!(matches!(failure.cause, FailureCause::Refused(_)), "{failure}");
    until("the launch ends", || service.launches().ended() == 2);
    let failure = service.launches().check().unwrap_err();
    let ServiceCause::Flush { worker: 0, error: AcceleratorError::Runtime { .. } } = failure.cause else {
        panic!("{failure}")
    };
    accelerator.fail_flushes(false);
    let handles = ask(6);
    device.launch();
    device.respond();
    handles.iter().for_each(|handle| drop(handle.wait(soon()).unwrap()));
    service.launches().wait(3, soon()).unwrap();
}
