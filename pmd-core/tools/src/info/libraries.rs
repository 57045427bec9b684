//! Libraries that the driver and the accelerators load at run time: found, or what would bring them.

use pmd_sys::{Library as _, LoadError, Mlx5, RdmaCm, Verbs};
use serde::Serialize;

use super::accelerators::Accelerator;

/// One library.
#[derive(Debug, Serialize)]
pub(super) struct Library {
    /// File name.
    pub(super) name: &'static str,
    pub(super) found: bool,
    /// What brings it.
    pub(super) package: &'static str,
    /// What the loader said of a missing one, or what is the matter with one that is here.
    pub(super) reason: Option<String>,
}

/// Tries all of them.
pub(super) fn probe(accelerators: &[Accelerator]) -> Vec<Library> {
    let rdma = [
        rdma_core(Verbs::NAME, Verbs::PACKAGE, Verbs::load().map(drop)),
        rdma_core(Mlx5::NAME, Mlx5::PACKAGE, Mlx5::load().map(drop)),
        rdma_core(RdmaCm::NAME, RdmaCm::PACKAGE, RdmaCm::load().map(drop)),
    ];
    let others = accelerators.iter().map(|accelerator| Library {
        name: accelerator.library,
        found: accelerator.library_found,
        package: accelerator.package,
        reason: accelerator.missing.clone(),
    });
    rdma.into_iter().chain(others).collect()
}

fn rdma_core(name: &'static str, package: &'static str, loaded: Result<(), LoadError>) -> Library {
    let reason = loaded.err().map(|error| match error {
        LoadError::LibraryMissing { reason, .. } => reason,
        other @ LoadError::SymbolMissing { .. } => other.to_string(),
    });
    Library { name, found: reason.is_none(), package, reason }
}
