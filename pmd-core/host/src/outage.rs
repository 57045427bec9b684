//! How soon a TCP connection goes on when its link was away, and what becomes of the last that is said on it.
//!
//! The kernel doubles the time between two attempts to send what nobody acknowledged. After a link was away for two seconds
//! the next attempt may be as far off again, and a peer that sends keep-alives over it would be silent for longer than it
//! may be. So the time is bounded. Called for each socket of the control plane and of the soft HCA over TCP.
//!
//! A socket that is closed, by hand or with its process, is nobody's: if anything comes for it, or lies there unread, the
//! kernel resets the connection and forgets what the other host has not acknowledged. So who has something to say last
//! keeps the socket until that [has arrived](has_arrived), for [`LAST_WORDS`] at most.
#![allow(unsafe_code)] // socket options and requests that nix has no names for

use std::{
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

/// How long what was said last may take to arrive, over a link that loses packets or is away for a while.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(5);

/// Longest time between two attempts in milliseconds; less is not allowed.
const LONGEST: i32 = 1000;

/// `TCP_RTO_MAX_MS`: Linux from 6.15 on.
const TCP_RTO_MAX_MS: i32 = 44;

/// Bounds the time between two attempts. A kernel that does not know how does it for connections with little on the way.
pub(crate) fn go_on_soon(socket: &impl AsFd) {
    for (option, value) in [(libc::TCP_THIN_LINEAR_TIMEOUTS, 1), (TCP_RTO_MAX_MS, LONGEST)] {
        let length = size_of_val(&value) as libc::socklen_t;
        let socket = socket.as_fd().as_raw_fd();
        // SAFETY: the value lives through the call and is as long as stated. An option that the kernel does not know
        // changes nothing.
        unsafe { libc::setsockopt(socket, libc::IPPROTO_TCP, option, (&raw const value).cast(), length) };
    }
}

/// Whether the other host has acknowledged all that was sent, the end included, or nothing more can be sent.
pub(crate) fn has_arrived(socket: &impl AsFd) -> bool {
    let mut unacknowledged = 0;
    // SAFETY: the request (tcp(7)) writes one int, which lives through the call.
    let asked = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut unacknowledged) };
    asked != 0 || unacknowledged == 0_i32
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        mem::size_of,
        net::{Shutdown, TcpListener, TcpStream},
        thread,
        time::Instant,
    };

    use super::*;

    fn value(socket: &impl AsFd, option: i32) -> Option<i32> {
        let (mut value, mut length) = (0_i32, size_of::<i32>() as libc::socklen_t);
        let socket = socket.as_fd().as_raw_fd();
        // SAFETY: both live through the call, and the value has the stated room.
        let got = unsafe {
            libc::getsockopt(socket, libc::IPPROTO_TCP, option, (&raw mut value).cast(), &raw mut length)
        };
        (got == 0).then_some(value)
    }

    #[test]
    fn what_nobody_has_taken_has_not_arrived() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a socket");
        let near = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
        let (mut far, _) = listener.accept().expect("accepted");
        assert!(has_arrived(&near), "nothing was sent");
        near.set_nonblocking(true).expect("a socket");
        let mut sent = 0;
        while let Ok(count) = (&near).write(&[7; 1 << 16]) {
            sent += count;
        }
        assert!(!has_arrived(&near), "the other host has no room for {sent} bytes");
        near.shutdown(Shutdown::Write).expect("shut down");
        let mut bytes = Vec::new();
        far.read_to_end(&mut bytes).expect("all of it");
        assert_eq!(bytes.len(), sent);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !has_arrived(&near) {
            assert!(Instant::now() < deadline, "its end has not arrived");
            thread::yield_now();
        }
    }

    #[test]
    fn attempts_are_never_far_apart() {
        let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a socket");
        let before = value(&socket, TCP_RTO_MAX_MS);
        go_on_soon(&socket);
        assert_eq!(value(&socket, libc::TCP_THIN_LINEAR_TIMEOUTS), Some(1));
        // Older kernels have no such option.
        assert_eq!(value(&socket, TCP_RTO_MAX_MS), before.map(|_| LONGEST));
    }
}
