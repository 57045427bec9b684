//! Who gets a fault that is no store to a register: whoever would have got it without us.
//!
//! While the trap owns SIGSEGV, programs go on installing handlers of their own; `sigaction` and `signal` are interposed
//! (`connectx-preload`) and keep them here. Only these two: a program that asks the kernel by itself takes SIGSEGV away from the device.
#![allow(unsafe_code)] // signal handlers are the C library's business

use std::{
    cell::UnsafeCell,
    hint, io,
    mem::{self, MaybeUninit},
    ptr,
};

use pmd_core::sync::{AtomicBool, Ordering};

use crate::shim::real;

type WithInfo = unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
type Plain = unsafe extern "C" fn(libc::c_int);

/// The handler that the program believes to have.
static THEIRS: Theirs = Theirs {
    busy: AtomicBool::new(false),
    ours: AtomicBool::new(false),
    // SAFETY: zeros are the default action, with no flags and an empty mask.
    action: UnsafeCell::new(unsafe { MaybeUninit::zeroed().assume_init() }),
};

struct Theirs {
    /// Guards `action`. Held for a copy, with signals blocked: a fault in between cannot happen.
    busy: AtomicBool,
    /// The trap owns SIGSEGV.
    ours: AtomicBool,
    action: UnsafeCell<libc::sigaction>,
}

// SAFETY: `action` is reached only in `Theirs::with`, which holds `busy`.
unsafe impl Sync for Theirs {}

impl Theirs {
    fn with<T>(&self, work: impl FnOnce(&mut libc::sigaction) -> T) -> T {
        let mask = block_all_signals();
        while self.busy.swap(true, Ordering::Acquire) {
            hint::spin_loop();
        }
        // SAFETY: `busy` is held.
        let result = work(unsafe { &mut *self.action.get() });
        self.busy.store(false, Ordering::Release);
        set_mask(&mask);
        result
    }
}

/// Takes SIGSEGV over: `handler` gets it from now on, on the thread's signal stack, with all other signals held back.
///
/// # Errors
/// What `sigaction` says.
pub(super) fn take_over(handler: WithInfo) -> io::Result<()> {
    let mut action = default_action();
    action.sa_sigaction = handler as *const () as libc::sighandler_t;
    // A fault in the handler itself must reach it, to be told of.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    // SAFETY: a valid set, which is filled but for the faults.
    unsafe {
        libc::sigfillset(&raw mut action.sa_mask);
        libc::sigdelset(&raw mut action.sa_mask, libc::SIGSEGV);
    }
    THEIRS.with(|theirs| {
        // SAFETY: both are valid actions; the handler is a function that is never unloaded.
        let result = unsafe { real::sigaction(libc::SIGSEGV, &raw const action, theirs) };
        THEIRS.ours.store(result == 0, Ordering::Release);
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    })
}

/// Delivers a fault as if the trap were not there.
///
/// # Safety
/// The arguments are those of a signal handler that is running.
pub(super) unsafe fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let action = THEIRS.with(|theirs| {
        let reset = theirs.sa_flags & libc::SA_RESETHAND != 0;
        if reset { mem::replace(theirs, default_action()) } else { *theirs }
    });
    // SAFETY: as the caller promises.
    let (sent, interrupted) = unsafe { ((*info).si_code <= 0, &*context.cast::<libc::ucontext_t>()) };
    match action.sa_sigaction {
        libc::SIG_IGN if sent => {}
        // The instruction faults once more when this handler returns; the kernel ignores no fault.
        libc::SIG_DFL | libc::SIG_IGN => fall_to_default(signal, sent),
        handler => {
            set_mask(&mask_for(&action, signal, &interrupted.uc_sigmask));
            // SAFETY: the program gave this function for this signal, of the kind that its flag tells.
            unsafe {
                if action.sa_flags & libc::SA_SIGINFO == 0 {
                    mem::transmute::<libc::sighandler_t, Plain>(handler)(signal);
                } else {
                    mem::transmute::<libc::sighandler_t, WithInfo>(handler)(signal, info, context);
                }
            }
        }
    }
}

fn fall_to_default(signal: libc::c_int, sent: bool) {
    let action = default_action();
    // SAFETY: a valid action; `raise` takes any signal, and this one waits until the handler returns.
    unsafe {
        real::sigaction(signal, &raw const action, ptr::null_mut());
        if sent {
            let mut mask = action.sa_mask;
            libc::sigaddset(&raw mut mask, signal);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const mask, ptr::null_mut());
            libc::raise(signal);
        }
    }
}

/// What the kernel would block for their handler.
fn mask_for(action: &libc::sigaction, signal: libc::c_int, interrupted: &libc::sigset_t) -> libc::sigset_t {
    let mut mask = *interrupted;
    // SAFETY: valid sets and signal numbers.
    unsafe {
        for each in 1..=libc::SIGRTMAX() {
            if libc::sigismember(&raw const action.sa_mask, each) == 1 {
                libc::sigaddset(&raw mut mask, each);
            }
        }
        if action.sa_flags & libc::SA_NODEFER == 0 {
            libc::sigaddset(&raw mut mask, signal);
        }
    }
    mask
}

/// The C library's `sigaction`; a handler for SIGSEGV is kept while the trap owns that.
///
/// # Safety
/// As `sigaction(2)`: pointers are null or valid.
pub unsafe fn sigaction(
    signal: libc::c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> libc::c_int {
    if signal != libc::SIGSEGV || !THEIRS.ours.load(Ordering::Acquire) {
        // SAFETY: passed through.
        return unsafe { real::sigaction(signal, new, old) };
    }
    // SAFETY: null or valid, as promised. `new` is read first: it may be the same memory as `old`.
    unsafe {
        let wanted = new.as_ref().copied();
        let earlier = THEIRS.with(|theirs| wanted.map_or(*theirs, |wanted| mem::replace(theirs, wanted)));
        if !old.is_null() {
            old.write(earlier);
        }
    }
    0
}

/// The C library's `signal`, which has the meaning that BSD gave it.
///
/// # Safety
/// As `signal(2)`: the handler is a function of that kind.
pub unsafe fn signal(signal: libc::c_int, handler: libc::sighandler_t) -> libc::sighandler_t {
    let (mut new, mut old) = (default_action(), default_action());
    new.sa_sigaction = handler;
    new.sa_flags = libc::SA_RESTART;
    // SAFETY: both are valid actions.
    let result = unsafe { sigaction(signal, &raw const new, &raw mut old) };
    if result == 0 { old.sa_sigaction } else { libc::SIG_ERR }
}

fn default_action() -> libc::sigaction {
    // SAFETY: zeros are the default action, with no flags and an empty mask.
    unsafe { mem::zeroed() }
}

fn block_all_signals() -> libc::sigset_t {
    let (mut all, mut earlier) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: the first call initialises one set, the second the other.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), earlier.as_mut_ptr());
        earlier.assume_init()
    }
}

fn set_mask(mask: &libc::sigset_t) {
    // SAFETY: a valid set.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, ptr::null_mut()) };
}
