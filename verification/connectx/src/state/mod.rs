//! The device's memory: one file, mapped by every process that opens the device, behind one robust mutex.
//!
//! [`SharedState::lock`] gives the [`Tables`] to whoever works on the device: `kernel` to make and destroy objects,
//! `device` to execute. A process that dies with the mutex held passes it on (`EOWNERDEAD`); the objects of dead
//! processes are reaped at the next open, and by whoever finds their memory gone.
#![allow(unsafe_code)] // maps a file and places a process-shared mutex in it

mod objects;
mod tables;

use std::{
    fs::{File, OpenOptions},
    io,
    mem::offset_of,
    ops::{Deref, DerefMut},
    os::fd::AsRawFd,
    path::Path,
    ptr::NonNull,
};

pub use objects::{
    Asynchronous, AsynchronousKind, CompletionQueue, ConnectedPath, MemoryRegion, Process, ProcessIndex,
    QueuePair, QueuePairKind, SendProgress, SharedReceiveQueue, Stall, state,
};
pub use tables::{AsynchronousEvents, Capacity, Counters, Table, Tables};

/// First bytes of a state file that is ready.
const MAGIC: u64 = u64::from_le_bytes(*b"connectx");

/// Where this build of the crate has its tables: a launcher and a preloaded library of two builds would read each
/// other's numbers from the wrong places.
const SHAPE: u64 = (size_of::<Layout>() as u64) << 32 | offset_of!(Tables, counters) as u64;

#[repr(C)]
struct Layout {
    magic: u64,
    shape: u64,
    mutex: libc::pthread_mutex_t,
    tables: Tables,
}

/// The mapped state file.
#[derive(Debug)]
pub struct SharedState {
    layout: NonNull<Layout>,
}

// SAFETY: the mapping lives as long as the value; all of it is reached under the mutex that it contains.
unsafe impl Send for SharedState {}
// SAFETY: as above.
unsafe impl Sync for SharedState {}

impl SharedState {
    /// Opens the state file, or makes it: the first process initialises it.
    ///
    /// # Errors
    /// What the system says to opening, sizing, locking or mapping the file; `InvalidData` where another build of this
    /// crate made it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let _locked = FileLock::take(&file)?;
        if file.metadata()?.len() < size_of::<Layout>() as u64 {
            file.set_len(size_of::<Layout>() as u64)?;
        }
        let state = Self { layout: map(&file)? };
        // SAFETY: mapped, and the file lock excludes other initialisers. A new file is zeros, which is a valid table.
        unsafe {
            let layout = state.layout.as_ptr();
            if (*layout).magic != MAGIC {
                initialise_mutex(&raw mut (*layout).mutex)?;
                (*layout).shape = SHAPE;
                (*layout).magic = MAGIC;
            }
            if (*layout).shape != SHAPE {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "made by another build of the device",
                ));
            }
        }
        Ok(state)
    }

    /// Takes the device. Never held across a return to the driver.
    pub fn lock(&self) -> Guard<'_> {
        // SAFETY: initialised in `open`, and mapped as long as `self`.
        let mutex = unsafe { &raw mut (*self.layout.as_ptr()).mutex };
        // SAFETY: as above.
        let mut result = unsafe { libc::pthread_mutex_trylock(mutex) };
        while !matches!(result, 0 | libc::EOWNERDEAD) {
            // A waiter that is killed after it was woken takes the wake with it: no sleep may rely on one.
            let deadline = soon();
            // SAFETY: as above; the deadline outlives the call.
            result = unsafe { libc::pthread_mutex_timedlock(mutex, &raw const deadline) };
        }
        if result == libc::EOWNERDEAD {
            // Tables are plain values: what a dying process left half-written is its own object, which is reaped, or an
            // entry in a completion queue of its peer, which the next turn finds.
            // SAFETY: as above, and held.
            unsafe { libc::pthread_mutex_consistent(mutex) };
        }
        let mut guard = Guard { state: self };
        guard.interrupted |= result == libc::EOWNERDEAD;
        guard
    }
}

impl Drop for SharedState {
    fn drop(&mut self) {
        // SAFETY: mapped by `open` with this length; no guard outlives the value.
        unsafe { libc::munmap(self.layout.as_ptr().cast(), size_of::<Layout>()) };
    }
}

/// Until when one sleep for the mutex lasts.
fn soon() -> libc::timespec {
    const SLEEP: libc::c_long = 10_000_000;
    const SECOND: libc::c_long = 1_000_000_000;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes the time to a local. The mutex counts by this clock.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut time) };
    let nanoseconds = time.tv_nsec + SLEEP;
    libc::timespec { tv_sec: time.tv_sec + nanoseconds / SECOND, tv_nsec: nanoseconds % SECOND }
}

