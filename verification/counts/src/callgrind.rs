//! What a program under valgrind asks of callgrind: when to count, and where one count ends and the next begins.
//!
//! Called by [`meter`](crate::meter). Requests are instructions that do nothing on a processor and that valgrind knows;
//! the manual of valgrind has them in "The Client Request mechanism", their numbers are the interface of its headers
//! `valgrind.h` and `callgrind.h`.
#![allow(unsafe_code)] // requests are instructions

use std::{arch::asm, ffi::CStr, ptr};

/// `VG_USERREQ__RUNNING_ON_VALGRIND`.
const RUNNING_ON_VALGRIND: usize = 0x1001;

/// `VG_USERREQ_TOOL_BASE('C', 'T')`.
const CALLGRIND: usize = (b'C' as usize) << 24 | (b'T' as usize) << 16;
/// `VG_USERREQ__TOGGLE_COLLECT`.
const TOGGLE_COLLECT: usize = CALLGRIND + 2;
/// `VG_USERREQ__DUMP_STATS_AT`.
const DUMP_STATS_AT: usize = CALLGRIND + 3;
/// `VG_USERREQ__START_INSTRUMENTATION`.
const START_INSTRUMENTATION: usize = CALLGRIND + 4;

/// Whether valgrind runs this program.
#[must_use]
pub fn is_running() -> bool {
    request(RUNNING_ON_VALGRIND, 0) != 0
}

/// Translates this program so that it can be counted; before, it runs faster.
pub fn instrument() {
    request(START_INSTRUMENTATION, 0);
}

/// Begins to count, or ends it.
#[inline(always)]
pub fn toggle() {
    request(TOGGLE_COLLECT, 0);
}

/// Writes what was counted under this name, and begins again at zero.
pub fn dump(name: &CStr) {
    request(DUMP_STATS_AT, name.as_ptr().expose_provenance());
}

/// One request; 0 where valgrind does not run this program.
#[inline(always)]
fn request(number: usize, argument: usize) -> usize {
    let arguments = [number, argument, 0, 0, 0, 0];
    let mut answer = 0_usize;
    let place = ptr::from_ref(&arguments);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the rotations make a whole turn and the exchange is of a register with itself: nothing but flags changes.
    // Under valgrind the arguments are read, and the answer replaces the one given.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") place,
            inout("rdx") answer,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the rotations make a whole turn and the disjunction is of a register with itself. Under valgrind as above.
    unsafe {
        asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            in("x4") place,
            inout("x3") answer,
            options(nostack),
        );
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_do_nothing_where_valgrind_is_not() {
        toggle();
        dump(c"nothing");
        assert!(!is_running());
    }
}
