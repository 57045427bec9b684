//! Hosts and what is between them: a network namespace for each, and either a pair of veth devices or a switch.
//!
//! ```text
//!  pair:    host 0 [pmd0] ======== veth ======== [pmd0] host 1        links that go down and up
//!                 [pmd1] ======== veth ======== [pmd1]             a second link, where one is asked for
//!  switch:  host 0 [pmd0] --- TUN ---.       .--- TUN --- [pmd0] host 1
//!           host 2 [pmd0] --- TUN --- switch ---- TUN --- [pmd0] host 3     packets lost, doubled, late, cut off
//! ```
//! Cases make a network, start programs in its hosts, and let go of it. Names hold this process's number, so that
//! several runs go beside each other; a guard of its own removes them, however this process ends.

mod error;
mod guard;
mod ip;
mod random;
mod second;
mod switch;
mod tunnel;

use std::{
    net::Ipv4Addr,
    path::Path,
    process,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use interoperation::process::Process;
use serde_json::Value;

pub(crate) use self::{
    error::NetworkError,
    switch::{Faults, Switch},
};
use self::{guard::Guard, ip::ip, tunnel::Tunnel};

/// The device by which a host reaches the others, in each host the same.
const DEVICE: &str = "pmd0";

/// Number of the network in this process.
static NUMBER: AtomicU32 = AtomicU32::new(0);

/// Some hosts that reach each other, and nobody else.
#[derive(Debug)]
pub(crate) struct Network {
    hosts: Vec<Host>,
    switch: Option<Switch>,
    /// Goes last: it removes the hosts.
    _guard: Guard,
}

/// A network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    namespace: String,
    address: Ipv4Addr,
}

impl Network {
    /// Two hosts and a pair of veth devices between them.
    ///
    /// # Errors
    /// [`NetworkError`]: what this machine or this user lacks.
    pub(crate) fn pair() -> Result<Self, NetworkError> {
        let network = Self::of_hosts(2, number())?;
        network.link(DEVICE)?;
        network.hosts.iter().try_for_each(Host::raise)?;
        Ok(network)
    }

    /// Puts a pair of veth devices of this name between the first two hosts.
    fn link(&self, device: &str) -> Result<(), NetworkError> {
        let [one, other, ..] = &self.hosts[..] else { unreachable!("two were made") };
        let peer = ["peer", "name", device, "netns", &other.namespace];
        ip(&[&["link", "add", device, "netns", &one.namespace, "type", "veth"], &peer[..]].concat()).map(drop)
    }

    /// So many hosts at a switch that does this to packets; `seed` decides to which.
    ///
    /// # Errors
    /// [`NetworkError`]: what this machine or this user lacks.
    pub(crate) fn switched(hosts: usize, faults: Faults, seed: u64) -> Result<Self, NetworkError> {
        let number = number();
        let mut network = Self::of_hosts(hosts, number)?;
        let tunnel = |(index, host): (usize, &Host)| {
            // As long as a device's name may be, with every number of a process.
            let name = format!("p{}n{number}h{index}", process::id());
            let tunnel = Tunnel::new(&name)?;
            ip(&["link", "set", "dev", &name, "netns", &host.namespace, "name", DEVICE])?;
            host.raise()?;
            Ok((host.address, tunnel))
        };
        let ports = network.hosts.iter().enumerate().map(tunnel).collect::<Result<_, NetworkError>>()?;
        network.switch = Some(Switch::start(ports, faults, seed).map_err(NetworkError::Thread)?);
        Ok(network)
    }

    fn of_hosts(count: usize, number: u32) -> Result<Self, NetworkError> {
        let host = |index: usize| Host {
            namespace: format!("pmd-{}-{number}-{index}", process::id()),
            address: Ipv4Addr::new(10, 77, 0, u8::try_from(index + 1).expect("few hosts")),
        };
        let hosts: Vec<Host> = (0..count).map(host).collect();
        // Before there is anything to remove.
        let guard = Guard::start(hosts.iter().map(|host| host.namespace.as_str()))?;
        hosts.iter().try_for_each(|host| ip(&["netns", "add", &host.namespace]).map(drop))?;
        Ok(Self { hosts, switch: None, _guard: guard })
    }

    /// A host, from 0.
    pub(crate) fn host(&self, index: usize) -> &Host {
        &self.hosts[index]
    }

    /// All hosts.
    pub(crate) fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// What is between hosts that are not a pair.
    pub(crate) fn switch(&self) -> &Switch {
        self.switch.as_ref().expect("a network with a switch")
    }
}

impl Host {
    /// Its address on the network.
    pub(crate) const fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its name, as `ip netns exec` takes it.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Starts a program in this host; it ends with this process.
    pub(crate) fn start(&self, program: &Path, arguments: &[&str]) -> Process {
        let program = program.to_string_lossy();
        Process::start("ip", &[&["netns", "exec", &self.namespace, &*program], arguments].concat())
    }

    /// Takes the link of a pair's host down, or up again.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub(crate) fn set_link(&self, up: bool) -> Result<(), NetworkError> {
        self.set(DEVICE, up)
    }

    /// Bytes that have come over its link.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub(crate) fn received(&self) -> Result<u64, NetworkError> {
        self.received_over(DEVICE)
    }

    fn set(&self, device: &str, up: bool) -> Result<(), NetworkError> {
        let state = if up { "up" } else { "down" };
        ip(&["-n", &self.namespace, "link", "set", device, state]).map(drop)
    }

    fn received_over(&self, device: &str) -> Result<u64, NetworkError> {
        let said = ip(&["-n", &self.namespace, "-s", "-j", "link", "show", "dev", device])?;
        let links: Value = serde_json::from_str(&said).unwrap_or_default();
        Ok(links[0]["stats64"]["rx"]["bytes"].as_u64().unwrap_or_default())
    }

    /// Gives the device its address and takes it up.
    fn raise(&self) -> Result<(), NetworkError> {
        ip(&["-n", &self.namespace, "link", "set", "lo", "up"])?;
        self.raise_at(DEVICE, self.address)
    }

    fn raise_at(&self, device: &str, address: Ipv4Addr) -> Result<(), NetworkError> {
        let address = format!("{address}/24");
        ip(&["-n", &self.namespace, "addr", "add", &address, "dev", device])?;
        self.set(device, true)
    }
}

/// A number for a network, unlike all before it.
fn number() -> u32 {
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// Waits until something has happened.
///
/// # Panics
/// When it has not in time.
pub(crate) fn until(what: &str, patience: Duration, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !happened() {
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}
