//! A peer device: its segment, its arenas, and the process that it lives in.
#![allow(unsafe_code)] // takes ownership of a descriptor that the kernel hands over as a number

use std::{
    collections::HashMap,
    io::{self, IoSliceMut},
    os::fd::{AsFd, FromRawFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::kill,
        uio::{RemoteIoVec, process_vm_readv},
    },
    unistd::Pid,
};
use pmd_core::{
    accelerator::ShareHandle,
    sync::{AtomicBool, AtomicU64, Ordering},
};
use serde::{Deserialize, Serialize};

use super::{Device, memory::Mapping, message::Hello, segment::Segment, socket};
use crate::identity::DeviceId;

/// A device that said hello to this one. Shared by the exchange and by every link to it.
#[derive(Debug)]
pub(crate) struct Peer {
    id: DeviceId,
    process: Process,
    alive: AtomicBool,
    segment: Segment,
    /// This process may copy there by itself, without mapping anything.
    direct: bool,
    /// Its arenas may be mapped.
    maps: bool,
    /// The kernel copies to and from its memory.
    permitted: bool,
    /// By id, ascending.
    arenas: Mutex<Vec<(u32, Arc<Mapping>)>>,
    /// Changes with `arenas`.
    generation: AtomicU64,
    /// Device memory that it shares, by number.
    shares: Mutex<HashMap<u32, PeerShare>>,
}

/// Device memory that a peer shares.
#[derive(Debug)]
struct PeerShare {
    handle: ShareHandle,
    /// How often this process has it open.
    open: usize,
    /// Its owner takes it back, and is told when it is closed.
    withdrawn: bool,
}

impl Peer {
    /// The peer that sent `hello` over `connection`; `None` when the kernel does not say whose that is.
    pub(super) fn new(
        device: &Device,
        hello: &Hello,
        segment: Segment,
        connection: &OwnedFd,
    ) -> Option<Self> {
        let process = Process::at(connection, hello)?;
        let config = device.config();
        let direct = config.same_process && process.is_this();
        let permitted = config.process_memory && process.has_token();
        Some(Self {
            id: hello.device,
            direct,
            maps: config.mapping && !direct,
            permitted,
            process,
            alive: AtomicBool::new(true),
            segment,
            arenas: Mutex::default(),
            generation: AtomicU64::new(0),
            shares: Mutex::default(),
        })
    }

    /// Which device.
    pub(crate) fn id(&self) -> DeviceId {
        self.id
    }

