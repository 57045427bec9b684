//! What one pass of the engine works with: borrowed from the hardware for as long as it is active.

use pmd_core::{
    memory::Access,
    ring::quiesce::Active,
    wire::{Cqe, DataItem, DataItems, Syndrome},
};

use super::{
    batch::Batch,
    cold::Recent,
    queues::{CompletionRing, ReceiveRing},
    tuning::Tuning,
};
use crate::soft::{Device, MappingCache, Mover, ProtectionDomain};

/// The engine's means during one activity round.
pub(super) struct Pass<'a> {
    /// Where keys are checked.
    pub(super) keys: Keys<'a>,
    /// Completion queue of all queue pairs.
    pub(super) completions: &'a mut CompletionRing,
    /// Arenas of peers that are mapped here.
    pub(super) mappings: &'a mut MappingCache,
    /// What was written last, by which large pieces are copied.
    pub(super) recent: &'a mut Recent,
    /// Transfers collected for one system call.
    pub(super) batch: &'a mut Batch,
    /// Shared receive queues by handle.
    pub(super) shared_receives: &'a mut [Option<ReceiveRing>],
    /// Who moves device memory.
    pub(super) mover: Option<&'a mut Mover>,
    /// Budgets and sizes.
    pub(super) tuning: &'a Tuning,
    /// Bytes that may still be moved.
    pub(super) budget: u64,
}

/// The region table during one round.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    /// The round: what is checked holds until it ends.
    pub(super) active: &'a Active<'a>,
    /// This engine's device.
    pub(super) device: &'a Device,
}

/// What a work request costs besides its bytes, so that a pass over empty ones ends too.
const COST: u64 = 64;

impl Pass<'_> {
    /// Charges `bytes` moved for one work request.
    #[inline]
    pub(super) fn spend(&mut self, bytes: u64) {
        self.budget = self.budget.saturating_sub(bytes + COST);
    }

    /// Writes a completion entry.
    #[inline]
    pub(super) fn complete(&mut self, completion: &Cqe) {
        self.completions.push(completion);
    }
}

impl Keys<'_> {
    /// Checks one local entry that this engine is to touch, which it does not with memory of an accelerator.
    #[inline]
    pub(super) fn check_local(
        &self,
        domain: ProtectionDomain,
        key: u32,
        range: (u64, u64),
        access: Access,
    ) -> Result<(), Syndrome> {
        let is_device = self.is_device(domain, key, range, access)?;
        if is_device { Err(Syndrome::LocalProtection) } else { Ok(()) }
    }

    /// Checks one local entry; whether it is memory of an accelerator.
    #[inline]
    pub(super) fn is_device(
        &self,
        domain: ProtectionDomain,
        key: u32,
        range: (u64, u64),
        access: Access,
    ) -> Result<bool, Syndrome> {
        self.device
            .regions()
            .check(self.active, key, range.0, range.1, access, domain)
            .map(|number| number.is_some())
            .map_err(|_| Syndrome::LocalProtection)
    }

    /// Calls `each` with address and length of every piece of local memory that holds the bytes `range.0` to
    /// `range.0 + range.1` of a message, after checking its key.
    #[inline]
    pub(super) fn pieces(
        &self,
        domain: ProtectionDomain,
        data: &DataItems<'_>,
        range: (u64, u64),
        access: Access,
        mut each: impl FnMut(*mut u8, usize),
    ) -> Result<(), Syndrome> {
        let (mut skip, mut left) = range;
        for item in data.clone() {
            if left == 0 {
                break;
            }
            let length = item.length();
            if skip >= length {
                skip -= length;
                continue;
            }
            let taken = (length - skip).min(left);
            match item {
                DataItem::Memory(segment) => {
                    let address = segment.address.wrapping_add(skip);
                    self.check_local(domain, segment.lkey, (address, taken), access)?;
                    each(address as *mut u8, taken as usize);
                }
                DataItem::Inline(first, second) => inline_pieces([first, second], skip, taken, &mut each),
            }
            left -= taken;
            skip = 0;
        }
        Ok(())
    }
}

/// The pieces of an inline payload, which lies in the send queue and so is only read.
fn inline_pieces(parts: [&[u8]; 2], skip: u64, taken: u64, each: &mut impl FnMut(*mut u8, usize)) {
    let (mut skip, mut left) = (skip as usize, taken as usize);
    for part in parts {
        let start = skip.min(part.len());
        let end = (start + left).min(part.len());
        if start < end {
            each(part[start..end].as_ptr().cast_mut(), end - start);
        }
        left -= end - start;
        skip -= start;
    }
}
