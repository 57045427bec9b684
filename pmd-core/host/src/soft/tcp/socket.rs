//! Making TCP sockets that are never waited for.
#![allow(unsafe_code)] // takes ownership of descriptors that the kernel hands over as numbers

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, Backlog, Shutdown, SockFlag, SockProtocol, SockType, SockaddrStorage, accept4, bind,
        connect, getsockname, getsockopt, listen, setsockopt, shutdown, socket, sockopt,
    },
};

use crate::outage::go_on_soon;

/// Connections that may wait to be accepted; the kernel lowers it to net.core.somaxconn.
const BACKLOG: i32 = 4096;
/// Silence after which the kernel asks whether the other host is there, and between two such questions, in seconds.
const KEEP_ALIVE: u32 = 5;
/// Questions without an answer after which it is not.
const KEEP_ALIVE_COUNT: u32 = 4;

/// A listening socket and where it listens. Any address of IPv6 is any address of IPv4 too, or that alone where there is
/// no IPv6.
pub(super) fn listen_at(address: SocketAddr) -> Result<(OwnedFd, SocketAddr), Errno> {
    match listen_exactly(address) {
        Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) if address.ip() == Ipv6Addr::UNSPECIFIED => {
            listen_exactly(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port()))
        }
        listening => listening,
    }
}

fn listen_exactly(address: SocketAddr) -> Result<(OwnedFd, SocketAddr), Errno> {
    let socket = unconnected(&address)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6V6Only, &false)?;
    }
    bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&socket, Backlog::new(BACKLOG)?)?;
    let bound = getsockname::<SockaddrStorage>(socket.as_raw_fd())?;
    let port = match (bound.as_sockaddr_in(), bound.as_sockaddr_in6()) {
        (Some(four), _) => four.port(),
        (_, Some(six)) => six.port(),
        _ => address.port(),
    };
    Ok((socket, SocketAddr::new(address.ip(), port)))
}

/// What waits on a listener.
#[derive(Debug)]
pub(super) enum Accepted {
    Connection(OwnedFd),
    /// Nobody any more.
    Nobody,
    /// Somebody, but this process has no descriptor left for it.
    NoDescriptor,
}

/// Takes the next connection that waits.
pub(super) fn accept(listener: &OwnedFd) -> Accepted {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    loop {
        match accept4(listener.as_raw_fd(), flags) {
            Ok(descriptor) => {
                // SAFETY: the kernel made the descriptor for this call; nobody else knows it.
                let socket = unsafe { OwnedFd::from_raw_fd(descriptor) };
                configure(&socket);
                return Accepted::Connection(socket);
            }
            Err(Errno::EAGAIN) => return Accepted::Nobody,
            Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM) => {
                return Accepted::NoDescriptor;
            }
            // The connection is gone again, or a signal came.
            Err(_) => {}
        }
    }
}

/// Begins to connect, from an address of this host where one is given.
pub(super) fn connect_to(address: SocketAddr, source: Option<IpAddr>) -> Result<OwnedFd, Errno> {
    let socket = unconnected(&address)?;
    configure(&socket);
    if let Some(source) = source {
        // The port is taken when the other end is known, so that it need not be free towards all others. A system that does
        // not know this takes one at once.
        let _ = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true);
        bind(socket.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(source, 0)))?;
    }
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// What has become of connecting, if it has failed.
pub(super) fn fault(socket: &OwnedFd) -> Option<Errno> {
    match getsockopt(socket, sockopt::SocketError) {
        Ok(0) => None,
        Ok(number) => Some(Errno::from_raw(number)),
        Err(error) => Some(error),
    }
}

/// Says that nothing more comes from here.
pub(super) fn finish(socket: &OwnedFd) {
    // Fails for one that is broken, which the reader finds out too.
    let _ = shutdown(socket.as_raw_fd(), Shutdown::Write);
}

fn unconnected(address: &SocketAddr) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    socket(family, SockType::Stream, flags, SockProtocol::Tcp)
}

/// Small records go at once, a host that vanishes is noticed, and a link that comes back is used. None of it fails on a socket of this kind.
fn configure(socket: &OwnedFd) {
    let _ = setsockopt(socket, sockopt::TcpNoDelay, &true);
    let _ = setsockopt(socket, sockopt::KeepAlive, &true);
    let _ = setsockopt(socket, sockopt::TcpKeepIdle, &KEEP_ALIVE);
    let _ = setsockopt(socket, sockopt::TcpKeepInterval, &KEEP_ALIVE);
    let _ = setsockopt(socket, sockopt::TcpKeepCount, &KEEP_ALIVE_COUNT);
    go_on_soon(socket);
}
