//! The service thread of a process: does what no store starts. It resumes queue pairs that wait for a peer, writes
//! events to descriptors, and in STEP and THREAD looks at register pages.
#![allow(unsafe_code)] // futex, scheduling and signal masks

use std::{io, mem::MaybeUninit, ptr, thread, time::Duration};

use pmd_core::sync::{AtomicU32, Ordering};

use super::{Watch, pages::PAGES};
use crate::{config::Mode, device::Device, kernel::events};

/// Longest sleep where nothing is due: what a wake lost to a dying process may cost.
const IDLE: Duration = Duration::from_millis(20);
/// Between two looks at register pages where `ibv_poll_cq` looks as well: for programs that wait for events.
const BESIDE_POLLS: Duration = Duration::from_micros(200);
/// Between two looks where nothing else looks.
const ALONE: Duration = Duration::from_micros(50);

/// Starts the thread.
///
/// # Errors
/// What the system says to a new thread.
pub(super) fn spawn(watch: &'static Watch) -> io::Result<()> {
    // Signals are the program's: none may run its handlers on this thread. The mask is inherited.
    let earlier = block_signals();
    let result = thread::Builder::new().name("connectx".to_owned()).spawn(move || serve(watch));
    set_signals(&earlier);
    result.map(drop)
}

fn serve(watch: &'static Watch) {
    let device = watch.device;
    let (scans, pause) = match device.config.mode {
        Mode::Trap => (false, IDLE),
        Mode::Step => (true, BESIDE_POLLS),
        Mode::Thread => (true, ALONE),
    };
    if scans {
        wake_in_time(device.config.mode);
    }
    let wake = wake_word(device);
    loop {
        if scans {
            watch.scanner.scan(device, &PAGES);
        }
        let due = device.run_due();
        events::deliver(device);
        if wake.swap(0, Ordering::AcqRel) == 0 {
            wait(wake, due.map_or(pause, |due| due.min(pause)));
        }
    }
}

/// The word of this process's table entry by which others wake it.
fn wake_word(device: &'static Device) -> &'static AtomicU32 {
    static NEVER: AtomicU32 = AtomicU32::new(0);
    let mut tables = device.lock();
    let Some(process) = tables.processes.find_mut(device.process.into()) else { return &NEVER };
    // SAFETY: a word of the mapped tables, which stay mapped as long as the device; an atomic for everybody.
    unsafe { AtomicU32::from_ptr(&raw mut process.wake) }
}

fn wait(word: &AtomicU32, at_most: Duration) {
    let timeout = libc::timespec {
        tv_sec: at_most.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(at_most.subsec_nanos()),
    };
    // SAFETY: the word and the timeout outlive the call. A failure, such as a value that has changed, is a wake.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, 0, &raw const timeout) };
}

/// Short sleeps are short, and in THREAD the thread runs at once when one ends, where that is permitted.
fn wake_in_time(mode: Mode) {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: both concern this thread only; a refusal leaves things as they are.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1000, 0, 0, 0);
        if mode == Mode::Thread {
            libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority);
        }
    }
}

fn block_signals() -> libc::sigset_t {
    let (mut all, mut earlier) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: the first call initialises one set, the second the other.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), earlier.as_mut_ptr());
        earlier.assume_init()
    }
}

fn set_signals(mask: &libc::sigset_t) {
    // SAFETY: a valid set.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, mask, ptr::null_mut()) };
}