/// The device, taken.
#[derive(Debug)]
pub struct Guard<'a> {
    state: &'a SharedState,
}

impl Deref for Guard<'_> {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        // SAFETY: the mutex is held.
        unsafe { &(*self.state.layout.as_ptr()).tables }
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Tables {
        // SAFETY: the mutex is held, and this guard is borrowed exclusively.
        unsafe { &mut (*self.state.layout.as_ptr()).tables }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        // SAFETY: locked by this thread in `lock`.
        unsafe { libc::pthread_mutex_unlock(&raw mut (*self.state.layout.as_ptr()).mutex) };
    }
}

/// Excludes other processes while the file is made. Given back explicitly: the mapping keeps the file open.
struct FileLock<'a>(&'a File);

impl<'a> FileLock<'a> {
    fn take(file: &'a File) -> io::Result<Self> {
        // SAFETY: an open file.
        let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) };
        if result == 0 { Ok(Self(file)) } else { Err(io::Error::last_os_error()) }
    }
}

impl Drop for FileLock<'_> {
    fn drop(&mut self) {
        // SAFETY: an open file, locked by `take`.
        unsafe { libc::flock(self.0.as_raw_fd(), libc::LOCK_UN) };
    }
}

/// By system call: the C library's mmap is the one that `shim` interposes.
fn map(file: &File) -> io::Result<NonNull<Layout>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping of a whole file.
    let address = unsafe {
        libc::syscall(
            libc::SYS_mmap,
            0usize,
            size_of::<Layout>(),
            protection,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0usize,
        )
    };
    if address == -1 {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address as *mut Layout).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))
}

/// # Safety
/// `mutex` is writable memory that no other thread touches yet.
unsafe fn initialise_mutex(mutex: *mut libc::pthread_mutex_t) -> io::Result<()> {
    let mut attributes = std::mem::MaybeUninit::<libc::pthread_mutexattr_t>::uninit();
    let at = attributes.as_mut_ptr();
    // SAFETY: attributes are initialised by the first call before the others read them; `mutex` as promised.
    let results = unsafe {
        [
            libc::pthread_mutexattr_init(at),
            libc::pthread_mutexattr_setpshared(at, libc::PTHREAD_PROCESS_SHARED),
            libc::pthread_mutexattr_setrobust(at, libc::PTHREAD_MUTEX_ROBUST),
            libc::pthread_mutex_init(mutex, at),
        ]
    };
    results
        .into_iter()
        .find(|result| *result != 0)
        .map_or(Ok(()), |error| Err(io::Error::from_raw_os_error(error)))
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, mpsc},
        time::Duration,
    };

    use super::*;

    #[test]
    fn a_state_of_another_build_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("state");
        let state = SharedState::open(&path).expect("a new file");
        // SAFETY: nobody else maps this file.
        unsafe { (*state.layout.as_ptr()).shape ^= 8 };
        let refused = SharedState::open(&path).map(drop).map_err(|error| error.kind());
        assert_eq!(refused, Err(io::ErrorKind::InvalidData));
    }

    #[test]
    fn two_mappings_of_one_file_are_one_device() {
        let path = std::env::temp_dir().join(format!("connectx-state-{}", std::process::id()));
        let first = SharedState::open(&path).expect("a new file");
        let second = SharedState::open(&path).expect("the same file");
        let index = first.lock().add_process(std::process::id()).expect("room");
        assert_eq!(
            second.lock().processes.find(index.into()).map(|process| process.pid),
            Some(std::process::id())
        );
        std::fs::remove_file(&path).expect("the file is there");
    }

    /// The kernel marks a futex that has waiters; whoever is woken keeps the mark up. One that is killed instead does
    /// not, and the next owner wakes nobody.
    #[test]
    fn a_wake_that_got_lost_is_not_waited_for() {
        use pmd_core::sync::{AtomicU32, Ordering};
        const WAITERS: u32 = 1 << 31;
        let path = std::env::temp_dir().join(format!("connectx-wake-{}", std::process::id()));
        let state = Arc::new(SharedState::open(&path).expect("a new file"));
        std::fs::remove_file(&path).expect("the file is there");
        // SAFETY: the mutex's futex is its first word, mapped as long as `state`.
        let futex = unsafe { AtomicU32::from_ptr((&raw mut (*state.layout.as_ptr()).mutex).cast()) };
        let guard = state.lock();
        let (tell, told) = mpsc::channel();
        let waiting = state.clone();
        std::thread::spawn(move || tell.send(waiting.lock().domains));
        while futex.load(Ordering::Acquire) & WAITERS == 0 {
            std::thread::yield_now();
        }
        futex.fetch_and(!WAITERS, Ordering::AcqRel);
        drop(guard);
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(0), "the waiter sleeps for ever");
    }
}
