//! Sends over loopback, by size, by pieces, and without the copy that a send makes; and what a system call costs.
#![allow(unsafe_code)] // socket options and control messages that the library has no names for

use std::{
    io::{self, IoSlice, Read, Write},
    mem,
    net::{TcpListener, TcpStream},
    os::fd::{AsFd, AsRawFd},
    thread,
    time::Duration,
};

use nix::{
    libc,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{
    Effort, TrialError,
    figure::{Figure, nanoseconds},
};

/// Longest that anything is waited for.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of a send, and as the table has them.
const SIZES: [(usize, &str); 5] = [
    (16 << 10, "16 KiB"),
    (64 << 10, "64 KiB"),
    (256 << 10, "256 KiB"),
    (1 << 20, "1 MiB"),
    (4 << 20, "4 MiB"),
];

/// Sends without a copy that the kernel may still hold.
const IN_FLIGHT: u32 = 32;

/// How bytes are handed to the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One range.
    Plain,
    /// So many ranges in a call.
    Vectored(usize),
    /// One range that the kernel may keep until it says that it is done with it.
    ZeroCopy,
}

/// What a transfer took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Calls {
    /// Calls that sent.
    sends: u64,
    /// Calls that received.
    receives: u64,
    /// Sends whose bytes the kernel has not copied, and those that it has nevertheless.
    kept: u64,
    copied: u64,
}

/// Two ends of a connection over loopback, neither of which waits longer than [`PATIENCE`].
pub(super) fn pair() -> Result<(TcpStream, TcpStream), TrialError> {
    let connect = || {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let one = TcpStream::connect(listener.local_addr()?)?;
        let (other, _) = listener.accept()?;
        for end in [&one, &other] {
            end.set_nodelay(true)?;
            end.set_read_timeout(Some(PATIENCE))?;
            end.set_write_timeout(Some(PATIENCE))?;
        }
        Ok::<_, io::Error>((one, other))
    };
    connect().map_err(TrialError::system("a connection over loopback"))
}

/// GB/s of sends of each size, copied and not; and of a mebibyte in one piece and in 256.
pub(super) fn sends(effort: Effort) -> Result<Vec<Figure>, TrialError> {
    let mut figures = Vec::new();
    for (bytes, size) in SIZES.into_iter().filter(|(bytes, _)| *bytes <= effort.bytes) {
        let what = format!("TCP, sends of {size}");
        for (variant, way) in [("send", Way::Plain), ("send, MSG_ZEROCOPY", Way::ZeroCopy)] {
            figures.push(figure(effort, (&what, variant), bytes, way)?);
        }
    }
    let bytes = (1 << 20).min(effort.bytes);
    for (variant, pieces) in [("sendmsg of 1", 1), ("sendmsg of 16", 16), ("sendmsg of 256", 256)] {
        let what = "TCP, a mebibyte in pieces";
        figures.push(figure(effort, (what, variant), bytes, Way::Vectored(pieces))?);
    }
    Ok(figures)
}

fn figure(
    effort: Effort,
    (what, variant): (&str, &str),
    bytes: usize,
    way: Way,
) -> Result<Figure, TrialError> {
    let source: Vec<u8> = (0..effort.bytes).map(|at| (at % 251) as u8).collect();
    let mut target = vec![0; effort.bytes];
    let (mut sending, mut receiving) = pair()?;
    if way == Way::ZeroCopy
        && let Err(error) = allow_zero_copy(&sending)
    {
        return Ok(Figure::missing(what, variant, "GB/s", &error.to_string()));
    }
    let mut calls = Calls::default();
    let value = nanoseconds(effort, || {
        calls = transfer((&mut sending, &mut receiving), (&source, &mut target), bytes, way)?;
        Ok(())
    })?;
    if source != target {
        return Err(TrialError::Corrupt { what: format!("{what}, {variant}") });
    }
    let Calls { sends, receives, kept, copied } = calls;
    let mut note = format!("{sends} sends, {receives} receives");
    if way == Way::ZeroCopy {
        note += &format!("; the kernel copied {copied} of {}", kept + copied);
    }
    let figure = Figure::new(what, variant, effort.bytes as f64 / value, "GB/s").noting(note);
    Ok(figure.default_if(way == Way::Plain || way == Way::Vectored(16)))
}

/// Sends all of `source` from one end and receives it into `target` at the other.
fn transfer(
    (sending, receiving): (&mut TcpStream, &mut TcpStream),
    (source, target): (&[u8], &mut [u8]),
    bytes: usize,
    way: Way,
) -> Result<Calls, TrialError> {
    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(receiving, target));
        let sent = send(sending, source, bytes, way);
        let received = receiver.join().unwrap_or(Err(TrialError::Silent { what: "the receiver" }));
        Ok(Calls { receives: received?, ..sent? })
    })
}

