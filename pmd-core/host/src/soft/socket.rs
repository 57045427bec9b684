//! Abstract SOCK_SEQPACKET sockets that carry frames and descriptors; nothing here waits.
#![allow(unsafe_code)] // takes ownership of descriptors that the kernel hands over as numbers

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    cmsg_space,
    errno::Errno,
    sys::socket::{
        AddressFamily, Backlog, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr,
        UnixCredentials, accept4, bind, connect, getsockopt, listen, recvmsg, sendmsg, socket, sockopt,
    },
};

use super::message::LONGEST;
use crate::identity::DeviceId;

/// Connections that may wait to be accepted; the kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 4096;

/// The socket on which peers find `device`.
pub(super) fn listen_as(device: DeviceId) -> Result<OwnedFd, Errno> {
    let socket = unconnected()?;
    bind(socket.as_raw_fd(), &address(device)?)?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket)
}

/// A connection to `device`, or `None` when too many wait there to be accepted: try again later.
///
/// # Errors
/// ECONNREFUSED when nobody listens, or somebody else than this user.
pub(super) fn connect_to(device: DeviceId) -> Result<Option<OwnedFd>, Errno> {
    let socket = unconnected()?;
    match connect(socket.as_raw_fd(), &address(device)?) {
        // Any user may take the name of a device that is gone, and is not told a thing.
        Ok(()) if is_own(&socket) => Ok(Some(socket)),
        Ok(()) => Err(Errno::ECONNREFUSED),
        Err(Errno::EAGAIN) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What waits on a listener.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A process of this user.
    Connection(OwnedFd),
    /// Nobody any more.
    Nobody,
    /// Somebody, but this process has no descriptor left for it.
    NoDescriptor,
}

/// Takes the next connection that waits. Those of other users are hung up on.
pub(super) fn accept(listener: &OwnedFd) -> Accepted {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    loop {
        let socket = match accept4(listener.as_raw_fd(), flags) {
            // SAFETY: the kernel made the descriptor for this call; nobody else knows it.
            Ok(descriptor) => unsafe { OwnedFd::from_raw_fd(descriptor) },
            Err(Errno::EINTR | Errno::ECONNABORTED) => continue,
            Err(Errno::EAGAIN) => return Accepted::Nobody,
            Err(_) => return Accepted::NoDescriptor,
        };
        if is_own(&socket) {
            return Accepted::Connection(socket);
        }
    }
}

/// Sends one frame. `false` when the socket is full: nothing was sent.
///
/// # Errors
/// When the peer is gone.
pub(super) fn send(socket: &OwnedFd, frame: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<bool, Errno> {
    let numbers: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    loop {
        match sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(frame)], control, flags, None) {
            Ok(_) => return Ok(true),
            Err(Errno::EINTR) => {}
            // ETOOMANYREFS: too many descriptors of this user are on their way.
            Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::ETOOMANYREFS) => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// What came.
#[derive(Debug)]
pub(super) enum Received {
    /// One packet.
    Frame {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Descriptors that came with it.
        descriptors: Vec<OwnedFd>,
    },
    /// Nothing for now.
    Nothing,
    /// A packet that is too long, or whose descriptors did not all arrive (this process may have too many open).
    Truncated,
    /// The other end is closed.
    End,
}

/// Takes one packet.
pub(super) fn receive(socket: &OwnedFd) -> Received {
    let mut bytes = vec![0; LONGEST];
    let mut control = cmsg_space!([RawFd; 8]);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(message) => break message,
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Received::Nothing,
            Err(_) => return Received::End,
        }
    };
    let descriptors = owned(message.cmsgs());
    let length = message.bytes;
    let cut = message.flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC);
    match (length, cut, descriptors) {
        (_, true, _) | (_, _, None) => Received::Truncated,
        (0, _, _) => Received::End,
        (_, _, Some(descriptors)) => {
            bytes.truncate(length);
            Received::Frame { bytes, descriptors }
        }
    }
}

/// Process and user at the other end, as they were when it connected or listened.
pub(super) fn credentials(socket: &impl AsFd) -> Result<UnixCredentials, Errno> {
    getsockopt(socket, sockopt::PeerCredentials)
}

fn is_own(socket: &OwnedFd) -> bool {
    credentials(socket).is_ok_and(|other| other.uid() == nix::unistd::geteuid().as_raw())
}

/// A descriptor of the process at the other end, from kernels that give one (Linux 6.5).
pub(super) fn process(socket: &impl AsFd) -> Option<OwnedFd> {
    getsockopt(socket, sockopt::PeerPidfd).ok()
}

fn owned(control: Result<impl Iterator<Item = ControlMessageOwned>, Errno>) -> Option<Vec<OwnedFd>> {
    let mut descriptors = Vec::new();
    for message in control.ok()? {
        if let ControlMessageOwned::ScmRights(numbers) = message {
            // SAFETY: the kernel made these descriptors for this call; nobody else knows them.
            descriptors.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    Some(descriptors)
}

fn unconnected() -> Result<OwnedFd, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(AddressFamily::Unix, SockType::SeqPacket, flags, None)
}

fn address(device: DeviceId) -> Result<UnixAddr, Errno> {
    UnixAddr::new_abstract(format!("pmd-{device}").as_bytes())
}
