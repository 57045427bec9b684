//! Faults of devices: typed errors at whom they concern, nothing leaks, nothing hangs, and the others go on.

use std::sync::Arc;

use pmd_core::accelerator::{Accelerator, AcceleratorError, Event, Flag, Stream};
use pmd_host::{
    accelerator::{CpuAccelerator, CpuOptions, KernelFault, wait_for},
    endpoint::RegisterError,
    soft,
};

use super::{
    device::{fetch, on_device, server_on, shielded, store, worker_on},
    fake::FakeServer,
    support::*,
};
use crate::{
    gate::EventError,
    server::DeferredError,
    tensor::{CopyError, Memory, MemoryError, Stager, TensorError},
    wire::{Flags, Immediate, Refusal, RequestView, emit_inline},
    worker::{DownCause, FailureCause, Handle, PushPull, PushPullError, WaitError},
};

fn cause_of(handle: &Handle) -> FailureCause {
    match handle.wait(soon()) {
        Err(WaitError::Failed(failure)) => failure.cause,
        other => panic!("{other:?}"),
    }
}

/// A stream that has been closed.
#[derive(Debug)]
struct Closed;

#[expect(unsafe_code, reason = "the trait's function carries a promise about memory")]
impl Stream for Closed {
    fn native(&self) -> u64 {
        0
    }

    fn record(&self) -> Result<Arc<dyn Event>, AcceleratorError> {
        Err(AcceleratorError::StreamGone)
    }

    fn wait(&self, _: &Arc<dyn Event>) -> Result<(), AcceleratorError> {
        Err(AcceleratorError::StreamGone)
    }

    fn signal(&self, _: &Arc<dyn Flag>, _: u64) -> Result<(), AcceleratorError> {
        Err(AcceleratorError::StreamGone)
    }

    fn wait_value(&self, _: &Arc<dyn Flag>, _: u64) -> Result<(), AcceleratorError> {
        Err(AcceleratorError::StreamGone)
    }

    unsafe fn copy(&self, _: &[pmd_core::accelerator::CopyRange]) -> Result<(), AcceleratorError> {
        Err(AcceleratorError::StreamGone)
    }
}

#[test]
#[expect(unsafe_code, reason = "gives addresses that are refused")]
fn memory_that_is_none_of_the_devices_is_refused_and_nothing_stays() {
    let accelerator = shielded();
    let worker = worker_on(&accelerator, &[]);
    let adopt = |address| {
        // SAFETY: refused, or allocated for as long as the value lives.
        unsafe { Memory::adopt(worker.endpoint(), &accelerator, (address, 4096), None) }
    };
    let host = [0_u8; 4096];
    let foreign = adopt(host.as_ptr() as u64);
    assert!(matches!(foreign, Err(MemoryError::Accelerator(AcceleratorError::NotDeviceMemory { .. }))));
    let allocated = accelerator.allocate(4096).unwrap();
    let address = allocated.description().address;
    let adopted = adopt(address).unwrap();
    assert_eq!((adopted.address(), adopted.length(), adopted.is_host()), (address, 4096, false));
    let beyond = adopt(address + 1);
    assert!(matches!(beyond, Err(MemoryError::Accelerator(AcceleratorError::Range { .. }))));
    drop((adopted, allocated));
    let freed = adopt(address);
    assert!(matches!(freed, Err(MemoryError::Accelerator(AcceleratorError::NotDeviceMemory { .. }))));
    // Of a device that the endpoint does not drive.
    let other = CpuAccelerator::new(CpuOptions { ordinal: 1, shielded: true, ..CpuOptions::default() });
    let wrong = Memory::allocate_on(worker.endpoint(), &other, 4096);
    let no_accelerator = |error: &MemoryError| {
        matches!(
            error,
            MemoryError::Register(RegisterError::Soft(soft::RegisterError::NoAccelerator { ordinal: 1, .. }))
        )
    };
    assert!(wrong.is_err_and(|error| no_accelerator(&error)));
    assert_eq!((accelerator.allocations(), other.allocations()), (0, 0));
    // Pinned memory is the host's, and travels as such.
    let pinned = Memory::of_device(worker.endpoint(), accelerator.allocate_pinned(4096).unwrap().into());
    assert!(pinned.is_ok_and(|memory| memory.is_host() && memory.accelerator().is_none()));
}

