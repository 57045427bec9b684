//! Two fabrics that drive one device, and what they refuse.

use std::time::{Duration, Instant};

use pmd_core::accelerator::AcceleratorKind;
use pmd_host::{
    endpoint::{EndpointConfig, Peer, RegisterError},
    nic,
    soft::ArenaOptions,
    transfer::Direction,
};

use super::*;
use crate::{
    fabric::{Descriptor, DeviceFault, Handler, PostOptions},
    on_device::{TestDevice, address, driven, pattern},
};

const PATIENCE: Duration = Duration::from_secs(20);
const PIECE: u64 = 5000;
const PIECES: u64 = 32;
const LENGTH: usize = (PIECE * PIECES) as usize;

struct Silent;

impl Handler for Silent {}

fn fabric(config: EndpointConfig) -> Fabric {
    let config = EndpointConfig { down_after: PATIENCE, ..config };
    Fabric::open(config, Arc::new(Silent)).expect("a fabric")
}

fn listening() -> EndpointConfig {
    EndpointConfig { listen: Some(([127, 0, 0, 1], 0).into()), ..EndpointConfig::default() }
}

fn pair(device: &TestDevice) -> (Fabric, Fabric, Peer) {
    let there = fabric(device.driven(listening()));
    let here = fabric(device.driven(EndpointConfig::default()));
    let peer = here.connect(there.local_address().expect("it listens")).expect("a peer");
    (here, there, peer)
}

fn register(fabric: &Fabric, address: u64, length: u64) -> Result<Segment, FabricError> {
    let memory = RegionDescription { address, length, kind: MemoryKind::Device, descriptor: None };
    // SAFETY: the tests keep what they register, and look at it while no transfer runs.
    unsafe { fabric.register(&memory) }
}

fn adopt(fabric: &Fabric, address: u64, length: u64, device: Option<u32>) -> Result<u64, FabricError> {
    // SAFETY: nothing is done with it.
    unsafe { fabric.adopt(address, length, device) }.map(|memory| memory.description().length)
}

/// Piece `index` of one side goes to piece `31 - index` of the other.
fn turned(local: u64, remote: u64) -> Vec<Descriptor> {
    let piece = |index: u64| Descriptor {
        local: local + index * PIECE,
        remote: remote + (PIECES - 1 - index) * PIECE,
        length: PIECE,
    };
    (0..PIECES).map(piece).collect()
}

fn turn(bytes: &[u8]) -> Vec<u8> {
    bytes.chunks(PIECE as usize).rev().flatten().copied().collect()
}

fn run(fabric: &Fabric, peer: &Peer, direction: Direction, descriptors: &[Descriptor]) {
    let plan = fabric.plan(peer, direction, descriptors, PATIENCE).expect("planned");
    let mut transfer = plan.post(PostOptions::default()).expect("posted");
    let outcome = transfer.wait(Some(Instant::now() + PATIENCE)).expect("it ends well");
    assert_eq!(outcome.bytes, LENGTH as u64);
}

#[test]
fn memory_of_a_device_moves_by_its_address_to_devices_and_hosts() {
    let device = TestDevice::new();
    let content = pattern(LENGTH, 3);
    {
        let (here, there, peer) = pair(&device);
        let (near, far) = (device.memory(&content), device.memory(&[0; LENGTH]));
        let host = there.allocate(LENGTH, ArenaOptions::default()).expect("an arena");
        let segments = [
            register(&here, address(&*near), LENGTH as u64).expect("registered"),
            register(&there, address(&*far), LENGTH as u64).expect("registered"),
        ];
        assert!(segments.iter().all(|segment| segment.device().is_some()) && host.device().is_none());
        run(&here, &peer, Direction::Write, &turned(address(&*near), address(&*far)));
        assert_eq!(device.read(address(&*far), LENGTH), turn(&content));
        run(&here, &peer, Direction::Write, &turned(address(&*near), host.address()));
        // SAFETY: the transfer is done.
        let arrived = unsafe { std::slice::from_raw_parts(host.address() as *const u8, LENGTH) };
        assert_eq!(arrived, turn(&content));
        device.write(address(&*near), &[0; LENGTH]);
        run(&here, &peer, Direction::Read, &turned(address(&*near), host.address()));
        assert_eq!(device.read(address(&*near), LENGTH), content);
    }
    device.nothing_is_left();
}