    /// Its process, as this process numbers it; 0 when it is in a namespace that cannot be seen from here.
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid
    }

    /// Whether that is this very process.
    pub(crate) fn is_same_process(&self) -> bool {
        self.process.is_this()
    }

    /// Readable when the process has ended; none for this process, or from kernels without such descriptors.
    pub(super) fn process_descriptor(&self) -> Option<&OwnedFd> {
        self.process.descriptor.as_ref().filter(|_| !self.process.is_this())
    }

    /// Whether it is there, as far as is known: its process may have ended since the last
    /// [`service`](Device::service).
    #[inline]
    pub(crate) fn alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// [`Peer::alive`], having asked the kernel. Call it right before a batch of `process_vm_*` calls: a pid can be
    /// given to another process.
    pub(crate) fn confirm_alive(&self) -> bool {
        if self.alive() && self.process.has_exited() {
            self.mark_dead();
        }
        self.alive()
    }

    pub(super) fn mark_dead(&self) {
        self.alive.store(false, Ordering::Release);
    }

    /// Whether none of its engines can run any more, which a lost connection alone does not prove.
    pub(super) fn is_gone(&self) -> bool {
        self.segment.is_closed()
            || self.process.has_exited()
            || !self.alive() && !self.process.is_visible()
            || !self.alive() && self.permitted && !self.process.has_token()
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    #[inline]
    pub(super) fn is_direct(&self) -> bool {
        self.direct
    }

    #[inline]
    pub(super) fn maps_arenas(&self) -> bool {
        self.maps
    }

    #[inline]
    pub(super) fn is_permitted(&self) -> bool {
        self.permitted
    }

    /// Counts changes of the arenas.
    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The arenas mapped now, by id, ascending.
    pub(super) fn arenas(&self) -> Vec<(u32, Arc<Mapping>)> {
        self.lock_arenas().clone()
    }

    pub(super) fn add_arena(&self, id: u32, mapping: Mapping) {
        let mut arenas = self.lock_arenas();
        if let Err(place) = arenas.binary_search_by_key(&id, |arena| arena.0) {
            arenas.insert(place, (id, Arc::new(mapping)));
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    pub(super) fn has_arena(&self, id: u32) -> bool {
        self.lock_arenas().binary_search_by_key(&id, |arena| arena.0).is_ok()
    }

    pub(super) fn remove_arena(&self, id: u32) {
        self.lock_arenas().retain(|arena| arena.0 != id);
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// What opens its device memory of this number.
    pub(super) fn share(&self, number: u32) -> Option<ShareHandle> {
        self.lock_shares().get(&number).filter(|share| !share.withdrawn).map(|share| share.handle.clone())
    }

    /// The same for somebody who opens it, unless the owner takes it back. Each is answered by [`Peer::end_import`].
    pub(super) fn begin_import(&self, number: u32) -> Option<ShareHandle> {
        let mut shares = self.lock_shares();
        let share = shares.get_mut(&number).filter(|share| !share.withdrawn)?;
        share.open += 1;
        Some(share.handle.clone())
    }

    /// It is closed. Whether the owner is to be told.
    pub(super) fn end_import(&self, number: u32) -> bool {
        let mut shares = self.lock_shares();
        let Some(share) = shares.get_mut(&number) else { return false };
        share.open = share.open.saturating_sub(1);
        let last = share.withdrawn && share.open == 0;
        if last {
            shares.remove(&number);
        }
        last
    }

    pub(super) fn add_share(&self, number: u32, handle: ShareHandle) {
        self.lock_shares().insert(number, PeerShare { handle, open: 0, withdrawn: false });
    }

    /// Its owner takes it back. Whether the owner is to be told that it is closed, now.
    pub(super) fn withdraw_share(&self, number: u32) -> bool {
        let mut shares = self.lock_shares();
        match shares.get_mut(&number) {
            Some(share) if share.open > 0 => {
                share.withdrawn = true;
                false
            }
            _ => {
                shares.remove(&number);
                true
            }
        }
    }

    pub(super) fn has_share(&self, number: u32) -> bool {
        self.lock_shares().get(&number).is_some_and(|share| !share.withdrawn)
    }

    fn lock_shares(&self) -> MutexGuard<'_, HashMap<u32, PeerShare>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_arenas(&self) -> MutexGuard<'_, Vec<(u32, Arc<Mapping>)>> {
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Random bytes in the memory of a device's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Token([u8; 16]);

impl Token {
    pub(super) fn random() -> io::Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(bytes))
    }

    /// Where peers read it.
    pub(super) fn address(&self) -> u64 {
        self.0.as_ptr() as u64
    }
}

/// The process at the other end of a connection.
#[derive(Debug)]
struct Process {
    pid: i32,
    /// Tells the process from a later one of the same number.
    descriptor: Option<OwnedFd>,
    token: Token,
    token_address: u64,
}

impl Process {
    fn at(connection: &OwnedFd, hello: &Hello) -> Option<Self> {
        let credentials = socket::credentials(connection).ok()?;
        let pid = credentials.pid();
        let descriptor = socket::process(connection).or_else(|| open_process(pid));
        Some(Self { pid, descriptor, token: hello.token.clone(), token_address: hello.token_address })
    }

    /// Whether anything can be found out about it after its connection is lost.
    fn is_visible(&self) -> bool {
        self.pid > 0 || self.descriptor.is_some()
    }

    fn is_this(&self) -> bool {
        self.pid == std::process::id() as i32
    }

    fn has_exited(&self) -> bool {
        let Some(descriptor) = &self.descriptor else {
            return self.is_visible() && kill(Pid::from_raw(self.pid), None) == Err(Errno::ESRCH);
        };
        let mut polled = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
        matches!(poll(&mut polled, PollTimeout::ZERO), Ok(count) if count > 0)
    }

    /// Whether its memory can be read, and is that of the process that said hello.
    fn has_token(&self) -> bool {
        let mut found = [0; 16];
        let there = [RemoteIoVec { base: self.token_address as usize, len: found.len() }];
        let read = process_vm_readv(Pid::from_raw(self.pid), &mut [IoSliceMut::new(&mut found)], &there);
        self.pid > 0 && read == Ok(self.token.0.len()) && found == self.token.0
    }
}

/// pidfd_open(2).
fn open_process(pid: i32) -> Option<OwnedFd> {
    // SAFETY: the call takes two numbers.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    // SAFETY: the kernel made the descriptor for this call; nobody else knows it.
    i32::try_from(descriptor)
        .ok()
        .filter(|number| *number >= 0)
        .map(|number| unsafe { OwnedFd::from_raw_fd(number) })
}
