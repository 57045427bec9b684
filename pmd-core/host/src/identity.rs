//! Who a device and its host are, so that a restarted process is never taken for its predecessor and shared memory
//! is only tried where it can work.

use std::{fmt, fs, io, os::unix::fs::MetadataExt};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Incarnation of a device: 128 random bits drawn when it is opened. A restarted process has another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeviceId(pub [u8; 16]);

impl DeviceId {
    /// Draws a new one.
    ///
    /// # Errors
    /// When the system has no random source.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// A link between two endpoints: 128 random bits drawn by the side that connects, the same at both ends. Endpoints that
/// link again have another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LinkId(DeviceId);

impl LinkId {
    /// Draws a new one.
    ///
    /// # Errors
    /// When the system has no random source.
    pub fn random() -> io::Result<Self> {
        DeviceId::random().map(Self)
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Why two processes cannot share memory.
///
/// Namespaces of processes, of System V IPC and of mounts are no matter: nothing of what is shared has a path or an IPC
/// key, descriptors come over the socket, and where the kernel hides a process (`process_vm_readv`) packets take over.
/// Namespaces of users matter only where they make the other process another user, which the socket tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum Separation {
    /// Another kernel, or another boot of it.
    #[error("the peer runs on another host")]
    Host,
    /// Abstract socket names are those of a network namespace.
    #[error("the peer is in another network namespace")]
    NetworkNamespace,
    /// Memory is private to a user.
    #[error("the peer runs as another user")]
    User,
    /// By all that the peer says it should work, yet its socket was not found, or belongs to somebody else: a clone of a
    /// virtual machine, or another user in truth, by a namespace of users.
    #[error("the peer's socket is not reached: it is a clone of this host, or another user in truth")]
    Socket,
}

/// What two processes must have in common to share memory through abstract sockets and descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostId {
    /// Kernel's boot id: equal only on the same running kernel.
    pub boot: [u8; 16],
    /// Inode of the network namespace, which scopes abstract socket names.
    pub network_namespace: u64,
    /// Effective user.
    pub user: u32,
}

impl HostId {
    /// The calling process's.
    ///
    /// # Errors
    /// When /proc is not mounted.
    pub fn current() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let mut boot = [0; 16];
        let digits = text.bytes().filter(u8::is_ascii_hexdigit);
        for (index, digit) in digits.take(32).enumerate() {
            let value = char::from(digit).to_digit(16).map_or(0, |value| value as u8);
            boot[index / 2] = boot[index / 2] << 4 | value;
        }
        let network_namespace = fs::metadata("/proc/self/ns/net")?.ino();
        Ok(Self { boot, network_namespace, user: nix::unistd::geteuid().as_raw() })
    }

    /// Why memory cannot be shared with `other`, or `None` when it can.
    #[must_use]
    pub fn separation(&self, other: &Self) -> Option<Separation> {
        if self.boot != other.boot {
            Some(Separation::Host)
        } else if self.network_namespace != other.network_namespace {
            Some(Separation::NetworkNamespace)
        } else if self.user != other.user {
            Some(Separation::User)
        } else {
            None
        }
    }
}
