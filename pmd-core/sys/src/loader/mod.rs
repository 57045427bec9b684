//! Finds the libraries when the program runs: `pmd-host`'s mlx5 and verbs back ends load them before opening a
//! device, `pmd info` to say what is missing.
//!
//! Nothing is linked: a binary starts on a machine without rdma-core. Each library is opened once and stays for the
//! life of the process, because the function pointers taken from it are copied into queue pairs and contexts.
// dlopen runs the library's initialisers.
#![allow(unsafe_code)]

use std::error::Error;
use std::sync::OnceLock;

use crate::{Mlx5, RdmaCm, Verbs};

/// Why a library, or a function of it, cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// The dynamic linker does not find the library, or refuses it.
    #[error("{name} cannot be loaded, install {package}: {reason}")]
    LibraryMissing {
        /// File name, as the dynamic linker searches it.
        name: &'static str,
        /// Package that has it (Debian's name).
        package: &'static str,
        /// What the dynamic linker said.
        reason: String,
    },
    /// The installed library is older than the function asked for.
    #[error("{library} has no {symbol}: its rdma-core is too old, 44.0 has it")]
    SymbolMissing {
        /// File name of the library.
        library: &'static str,
        /// Name of the function.
        symbol: &'static str,
    },
}

/// A library of this crate: its generated table of functions and where it is found.
pub trait Library: Sized {
    /// File name with its ABI version, as the dynamic linker searches it.
    const NAME: &'static str;
    /// Debian's package.
    const PACKAGE: &'static str;

    /// The table of an opened library; functions that it lacks are remembered, not refused.
    ///
    /// # Safety
    /// `library` is the library called [`Library::NAME`]: its functions have the declared signatures.
    unsafe fn from_opened(library: libloading::Library) -> Result<Self, libloading::Error>;
}

macro_rules! library {
    ($table:ident, $name:literal, $package:literal, $what:literal) => {
        impl Library for $table {
            const NAME: &'static str = $name;
            const PACKAGE: &'static str = $package;

            unsafe fn from_opened(library: libloading::Library) -> Result<Self, libloading::Error> {
                // SAFETY: the caller's promise is the same.
                unsafe { Self::from_library(library) }
            }
        }

        impl $table {
            #[doc = concat!("Opens ", $what, " (`", $name, "`) once per process; later calls return the same table.")]
            ///
            /// # Errors
            /// [`LoadError::LibraryMissing`] with the package to install. It is not remembered: the next call tries
            /// again.
            pub fn load() -> Result<&'static Self, LoadError> {
                static TABLE: OnceLock<$table> = OnceLock::new();
                match TABLE.get() {
                    Some(table) => Ok(table),
                    None => open::<Self>(Self::NAME).map(|table| TABLE.get_or_init(|| table)),
                }
            }
        }
    };
}

library!(Verbs, "libibverbs.so.1", "libibverbs1", "the verbs library");
library!(Mlx5, "libmlx5.so.1", "ibverbs-providers", "mlx5 direct verbs");
library!(RdmaCm, "librdmacm.so.1", "librdmacm1", "the connection manager");

/// Opens `name` as the library `L`.
fn open<L: Library>(name: &'static str) -> Result<L, LoadError> {
    let missing = |error: libloading::Error| LoadError::LibraryMissing {
        name,
        package: L::PACKAGE,
        reason: explain(&error),
    };
    // SAFETY: rdma-core's initialisers only read their environment and set up tables; they may run on any thread.
    let library = unsafe { libloading::Library::new(name) }.map_err(missing)?;
    // SAFETY: the versioned file name fixes the ABI that the bindings were generated for.
    unsafe { L::from_opened(library) }.map_err(missing)
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
pub(crate) fn symbol<L: Library, F: Copy>(
    field: &Result<F, libloading::Error>,
    symbol: &'static str,
) -> Result<F, LoadError> {
    field.as_ref().copied().map_err(|_| LoadError::SymbolMissing { library: L::NAME, symbol })
}

#[cfg(test)]
pub(crate) mod tests;
