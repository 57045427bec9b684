//! UAR pages: dynamic ones are objects (`MLX5_IB_OBJECT_UAR`), static ones come with the context; both are mapped at
//! offsets of the device's descriptor. What lies there is [`crate::uar`]'s.

use std::ffi::c_void;

use super::{
    abi::attribute,
    context::Context,
    error::CommandError,
    ioctl::Request,
    memory::Answer,
    objects::{Kind, Object},
};
use crate::uar::{self, MmapRequest, PageKind};

/// Bytes of a page.
pub(super) const PAGE_BYTES: u32 = 4096;
/// Registers that a page has for queue pairs, beside two that are reserved for fast paths.
const REGISTERS: u32 = 2;
/// Registers that a page has.
const ALL_REGISTERS: u32 = 4;
/// `MLX5_IB_UAPI_UAR_ALLOC_TYPE_BF` and `_NC`.
const TYPES: [PageKind; 2] = [PageKind::BlueFlame, PageKind::NonCached];
/// Page offsets from here on are objects; below are the driver's commands, `command << 8 | index`.
const FIRST_OBJECT: u64 = 1 << 32;

/// `MLX5_IB_METHOD_UAR_OBJ_ALLOC`.
pub(super) fn allocate(context: &Context, request: &Request) -> Result<(), CommandError> {
    if !context.has_dynamic_pages() {
        return Err(CommandError::Unsupported("a dynamic UAR beside static ones"));
    }
    let kind = request.value(attribute::UAR_TYPE)?;
    if kind >= TYPES.len() as u64 {
        return Err(CommandError::Invalid { what: "UAR type", value: kind });
    }
    let object = Object { number: kind as u32, ..Object::default() };
    let handle = context.objects().add(Kind::RegisterPage, object);
    let offset = (FIRST_OBJECT + u64::from(handle)) * u64::from(PAGE_BYTES);
    request.room(attribute::UAR_OFFSET).fill(&Answer::default().u64(&[offset]))?;
    request.room(attribute::UAR_LENGTH).fill(&Answer::default().u32(&[PAGE_BYTES]))?;
    request.room(attribute::UAR_PAGE).fill(&Answer::default().u32(&[handle]))?;
    request.name(attribute::UAR_HANDLE, handle)
}

/// `MLX5_IB_METHOD_UAR_OBJ_DESTROY`. The library unmaps the page before.
pub(super) fn free(context: &Context, handle: u32) -> Result<(), CommandError> {
    context.objects().remove(Kind::RegisterPage, handle).map(drop)
}

/// `mmap` of the device's descriptor.
pub(super) fn map(
    context: &Context,
    offset: u64,
    request: &MmapRequest,
) -> Result<*mut c_void, CommandError> {
    if !offset.is_multiple_of(PAGE_BYTES.into()) {
        return Err(CommandError::Invalid { what: "offset of a mapping", value: offset });
    }
    let kind = kind_at(context, offset / u64::from(PAGE_BYTES))?;
    Ok(uar::map(context.device(), kind, request)?)
}

/// What kind of page lies at a page offset (`enum mlx5_ib_mmap_cmd`).
fn kind_at(context: &Context, page: u64) -> Result<PageKind, CommandError> {
    if page >= FIRST_OBJECT {
        let object = context.objects().find(Kind::RegisterPage, (page - FIRST_OBJECT) as u32)?;
        return Ok(TYPES[object.number as usize]);
    }
    match (page >> 8) & 0xff {
        // Regular, write combining, and those of registers allocated later.
        0 | 2 | 6 if !context.has_dynamic_pages() => Ok(PageKind::BlueFlame),
        3 if !context.has_dynamic_pages() => Ok(PageKind::NonCached),
        value => Err(CommandError::Invalid { what: "command of a mapping", value }),
    }
}

/// The register of the next queue pair, with static pages: all but the first, which has no BlueFlame, in turn.
pub(super) fn next_register(made: u32, registers: u32) -> u32 {
    let turn = 1 + made % registers.saturating_sub(1).max(1);
    turn / REGISTERS * ALL_REGISTERS + turn % REGISTERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queue_pairs_share_the_registers_that_are_for_them() {
        let given: Vec<u32> = (0..5).map(|made| next_register(made, 4)).collect();
        assert_eq!(given, [1, 4, 5, 1, 4]);
        assert_eq!(next_register(0, 0), 1);
    }
}
