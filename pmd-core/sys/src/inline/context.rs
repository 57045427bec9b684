//! Finding the extended operations of a device context, and the queries built on them.

use std::ffi::c_int;
use std::mem::{offset_of, size_of};
use std::ptr;

use crate::verbs::*;
use crate::{LoadError, Verbs};

/// `abi_compat` of a context that is the last member of a [`verbs_context`].
const ABI_IS_EXTENDED: usize = usize::MAX;

/// The extended context around `context`, or null when the provider has none (`verbs_get_ctx`).
///
/// # Safety
/// `context` comes from `ibv_open_device` or `mlx5dv_open_device` and is open.
#[inline]
pub unsafe fn verbs_get_ctx(context: *mut ibv_context) -> *mut verbs_context {
    // SAFETY: the context is open.
    if unsafe { (*context).abi_compat }.addr() != ABI_IS_EXTENDED {
        return ptr::null_mut();
    }
    // SAFETY: the mark says that the context is a member of an extended one.
    unsafe { context.byte_sub(offset_of!(verbs_context, context)).cast() }
}

/// The extended context, if its provider was built with the member at `offset` (first half of `verbs_get_ctx_op`).
///
/// Members are added at the front, so a shorter context lacks those with small offsets; `sz` counts from the end.
///
/// # Safety
/// As [`verbs_get_ctx`].
#[inline]
pub(super) unsafe fn context_with(context: *mut ibv_context, offset: usize) -> Option<*mut verbs_context> {
    // SAFETY: the caller's promise.
    let extended = unsafe { verbs_get_ctx(context) };
    if extended.is_null() {
        return None;
    }
    // SAFETY: `sz` stands directly before the context, in every version.
    let size = unsafe { (*extended).sz };
    (size >= size_of::<verbs_context>() - offset).then_some(extended)
}

/// An operation of the extended context, `None` when the provider lacks it (`verbs_get_ctx_op`).
macro_rules! operation {
    ($context:expr, $member:ident) => {
        match $crate::inline::context::context_with($context, std::mem::offset_of!(verbs_context, $member)) {
            Some(extended) => (*extended).$member,
            None => None,
        }
    };
}
pub(super) use operation;

/// Attributes of a port (`ibv_query_port`, in C a macro): through the provider, or through the library's older
/// function, which fills in the beginning of the struct.
///
/// Answers 0 or an `errno`.
///
/// # Errors
/// [`LoadError::SymbolMissing`] when the older function is needed and absent.
///
/// # Safety
/// `context` is open; `attributes` can be written.
pub unsafe fn ibv_query_port(
    verbs: &Verbs,
    context: *mut ibv_context,
    port: u8,
    attributes: *mut ibv_port_attr,
) -> Result<c_int, LoadError> {
    // SAFETY: the caller's promise; the older struct is the beginning of the newer one.
    unsafe {
        match operation!(context, query_port) {
            Some(query) => Ok(query(context, port, attributes, size_of::<ibv_port_attr>())),
            None => {
                attributes.write_bytes(0, 1);
                verbs.ibv_query_port(context, port, attributes.cast())
            }
        }
    }
}

/// Properties of a device (`ibv_query_device_ex`): through the provider, or, when it does not know the call, through
/// `ibv_query_device`, which fills in `orig_attr` only.
///
/// Answers 0 or an `errno`; `EINVAL` for an input with a mask, for which this version knows no meaning.
///
/// # Errors
/// [`LoadError::SymbolMissing`] when `ibv_query_device` is needed and absent.
///
/// # Safety
/// `context` is open; `input` is null or live; `attributes` can be written.
pub unsafe fn ibv_query_device_ex(
    verbs: &Verbs,
    context: *mut ibv_context,
    input: *const ibv_query_device_ex_input,
    attributes: *mut ibv_device_attr_ex,
) -> Result<c_int, LoadError> {
    // SAFETY: the caller's promise.
    unsafe {
        if !input.is_null() && (*input).comp_mask != 0 {
            return Ok(libc::EINVAL);
        }
        if let Some(query) = operation!(context, query_device_ex) {
            let status = query(context, input, attributes, size_of::<ibv_device_attr_ex>());
            if status != libc::EOPNOTSUPP && status != libc::ENOSYS {
                return Ok(status);
            }
        }
        attributes.write_bytes(0, 1);
        verbs.ibv_query_device(context, &raw mut (*attributes).orig_attr)
    }
}

