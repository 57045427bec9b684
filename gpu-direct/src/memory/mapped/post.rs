//! The socket over which descriptors of mapped memory go to other processes, and the thread behind it. There is one for
//! each context that has shared such memory.
//!
//! # Why a socket
//! `pidfd_getfd`, by which a descriptor can be taken out of another process, needs the right to trace it, which siblings
//! have not where Yama restricts it, nor containers without CAP_SYS_PTRACE. A descriptor that is sent needs neither; who
//! may have it is decided by the owner: processes of the same user. Sending it when it is asked for, and not with the
//! handle, keeps handles plain bytes, and leaves no descriptor open for thousands of pieces.
//!
//! # What goes over it
//! ```text
//!  request   number u64, first piece u32
//!  reply     state u8, 0 or the driver's code u32, pieces of all u32, then the bytes of some pieces, u64 each,
//!            with as many descriptors
//! ```
//! Little endian, one packet each. An importer asks until it has all pieces. The thread waits for no importer: who does
//! not take its reply is hung up on.

use std::{
    io::{IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    sync::Arc,
    thread,
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, Backlog, ControlMessage, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, accept4,
        bind, getsockopt, listen, recvmsg, sendmsg, shutdown, socket, sockopt,
    },
};
use pmd_core::accelerator::{AcceleratorError, AcceleratorKind};

use super::shared::Numbers;

/// Pieces of one reply. Linux passes 253 descriptors at once.
pub(super) const PIECES: usize = 32;
/// Bytes of a request.
pub(super) const REQUEST: usize = 12;
/// Bytes of a reply before the pieces.
pub(super) const HEAD: usize = 9;
/// How a reply begins.
pub(super) const FOUND: u8 = 0;
pub(super) const GONE: u8 = 1;
pub(super) const REFUSED: u8 = 2;

/// Importers that may be connected at a time; the one that waits longest is hung up on for one more.
const CLIENTS: usize = 64;

/// A system call that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct System {
    pub(super) call: &'static str,
    pub(super) error: Errno,
}

impl System {
    pub(super) fn error(self) -> AcceleratorError {
        let Self { call, error } = self;
        let (code, name) = (i64::from(error as i32), error.desc().to_owned());
        AcceleratorError::Runtime { kind: AcceleratorKind::Cuda, function: call, code, name }
    }

    pub(super) fn of(call: &'static str) -> impl Fn(Errno) -> Self {
        move |error| Self { call, error }
    }
}

/// The socket; dropping it ends the thread.
#[derive(Debug)]
pub(super) struct Post {
    name: [u8; 16],
    listener: Arc<OwnedFd>,
}

impl Post {
    pub(super) fn open(numbers: &Arc<Numbers>) -> Result<Self, System> {
        let mut name = [0; 16];
        let random =
            |error: getrandom::Error| Errno::from_raw(error.raw_os_error().unwrap_or(Errno::EIO as i32));
        getrandom::fill(&mut name).map_err(random).map_err(System::of("getrandom"))?;
        let listener = Arc::new(unconnected().map_err(System::of("socket"))?);
        let address = address(&name).map_err(System::of("bind"))?;
        bind(listener.as_raw_fd(), &address).map_err(System::of("bind"))?;
        listen(&*listener, Backlog::MAXCONN).map_err(System::of("listen"))?;
        let (at, numbers) = (Arc::clone(&listener), Arc::clone(numbers));
        let thread = thread::Builder::new().name("pmd-cuda-share".to_owned());
        let failed = |error: std::io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(0));
        let begun = thread.spawn(move || run(&at, &numbers));
        begun.map_err(failed).map_err(System::of("pthread_create"))?;
        Ok(Self { name, listener })
    }

    pub(super) fn name(&self) -> [u8; 16] {
        self.name
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        // The thread, which may be the one that drops this, finds its socket shut and ends.
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
    }
}

/// A socket for packets.
pub(super) fn unconnected() -> Result<OwnedFd, Errno> {
    socket(AddressFamily::Unix, SockType::SeqPacket, SockFlag::SOCK_CLOEXEC, None)
}

