//! An accelerator's memory, by the descriptor that a stand-in of its runtime exports.
#![allow(unsafe_code)] // makes a memfd

use std::{
    ffi::CStr,
    fs::{self, File},
    os::{
        fd::{AsRawFd, FromRawFd},
        unix::fs::FileExt,
    },
};

use super::{Library, number};
use crate::{
    dma,
    errno::Errno,
    kernel::abi::{attribute, method},
};

/// Memory as the stand-ins have it.
fn exported(name: &CStr, length: u64) -> File {
    // SAFETY: a name that ends; the descriptor is nobody else's.
    let file = unsafe { File::from_raw_fd(libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC)) };
    file.set_len(length).expect("room");
    file
}

/// Whether this process has memory of that name mapped. An address says nothing once it is free: another test's memory may
/// have it the next moment.
fn is_mapped(name: &CStr) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").expect("a list");
    maps.contains(name.to_str().expect("letters"))
}

/// Registers `length` bytes from an offset: the region's handle and key.
fn register(
    library: &Library,
    domain: u32,
    file: &File,
    (offset, length, virtual_start): (u64, u64, u64),
) -> Result<(u32, u32), Errno> {
    let (mut local, mut remote) = (0_u32, 0_u32);
    let answers = library.ioctl(
        method::REG_DMABUF_MR,
        &[
            (attribute::DMABUF_HANDLE, 4, 0),
            (attribute::DMABUF_RESPONSE_LOCAL_KEY, 4, &raw mut local as u64),
            (attribute::DMABUF_RESPONSE_REMOTE_KEY, 4, &raw mut remote as u64),
            (attribute::DMABUF_DOMAIN, 4, domain.into()),
            (attribute::DMABUF_OFFSET, 8, offset),
            (attribute::DMABUF_LENGTH, 8, length),
            (attribute::DMABUF_VIRTUAL_START, 8, virtual_start),
            (attribute::DMABUF_DESCRIPTOR, 4, file.as_raw_fd() as u64),
            (attribute::DMABUF_ACCESS, 4, 7),
        ],
    )?;
    assert_eq!(local, remote);
    Ok((answers[0] as u32, local))
}

#[test]
fn a_dma_buf_is_reached_by_its_pages_until_it_is_deregistered() {
    let (library, _) = Library::allocated();
    let domain = library.domain();
    let name = c"fake-device-0000000000000001";
    let file = exported(name, 3 << 12);
    file.write_all_at(b"of the device", 4096 + 40).expect("written");
    // The addresses by which work requests name it are nowhere in this process.
    let virtual_start = 0x7000_0000_0000 + 40;
    let (handle, key) = register(&library, domain, &file, (4096 + 40, 100, virtual_start)).expect("a region");
    let region = library.device().lock().regions.find(key).copied().expect("registered");
    assert_eq!((region.length, region.virtual_start, region.view_length), (100, virtual_start, 3 << 12));
    let mut found = [0; 13];
    dma::read(dma::own_pid(), region.start, &mut found).expect("mapped");
    assert_eq!(&found, b"of the device");
    dma::write(dma::own_pid(), region.start, b"of the NIC").expect("mapped");
    let mut there = [0; 10];
    file.read_exact_at(&mut there, 4096 + 40).expect("read");
    assert_eq!(&there, b"of the NIC");
    // The pages stay, whatever becomes of the descriptor.
    drop(file);
    dma::read(dma::own_pid(), region.start, &mut found).expect("mapped still");
    assert!(is_mapped(name));
    library.ioctl(method::MR_DESTROY, &[(attribute::ONLY, 0, handle.into())]).expect("registered");
    assert!(library.device().lock().regions.find(key).is_none());
    assert!(!is_mapped(name));
}

#[test]
fn what_is_no_dma_buf_or_reaches_beyond_it_is_refused() {
    let (library, _) = Library::allocated();
    let domain = library.domain();
    let arena = exported(c"pmd-arena", 1 << 12);
    assert_eq!(number(register(&library, domain, &arena, (0, 64, 0))), libc::EINVAL);
    let file = exported(c"fake-device-0000000000000002", 1 << 12);
    for range in [(0, 0, 0), (0, 4097, 0), (4096, 1, 4096), (u64::MAX, 2, u64::MAX), (8, 8, 16)] {
        assert_eq!(number(register(&library, domain, &file, range)), libc::EINVAL, "{range:?}");
    }
    assert_eq!(number(register(&library, domain + 100, &file, (0, 64, 0))), libc::EINVAL);
    assert!(register(&library, domain, &file, (0, 4096, 0)).is_ok());
}