/// One entry of a port's GID table (`ibv_query_gid_ex`). Answers 0 or an `errno`.
///
/// # Errors
/// [`LoadError::SymbolMissing`]: rdma-core older than 32.
///
/// # Safety
/// `context` is open; `entry` can be written.
pub unsafe fn ibv_query_gid_ex(
    verbs: &Verbs,
    context: *mut ibv_context,
    port: u32,
    index: u32,
    entry: *mut ibv_gid_entry,
    flags: u32,
) -> Result<c_int, LoadError> {
    // SAFETY: the caller's promise.
    unsafe { verbs._ibv_query_gid_ex(context, port, index, entry, flags, size_of::<ibv_gid_entry>()) }
}

/// All valid entries of a device's GID tables (`ibv_query_gid_table`). Answers their number or a negative `errno`.
///
/// # Errors
/// [`LoadError::SymbolMissing`]: rdma-core older than 32.
///
/// # Safety
/// `context` is open; `capacity` entries can be written at `entries`.
pub unsafe fn ibv_query_gid_table(
    verbs: &Verbs,
    context: *mut ibv_context,
    entries: *mut ibv_gid_entry,
    capacity: usize,
    flags: u32,
) -> Result<isize, LoadError> {
    // SAFETY: the caller's promise.
    unsafe { verbs._ibv_query_gid_table(context, entries, capacity, flags, size_of::<ibv_gid_entry>()) }
}

/// The bits of access flags that a kernel may ignore instead of refusing them (`IBV_ACCESS_OPTIONAL_RANGE`).
pub const ACCESS_OPTIONAL_RANGE: u32 = 0x3ff0_0000;

/// Registers memory (`ibv_reg_mr`, in C a macro): optional access flags need the newer entry point, which masks those
/// that the kernel does not know. Answers null and `errno` on failure.
///
/// # Errors
/// [`LoadError::SymbolMissing`]: optional flags with rdma-core older than 28.
///
/// # Safety
/// `domain` is live; the memory stays mapped until the region is deregistered.
pub unsafe fn ibv_reg_mr(
    verbs: &Verbs,
    domain: *mut ibv_pd,
    address: *mut std::ffi::c_void,
    length: usize,
    access: u32,
) -> Result<*mut ibv_mr, LoadError> {
    // SAFETY: the caller's promise; neither call reads the memory.
    unsafe {
        if access & ACCESS_OPTIONAL_RANGE == 0 {
            verbs.ibv_reg_mr(domain, address, length, access as c_int)
        } else {
            verbs.ibv_reg_mr_iova2(domain, address, length, address.addr() as u64, access)
        }
    }
}

/// Registers memory under an address of the caller's choice (`ibv_reg_mr_iova`, in C a macro). Answers null and
/// `errno` on failure.
///
/// # Errors
/// [`LoadError::SymbolMissing`]: the installed rdma-core is too old.
///
/// # Safety
/// As [`ibv_reg_mr`].
pub unsafe fn ibv_reg_mr_iova(
    verbs: &Verbs,
    domain: *mut ibv_pd,
    address: *mut std::ffi::c_void,
    length: usize,
    device_address: u64,
    access: u32,
) -> Result<*mut ibv_mr, LoadError> {
    // SAFETY: the caller's promise; neither call reads the memory.
    unsafe {
        if access & ACCESS_OPTIONAL_RANGE == 0 {
            verbs.ibv_reg_mr_iova(domain, address, length, device_address, access as c_int)
        } else {
            verbs.ibv_reg_mr_iova2(domain, address, length, device_address, access)
        }
    }
}

/// Whether `supported`, a mask of capabilities by queue pair type, has the type (`ibv_is_qpt_supported`).
pub fn ibv_is_qpt_supported(supported: u32, queue_pair_type: ibv_qp_type) -> bool {
    supported.checked_shr(queue_pair_type).is_some_and(|bits| bits & 1 == 1)
}

/// The RoCE v2 source port that a flow label gives (`ibv_flow_label_to_udp_sport`): its upper 6 bits folded into the
/// lower 14, in the range 0xc000 to 0xffff.
pub fn ibv_flow_label_to_udp_sport(flow_label: u32) -> u16 {
    const LOWEST_PORT: u32 = 0xc000;
    let low = flow_label & 0x3fff;
    let high = (flow_label & 0xf_c000) >> 14;
    ((low ^ high) | LOWEST_PORT) as u16
}