#[test]
fn a_server_whose_device_is_full_refuses_room_and_serves_on() {
    let (ours, theirs) =
        (shielded(), CpuOptions { shielded: true, capacity: 3 << 20, ..CpuOptions::default() });
    let theirs = CpuAccelerator::new(theirs);
    let server = server_on(&theirs, true);
    let worker = worker_on(&ours, &[&server]);
    let large = on_device(worker.endpoint(), &ours, 4 << 20, 1);
    let refused = worker.push_pull(&PushPull::new().push(1, &large), soon()).unwrap_err();
    assert!(matches!(refused, PushPullError::Agreement { server: 0, key: 1, .. }), "{refused}");
    let small = on_device(worker.endpoint(), &ours, 4096, 2);
    let handle = worker.push_pull(&PushPull::new().push(2, &small), soon()).unwrap();
    let request = next(&server);
    assert_eq!(fetch(request.pushes().next().unwrap().tensor().unwrap()), [2; 4096]);
    request.respond(&[]).unwrap();
    handle.wait(soon()).unwrap();
    let own = Memory::allocate_on(server.endpoint(), &theirs, 4 << 20);
    assert!(matches!(own, Err(MemoryError::Accelerator(AcceleratorError::OutOfMemory { .. }))));
}

#[test]
fn a_stream_in_error_fails_its_own_push_pulls_and_responses() {
    let accelerator = shielded();
    let server = server_on(&accelerator, true);
    let worker = worker_on(&accelerator, &[&server]);
    let push = on_device(worker.endpoint(), &accelerator, 3000, 4);
    let (broken, sound) = (accelerator.open_cpu_stream().unwrap(), accelerator.open_cpu_stream().unwrap());
    broken.launch(|| Err(KernelFault { code: 700 }));
    let request = PushPull::new().push(1, &push);
    let failed = worker.push_pull_on(&*broken, &request, soon()).unwrap();
    let kernel = |error: &EventError| {
        matches!(error, EventError::Accelerator(AcceleratorError::Runtime { code: 700, .. }))
    };
    let cause = cause_of(&failed);
    assert!(matches!(&cause, FailureCause::Event(error) if kernel(error)), "{cause}");
    for _ in 0..3 {
        let handle = worker.push_pull_on(&*sound, &request, soon()).unwrap();
        let request = next(&server);
        let refused = server.respond_on(&Closed, (request, vec![]), None, |_| panic!("it was not taken"));
        assert!(matches!(refused, Err(DeferredError::Stream(AcceleratorError::StreamGone))));
        assert!(matches!(cause_of(&handle), FailureCause::Refused(_)));
        assert_eq!(wait_for(&*sound.record().unwrap(), soon()), Ok(true), "the stream goes on");
    }
}

#[test]
fn what_is_not_taken_holds_no_stream_back() {
    let accelerator = shielded();
    let server = server_on(&accelerator, true);
    let worker = worker_on(&accelerator, &[&server]);
    let stream = accelerator.open_cpu_stream().unwrap();
    let unknown = worker.push_pull_on(&*stream, &PushPull::new().servers([9]), soon()).unwrap_err();
    assert_eq!(unknown, PushPullError::UnknownServer { server: 9 });
    assert_eq!(wait_for(&*stream.record().unwrap(), soon()), Ok(true));
    let closed = worker.push_pull_on(&Closed, &PushPull::new(), soon()).unwrap_err();
    assert_eq!(closed, PushPullError::Stream(AcceleratorError::StreamGone));
    let without = super::support::worker(1, &[&server]);
    let refused = without.push_pull_on(&*stream, &PushPull::new(), soon()).unwrap_err();
    assert_eq!(refused, PushPullError::NoAccelerator);
}

#[test]
fn a_server_that_goes_while_a_device_copies_fails_the_request_and_leaves_nothing() {
    let (ours, theirs) = (shielded(), shielded());
    let server = server_on(&theirs, true);
    let worker = worker_on(&ours, &[&server]);
    let stream = ours.open_cpu_stream().unwrap();
    let push = on_device(worker.endpoint(), &ours, 100_000, 4);
    let hold = ours.hold_copies();
    let handle = worker.push_pull_on(&*stream, &PushPull::new().push(1, &push), soon()).unwrap();
    until("the copy is asked for", || ours.held_copies() > 0);
    // It waits for the copy into its memory before it lets go of that.
    let going = std::thread::spawn(move || drop(server));
    drop(hold);
    // The push may be there before the server has gone, which then tells that nobody will answer it.
    let cause = cause_of(&handle);
    let told = matches!(
        cause,
        FailureCause::Down(_) | FailureCause::Transfer(_) | FailureCause::Refused(Refusal::Abandoned)
    );
    assert!(told, "{cause}");
    going.join().unwrap();
    assert_eq!(wait_for(&*stream.record().unwrap(), soon()), Ok(true), "the stream goes on");
    drop((push, handle, worker, stream));
    until("nothing is left", || ours.allocations() + theirs.allocations() == 0);
}