/// Receives until `target` is full; gives the calls that it took.
fn receive(socket: &mut TcpStream, target: &mut [u8]) -> Result<u64, TrialError> {
    let (mut at, mut calls) = (0, 0);
    while at < target.len() {
        match socket.read(&mut target[at..]).map_err(TrialError::system("recv"))? {
            0 => return Err(TrialError::Silent { what: "the sender" }),
            count => at += count,
        }
        calls += 1;
    }
    Ok(calls)
}

/// Sends all of `source`, `bytes` in a call if the socket takes them.
fn send(socket: &mut TcpStream, source: &[u8], bytes: usize, way: Way) -> Result<Calls, TrialError> {
    let mut calls = Calls::default();
    let mut at = 0;
    while at < source.len() {
        let part = &source[at..source.len().min(at + bytes)];
        let sent = match way {
            Way::Plain => socket.write(part),
            Way::Vectored(pieces) => {
                let length = part.len().div_ceil(pieces);
                let parts: Vec<IoSlice<'_>> = part.chunks(length).map(IoSlice::new).collect();
                socket.write_vectored(&parts)
            }
            Way::ZeroCopy => send_zero_copy(socket, part),
        };
        match sent {
            Ok(count) => {
                calls.sends += 1;
                at += count;
            }
            // The kernel holds as many pages as it is allowed to.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => wait_for_notice(socket)?,
            Err(error) => return Err(TrialError::System { call: "send", error }),
        }
        if way == Way::ZeroCopy {
            settle(socket, &mut calls, u64::from(IN_FLIGHT))?;
        }
    }
    if way == Way::ZeroCopy {
        settle(socket, &mut calls, 0)?;
    }
    Ok(calls)
}

/// `SO_ZEROCOPY`, without which the flag of a send means nothing.
fn allow_zero_copy(socket: &TcpStream) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = mem::size_of_val(&on) as libc::socklen_t;
    // SAFETY: an option that is an int, of an open socket.
    let result = unsafe {
        let value = (&raw const on).cast();
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ZEROCOPY, value, length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends without a copy. The bytes have to stay as they are until the kernel's notice.
fn send_zero_copy(socket: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_ZEROCOPY | libc::MSG_NOSIGNAL;
    // SAFETY: the range is borrowed for the call. Afterwards the kernel has the pages by references of its own: bytes that
    // change too early would be sent as they are then, and nothing else.
    let sent = unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Takes notices until at most `most` sends are without one.
fn settle(socket: &TcpStream, calls: &mut Calls, most: u64) -> Result<(), TrialError> {
    loop {
        while let Some((sends, copied)) = notice(socket)? {
            *(if copied { &mut calls.copied } else { &mut calls.kept }) += sends;
        }
        if calls.sends - calls.copied - calls.kept <= most {
            return Ok(());
        }
        wait_for_notice(socket)?;
    }
}

/// Returns when the socket's error queue has something.
fn wait_for_notice(socket: &TcpStream) -> Result<(), TrialError> {
    let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
    // No event is asked for: errors come unasked.
    let mut sockets = [PollFd::new(socket.as_fd(), PollFlags::empty())];
    match poll(&mut sockets, timeout).map_err(TrialError::system("poll"))? {
        0 => Err(TrialError::Silent { what: "notices of sends without a copy" }),
        _ => Ok(()),
    }
}

/// The next notice: of how many sends, and whether the kernel copied them nevertheless.
fn notice(socket: &TcpStream) -> Result<Option<(u64, bool)>, TrialError> {
    // Aligned as control messages are.
    let mut control = [0_u64; 16];
    // SAFETY: all zero is a message without parts.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = mem::size_of_val(&control) as _;
    let flags = libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT;
    // SAFETY: the message points to memory of this call alone, and says how much of it there is.
    if unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags) } < 0 {
        let error = io::Error::last_os_error();
        let none = error.kind() == io::ErrorKind::WouldBlock;
        return if none { Ok(None) } else { Err(TrialError::System { call: "recvmsg", error }) };
    }
    // SAFETY: the kernel has filled in the message, whose first header, if any, lies in `control`; the data behind a header
    // of this kind is an error, which need not be aligned.
    let error = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        let fits = !header.is_null()
            && (*header).cmsg_level == libc::SOL_IP
            && (*header).cmsg_type == libc::IP_RECVERR;
        fits.then(|| libc::CMSG_DATA(header).cast::<libc::sock_extended_err>().read_unaligned())
    };
    let Some(error) = error.filter(|error| error.ee_origin == SO_EE_ORIGIN_ZEROCOPY) else {
        return Err(TrialError::Silent { what: "a notice among the socket's errors" });
    };
    Ok(Some(noticed(error.ee_info, error.ee_data, error.ee_code)))
}

