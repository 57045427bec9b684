//! A TUN device: packets that a host sends over it are read here, packets that are written here reach the host.
#![allow(unsafe_code)] // one ioctl names the device

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
};

use super::NetworkError;

const FILE: &str = "/dev/net/tun";

/// The device; it is gone when this is.
#[derive(Debug)]
pub(super) struct Tunnel(File);

impl Tunnel {
    /// Makes a device of this name, in the namespace of this process; it may be moved to another.
    pub(super) fn new(name: &str) -> Result<Self, NetworkError> {
        let failed = |device: &str, source| NetworkError::Tunnel { device: device.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(FILE);
        let file = file.map_err(|source| failed(FILE, source))?;
        // SAFETY: all zeroes is a request without a name.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        if name.len() >= request.ifr_name.len() {
            return Err(failed(name, io::ErrorKind::InvalidInput.into()));
        }
        for (place, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
            *place = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        // SAFETY: the request is what this call takes, and lives through it; the name ends with a zero.
        let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
        if made < 0 {
            return Err(failed(name, io::Error::last_os_error()));
        }
        Ok(Self(file))
    }

    /// The next packet from the host, if there is one.
    pub(super) fn receive<'a>(&self, room: &'a mut [u8]) -> Option<&'a [u8]> {
        let length = (&self.0).read(room).ok()?;
        Some(&room[..length])
    }

    /// Hands a packet to the host; whether it took it.
    pub(super) fn send(&self, packet: &[u8]) -> bool {
        (&self.0).write(packet).is_ok()
    }
}

impl AsFd for Tunnel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
