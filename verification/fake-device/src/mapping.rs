//! One range of memory and its two views; held by the table and by the operations that touch it.
#![allow(unsafe_code)] // maps memory

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr,
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

use crate::lock;

/// A range: where programs see it, and where copies go.
#[derive(Debug)]
pub(crate) struct Mapping {
    /// Where programs see it.
    pub(crate) address: u64,
    /// Bytes that were asked for.
    pub(crate) length: u64,
    /// Where copies go; the same as `address` for the host's memory.
    hidden: usize,
    kind: Kind,
    operations: Mutex<u64>,
    quiet: Condvar,
}

#[derive(Debug)]
enum Kind {
    /// Two views of a memfd; programs may not touch the first.
    Device(OwnedFd),
    /// The same in reserved addresses, which stay reserved.
    Reserved(OwnedFd),
    /// One view, which programs may touch.
    Host,
    /// Someone else's memory.
    Borrowed,
}

impl Mapping {
    /// Fresh device memory, in a memfd of this name.
    pub(crate) fn device(name: &str, length: u64, touchable: bool) -> io::Result<Self> {
        Self::of(file(name, length)?, length, touchable)
    }

    /// Device memory that is in a descriptor already.
    pub(crate) fn of(descriptor: OwnedFd, length: u64, touchable: bool) -> io::Result<Self> {
        let file = descriptor.as_raw_fd();
        let all = libc::PROT_READ | libc::PROT_WRITE;
        let address = map(length, if touchable { all } else { libc::PROT_NONE }, libc::MAP_SHARED, file)?;
        let hidden = map(length, all, libc::MAP_SHARED, file).inspect_err(|_| unmap(address, length))?;
        Ok(Self::new(address as u64, length, hidden, Kind::Device(descriptor)))
    }

    /// Device memory that is in a descriptor already, at two addresses that are reserved.
    pub(crate) fn over(
        descriptor: OwnedFd,
        (address, hidden): (u64, usize),
        length: u64,
        touchable: bool,
    ) -> io::Result<Self> {
        let file = descriptor.as_raw_fd();
        let all = libc::PROT_READ | libc::PROT_WRITE;
        map_over(address as usize, length, if touchable { all } else { libc::PROT_NONE }, file)?;
        map_over(hidden, length, all, file).inspect_err(|_| bury(address as usize, length))?;
        Ok(Self::new(address, length, hidden, Kind::Reserved(descriptor)))
    }

    /// Fresh memory of the host.
    pub(crate) fn host(length: u64) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let address = map(length, protection, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1)?;
        Ok(Self::new(address as u64, length, address, Kind::Host))
    }

    /// The program's own memory.
    pub(crate) fn borrowed(address: u64, length: u64) -> Self {
        Self::new(address, length, address as usize, Kind::Borrowed)
    }

    fn new(address: u64, length: u64, hidden: usize, kind: Kind) -> Self {
        Self { address, length, hidden, kind, operations: Mutex::new(0), quiet: Condvar::new() }
    }

    /// Where a byte of it is copied from and to.
    pub(crate) fn pointer(&self, address: u64) -> usize {
        self.hidden + (address - self.address) as usize
    }

    /// Its descriptor, if it is device memory.
    pub(crate) fn descriptor(&self) -> Option<&OwnedFd> {
        match &self.kind {
            Kind::Device(descriptor) | Kind::Reserved(descriptor) => Some(descriptor),
            Kind::Host | Kind::Borrowed => None,
        }
    }

    /// Writes one value over all of it.
    pub(crate) fn fill(&self, value: u8) {
        // SAFETY: mapped for so many bytes; no reference to them exists.
        unsafe { ptr::write_bytes(self.hidden as *mut u8, value, self.length as usize) };
    }

    pub(crate) fn begin(&self) {
        *lock(&self.operations) += 1;
    }

    pub(crate) fn end(&self) {
        *lock(&self.operations) -= 1;
        self.quiet.notify_all();
    }

    /// Waits until no operation touches it; whether that was so in time.
    pub(crate) fn wait_quiet(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut operations = lock(&self.operations);
        while *operations > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            operations = match self.quiet.wait_timeout(operations, left) {
                Ok((operations, _)) => operations,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        true
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        match self.kind {
            Kind::Device(_) => {
                unmap(self.hidden, self.length);
                bury(self.address as usize, self.length);
            }
            Kind::Reserved(_) => {
                bury(self.hidden, self.length);
                bury(self.address as usize, self.length);
            }
            Kind::Host => unmap(self.hidden, self.length),
            Kind::Borrowed => {}
        }
    }
}

/// A memfd of so many bytes.
pub(crate) fn file(name: &str, length: u64) -> io::Result<OwnedFd> {
    let name = CString::new(name)?;
    // SAFETY: the name is a C string.
    let descriptor = owned(unsafe { libc::memfd_create(CStr::as_ptr(&name), libc::MFD_CLOEXEC) })?;
    let pages = i64::try_from(in_pages(length)).map_err(|_| io::ErrorKind::OutOfMemory)?;
    // SAFETY: a descriptor of this process.
    if unsafe { libc::ftruncate(descriptor.as_raw_fd(), pages) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(descriptor)
}

/// Addresses where nothing is mapped.
pub(crate) fn reserve(length: u64) -> io::Result<usize> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    map(length, libc::PROT_NONE, flags, -1)
}

fn map_over(address: usize, length: u64, protection: i32, descriptor: i32) -> io::Result<()> {
    let (length, flags) = (in_pages(length) as usize, libc::MAP_SHARED | libc::MAP_FIXED);
    // SAFETY: replaces addresses that this module has reserved, and where nothing is mapped.
    let mapped = unsafe { libc::mmap(address as *mut _, length, protection, flags, descriptor, 0) };
    if mapped == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Whole pages for so many bytes.
pub(crate) fn in_pages(length: u64) -> u64 {
    length.saturating_add(4095) & !4095
}

/// Takes over a descriptor that a system call gave.
pub(crate) fn owned(descriptor: i32) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: fresh from the system, and no one else's.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn map(length: u64, protection: i32, flags: i32, descriptor: i32) -> io::Result<usize> {
    let length = in_pages(length) as usize;
    // SAFETY: a mapping where the system likes takes nothing away.
    let address = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, descriptor, 0) };
    if address == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(address as usize) }
}

pub(crate) fn unmap(address: usize, length: u64) {
    // SAFETY: a mapping or a reservation of this crate, which no operation holds any more.
    unsafe { libc::munmap(address as *mut _, in_pages(length) as usize) };
}

/// Keeps the addresses of freed device memory from being used again.
fn bury(address: usize, length: u64) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
    let length = in_pages(length) as usize;
    // SAFETY: replaces a mapping of this module, which programs may not touch.
    unsafe { libc::mmap(address as *mut _, length, libc::PROT_NONE, flags, -1, 0) };
}