/// What a notice says: sends are numbered, and it covers all from the first to the last.
fn noticed(first: u32, last: u32, code: u8) -> (u64, bool) {
    (u64::from(last.wrapping_sub(first)) + 1, code & SO_EE_CODE_ZEROCOPY_COPIED != 0)
}

/// Of linux/errqueue.h, which libc does not have.
const SO_EE_ORIGIN_ZEROCOPY: u8 = 5;
const SO_EE_CODE_ZEROCOPY_COPIED: u8 = 1;

/// Nanoseconds of the calls that polling a socket is made of, where there is nothing, and of those that a small message takes
/// where one thread makes them all.
pub(super) fn calls(effort: Effort) -> Result<Vec<Figure>, TrialError> {
    let (socket, other) = pair()?;
    socket.set_nonblocking(true).map_err(TrialError::system("fcntl"))?;
    let epoll = super::turns::watch(&socket)?;
    let count = effort.bytes >> 10;
    let each = |(what, name): (&str, &str), parts: f64, call: &dyn Fn() -> bool| {
        let value = nanoseconds(effort, || {
            if (0..count).all(|_| call()) {
                Ok(())
            } else {
                Err(TrialError::Silent { what: "a system call" })
            }
        })?;
        Ok(Figure::new(what, name, value / count as f64 / parts, "ns"))
    };
    let byte = [0_u8; 8];
    let nothing = || {
        let mut byte = byte;
        (&socket).read(&mut byte).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    };
    // What a thread sends over loopback is there when the call returns, or soon after on a busy machine.
    let soon = |call: &dyn Fn() -> bool| (0..1 << 20).any(|_| call());
    let there = |watched: bool| {
        (&other).write_all(&byte).is_ok()
            && (!watched || soon(&|| !super::turns::is_quiet(&epoll)))
            && soon(&|| (&socket).read(&mut { byte }).is_ok())
    };
    let back = || (&socket).write_all(&byte).is_ok() && (&other).read_exact(&mut { byte }).is_ok();
    let nothing_there = |name| ("a system call that finds nothing", name);
    let message = |name| ("8 B over TCP, one way by one thread", name);
    Ok(vec![
        // SAFETY: takes nothing and gives a number.
        each(nothing_there("getppid"), 1.0, &|| unsafe { libc::getppid() } > 0)?,
        each(nothing_there("sched_yield"), 1.0, &|| {
            thread::yield_now();
            true
        })?,
        each(nothing_there("epoll_wait of one socket"), 1.0, &|| super::turns::is_quiet(&epoll))?
            .default_if(true),
        each(nothing_there("recv of one socket"), 1.0, &nothing)?,
        each(message("send, recv"), 2.0, &|| there(false) && back())?,
        each(message("send, epoll_wait one way of two, recv"), 2.0, &|| there(true) && back())?
            .default_if(true),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_carries_every_byte() {
        let source: Vec<u8> = (0..300_000_u32).map(|at| (at % 241) as u8).collect();
        for way in [Way::Plain, Way::Vectored(7), Way::Vectored(256), Way::ZeroCopy] {
            let mut target = vec![0; source.len()];
            let (mut sending, mut receiving) = pair().expect("loopback");
            if way == Way::ZeroCopy {
                allow_zero_copy(&sending).expect("SO_ZEROCOPY");
            }
            let ends = (&mut sending, &mut receiving);
            let calls = transfer(ends, (&source, &mut target), 40_000, way).expect("a transfer");
            assert!(source == target, "{way:?}");
            assert!(calls.sends >= 8 && calls.receives >= 1, "{calls:?}");
            // Each send without a copy has had its notice when the transfer is over, and others have none.
            let noticed = if way == Way::ZeroCopy { calls.sends } else { 0 };
            assert_eq!(calls.kept + calls.copied, noticed);
        }
    }

    #[test]
    fn notices_cover_ranges_of_sends() {
        assert_eq!(noticed(0, 0, 0), (1, false));
        assert_eq!(noticed(3, 9, 1), (7, true));
        assert_eq!(noticed(u32::MAX, 1, 0), (3, false));
    }

    #[test]
    fn a_sender_that_leaves_is_told() {
        let (sending, mut receiving) = pair().expect("loopback");
        drop(sending);
        let ended = receive(&mut receiving, &mut [0; 8]);
        assert!(matches!(ended, Err(TrialError::Silent { what: "the sender" })));
    }
}
