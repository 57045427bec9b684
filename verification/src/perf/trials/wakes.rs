//! One thread handing a turn to another and taking it back, with processors for both and without; and two threads that
//! store into one line of the cache.

use std::{
    hint::spin_loop,
    sync::{
        Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use nix::{
    libc,
    sys::eventfd::{EfdFlags, EventFd},
};

use pmd_page::number;

use super::{
    Effort, TrialError,
    figure::{Figure, shortest},
};
use crate::perf::copy::median;

/// Whose turn it is.
const MINE: u32 = 0;
const YOURS: u32 = 1;
const OVER: u32 = 2;

/// Turns between two looks at the clock, where turns are short.
const BATCH: u32 = 64;

/// Polls that find nothing before a lane gives its processor away.
const POLLS: u32 = 256;

/// How a thread waits for its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wait {
    /// Looks again at once.
    Spin,
    /// Gives the processor away after each look.
    Yield,
    /// Looks some times, then gives the processor away after each look: a lane that its caller drives.
    SpinYield,
    /// Looks some times, then sleeps in reading an eventfd, which is written only where it sleeps: a lane by itself.
    Park,
    /// Sleeps in the kernel on the word itself.
    Futex,
    /// Sleeps on a condition variable.
    Condition,
    /// Sleeps in reading an eventfd, which is always written.
    Event,
}

/// All of them, as the table has them.
const WAITS: [(&str, Wait); 7] = [
    ("spin 256 times, then eventfd", Wait::Park),
    ("spin 256 times, then sched_yield", Wait::SpinYield),
    ("spin", Wait::Spin),
    ("sched_yield", Wait::Yield),
    ("futex", Wait::Futex),
    ("condition variable", Wait::Condition),
    ("eventfd", Wait::Event),
];

/// What two threads share.
struct Table {
    wait: Wait,
    turn: AtomicU32,
    lock: Mutex<()>,
    changed: Condvar,
    /// Of this thread and of the other.
    events: [EventFd; 2],
    /// Whether either is about to read its event.
    asleep: [AtomicBool; 2],
}

/// Microseconds of handing over, one way, where nothing else runs and where two more threads spin.
pub(super) fn hands(effort: Effort) -> Result<Vec<Figure>, TrialError> {
    let mut figures = Vec::new();
    for (what, busy) in [("a turn to another thread", 0), ("the same beside 2 busy threads", 2)] {
        for (name, wait) in WAITS {
            let (mut times, turns) = beside(busy, || hand(effort, wait))?;
            times.sort_by(f64::total_cmp);
            // Where processors are few, passes differ by as much as the scheduler's turns.
            let bounds =
                [times.first(), times.last()].map(|time| number(time.map_or(f64::NAN, |time| time / 2e3)));
            let note = format!("{turns} turns; passes from {} to {}", bounds[0], bounds[1]);
            let figure = Figure::new(what, name, median(&times) / 2e3, "us").noting(note);
            figures.push(figure.default_if(wait == Wait::Park));
        }
    }
    Ok(figures)
}

/// Runs `work` while so many threads do nothing but take processors.
fn beside<T>(busy: usize, work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..busy {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    spin_loop();
                }
            });
        }
        let done = work();
        over.store(true, Ordering::Relaxed);
        done
    })
}

/// Nanoseconds of a turn there and back, of each pass; and how many turns there were.
fn hand(effort: Effort, wait: Wait) -> Result<(Vec<f64>, u32), TrialError> {
    let table = Table::new(wait)?;
    let longest = Duration::from_millis(effort.milliseconds);
    let (times, turns) = thread::scope(|scope| {
        scope.spawn(|| {
            while table.wait_while(1, MINE) == YOURS {
                table.give(0, MINE);
            }
        });
        let (mut times, mut all) = (Vec::new(), 0);
        for _ in 0..effort.passes {
            let (start, mut turns) = (Instant::now(), 0);
            while turns == 0 || start.elapsed() < longest {
                for _ in 0..BATCH {
                    table.give(1, YOURS);
                    table.wait_while(0, YOURS);
                    turns += 1;
                }
            }
            times.push(start.elapsed().as_secs_f64() * 1e9 / f64::from(turns));
            all += turns;
        }
        table.give(1, OVER);
        (times, all)
    });
    Ok((times, turns))
}

impl Table {
    fn new(wait: Wait) -> Result<Self, TrialError> {
        let event = || EventFd::from_flags(EfdFlags::EFD_CLOEXEC).map_err(TrialError::system("eventfd"));
        let events = [event()?, event()?];
        let (lock, changed) = (Mutex::new(()), Condvar::new());
        let asleep = [const { AtomicBool::new(false) }; 2];
        Ok(Self { wait, turn: AtomicU32::new(MINE), lock, changed, events, asleep })
    }

