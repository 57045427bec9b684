//! Big-endian loads and stores at named field ranges, for the segments of this module.
//!
//! Callers pass constant ranges inside fixed-size arrays, so that after inlining no bounds check remains.

use core::ops::Range;

/// The bytes at `field`.
#[inline(always)]
pub(super) fn take<const N: usize>(bytes: &[u8], field: Range<usize>) -> [u8; N] {
    let mut taken = [0; N];
    taken.copy_from_slice(&bytes[field]);
    taken
}

/// The big-endian 16-bit value at `field`.
#[inline(always)]
pub(super) fn load16(bytes: &[u8], field: Range<usize>) -> u16 {
    u16::from_be_bytes(take(bytes, field))
}

/// The big-endian 32-bit value at `field`.
#[inline(always)]
pub(super) fn load32(bytes: &[u8], field: Range<usize>) -> u32 {
    u32::from_be_bytes(take(bytes, field))
}

/// The big-endian 64-bit value at `field`.
#[inline(always)]
pub(super) fn load64(bytes: &[u8], field: Range<usize>) -> u64 {
    u64::from_be_bytes(take(bytes, field))
}

/// Stores `value` as big-endian bytes at `field`.
#[inline(always)]
pub(super) fn store16(bytes: &mut [u8], field: Range<usize>, value: u16) {
    bytes[field].copy_from_slice(&value.to_be_bytes());
}

/// Stores `value` as big-endian bytes at `field`.
#[inline(always)]
pub(super) fn store32(bytes: &mut [u8], field: Range<usize>, value: u32) {
    bytes[field].copy_from_slice(&value.to_be_bytes());
}

/// Stores `value` as big-endian bytes at `field`.
#[inline(always)]
pub(super) fn store64(bytes: &mut [u8], field: Range<usize>, value: u64) {
    bytes[field].copy_from_slice(&value.to_be_bytes());
}

/// Whether all bytes are zero, for reserved fields in the strict parsers.
#[inline]
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
