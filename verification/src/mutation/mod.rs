//! Faults planted into a copy of the product, each to be noticed by a check: what `weaken` and `mutants` share.
//!
//! ```text
//!  sources ── plant: every fault, each behind its number ──> sandbox ── one build ──> test binaries
//!                                                               run with one number ──> verdict
//! ```
//! All faults are built at once: each is an arm of a `match` on a number that the environment gives, so that a fault
//! costs a run of its check and no build. Without a number nothing is switched on, which is how every check has to pass
//! first. Nothing is ever changed in the working tree.

pub(crate) mod plant;
pub(crate) mod sandbox;
pub(crate) mod verdict;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use crate::count::Tally;
use crate::suite::Journal;
use verdict::Verdict;

/// Faults that are tried at the same time.
const WORKERS: usize = 2;

/// A check of a fault may take this long, and this many times as long as it takes with nothing switched on. What hangs
/// is a defect of the list, so that nothing is lost by waiting, and a machine may be slow all of a sudden.
const LEAST_TIME: Duration = Duration::from_secs(60);
const TIMES_UNCHANGED: u32 = 20;

/// How long a check may take that took `unchanged` with nothing switched on.
pub(crate) fn patience(unchanged: Duration, deadline: Instant) -> Duration {
    (unchanged * TIMES_UNCHANGED).max(LEAST_TIME).min(left(deadline))
}

/// The time until a deadline.
pub(crate) fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

/// Tries `count` faults, some at the same time, and tells `watch` of each verdict. What the deadline leaves over is not
/// tried.
pub(crate) fn try_all(
    count: usize,
    deadline: Instant,
    attempt: impl Fn(usize) -> Verdict + Sync,
    mut watch: impl FnMut(usize, &Verdict),
) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let (sender, verdicts) = channel();
    let mut found = vec![Verdict::NotTried; count];
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            let (sender, next, attempt) = (sender.clone(), &next, &attempt);
            scope.spawn(move || {
                while Instant::now() < deadline {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count || sender.send((index, attempt(index))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (index, verdict) in verdicts {
            watch(index, &verdict);
            found[index] = verdict;
        }
    });
    found
}

/// Writes the table of all faults, each under what `name` calls it, and fails for each that was not caught.
pub(crate) fn tabulate(
    verdicts: &[Verdict],
    name: impl Fn(usize) -> String,
    journal: &mut Journal<'_>,
) -> Tally {
    let mut tally = Tally::default();
    journal.line("");
    for (index, verdict) in verdicts.iter().enumerate() {
        journal.line(format!("{:<88} {}", name(index), verdict.describe()));
        tally.passed += usize::from(verdict.is_caught());
        tally.failed += usize::from(!verdict.is_caught());
    }
    for (index, verdict) in verdicts.iter().enumerate().filter(|(_, verdict)| !verdict.is_caught()) {
        journal.fail(format!("{}: {}", name(index), verdict.describe()));
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught() -> Verdict {
        Verdict::Caught { check: "m".to_owned(), says: "no".to_owned() }
    }

    #[test]
    fn every_fault_is_tried_once_and_told() {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut told = Vec::new();
        let verdicts = try_all(
            5,
            deadline,
            |index| if index == 3 { Verdict::Survived } else { caught() },
            |index, _| told.push(index),
        );
        told.sort_unstable();
        assert_eq!(told, [0, 1, 2, 3, 4]);
        let survived: Vec<usize> = (0..5).filter(|index| !verdicts[*index].is_caught()).collect();
        assert_eq!(survived, [3]);
    }

    #[test]
    fn what_there_is_no_time_for_is_not_tried() {
        assert_eq!(
            try_all(2, Instant::now(), |_| caught(), |_, _| ()),
            [Verdict::NotTried, Verdict::NotTried]
        );
    }

    #[test]
    fn a_fault_that_is_not_caught_fails_the_suite() {
        let mut watch = |_: Option<&str>| ();
        let mut journal = Journal::new(&mut watch);
        let tally = tabulate(&[caught(), Verdict::Survived], |index| format!("fault {index}"), &mut journal);
        assert_eq!((tally.passed, tally.failed), (1, 1));
        let problem = journal.problem.expect("a problem");
        assert!(problem.starts_with("fault 1: SURVIVED"), "{problem}");
    }
}