    /// Hands the turn to a thread, by its number.
    fn give(&self, to: usize, turn: u32) {
        match self.wait {
            Wait::Condition => {
                let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
                self.turn.store(turn, Ordering::Release);
                drop(lock);
                self.changed.notify_one();
            }
            // Sleepers say so before they look once more: one of both sees what the other has stored.
            Wait::Park => self.turn.store(turn, Ordering::SeqCst),
            _ => self.turn.store(turn, Ordering::Release),
        }
        match self.wait {
            Wait::Futex => futex(&self.turn, libc::FUTEX_WAKE, 1),
            Wait::Event => wake(&self.events[to]),
            Wait::Park if self.asleep[to].load(Ordering::SeqCst) => wake(&self.events[to]),
            _ => {}
        }
    }

    /// Waits, as the thread of this number, while the turn is the `other`'s; gives the turn.
    fn wait_while(&self, thread: usize, other: u32) -> u32 {
        let mut looks = 0;
        loop {
            let turn = self.turn.load(Ordering::Acquire);
            if turn != other {
                return turn;
            }
            looks += 1;
            match self.wait {
                Wait::Spin => spin_loop(),
                Wait::SpinYield | Wait::Park if looks < POLLS => spin_loop(),
                Wait::Park => self.park(thread, other),
                Wait::Yield | Wait::SpinYield => thread::yield_now(),
                Wait::Futex => futex(&self.turn, libc::FUTEX_WAIT, other),
                Wait::Event => sleep(&self.events[thread]),
                Wait::Condition => {
                    let lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
                    let is_others = |(): &mut ()| self.turn.load(Ordering::Acquire) == other;
                    drop(self.changed.wait_while(lock, is_others));
                }
            }
        }
    }

    /// Sleeps while the turn is the other's; may wake for nothing.
    fn park(&self, thread: usize, other: u32) {
        self.asleep[thread].store(true, Ordering::SeqCst);
        if self.turn.load(Ordering::SeqCst) == other {
            sleep(&self.events[thread]);
        }
        self.asleep[thread].store(false, Ordering::SeqCst);
    }
}

/// Adds to an event; one whose count would overflow wakes its reader all the same.
fn wake(event: &EventFd) {
    let _ = event.write(1);
}

/// Takes what was added, and waits until something is; who calls it looks for the reason elsewhere.
fn sleep(event: &EventFd) {
    let _ = event.read();
}

/// Waits while the word has this value, or wakes so many that wait.
#[allow(unsafe_code)] // a system call
fn futex(word: &AtomicU32, operation: libc::c_int, value: u32) {
    let operation = operation | libc::FUTEX_PRIVATE_FLAG;
    let forever = std::ptr::null::<libc::timespec>();
    // SAFETY: an aligned word of this process, which outlives the call; its result is looked for in the word.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, forever) };
}

/// Two counters, so many bytes apart.
#[repr(align(128))]
struct Lines([AtomicU64; 32]);

/// Nanoseconds of an addition by each of two threads at once, to words of one line and of two.
pub(super) fn lines(effort: Effort) -> Result<Vec<Figure>, TrialError> {
    let ways = [("128 B apart", 16), ("64 B apart", 8), ("in one line", 1)];
    let additions = (effort.bytes >> 4).max(1) as u64;
    let figure = |(name, words)| {
        let times: Vec<f64> = (0..effort.passes).map(|_| add(words, additions)).collect::<Result<_, _>>()?;
        let value = shortest(&times) / additions as f64;
        let what = "two threads, a word each";
        Ok(Figure::new(what, name, value, "ns").default_if(words == 16))
    };
    ways.into_iter().map(figure).collect()
}

/// Nanoseconds of so many additions by two threads.
fn add(words: usize, additions: u64) -> Result<f64, TrialError> {
    let lines = Lines([const { AtomicU64::new(0) }; 32]);
    let count = |word: &AtomicU64| {
        for _ in 0..additions {
            word.fetch_add(1, Ordering::Relaxed);
        }
    };
    let start = Instant::now();
    thread::scope(|scope| {
        scope.spawn(|| count(&lines.0[words]));
        count(&lines.0[0]);
    });
    let nanoseconds = start.elapsed().as_secs_f64() * 1e9;
    let is_whole = |word: &AtomicU64| word.load(Ordering::Relaxed) == additions;
    if is_whole(&lines.0[0]) && is_whole(&lines.0[words]) {
        return Ok(nanoseconds);
    }
    Err(TrialError::Corrupt { what: "two counters".to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_hands_the_turn_over_and_back() {
        let effort = Effort { bytes: 0, passes: 2, milliseconds: 1 };
        for (name, wait) in WAITS {
            let busy = usize::from(wait == Wait::Park);
            let (times, turns) = beside(busy, || hand(effort, wait)).expect("turns");
            assert!(times.len() == 2 && times.iter().all(|time| *time > 0.0), "{name}");
            assert!(turns >= 2 * BATCH, "{name}");
        }
    }

    #[test]
    fn two_counters_are_counted_apart() {
        for words in [1, 8, 16] {
            assert!(add(words, 1000).is_ok());
        }
    }
}
