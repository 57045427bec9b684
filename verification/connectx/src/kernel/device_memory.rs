//! Memory of accelerators as the device reaches it: what the stand-ins of their runtimes keep in memfds, mapped once more.
//!
//! Called by [`region`](super::region), where [`DeviceMemory`](crate::config::DeviceMemory) lets the device reach such
//! memory. A program may not touch the address that a stand-in gives it, and neither may the device: like a real one it
//! goes by the pages behind, which stay for as long as the region does, whatever the program frees meanwhile.
#![allow(unsafe_code)] // maps and unmaps memory

use std::fs;

use super::error::CommandError;
use crate::errno::Errno;

/// How `/proc` calls the memory of the stand-ins. Other memfds are no dma-bufs.
const STAND_INS: &str = "/memfd:fake-device-";

/// Memory of an accelerator, mapped for the device. Unmapped when it is dropped.
#[derive(Debug)]
pub(super) struct View {
    /// First byte here.
    pub(super) first: u64,
    /// Bytes.
    pub(super) length: u64,
}

impl View {
    /// What a stand-in exported as a dma-buf.
    ///
    /// # Errors
    /// `EINVAL` for a descriptor of anything else, as the kernel says to what is no dma-buf.
    pub(super) fn of_descriptor(descriptor: i32) -> Result<Self, CommandError> {
        let path = format!("/proc/self/fd/{descriptor}");
        let refused = CommandError::Invalid { what: "descriptor of a dma-buf", value: descriptor as u64 };
        if !fs::read_link(&path).is_ok_and(|name| is_of_a_stand_in(&name.to_string_lossy())) {
            return Err(refused);
        }
        let length = fs::metadata(&path).map_err(|_| refused)?.len();
        Ok(Self { first: map(descriptor, length)?, length })
    }

    /// What a stand-in has at an address, and where in it the address is; `None` where there is no such memory.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn at(address: u64) -> Result<Option<(Self, u64)>, CommandError> {
        let maps = fs::read_to_string("/proc/self/maps").map_err(Errno::from)?;
        let Some((name, offset)) = maps.lines().find_map(|line| place(line, address)) else {
            return Ok(None);
        };
        for entry in fs::read_dir("/proc/self/fd").map_err(Errno::from)?.filter_map(Result::ok) {
            let is_it = fs::read_link(entry.path()).is_ok_and(|link| link.to_string_lossy() == name);
            if let (true, Ok(number)) = (is_it, entry.file_name().to_string_lossy().parse()) {
                return Self::of_descriptor(number).map(|view| Some((view, offset)));
            }
        }
        Ok(None)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and the device knows no region with it any more.
        unsafe { libc::syscall(libc::SYS_munmap, self.first, self.length) };
    }
}

fn is_of_a_stand_in(name: &str) -> bool {
    name.starts_with(STAND_INS)
}

/// Of a line of `/proc/self/maps` that has a stand-in's memory at the address: its name, and where in it the address is.
fn place(line: &str, address: u64) -> Option<(String, u64)> {
    let mut words = line.splitn(6, ' ');
    let (first, last) = words.next()?.split_once('-')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    let (first, last, offset) = (number(first)?, number(last)?, number(words.nth(1)?)?);
    let name = words.nth(2)?.trim();
    let holds = (first..last).contains(&address) && is_of_a_stand_in(name);
    holds.then(|| (name.to_owned(), address - first + offset))
}

/// By system call: the C library's mmap is the one that `shim` interposes.
fn map(descriptor: i32, length: u64) -> Result<u64, Errno> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice.
    let address = unsafe {
        libc::syscall(libc::SYS_mmap, 0usize, length, protection, libc::MAP_SHARED, descriptor, 0usize)
    };
    if address == -1 { Err(Errno::last()) } else { Ok(address.cast_unsigned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "/memfd:fake-device-00000000000000a7 (deleted)";

    #[test]
    fn only_a_stand_ins_memory_is_found() {
        let line = format!("7f0000002000-7f0000006000 ---s 00003000 00:01 1234                       {NAME}");
        assert_eq!(place(&line, 0x7f00_0000_2010), Some((NAME.to_owned(), 0x3010)));
        assert_eq!(place(&line, 0x7f00_0000_6000), None);
        assert_eq!(place(&line.replace("fake-device", "pmd-arena"), 0x7f00_0000_2010), None);
        assert_eq!(place("7f0000002000-7f0000006000 rw-p 00000000 00:00 0", 0x7f00_0000_2010), None);
    }

    #[test]
    fn a_descriptor_of_something_else_is_no_dma_buf() {
        let file = fs::File::open("/dev/null").expect("there is always one");
        for descriptor in [std::os::fd::AsRawFd::as_raw_fd(&file), -1] {
            let refused = View::of_descriptor(descriptor).map(drop).map_err(|error| error.errno().0);
            assert_eq!(refused, Err(libc::EINVAL));
        }
        assert!(View::at(8).expect("asked").is_none());
    }
}
