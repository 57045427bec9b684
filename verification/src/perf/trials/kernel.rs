//! Copy kernels over lists of blocks. The loops are assembly, since this package is built without optimisation and a block
//! of 64 bytes takes two nanoseconds.
#![allow(unsafe_code)] // copies between addresses

use nix::libc;

/// One block, from where to where. The layout is what the loops read.
#[derive(Debug, Clone, Copy)]
#[repr(C)]
pub(in crate::perf) struct Move {
    /// First byte of the source.
    pub(in crate::perf) from: *const u8,
    /// First byte of the target.
    pub(in crate::perf) to: *mut u8,
}

/// A way to copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::perf) enum Kernel {
    /// The C library's, which is what `ptr::copy` ends in.
    Memcpy,
    /// The processor's string move.
    RepMovsb,
    /// 16 bytes a store, past the caches.
    StreamSse,
    /// 32 bytes a store, past the caches.
    StreamAvx,
}

/// What lengths are multiples of, and addresses of targets aligned to, for every kernel but memcpy.
pub(super) const UNIT: usize = 64;

impl Kernel {
    /// All of them.
    pub(in crate::perf) const ALL: [Self; 4] =
        [Self::Memcpy, Self::RepMovsb, Self::StreamSse, Self::StreamAvx];

    /// As the table has it.
    pub(in crate::perf) const fn name(self) -> &'static str {
        match self {
            Self::Memcpy => "memcpy",
            Self::RepMovsb => "rep movsb",
            Self::StreamSse => "non-temporal, 16 B",
            Self::StreamAvx => "non-temporal, 32 B",
        }
    }

    /// Whether this processor has it.
    pub(in crate::perf) fn is_here(self) -> bool {
        match self {
            Self::Memcpy => true,
            #[cfg(target_arch = "x86_64")]
            Self::RepMovsb | Self::StreamSse => true,
            #[cfg(target_arch = "x86_64")]
            Self::StreamAvx => std::arch::is_x86_feature_detected!("avx"),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// Copies `length` bytes for each move, one after the other.
    ///
    /// # Panics
    /// The kernel is not memcpy, and `length` no multiple of [`UNIT`].
    ///
    /// # Safety
    /// The processor has the kernel; sources are readable and targets writable for `length` bytes, which do not overlap;
    /// unless the kernel is memcpy, targets are aligned to [`UNIT`].
    pub(in crate::perf) unsafe fn copy(self, moves: &[Move], length: usize) {
        assert!(self == Self::Memcpy || length.is_multiple_of(UNIT), "{length} bytes are not whole units");
        if moves.is_empty() || length == 0 {
            return;
        }
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Memcpy => memcpy(moves, length),
                #[cfg(target_arch = "x86_64")]
                Self::RepMovsb => rep_movsb(moves, length),
                #[cfg(target_arch = "x86_64")]
                Self::StreamSse => stream_sse(moves, length),
                #[cfg(target_arch = "x86_64")]
                Self::StreamAvx => stream_avx(moves, length),
                #[cfg(not(target_arch = "x86_64"))]
                _ => memcpy(moves, length),
            }
        }
    }
}

/// Loads a word of each line of the targets.
///
/// # Safety
/// As [`Kernel::copy`], of targets that are readable.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn read(moves: &[Move], length: usize) {
    if moves.is_empty() || length == 0 {
        return;
    }
    // SAFETY: the list is not empty and as long as said, its moves are the caller's promise.
    unsafe {
        std::arch::asm!(
            "2:",
            "mov rdi, [{at} + 8]",
            "mov rcx, {length}",
            "3:",
            "mov rsi, [rdi]",
            "add rdi, 64",
            "sub rcx, 64",
            "jnz 3b",
            "add {at}, 16",
            "dec {count}",
            "jnz 2b",
            at = inout(reg) moves.as_ptr() => _,
            count = inout(reg) moves.len() => _,
            length = in(reg) length,
            out("rdi") _, out("rsi") _, out("rcx") _,
            options(nostack, readonly),
        );
    }
}

/// # Safety
/// As above.
#[cfg(not(target_arch = "x86_64"))]
pub(super) unsafe fn read(moves: &[Move], length: usize) {
    for each in moves {
        for offset in (0..length).step_by(UNIT) {
            // SAFETY: the caller's promise.
            unsafe { each.to.wrapping_add(offset).read_volatile() };
        }
    }
}

