//! The registers of an interrupted thread, as Linux lays them into the signal frame.
#![allow(unsafe_code)] // reads the frame, and code and memory of the interrupted thread

use std::{arch::x86_64::__cpuid_count, slice, sync::OnceLock};

use super::decode::{LONGEST, Machine};

/// General registers in the order of their numbers.
const GENERAL: [libc::c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// Code is readable to the end of the page that it is in.
const CODE_PAGE_BYTES: usize = 4096;

/// The frame's legacy area; the XSAVE header follows it.
const LEGACY_BYTES: usize = 512;
/// Where the kernel says in the legacy area that more follows (`struct _fpx_sw_bytes`).
const EXTENDED_MAGIC_AT: usize = 464;
const EXTENDED_MAGIC: u32 = 0x4650_5853;
/// xmm0 in the legacy area.
const XMM_AT: usize = 160;

/// State components of XSAVE (Intel SDM, volume 1, "Processor Extended States").
mod component {
    /// Upper halves of ymm0 to ymm15.
    pub(super) const YMM_HIGH: usize = 2;
    /// Upper halves of zmm0 to zmm15.
    pub(super) const ZMM_HIGH: usize = 6;
    /// zmm16 to zmm31.
    pub(super) const ZMM_SECOND: usize = 7;
}

/// Where this processor's XSAVE puts each component.
pub(super) fn component_offsets() -> &'static [usize; 8] {
    static OFFSETS: OnceLock<[usize; 8]> = OnceLock::new();
    // The leaf is zeros for a component that the processor does not have, whose bit then is never set.
    OFFSETS.get_or_init(|| std::array::from_fn(|index| __cpuid_count(0xd, index as u32).ebx as usize))
}

/// A thread that a signal interrupted.
#[derive(Debug)]
pub(super) struct Interrupted<'a> {
    context: &'a mut libc::ucontext_t,
}

impl<'a> Interrupted<'a> {
    /// # Safety
    /// `context` is what the kernel gave to a signal handler that has not returned.
    pub(super) unsafe fn new(context: *mut libc::c_void) -> Self {
        // SAFETY: as promised; nobody else has it.
        Self { context: unsafe { &mut *context.cast() } }
    }

    /// The instruction that was interrupted, and what follows it.
    pub(super) fn code(&self) -> &[u8] {
        let at = self.context.uc_mcontext.gregs[libc::REG_RIP as usize] as usize;
        let in_page = CODE_PAGE_BYTES - at % CODE_PAGE_BYTES;
        let length = if in_page < LONGEST && !self.crosses(at, in_page) { in_page } else { LONGEST };
        // SAFETY: the processor has just executed from here; the next page is read where the instruction goes on in it.
        unsafe { slice::from_raw_parts(at as *const u8, length) }
    }

    /// Whether the instruction does not end in the bytes that are left in its page.
    fn crosses(&self, at: usize, left: usize) -> bool {
        // SAFETY: these bytes are in the page that was executed.
        let code = unsafe { slice::from_raw_parts(at as *const u8, left) };
        iced_x86::Decoder::new(64, code, iced_x86::DecoderOptions::NONE).decode().is_invalid()
    }

    /// Lets the thread go on behind the instruction.
    pub(super) fn skip(&mut self, length: usize) {
        self.context.uc_mcontext.gregs[libc::REG_RIP as usize] += length as i64;
    }

    /// The stack pointer at the instruction.
    pub(super) fn stack_pointer(&self) -> usize {
        self.context.uc_mcontext.gregs[libc::REG_RSP as usize] as usize
    }

    /// The thread's alternate signal stack; empty where it has none.
    pub(super) fn signal_stack(&self) -> std::ops::Range<usize> {
        let stack = &self.context.uc_stack;
        let start = stack.ss_sp as usize;
        start..start + if stack.ss_flags & libc::SS_DISABLE == 0 { stack.ss_size } else { 0 }
    }

    fn frame(&self) -> *const u8 {
        self.context.uc_mcontext.fpregs.cast_const().cast()
    }

    /// Bytes of the floating-point frame.
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        // SAFETY: offsets are within the legacy area, or in a component that the frame's header says is there.
        unsafe { self.frame().add(at).cast::<[u8; N]>().read_unaligned() }
    }

    /// One register's part of a component: zeros in its initial state, `None` where frames do not hold it.
    fn extended<const N: usize>(&self, component: usize, index: usize) -> Option<[u8; N]> {
        let at = component_offsets()[component];
        if u32::from_ne_bytes(self.bytes(EXTENDED_MAGIC_AT)) != EXTENDED_MAGIC || at == 0 {
            return None;
        }
        let in_use = u64::from_ne_bytes(self.bytes(LEGACY_BYTES)) >> component & 1 == 1;
        Some(if in_use { self.bytes(at + index * N) } else { [0; N] })
    }
}

impl Machine for Interrupted<'_> {
    fn general(&self, number: usize) -> u64 {
        self.context.uc_mcontext.gregs[GENERAL[number] as usize] as u64
    }

    fn vector(&self, number: usize) -> Option<[u8; 64]> {
        if self.frame().is_null() {
            return None;
        }
        if number >= 16 {
            return self.extended(component::ZMM_SECOND, number - 16);
        }
        let mut value = [0; 64];
        value[..16].copy_from_slice(&self.bytes::<16>(XMM_AT + number * 16));
        // A processor without them has no instruction that stores them.
        if let Some(high) = self.extended::<16>(component::YMM_HIGH, number) {
            value[16..32].copy_from_slice(&high);
        }
        if let Some(high) = self.extended::<32>(component::ZMM_HIGH, number) {
            value[32..].copy_from_slice(&high);
        }
        Some(value)
    }

    fn memory(&self, address: u64) -> [u8; 64] {
        // SAFETY: the interrupted instruction reads the same bytes.
        unsafe { (address as *const [u8; 64]).read_unaligned() }
    }
}
