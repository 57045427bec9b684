//! Finds the runtime's library; called by `accel-ascend` before it opens a device, and by its probe.
// dlopen runs the library's initialisers.
#![allow(unsafe_code)]

use std::{error::Error, sync::OnceLock};

use crate::Acl;

/// The runtime's only name.
pub const LIBRARY: &str = "libascendcl.so";

/// Why the runtime, or a function of it, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The dynamic linker does not find the library, or refuses it.
    #[error("{name} cannot be loaded, install CANN and source its set_env.sh: {reason}")]
    LibraryMissing {
        /// File name, as the dynamic linker searches it.
        name: &'static str,
        /// What the dynamic linker said.
        reason: String,
    },
    /// The installed runtime is older than the function asked for.
    #[error("{library} has no {symbol}: install a newer CANN")]
    SymbolMissing {
        /// File name of the library.
        library: &'static str,
        /// Name of the function.
        symbol: &'static str,
    },
}

impl Acl {
    /// Opens the runtime once per process; later calls return the same table.
    ///
    /// # Errors
    /// [`LoadError::LibraryMissing`]. It is not remembered: the next call tries again.
    pub fn load() -> Result<&'static Self, LoadError> {
        static TABLE: OnceLock<Acl> = OnceLock::new();
        match TABLE.get() {
            Some(table) => Ok(table),
            // SAFETY: the runtime's only name, and its functions have kept their prototypes since the first release.
            None => unsafe { Self::open(LIBRARY) }.map(|table| TABLE.get_or_init(|| table)),
        }
    }

    /// Opens a library by a name or path of the caller's; a test's stand-in, for instance.
    ///
    /// # Errors
    /// [`LoadError::LibraryMissing`].
    ///
    /// # Safety
    /// Functions of the library that have the runtime's names have its prototypes.
    pub unsafe fn open(name: &str) -> Result<Self, LoadError> {
        let missing =
            |error: libloading::Error| LoadError::LibraryMissing { name: LIBRARY, reason: explain(&error) };
        // SAFETY: loading the runtime runs its initialisers, which is what an Ascend program does at its start.
        let library = unsafe { libloading::Library::new(name) }.map_err(missing)?;
        // SAFETY: the caller's promise.
        unsafe { Self::from_library(library) }.map_err(missing)
    }
}

/// Whether the runtime that this process finds is the stand-in of this project's tests, which has a function more
/// (`fake_device_counts`). Nothing of it is called.
///
/// # Errors
/// [`LoadError::LibraryMissing`].
pub fn is_stand_in() -> Result<bool, LoadError> {
    Acl::load()?;
    // SAFETY: the library is loaded already, so that nothing of it runs.
    let library = unsafe { libloading::Library::new(LIBRARY) };
    let missing = |error| LoadError::LibraryMissing { name: LIBRARY, reason: explain(&error) };
    let library = library.map_err(missing)?;
    // SAFETY: what is found is not called.
    Ok(unsafe { library.get::<unsafe extern "C" fn()>(b"fake_device_counts\0") }.is_ok())
}

/// libloading's own text is terse; what the dynamic linker said is in its sources.
fn explain(error: &libloading::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// A library of this crate: its generated table of functions. There is one.
pub(crate) trait Library {
    /// The library's file name.
    const NAME: &'static str;
}

impl Library for Acl {
    const NAME: &'static str = LIBRARY;
}

/// A function of the table, or which one is missing. The generated calls use it.
pub(crate) fn symbol<L: Library, F: Copy>(
    field: &Result<F, libloading::Error>,
    symbol: &'static str,
) -> Result<F, LoadError> {
    field.as_ref().copied().map_err(|_| LoadError::SymbolMissing { library: L::NAME, symbol })
}

#[cfg(test)]
mod tests;
