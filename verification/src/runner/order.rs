//! Which suite runs when: two at a time, those that build in the shared target folder first, since they go one by one.
//!
//! ```text
//!  waiting ── no other builds in the shared folder, all of `after` have ended ──> running ──> ended
//! ```
//! A suite that builds in the shared target folder would only wait for cargo's lock if another one did; those
//! [`beside`](Suite::beside) fill the other core meanwhile.

use std::panic::resume_unwind;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::suite::{Report, Suite};

/// Suites that run at the same time.
const WORKERS: usize = 2;

/// Runs the suites, some at a time; gives the reports in the suites' order.
pub(crate) fn run_all(suites: &[Suite], run: impl Fn(&Suite) -> Report + Sync) -> Vec<Report> {
    let order = Order::new(suites);
    let work = || {
        let mut reports = Vec::new();
        while let Some(turn) = order.next() {
            reports.push((turn.place, run(&suites[turn.place])));
        }
        reports
    };
    let mut reports = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        let reports =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        reports.flatten().collect::<Vec<_>>()
    });
    reports.sort_by_key(|(place, _)| *place);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// Where a suite is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Running,
    Ended,
}

/// The suites with their states, shared by the workers.
struct Order<'a> {
    suites: &'a [Suite],
    states: Mutex<Vec<State>>,
    ended: Condvar,
}

impl<'a> Order<'a> {
    fn new(suites: &'a [Suite]) -> Self {
        Self { suites, states: Mutex::new(vec![State::Waiting; suites.len()]), ended: Condvar::new() }
    }

    /// The next suite that may run, once there is one; none when all have begun.
    fn next(&self) -> Option<Turn<'_, 'a>> {
        let mut states = self.states();
        loop {
            if !states.contains(&State::Waiting) {
                return None;
            }
            let mut ready = (0..states.len()).filter(|place| self.may_run(*place, &states));
            // One by one they take longest: never later than they can.
            let shared = ready.clone().find(|place| !self.suites[*place].beside);
            if let Some(place) = shared.or_else(|| ready.next()) {
                states[place] = State::Running;
                return Some(Turn { order: self, place });
            }
            states = self.ended.wait(states).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn may_run(&self, place: usize, states: &[State]) -> bool {
        let suite = &self.suites[place];
        let mut others = self.suites.iter().zip(states);
        states[place] == State::Waiting
            && others.all(|(other, state)| {
                let shares = !suite.beside && !other.beside && *state == State::Running;
                let comes_later = suite.after.contains(&other.name) && *state != State::Ended;
                !shares && !comes_later
            })
    }

    /// The states. A worker that panics leaves them whole: they change by single stores.
    fn states(&self) -> MutexGuard<'_, Vec<State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A suite that a worker runs. It has ended when this is dropped, also by a panic: nobody waits for it in vain.
struct Turn<'o, 'a> {
    order: &'o Order<'a>,
    place: usize,
}

impl Drop for Turn<'_, '_> {
    fn drop(&mut self) {
        self.order.states()[self.place] = State::Ended;
        self.order.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::*;
    use crate::count::Tally;
    use crate::suite::{Outcome, Work};

    /// Longer than any of these waits when nothing is wrong.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn suite(name: &'static str) -> Suite {
        let work = Work::Commands(Vec::new());
        Suite { name, proves: "a sample", packages: &[], limit: PATIENCE, work, beside: false, after: &[] }
    }

    fn report(suite: &Suite) -> Report {
        Report { name: suite.name, tally: Tally::default(), time: Duration::ZERO, outcome: Outcome::Passed }
    }

    /// A message from one suite to another.
    fn message() -> (Sender<()>, Mutex<Receiver<()>>) {
        let (told, heard) = channel();
        (told, Mutex::new(heard))
    }

    fn hear(heard: &Mutex<Receiver<()>>) {
        heard.lock().expect("not poisoned").recv_timeout(PATIENCE).expect("told");
    }

    #[test]
    fn suites_that_go_beside_others_run_at_the_same_time_and_are_reported_in_their_place() {
        let (told, heard) = message();
        let suites = [suite("first"), suite("waits").beside(), suite("tells"), suite("last").beside()];
        let reports = run_all(&suites, |suite| {
            match suite.name {
                // It would wait in vain if the one that tells came after it.
                "waits" => hear(&heard),
                "tells" => told.send(()).expect("heard"),
                _ => {}
            }
            report(suite)
        });
        let names: Vec<&str> = reports.iter().map(|report| report.name).collect();
        assert_eq!(names, ["first", "waits", "tells", "last"]);
    }

    #[test]
    fn suites_of_the_shared_folder_run_one_at_a_time() {
        let running = Mutex::new(());
        let suites = ["a", "b", "c", "d", "e", "f"].map(suite);
        let reports = run_all(&suites, |suite| {
            let alone = running.try_lock();
            thread::yield_now();
            assert!(alone.is_ok(), "another one runs");
            report(suite)
        });
        assert_eq!(reports.len(), suites.len());
    }

    #[test]
    fn suites_of_the_shared_folder_go_first_and_the_others_fill_the_gaps() {
        let names = ["beside 1", "beside 2", "shared 1", "shared 2"];
        let suites =
            names.map(|name| if name.starts_with("beside") { suite(name).beside() } else { suite(name) });
        let order = Order::new(&suites);
        let next = || order.next().expect("one is left");
        let (first, second) = (next(), next());
        assert_eq!([first.place, second.place], [2, 0]);
        drop(first);
        assert_eq!(next().place, 3);
        drop(second);
        assert_eq!(next().place, 1);
        assert!(order.next().is_none());
    }

    #[test]
    fn a_suite_starts_when_those_that_it_comes_after_have_ended_and_lets_others_go_first() {
        let (told, heard) = message();
        let ended = Mutex::new(Vec::new());
        let late = suite("late").beside().after(&["slow", "not selected"]);
        let suites = [suite("slow"), late, suite("other").beside()];
        run_all(&suites, |suite| {
            match suite.name {
                "slow" => hear(&heard),
                "other" => told.send(()).expect("heard"),
                _ => {}
            }
            ended.lock().expect("not poisoned").push(suite.name);
            report(suite)
        });
        let ended = ended.into_inner().expect("not poisoned");
        let place = |name| ended.iter().position(|other| *other == name).expect("it ran");
        assert!(place("slow") < place("late"), "{ended:?}");
    }

    #[test]
    fn a_suite_that_panics_is_not_waited_for() {
        let suites = [suite("panics"), suite("next"), suite("late").beside().after(&["panics"])];
        let ran = Mutex::new(Vec::new());
        let outcome = std::panic::catch_unwind(|| {
            run_all(&suites, |suite| {
                assert_ne!(suite.name, "panics");
                ran.lock().expect("not poisoned").push(suite.name);
                report(suite)
            })
        });
        assert!(outcome.is_err());
        let mut ran = ran.into_inner().expect("not poisoned");
        ran.sort_unstable();
        assert_eq!(ran, ["late", "next"]);
    }
}