#[test]
fn an_address_is_known_for_a_devices_or_the_hosts() {
    let device = TestDevice::new();
    let fabric = fabric(device.driven(EndpointConfig::default()));
    let (host, memory) = ([0_u8; 64], device.memory(&[0; 8192]));
    assert_eq!(fabric.kind_of(host.as_ptr() as u64, 64), MemoryKind::Host);
    assert_eq!(fabric.kind_of(address(&*memory) + 4096, 4096), MemoryKind::Device);
    assert_eq!(fabric.describe(address(&*memory), 16).kind, MemoryKind::Device);
    // More than there is, is still none of the host's.
    assert_eq!(fabric.kind_of(address(&*memory), 1 << 30), MemoryKind::Device);
    let without = self::fabric(EndpointConfig::default());
    assert_eq!(without.kind_of(address(&*memory), 4096), MemoryKind::Host, "nobody is asked");
}

#[test]
fn foreign_freed_and_other_devices_memory_is_refused() {
    let devices = [TestDevice::numbered(0), TestDevice::numbered(1)];
    let fabric = fabric(driven(&devices, EndpointConfig::default()));
    let (one, host) = (devices[1].memory(&[0; 4096]), [0_u8; 64]);
    let at = address(&*one);
    assert_eq!(adopt(&fabric, at, 4096, None).expect("whichever knows it"), 4096);
    assert_eq!(adopt(&fabric, at, 4096, Some(1)).expect("device 1"), 4096);
    let refused = [
        adopt(&fabric, at, 4096, Some(0)),
        adopt(&fabric, host.as_ptr() as u64, 64, None),
        register(&fabric, host.as_ptr() as u64, 64).map(|segment| segment.length()),
    ];
    for refused in refused {
        let error = refused.expect_err("it is not its memory");
        let not = matches!(error, FabricError::Accelerator(AcceleratorError::NotDeviceMemory { .. }));
        assert!(not, "{error}");
        assert_eq!(error.device_fault(), Some(DeviceFault::Argument));
    }
    let beyond = adopt(&fabric, at, 1 << 30, None).expect_err("beyond it");
    assert!(matches!(beyond, FabricError::Accelerator(AcceleratorError::Range { .. })), "{beyond}");
    let none = adopt(&fabric, at, 4096, Some(7)).expect_err("there is no such device");
    assert!(matches!(none, FabricError::NoDevice { device: 7 }), "{none}");
    drop(one);
    let freed = adopt(&fabric, at, 4096, None).expect_err("freed");
    assert!(matches!(freed, FabricError::Accelerator(AcceleratorError::NotDeviceMemory { .. })), "{freed}");
}

#[test]
fn a_fabric_without_accelerators_and_a_full_device_say_so() {
    let device = TestDevice::new();
    let memory = device.memory(&[0; 4096]);
    let without = fabric(EndpointConfig {
        transport: pmd_host::endpoint::TransportChoice::Only(pmd_host::backend::Transport::SharedMemory),
        ..EndpointConfig::default()
    });
    let refused = register(&without, address(&*memory), 4096).expect_err("nobody knows it");
    assert!(matches!(refused, FabricError::Unreachable(RegisterError::Unreachable { .. })), "{refused}");
    assert_eq!(refused.device_fault(), Some(DeviceFault::Unsupported));
    let refused = without.allocate_device(4096, None).expect_err("there is no device");
    assert!(matches!(refused, FabricError::NoDevice { device: 0 }), "{refused}");
    let with = fabric(device.driven(EndpointConfig::default()));
    let refused = with.allocate_device(TestDevice::CAPACITY + 1, Some(0)).expect_err("there is no room");
    assert!(matches!(refused, FabricError::Accelerator(AcceleratorError::OutOfMemory { .. })), "{refused}");
    assert_eq!(refused.device_fault(), Some(DeviceFault::NoSpace));
    let segment = with.allocate_device(4096, Some(0)).expect("there is room for that");
    assert_eq!((segment.length(), device.0.allocations()), (4096, 2));
    drop((segment, memory));
    device.nothing_is_left();
}