/// # Safety
/// As [`Kernel::copy`].
#[cfg(target_arch = "x86_64")]
unsafe fn memcpy(moves: &[Move], length: usize) {
    let function = libc::memcpy as *const ();
    // SAFETY: the list is not empty and as long as said; a call to the C library's function follows its convention: the
    // arguments are in their registers, the stack is aligned, everything that it may change is given up.
    unsafe {
        std::arch::asm!(
            "2:",
            "mov rdi, [r12 + 8]",
            "mov rsi, [r12]",
            "mov rdx, r13",
            "call r15",
            "add r12, 16",
            "dec r14",
            "jnz 2b",
            inout("r12") moves.as_ptr() => _,
            in("r13") length,
            inout("r14") moves.len() => _,
            in("r15") function,
            clobber_abi("C"),
        );
    }
}

/// # Safety
/// As [`Kernel::copy`].
#[cfg(not(target_arch = "x86_64"))]
unsafe fn memcpy(moves: &[Move], length: usize) {
    for each in moves {
        // SAFETY: the caller's promise.
        unsafe { libc::memcpy(each.to.cast(), each.from.cast(), length) };
    }
}

/// # Safety
/// As [`Kernel::copy`].
#[cfg(target_arch = "x86_64")]
unsafe fn rep_movsb(moves: &[Move], length: usize) {
    // SAFETY: the list is not empty and as long as said, its moves are the caller's promise.
    unsafe {
        std::arch::asm!(
            "2:",
            "mov rdi, [{at} + 8]",
            "mov rsi, [{at}]",
            "mov rcx, {length}",
            "rep movsb",
            "add {at}, 16",
            "dec {count}",
            "jnz 2b",
            at = inout(reg) moves.as_ptr() => _,
            count = inout(reg) moves.len() => _,
            length = in(reg) length,
            out("rdi") _, out("rsi") _, out("rcx") _,
            options(nostack),
        );
    }
}

/// # Safety
/// As [`Kernel::copy`].
#[cfg(target_arch = "x86_64")]
unsafe fn stream_sse(moves: &[Move], length: usize) {
    // SAFETY: as above; lengths are whole turns of 64 bytes, targets aligned. The fence orders the stores before all that
    // comes later, as stores past the caches are not ordered by themselves.
    unsafe {
        std::arch::asm!(
            "2:",
            "mov rdi, [{at} + 8]",
            "mov rsi, [{at}]",
            "mov rcx, {length}",
            "3:",
            "movdqu xmm0, [rsi]",
            "movdqu xmm1, [rsi + 16]",
            "movdqu xmm2, [rsi + 32]",
            "movdqu xmm3, [rsi + 48]",
            "movntdq [rdi], xmm0",
            "movntdq [rdi + 16], xmm1",
            "movntdq [rdi + 32], xmm2",
            "movntdq [rdi + 48], xmm3",
            "add rsi, 64",
            "add rdi, 64",
            "sub rcx, 64",
            "jnz 3b",
            "add {at}, 16",
            "dec {count}",
            "jnz 2b",
            "sfence",
            at = inout(reg) moves.as_ptr() => _,
            count = inout(reg) moves.len() => _,
            length = in(reg) length,
            out("rdi") _, out("rsi") _, out("rcx") _,
            out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _,
            options(nostack),
        );
    }
}

/// # Safety
/// As [`Kernel::copy`].
#[cfg(target_arch = "x86_64")]
unsafe fn stream_avx(moves: &[Move], length: usize) {
    // SAFETY: as above, on a processor with AVX, of whose registers the compiler uses the lower halves at most.
    unsafe {
        std::arch::asm!(
            "2:",
            "mov rdi, [{at} + 8]",
            "mov rsi, [{at}]",
            "mov rcx, {length}",
            "3:",
            "vmovdqu ymm0, [rsi]",
            "vmovdqu ymm1, [rsi + 32]",
            "vmovntdq [rdi], ymm0",
            "vmovntdq [rdi + 32], ymm1",
            "add rsi, 64",
            "add rdi, 64",
            "sub rcx, 64",
            "jnz 3b",
            "add {at}, 16",
            "dec {count}",
            "jnz 2b",
            "sfence",
            "vzeroupper",
            at = inout(reg) moves.as_ptr() => _,
            count = inout(reg) moves.len() => _,
            length = in(reg) length,
            out("rdi") _, out("rsi") _, out("rcx") _,
            out("xmm0") _, out("xmm1") _,
            options(nostack),
        );
    }
}
