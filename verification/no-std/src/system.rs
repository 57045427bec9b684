//! The start of the program and its two system calls, for Linux on x86_64 and aarch64.

use core::arch::{asm, naked_asm};

#[cfg(target_arch = "x86_64")]
mod call {
    pub(super) const WRITE: usize = 1;
    pub(super) const EXIT_GROUP: usize = 231;
}

#[cfg(target_arch = "aarch64")]
mod call {
    pub(super) const WRITE: usize = 64;
    pub(super) const EXIT_GROUP: usize = 94;
}

/// Where the kernel enters: the stack is aligned to 16 bytes, and there is nobody to return to.
#[cfg(target_arch = "x86_64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
extern "C" fn _start() -> ! {
    naked_asm!("xor ebp, ebp", "call {start}", "ud2", start = sym crate::start)
}

/// Where the kernel enters: the stack is aligned to 16 bytes, and there is nobody to return to.
#[cfg(target_arch = "aarch64")]
#[unsafe(no_mangle)]
#[unsafe(naked)]
extern "C" fn _start() -> ! {
    naked_asm!("mov x29, xzr", "bl {start}", "brk #1", start = sym crate::start)
}

/// Writes to standard output; what cannot be written is lost, and the suite then misses it.
pub(crate) fn print(text: &str) {
    // SAFETY: write(2) reads the text, which lives for the call.
    unsafe { system_call(call::WRITE, 1, text.as_ptr().addr(), text.len()) };
}

/// Ends the program.
pub(crate) fn exit(code: i32) -> ! {
    loop {
        // SAFETY: exit_group(2) takes a number and does not return.
        unsafe { system_call(call::EXIT_GROUP, code as usize, 0, 0) };
    }
}

/// # Safety
///
/// The call and its arguments are sound together.
#[cfg(target_arch = "x86_64")]
unsafe fn system_call(number: usize, first: usize, second: usize, third: usize) -> isize {
    let result;
    // SAFETY: the kernel preserves all but rax, rcx and r11; the caller vouches for the arguments.
    unsafe {
        asm!("syscall", inlateout("rax") number => result, in("rdi") first, in("rsi") second, in("rdx") third,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// # Safety
///
/// The call and its arguments are sound together.
#[cfg(target_arch = "aarch64")]
unsafe fn system_call(number: usize, first: usize, second: usize, third: usize) -> isize {
    let result;
    // SAFETY: the kernel preserves all but x0; the caller vouches for the arguments.
    unsafe {
        asm!("svc #0", in("x8") number, inlateout("x0") first => result, in("x1") second, in("x2") third,
            options(nostack));
    }
    result
}