#[test]
fn a_copy_that_fails_is_told_and_the_next_one_works() {
    let device = TestDevice::new();
    let fabric = fabric(device.driven(EndpointConfig::default()));
    let (memory, accelerator) = (device.memory(&[0; 4096]), &fabric.accelerators()[0]);
    let bytes = pattern(4096, 9);
    let (from, to) = (bytes.as_ptr() as u64, address(&*memory));
    let direction = pmd_core::accelerator::CopyDirection::HostToDevice;
    let range = CopyRange { from, to, length: 4096, direction };
    device.0.fail_copy(0);
    // SAFETY: both are kept, and nothing else uses them.
    let failed = unsafe { fabric.copy_by(accelerator, &[range]) }.expect_err("the device fails it");
    assert_eq!(DeviceFault::of(&failed), DeviceFault::Failed, "{failed}");
    // SAFETY: as above.
    unsafe { fabric.copy_by(accelerator, &[range]) }.expect("another stream copies");
    assert_eq!(device.read(to, 4096), bytes);
}

#[test]
fn of_what_several_devices_say_the_most_telling_is_told() {
    let foreign = AcceleratorError::NotDeviceMemory { kind: AcceleratorKind::Cuda, address: 1 };
    let other = AcceleratorError::WrongDevice { address: 1, found: 1, wanted: 0 };
    let managed = AcceleratorError::Managed { address: 1 };
    for (said, told) in [
        ([&foreign, &other], &other),
        ([&other, &foreign], &other),
        ([&managed, &other], &managed),
        ([&foreign, &managed], &managed),
    ] {
        let last = said.into_iter().fold(None, |before, now| Some(telling(before, now.clone())));
        assert_eq!(last.as_ref(), Some(told));
    }
    assert_eq!(DeviceFault::of(&managed), DeviceFault::Argument);
    let unsupported =
        AcceleratorError::Unsupported { kind: AcceleratorKind::Cpu, what: "share", why: "it is pinned" };
    assert_eq!(DeviceFault::of(&unsupported), DeviceFault::Unsupported);
}

#[test]
fn what_no_nic_reaches_is_told_apart_from_what_was_not_registered() {
    let unreachable = || nic::RegisterError::Unreachable {
        address: 4096,
        length: 64,
        access: Access::READ_WRITE,
        refusals: Vec::new(),
    };
    let peer_memory = std::io::Error::from_raw_os_error(14);
    let no_descriptor = nic::RegisterError::NoDescriptor { address: 4096, peer_memory };
    for error in [unreachable(), no_descriptor] {
        let text = error.to_string();
        let told = FabricError::from(RegisterError::from(error));
        assert!(matches!(&told, FabricError::Unreachable(RegisterError::Nic(_))), "{told}");
        assert_eq!((told.device_fault(), told.to_string()), (Some(DeviceFault::Unsupported), text));
        assert_eq!(crate::hixl::HixlError::from(told).status(), crate::hixl::Status::Unsupported);
    }
    let other = FabricError::from(RegisterError::from(nic::RegisterError::Empty));
    assert!(
        matches!(&other, FabricError::Register(RegisterError::Nic(nic::RegisterError::Empty))),
        "{other}"
    );
    assert_eq!(other.device_fault(), None);
}