pub(super) fn address(name: &[u8; 16]) -> Result<UnixAddr, Errno> {
    let digits: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    UnixAddr::new_abstract(format!("pmd-cuda-{digits}").as_bytes())
}

/// Whether the other end is a process of this user.
pub(super) fn is_own(socket: &impl AsFd) -> bool {
    let user = nix::unistd::geteuid().as_raw();
    getsockopt(socket, sockopt::PeerCredentials).is_ok_and(|other| other.uid() == user)
}

/// Until the listener is shut.
fn run(listener: &OwnedFd, numbers: &Numbers) {
    let mut clients: Vec<OwnedFd> = Vec::new();
    loop {
        let readable = {
            let sockets = std::iter::once(listener).chain(&clients);
            let mut polled: Vec<_> = sockets.map(|one| PollFd::new(one.as_fd(), PollFlags::POLLIN)).collect();
            // An interrupted wait finds nothing readable.
            let _ = poll(&mut polled, PollTimeout::NONE);
            polled.iter().map(|one| one.any().unwrap_or(false)).collect::<Vec<_>>()
        };
        let mut others = readable[1..].iter();
        clients
            .retain(|client| !others.next().is_some_and(|ready| *ready) || serve(client, numbers).is_some());
        if readable[0] && !admit(listener, &mut clients) {
            return;
        }
    }
}

/// Whether the listener goes on.
fn admit(listener: &OwnedFd, clients: &mut Vec<OwnedFd>) -> bool {
    /// Until descriptors may be free again.
    const PAUSE: Duration = Duration::from_millis(10);
    let client = match accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK) {
        // SAFETY: the kernel made the descriptor for this call; nobody else knows it.
        Ok(client) => unsafe { OwnedFd::from_raw_fd(client) },
        Err(Errno::EINVAL) => return false,
        Err(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM | Errno::ENOBUFS) => {
            thread::sleep(PAUSE);
            return true;
        }
        Err(_) => return true,
    };
    if is_own(&client) {
        if clients.len() == CLIENTS {
            clients.remove(0);
        }
        clients.push(client);
    }
    true
}

/// Answers one request; `None` where the importer is gone or asks for what cannot be.
fn serve(client: &OwnedFd, numbers: &Numbers) -> Option<()> {
    let mut request = [0; REQUEST + 1];
    let mut parts = [IoSliceMut::new(&mut request)];
    let received = match recvmsg::<()>(client.as_raw_fd(), &mut parts, None, MsgFlags::MSG_DONTWAIT) {
        Ok(message) => message.bytes,
        Err(Errno::EAGAIN | Errno::EINTR) => return Some(()),
        Err(_) => return None,
    };
    let request = request.get(..received).filter(|request| request.len() == REQUEST)?;
    let (number, first) = request.split_at(8);
    let number = u64::from_le_bytes(number.try_into().ok()?);
    let first = u32::from_le_bytes(first.try_into().ok()?) as usize;
    let Some(shared) = numbers.find(number) else { return reply(client, GONE, 0, 0, &[]) };
    match shared.export(first, PIECES) {
        Ok(pieces) => reply(client, FOUND, 0, shared.count(), &pieces),
        Err(code) => reply(client, REFUSED, code, 0, &[]),
    }
}

fn reply(client: &OwnedFd, state: u8, code: u32, count: usize, pieces: &[(u64, OwnedFd)]) -> Option<()> {
    let mut frame = vec![state];
    frame.extend_from_slice(&code.to_le_bytes());
    frame.extend_from_slice(&u32::try_from(count).ok()?.to_le_bytes());
    frame.extend(pieces.iter().flat_map(|(length, _)| length.to_le_bytes()));
    let numbers: Vec<RawFd> = pieces.iter().map(|(_, descriptor)| descriptor.as_raw_fd()).collect();
    let rights = [ControlMessage::ScmRights(&numbers)];
    let control = if numbers.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(client.as_raw_fd(), &[IoSlice::new(&frame)], control, flags, None).ok().map(drop)
}
