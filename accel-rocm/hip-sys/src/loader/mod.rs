//! Finds the runtime when the program runs: `accel-rocm` loads it before it asks for devices.
//!
//! Nothing is linked. The library is opened once and stays for the life of the process.
// dlopen runs the library's initialisers.
#![allow(unsafe_code)]

use std::error::Error;
use std::mem::ManuallyDrop;
use std::sync::OnceLock;

use libloading::Library;

use crate::{Hip, Newer};

#[cfg(test)]
mod tests;

/// The runtime's names, newest first: what is bound is the same in all of them.
pub const LIBRARIES: &[&str] =
    &["libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so"];

/// Why the runtime, or a function of it, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The dynamic linker does not find the library under any of its names, or refuses it.
    #[error("{name} cannot be loaded, install ROCm's HIP runtime: {reason}")]
    LibraryMissing {
        /// The name that was tried last, which is the unversioned one.
        name: String,
        /// What the dynamic linker said of that one.
        reason: String,
    },
    /// The installed runtime has not the function that was asked for.
    #[error("the HIP runtime has no {symbol}: install ROCm 5 or newer")]
    SymbolMissing {
        /// Name of the function.
        symbol: &'static str,
    },
}

/// The runtime of this process.
pub struct Runtime {
    /// The name under which it was found.
    pub name: String,
    /// Its functions.
    pub hip: ManuallyDrop<Hip>,
    /// Functions that not every supported version has in its headers.
    pub newer: Newer,
    /// Whether it is the stand-in of this project's tests, which has a function more (`fake_device_counts`).
    pub stand_in: bool,
}

impl std::fmt::Debug for Runtime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Runtime").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Runtime {
    /// The runtime by its usual names ([`LIBRARIES`]), opened once per process.
    ///
    /// # Errors
    /// [`LoadError::LibraryMissing`]. It is not remembered: the next call tries again.
    pub fn load() -> Result<&'static Self, LoadError> {
        static RUNTIME: OnceLock<Runtime> = OnceLock::new();
        match RUNTIME.get() {
            Some(runtime) => Ok(runtime),
            None => Self::open(LIBRARIES).map(|runtime| RUNTIME.get_or_init(|| runtime)),
        }
    }

    /// The first of these libraries that can be loaded; it is never unloaded.
    ///
    /// # Errors
    /// [`LoadError::LibraryMissing`] of the last name.
    pub fn open(names: &[&str]) -> Result<Self, LoadError> {
        let mut missing = LoadError::LibraryMissing { name: String::new(), reason: String::new() };
        for name in names {
            match Self::open_one(name) {
                Ok(runtime) => return Ok(runtime),
                Err(error) => {
                    missing = LoadError::LibraryMissing { name: (*name).to_owned(), reason: explain(&error) };
                }
            }
        }
        Err(missing)
    }

    fn open_one(name: &str) -> Result<Self, libloading::Error> {
        // SAFETY: loading the runtime runs its initialisers, which is what a HIP program does at its start.
        let library = unsafe { Library::new(name) }?;
        // SAFETY: the library is the runtime by its name, and is never unloaded.
        let newer = unsafe { Newer::of(&library) };
        // SAFETY: what is found is not called.
        let stand_in = unsafe { library.get::<unsafe extern "C" fn()>(b"fake_device_counts\0") }.is_ok();
        // SAFETY: the functions that are bound are declared the same in every version.
        let hip = unsafe { Hip::from_library(library) }?;
        Ok(Self { name: name.to_owned(), hip: ManuallyDrop::new(hip), newer, stand_in })
    }
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

/// A function of the table, or which one is missing. The generated calls use it.
#[expect(clippy::extra_unused_type_parameters, reason = "the calls name their table")]
pub(crate) fn symbol<L, F: Copy>(
    field: &Result<F, libloading::Error>,
    symbol: &'static str,
) -> Result<F, LoadError> {
    field.as_ref().copied().map_err(|_| LoadError::SymbolMissing { symbol })
}
