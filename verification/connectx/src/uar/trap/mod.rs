//! TRAP: register pages are read-only. A store to one faults, and is carried out here before the next instruction runs.
//!
//! ```text
//!   a store to a register page        any other fault
//!        |  SIGSEGV                        |
//!   on_fault                               +--> handlers: the program's own, Rust's stack guard, the default
//!        |  machine: registers of the interrupted thread
//!        |  decode:  what the instruction would have stored
//!   StoreSink::store, on the thread's own stack; then the thread goes on behind the instruction
//! ```
//! The fault is synchronous: whatever the store's function could do, the sink can, but for taking locks which the driver
//! holds while it posts. This is x86-64's; [`install`] says so elsewhere.
//!
//! Not covered: a thread that blocks SIGSEGV dies of its first doorbell, and so does a program that replaces the handler
//! by system call.
#![allow(unsafe_code)] // a signal handler that works on the frame of the interrupted thread

mod decode;
mod machine;
mod stack;

use std::{io, process, sync::OnceLock};

use decode::{DecodeError, LONGEST, Machine};
use machine::Interrupted;
use pmd_core::sync::{AtomicU32, Ordering};

use super::{
    handlers,
    pages::{PAGES, Page},
};

/// Who carries stores out.
pub(super) trait StoreSink: Sync {
    /// A store of `bytes` at `offset` of a page. Runs on the storing thread, several at once.
    fn store(&self, page: &Page, offset: usize, bytes: &[u8]);
}

static SINK: OnceLock<&'static dyn StoreSink> = OnceLock::new();

/// Takes over SIGSEGV; stores to register pages go to `sink` from now on. Once more does nothing.
///
/// # Errors
/// What the system says to a signal handler.
pub(super) fn install(sink: &'static dyn StoreSink) -> io::Result<()> {
    let mut first = false;
    SINK.get_or_init(|| {
        first = true;
        sink
    });
    if !first {
        return Ok(());
    }
    // Tables are built at their first use: not in the handler.
    machine::component_offsets();
    let _ = decode::decode(&[0x90], &NoMachine);
    handlers::take_over(on_fault)
}

/// The signal handler.
///
/// # Safety
/// Called by the kernel, with what it gives to handlers that take information.
unsafe extern "C" fn on_fault(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's own arguments.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let thread = Busy::this_thread();
    if Busy::contains(thread) {
        fatal(&format!("the device model itself faulted at address {address:#x}"));
    }
    match PAGES.find(address) {
        Some((page, offset)) if code == SEGV_ACCERR => {
            // SAFETY: the kernel's argument, in its handler.
            let interrupted = unsafe { Interrupted::new(context) };
            let errno = errno();
            let busy = Busy::enter(thread);
            carry_out(page, offset, interrupted);
            drop(busy);
            set_errno(errno);
        }
        // SAFETY: this handler's own arguments.
        _ => unsafe { handlers::pass_on(signal, info, context) },
    }
}

/// `si_code` of a store to memory that is mapped, but not for that.
const SEGV_ACCERR: libc::c_int = 2;

fn carry_out(page: &Page, offset: usize, mut interrupted: Interrupted<'_>) {
    let store = match decode::decode(interrupted.code(), &interrupted) {
        Ok(store) => store,
        Err(error) => refuse(offset, &interrupted, error),
    };
    let Some(sink) = SINK.get() else { return };
    stack::call_on_interrupted(&interrupted, || sink.store(page, offset, store.bytes()));
    interrupted.skip(store.length);
}

/// A driver may only use plain stores on device memory.
fn refuse(offset: usize, interrupted: &Interrupted<'_>, error: DecodeError) -> ! {
    let code = &interrupted.code()[..LONGEST.min(interrupted.code().len())];
    fatal(&format!("access to offset {offset:#x} of a UAR page: {error} (code {code:02x?})"))
}

fn fatal(message: &str) -> ! {
    eprintln!("connectx: {message}");
    process::abort()
}

/// Threads that carry out a store: a fault of theirs is the model's own.
struct Busy(&'static AtomicU32);

/// One entry for each thread that stores at the same time as others; beyond, a fault of the model is told less well.
static BUSY: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];

impl Busy {
    fn this_thread() -> u32 {
        // SAFETY: has no arguments, and cannot fail.
        unsafe { libc::gettid() }.unsigned_abs()
    }

    fn contains(thread: u32) -> bool {
        BUSY.iter().any(|entry| entry.load(Ordering::Relaxed) == thread)
    }

    fn enter(thread: u32) -> Option<Self> {
        let claim = |entry: &&AtomicU32| {
            entry.compare_exchange(0, thread, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        };
        BUSY.iter().find(claim).map(Self)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

fn errno() -> libc::c_int {
    // SAFETY: this thread's own.
    unsafe { *libc::__errno_location() }
}

fn set_errno(errno: libc::c_int) {
    // SAFETY: this thread's own.
    unsafe { *libc::__errno_location() = errno };
}

/// For the first decoding, which stores nothing.
struct NoMachine;

impl Machine for NoMachine {
    fn general(&self, _number: usize) -> u64 {
        0
    }

    fn vector(&self, _number: usize) -> Option<[u8; 64]> {
        None
    }

    fn memory(&self, _address: u64) -> [u8; 64] {
        [0; 64]
    }
}

#[cfg(test)]
mod tests;
