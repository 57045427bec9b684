//! What is known of an address.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::ffi::{c_uint, c_void};

use fake_device::{Found, Owner};

use super::put;
use crate::{
    code::{Code, INVALID_VALUE, call},
    state::{self, runtime},
};

/// `CU_POINTER_ATTRIBUTE_` numbers that are answered.
const MEMORY_TYPE: c_uint = 2;
const SYNC_MEMOPS: c_uint = 6;
const BUFFER_ID: c_uint = 7;
const IS_MANAGED: c_uint = 8;
const DEVICE_ORDINAL: c_uint = 9;
const IPC_CAPABLE: c_uint = 10;
const RANGE_START: c_uint = 11;
const RANGE_SIZE: c_uint = 12;

/// `cuPointerGetAttributes`: nothing for what is not known.
///
/// # Safety
/// Lists of so many entries, each with room for its attribute's type.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuPointerGetAttributes(
    count: c_uint,
    attributes: *const c_uint,
    places: *const *mut c_void,
    address: u64,
) -> Code {
    call("cuPointerGetAttributes", || {
        state::current_device()?;
        let found = runtime().find(address);
        for at in 0..count as usize {
            // SAFETY: the caller's promise.
            let (attribute, place) = unsafe { (*attributes.add(at), *places.add(at)) };
            // SAFETY: the caller's promise.
            unsafe { answer(attribute, place, found) }?;
        }
        Ok(())
    })
}

/// `cuPointerSetAttribute`: of device memory, that copies are synchronous.
///
/// # Safety
/// `value` is null or an unsigned int.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuPointerSetAttribute(
    value: *const c_void,
    attribute: c_uint,
    address: u64,
) -> Code {
    call("cuPointerSetAttribute", || {
        state::current_device()?;
        let found = runtime().find(address).map(|found| found.owner);
        let device = matches!(found, Some(Owner::Device(_) | Owner::Imported(_) | Owner::Mapped(_)));
        if attribute == SYNC_MEMOPS && device && !value.is_null() { Ok(()) } else { Err(INVALID_VALUE) }
    })
}

/// `cuMemGetAddressRange`.
///
/// # Safety
/// Both places are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetAddressRange_v2(base: *mut u64, size: *mut usize, address: u64) -> Code {
    call("cuMemGetAddressRange", || {
        state::current_device()?;
        let found = runtime().find(address).ok_or(INVALID_VALUE)?;
        for (place, value) in [(base, found.base), (size.cast(), found.length)] {
            if !place.is_null() {
                // SAFETY: the caller's promise; both are 64 bits wide.
                unsafe { put(place, || Ok(value)) }?;
            }
        }
        Ok(())
    })
}

/// # Safety
/// The place has room for the attribute's type.
unsafe fn answer(attribute: c_uint, place: *mut c_void, found: Option<Found>) -> Result<(), Code> {
    let owner = found.map(|found| found.owner);
    // SAFETY: the caller's promise.
    let narrow = |value: u32| unsafe { put(place.cast(), || Ok(value)) };
    // SAFETY: the caller's promise.
    let wide = |value: u64| unsafe { put(place.cast(), || Ok(value)) };
    match attribute {
        MEMORY_TYPE => narrow(match owner {
            None => 0,
            Some(Owner::Pinned | Owner::Registered) => 1,
            Some(Owner::Device(_) | Owner::Imported(_) | Owner::Mapped(_) | Owner::Managed(_)) => 2,
        }),
        BUFFER_ID => wide(found.map_or(0, |found| found.identity)),
        IS_MANAGED => narrow(matches!(owner, Some(Owner::Managed(_))).into()),
        DEVICE_ORDINAL => narrow(owner.and_then(Owner::device).unwrap_or((-2_i32).cast_unsigned())),
        IPC_CAPABLE => narrow(matches!(owner, Some(Owner::Device(_))).into()),
        RANGE_START => wide(found.map_or(0, |found| range(found).0)),
        RANGE_SIZE => wide(found.map_or(0, |found| range(found).1)),
        _ => Err(INVALID_VALUE),
    }
}

/// Of mapped memory all addresses that were reserved together, mapped or not.
fn range(found: Found) -> (u64, u64) {
    match found.owner {
        Owner::Mapped(_) => runtime().reserved(found.base).unwrap_or((found.base, found.length)),
        _ => (found.base, found.length),
    }
}
