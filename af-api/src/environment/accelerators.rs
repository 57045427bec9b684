//! Accelerators by their names.

use std::{error::Error, sync::Arc};

use pmd_core::accelerator::Accelerator;
use pmd_host::soft::Accelerators;

use super::EnvironmentError;

/// Names the accelerators.
pub const ACCELERATORS_VARIABLE: &str = "PMD_ACCELERATORS";

/// Opens accelerators by their names, with commas between them; no name is no accelerator. Those without a number have
/// number `device`.
///
/// # Errors
/// [`EnvironmentError::Accelerator`] for the first that is not here, with the runtime's reason.
pub fn accelerators(names: &str, device: u32) -> Result<Accelerators, EnvironmentError> {
    let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
    let opened = names.map(|name| {
        let numbered = if name.contains(':') { name.to_owned() } else { format!("{name}:{device}") };
        open(&numbered).map_err(|source| EnvironmentError::Accelerator { name: numbered, source })
    });
    Ok(Accelerators::new(opened.collect::<Result<_, _>>()?))
}

type Opened = Result<Arc<dyn Accelerator>, Box<dyn Error + Send + Sync>>;

#[cfg(feature = "accelerators")]
fn open(name: &str) -> Opened {
    Ok(pmd_accelerators::open(name.parse()?)?)
}

#[cfg(not(feature = "accelerators"))]
fn open(_: &str) -> Opened {
    Err("this program was built without af-api's feature accelerators".into())
}
