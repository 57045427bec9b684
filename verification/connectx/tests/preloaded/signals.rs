//! A program with a handler of its own for SIGSEGV, which the device uses in TRAP.

use std::{
    mem,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::bench::Bench;

/// Where the last fault was.
static FAULT: AtomicUsize = AtomicUsize::new(0);

/// Writes the address down, and lets the thread go on behind the two bytes of `mov [rax], cl`.
unsafe extern "C" fn note(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's own arguments.
    unsafe {
        FAULT.store((*info).si_addr() as usize, Ordering::SeqCst);
        (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] += 2;
    }
}

#[test]
#[ignore = "runs on the simulated device"]
fn a_handler_of_the_program_gets_its_faults_and_the_device_its_doorbells() {
    let bench = Bench::new();
    bench.write(1);
    // SAFETY: zeros are a valid action, which gets a handler of the kind that its flag tells.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = note as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        assert_eq!(libc::sigaction(libc::SIGSEGV, &raw const action, std::ptr::null_mut()), 0);
    }
    bench.write(2);
    // SAFETY: nothing is mapped there, and the handler skips the store.
    unsafe { std::arch::asm!("mov [rax], cl", in("rax") 0x58) };
    assert_eq!(FAULT.load(Ordering::SeqCst), 0x58);
    bench.write(3);
    assert_eq!(bench.complete(3), [1, 2, 3]);
    bench.destroy();
}
