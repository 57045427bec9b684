//! VRAM: descriptors on numbered devices.

use pmd_host::transfer::Direction;

use super::*;
use crate::{
    agent::{AgentError, MemoryType},
    on_device::{TestDevice, address, driven, pattern},
};

const LENGTH: u64 = 1 << 16;
const BLOCK: u64 = 4096;

fn agent_on(name: &str, devices: &[TestDevice]) -> Agent {
    let mut config = config(name);
    config.backend.endpoint = driven(devices, config.backend.endpoint);
    Agent::open(config).expect("an agent")
}

fn vram(start: u64, block: u64, device: u64) -> DescriptorList {
    let descriptor = |index| Descriptor { address: start + index * block, length: block, device };
    DescriptorList { memory: MemoryType::Vram, descriptors: (0..LENGTH / block).map(descriptor).collect() }
}

fn register(agent: &Agent, list: &DescriptorList) -> Result<(), AgentError> {
    // SAFETY: the tests keep the memory, and look at it while no transfer runs.
    unsafe { agent.register(list) }
}

#[test]
fn blocks_move_between_memory_of_devices_by_their_numbers() {
    let devices = [TestDevice::numbered(0), TestDevice::numbered(1)];
    let content = pattern(LENGTH as usize, 4);
    let (near, far) = (devices[1].memory(&content), devices[1].memory(&[0; LENGTH as usize]));
    let (here, there) = (agent_on("here", &devices), agent_on("there", &devices));
    register(&here, &vram(address(&*near), LENGTH, 1)).expect("registered");
    register(&there, &vram(address(&*far), LENGTH, 1)).expect("registered");
    here.load_remote_metadata(&there.local_metadata()).expect("loaded");
    let local = here.prepare_local(&vram(address(&*near), BLOCK, 1)).expect("prepared");
    let remote = here.prepare_remote("there", &vram(address(&*far), BLOCK, 1)).expect("prepared");
    let (from, to): (Vec<u32>, Vec<u32>) = ((0..16).collect(), (0..16).rev().collect());
    let request = here.make_request(Direction::Write, &local, &from, &remote, &to).expect("made");
    request.post(None).expect("posted");
    finish(&request);
    let wanted: Vec<u8> = content.chunks(BLOCK as usize).rev().flatten().copied().collect();
    assert!(devices[1].read(address(&*far), LENGTH as usize) == wanted);
    // Under another number nothing is registered.
    let unknown = here.prepare_local(&vram(address(&*near), BLOCK, 0)).expect_err("on device 1");
    assert_eq!(unknown.status(), Status::NotFound);
    here.deregister(&vram(address(&*near), LENGTH, 1)).expect("taken back");
    drop((request, local, remote, here, there, near, far));
    devices[1].nothing_is_left();
}

#[test]
fn the_wrong_device_and_memory_that_is_none_are_refused() {
    let devices = [TestDevice::numbered(0), TestDevice::numbered(1)];
    let agent = agent_on("agent", &devices);
    let (memory, host) = (devices[1].memory(&[0; LENGTH as usize]), vec![0_u8; LENGTH as usize]);
    for (at, device) in [
        (address(&*memory), 0),
        (address(&*memory), 2),
        (address(&*memory), 1 << 40),
        (host.as_ptr() as u64, 1),
    ] {
        let refused = register(&agent, &vram(at, LENGTH, device)).expect_err("not there");
        assert_eq!(refused.status(), Status::InvalidParameter, "{refused}");
    }
    register(&agent, &vram(address(&*memory), LENGTH, 1)).expect("registered");
}
