//! Agents of one process.

mod devices;
mod metadata;
mod requests;
mod statuses;

use std::{
    slice,
    time::{Duration, Instant},
};

use pmd_host::soft::ArenaOptions;

use super::{Agent, AgentConfig, Descriptor, DescriptorList, Request, Status, backend::Registration};

const PATIENCE: Duration = Duration::from_secs(20);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// An agent that takes no other for dead because the machine is busy.
fn agent(name: &str) -> Agent {
    Agent::open(config(name)).expect("an agent")
}

fn config(name: &str) -> AgentConfig {
    let mut config = AgentConfig::new(name);
    config.backend.endpoint.down_after = PATIENCE;
    config
}

/// Gives work that is told to stop all the time that a test has.
fn patient(name: &str) -> Agent {
    let mut config = config(name);
    config.backend.endpoint.lane.grace = PATIENCE;
    Agent::open(config).expect("an agent")
}

/// `here` knows `there`.
fn pair() -> (Agent, Agent) {
    let (here, there) = (agent("here"), agent("there"));
    here.load_remote_metadata(&there.local_metadata()).expect("loaded");
    (here, there)
}

/// Memory of both, and `here` knows of it.
fn room(here: &Agent, there: &Agent, bytes: usize) -> (Registration, Registration) {
    let allocate = |agent: &Agent| agent.allocate(bytes, ArenaOptions::default()).expect("memory");
    let memory = (allocate(here), allocate(there));
    here.load_remote_metadata(&there.local_metadata()).expect("loaded");
    memory
}

fn blocks(registration: &Registration, block: u64) -> DescriptorList {
    let start = registration.address();
    DescriptorList::dram((0..registration.length() / block).map(|index| (start + index * block, block)))
}

fn whole(registration: &Registration) -> DescriptorList {
    blocks(registration, registration.length())
}

#[expect(clippy::mut_from_ref, reason = "the memory is not Rust's")]
fn bytes(registration: &Registration) -> &mut [u8] {
    // SAFETY: the tests look at memory only while no transfer runs, and drop the slice before the next one.
    unsafe { slice::from_raw_parts_mut(registration.address() as *mut u8, registration.length() as usize) }
}

fn finish(request: &Request) {
    assert_eq!(request.wait(Some(soon())).expect("it ends well"), Status::Success);
}

/// Waits for what comes a little later.
fn within(mut is: impl FnMut() -> bool) {
    let deadline = soon();
    while !is() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
