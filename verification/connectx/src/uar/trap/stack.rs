//! Leaves the signal stack, which is too small for a device: Rust gives its threads a few pages, for one message.
#![allow(unsafe_code)] // moves the stack pointer

use std::arch::asm;

use super::machine::Interrupted;

/// Below the stack pointer a function may keep values without moving it (System V ABI).
const RED_ZONE: usize = 128;

/// Calls `work` on the stack of the interrupted thread, below what is in use; where the handler runs on that stack
/// anyhow, just calls it.
///
/// All signals must be blocked: the kernel takes the signal stack for unused meanwhile.
pub(super) fn call_on_interrupted<F: FnOnce()>(interrupted: &Interrupted<'_>, work: F) {
    let marker = 0u8;
    let signal_stack = interrupted.signal_stack();
    let below = interrupted.stack_pointer() - RED_ZONE;
    if !signal_stack.contains(&(&raw const marker as usize)) || signal_stack.contains(&below) {
        return work();
    }
    let mut work = Some(work);
    // SAFETY: the thread is stopped in this handler, so that its stack is free below its red zone; `run` gets the
    // closure of the type that it was made for.
    unsafe { call_on(below & !15, run::<F>, (&raw mut work).cast()) };
}

extern "C" fn run<F: FnOnce()>(work: *mut libc::c_void) {
    // SAFETY: the closure of `call_on_interrupted`, which waits for this call.
    if let Some(work) = unsafe { (*work.cast::<Option<F>>()).take() } {
        work();
    }
}

/// # Safety
/// `stack` is the end of free stack memory, aligned to 16.
unsafe fn call_on(stack: usize, function: extern "C" fn(*mut libc::c_void), argument: *mut libc::c_void) {
    // SAFETY: r12 and r13 survive the call by the ABI, so that the old stack pointer is back after it. A panic cannot
    // cross: the function aborts.
    unsafe {
        asm!(
            "xchg rsp, r12",
            "call r13",
            "mov rsp, r12",
            inout("r12") stack => _,
            in("r13") function,
            in("rdi") argument,
            clobber_abi("C"),
        );
    }
}