#[test]
fn a_copy_that_fails_takes_down_its_server_alone() {
    let (ours, theirs) = (shielded(), shielded());
    let servers = [server_on(&theirs, true), super::support::server(1)];
    let worker = worker_on(&ours, &[&servers[0], &servers[1]]);
    let push = on_device(worker.endpoint(), &ours, 100_000, 4);
    worker.declare(0, 1, 100_000, 1).unwrap();
    ours.fail_copy(0);
    let failed = worker.push_pull(&PushPull::new().push_to(0, 1, &push), soon()).unwrap();
    let cause = cause_of(&failed);
    assert!(matches!(cause, FailureCause::Down(_) | FailureCause::Transfer(_)), "{cause}");
    let host = super::support::ours(&worker, 3000, 2);
    let handle = worker.push_pull(&PushPull::new().push_to(1, 1, &host), soon()).unwrap();
    let request = next(&servers[1]);
    assert_eq!(pushed(&request), [(1, vec![2; 3000])]);
    request.respond(&[]).unwrap();
    handle.wait(soon()).unwrap();
}

#[test]
fn data_inside_of_a_response_for_a_device_is_a_wrong_response() {
    let (server, accelerator) = (FakeServer::open(), shielded());
    let worker = worker_on(&accelerator, &[]);
    worker.connect(0, server.endpoint.local_address().unwrap()).unwrap();
    let pull = on_device(worker.endpoint(), &accelerator, 4, 5);
    let handle = worker.push_pull(&PushPull::new().pull(1, &pull), soon()).unwrap();
    let header = server.message();
    let header = RequestView::parse(&header).unwrap().header;
    assert!(header.flags.contains(Flags::WRITE_ONLY), "it was told");
    let mut bytes = Vec::new();
    emit_inline(&[4], &mut bytes);
    bytes.extend_from_slice(b"data");
    server.send(&bytes, Immediate { slot: header.slot, generation: header.generation }.to_bits());
    assert_eq!(cause_of(&handle), FailureCause::Down(DownCause::WrongResponse));
    assert_eq!(fetch(&pull), [5; 4]);
}

#[test]
#[expect(unsafe_code, reason = "copies memory that no request uses")]
fn copies_to_and_from_the_host_end_with_an_error_or_a_deadline() {
    let accelerator = shielded();
    let worker = worker_on(&accelerator, &[]);
    let tensor = on_device(worker.endpoint(), &accelerator, 100, 1);
    let mut stager = Stager::new();
    let hold = accelerator.hold_copies();
    let at_once = Some(std::time::Instant::now());
    // SAFETY: no request uses the tensor, here and below.
    let late = unsafe { (stager.upload(&tensor, &[9; 100], at_once), stager.download(&tensor, at_once)) };
    assert_eq!(late, (Err(CopyError::Timeout), Err(CopyError::Timeout)));
    drop(hold);
    // SAFETY: as above.
    assert_eq!(unsafe { stager.download(&tensor, soon()) }, Ok(vec![9; 100]), "in the stream's order");
    accelerator.fail_copy(0);
    // SAFETY: as above.
    let failed = unsafe { stager.download(&tensor, soon()) };
    assert!(matches!(failed, Err(CopyError::Accelerator(AcceleratorError::Runtime { .. }))), "{failed:?}");
    // SAFETY: as above.
    let too_long = unsafe { stager.upload(&tensor, &[0; 101], soon()) };
    let expected = TensorError::OutOfBounds { offset: 0, bytes: 101, room: 100 };
    assert_eq!(too_long, Err(CopyError::Tensor(expected)));
    // SAFETY: as above.
    unsafe { stager.upload(&tensor, &[7; 60], soon()) }.unwrap();
    assert_eq!(fetch(&tensor), [[7; 60].as_slice(), &[9; 40]].concat(), "it goes on");
    let nobodys = bytes_in(&Memory::unreachable(worker.endpoint(), 64), 64);
    // SAFETY: refused.
    assert_eq!(unsafe { stager.download(&nobodys, soon()) }, Err(CopyError::NoAccelerator));
    store(&tensor, &[]);
}
