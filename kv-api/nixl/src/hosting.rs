//! Which release of NIXL has loaded this plugin. Called by `nixl_plugin_init` before it hands anything out.
//!
//! NIXL has no function that tells. But since 0.9 its libraries hold the words that they log at start: the marker
//! `NIXL version: ` and, next to it, the release, each ended by a zero. The libraries of the NIXL that calls are those of its
//! own folder, so that a second NIXL in the same process does not answer for it.
#![allow(unsafe_code)] // lists the process's libraries and reads their constants

use std::{
    ffi::{CStr, OsStr, c_int, c_void},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    slice, str,
};

use thiserror::Error;

/// What precedes the release.
const MARKER: &[u8] = b"NIXL version: \0";

/// Longest text that passes for a release.
const LONGEST_RELEASE: usize = 32;

/// Why the plugin does not show itself.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum HostingError {
    /// The caller is in no library: it is not NIXL.
    #[error("it was not loaded by a library")]
    NoLibrary,
    /// The caller does not say which release it is.
    #[error("{} does not tell its release, and this plugin is built for NIXL {built_for}", host.display())]
    Untold {
        /// The library that called.
        host: PathBuf,
        /// The release of this build.
        built_for: String,
    },
    /// The caller is another release.
    #[error(
        "{} is NIXL {found}, this plugin is built for NIXL {built_for}: build it for {found}, or install NIXL {built_for}",
        host.display()
    )]
    OtherRelease {
        /// The library that called.
        host: PathBuf,
        /// Its release.
        found: String,
        /// The release of this build.
        built_for: String,
    },
}

/// Whether the library that holds the address `caller` is of NIXL's release `built_for`.
pub(crate) fn check(caller: usize, built_for: &str) -> Result<(), HostingError> {
    let libraries = libraries();
    let host = libraries.iter().find(|library| library.holds(caller)).ok_or(HostingError::NoLibrary)?;
    let siblings = libraries.iter().filter(|library| {
        library.path == host.path || (library.path.parent() == host.path.parent() && library.is_of_nixl())
    });
    let constants = siblings.flat_map(|library| &library.constants);
    // SAFETY: the ranges are mapped, read-only, and stay so: the caller's libraries are not unloaded while they call.
    let release = constants.copied().find_map(|range| release(unsafe { range.bytes() }));
    let (host, built_for) = (host.path.clone(), built_for.to_owned());
    match release {
        None => Err(HostingError::Untold { host, built_for }),
        Some(found) if found == built_for => Ok(()),
        Some(found) => Err(HostingError::OtherRelease { host, found: found.to_owned(), built_for }),
    }
}

/// The release that follows the marker.
fn release(constants: &[u8]) -> Option<&str> {
    let marker = constants.windows(MARKER.len()).position(|window| window == MARKER)?;
    let rest = &constants[marker + MARKER.len()..];
    let end = rest.iter().take(LONGEST_RELEASE).position(|byte| *byte == 0)?;
    let text = str::from_utf8(&rest[..end]).ok()?;
    let plausible = text.starts_with(|first: char| first.is_ascii_digit())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || ".-+".contains(letter));
    plausible.then_some(text)
}

/// A range of this process's addresses.
#[derive(Clone, Copy)]
struct Range {
    start: usize,
    length: usize,
}

impl Range {
    fn holds(self, address: usize) -> bool {
        address.wrapping_sub(self.start) < self.length
    }

    /// # Safety
    /// The range is mapped and nobody writes it during `'a`.
    unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: passed on to the caller.
        unsafe { slice::from_raw_parts(self.start as *const u8, self.length) }
    }
}

/// A library of this process.
struct Library {
    path: PathBuf,
    mapped: Vec<Range>,
    constants: Vec<Range>,
}

impl Library {
    fn holds(&self, address: usize) -> bool {
        self.mapped.iter().any(|range| range.holds(address))
    }

    fn is_of_nixl(&self) -> bool {
        let name = self.path.file_name().and_then(OsStr::to_str);
        name.is_some_and(|name| name.starts_with("libnixl"))
    }
}

fn libraries() -> Vec<Library> {
    let mut found = Vec::new();
    // SAFETY: `list` matches the type, and the vector outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(list), (&raw mut found).cast()) };
    found
}

/// Notes one library. Called by the dynamic linker.
///
/// # Safety
/// `context` is a `Vec<Library>` of this thread, and `info` is what `dl_iterate_phdr` passes.
unsafe extern "C" fn list(info: *mut libc::dl_phdr_info, _: usize, context: *mut c_void) -> c_int {
    // SAFETY: promised by the caller.
    let (info, found) = unsafe { (&*info, &mut *context.cast::<Vec<Library>>()) };
    if info.dlpi_name.is_null() || info.dlpi_phdr.is_null() {
        return 0;
    }
    // SAFETY: the linker's own string and table, which live for the call.
    let (name, headers) = unsafe {
        (CStr::from_ptr(info.dlpi_name), slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)))
    };
    let loaded = headers.iter().filter(|header| header.p_type == libc::PT_LOAD);
    let range = |header: &libc::Elf64_Phdr| Range {
        start: (info.dlpi_addr + header.p_vaddr) as usize,
        length: header.p_memsz as usize,
    };
    let is_constant = |header: &&libc::Elf64_Phdr| header.p_flags & (libc::PF_R | libc::PF_W) == libc::PF_R;
    found.push(Library {
        path: Path::new(OsStr::from_bytes(name.to_bytes())).to_owned(),
        mapped: loaded.clone().map(range).collect(),
        constants: loaded.filter(is_constant).map(range).collect(),
    });
    0
}

#[cfg(test)]
mod tests;
