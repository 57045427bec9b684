//! Flushing: what a NIC has written into an accelerator's memory is made visible before a stream goes on.
//!
//! Called by the proxy, between the end of a request and the answer to its stream. The back ends of NICs flush before they
//! tell the host of a completion; whether a stream may go on is not left to what they do.

use std::sync::Arc;

use pmd_core::accelerator::{Accelerator, AcceleratorError};

/// The flushes of one turn: each accelerator does one.
#[derive(Default)]
pub(super) struct Flushes(Vec<(Arc<dyn Accelerator>, Result<(), AcceleratorError>)>);

impl Flushes {
    /// Flushes those accelerators that have not yet.
    ///
    /// # Errors
    /// The first one's that could not.
    pub(super) fn of(
        &mut self,
        accelerators: impl Iterator<Item = Arc<dyn Accelerator>>,
    ) -> Result<(), AcceleratorError> {
        for accelerator in accelerators {
            let known = self.0.iter().find(|(of, _)| is_same(&**of, &*accelerator));
            match known {
                Some((_, flushed)) => flushed.clone()?,
                None => {
                    let flushed = accelerator.flush_remote_writes();
                    self.0.push((accelerator, flushed.clone()));
                    flushed?;
                }
            }
        }
        Ok(())
    }
}

fn is_same(one: &dyn Accelerator, other: &dyn Accelerator) -> bool {
    let (one, other) = (one.identity(), other.identity());
    one.kind == other.kind && one.unique == other.unique
}
