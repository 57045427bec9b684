//! Which suite runs when: two at a time, those that build in the shared target folder first, since they go one by one,
//! and a third one that takes no core.
//!
//! ```text
//!  waiting ── no other builds in the shared folder, all of `after` have ended ──> running ──> ended
//! ```
//! A suite that builds in the [shared](Lane::Shared) target folder would only wait for cargo's lock if another one did;
//! those [beside](Lane::Beside) fill the other core meanwhile. Those in the [background](Lane::Background) wait more than
//! they compute, and have a worker of their own.

use std::panic::resume_unwind;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::suite::{Lane, Report, Suite};

/// The lanes from which each worker takes suites: two workers for two cores, and one for what needs none.
const WORKERS: [&[Lane]; 3] =
    [&[Lane::Shared, Lane::Beside], &[Lane::Shared, Lane::Beside], &[Lane::Background]];

/// Runs the suites, some at a time; gives the reports in the suites' order.
pub(crate) fn run_all(suites: &[Suite], run: impl Fn(&Suite) -> Report + Sync) -> Vec<Report> {
    let order = Order::new(suites);
    let work = |lanes| {
        let mut reports = Vec::new();
        while let Some(turn) = order.next(lanes) {
            reports.push((turn.place, run(&suites[turn.place])));
        }
        reports
    };
    let mut reports = thread::scope(|scope| {
        let workers = WORKERS.map(|lanes| scope.spawn(move || work(lanes)));
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

    /// The next suite of these lanes that may run, once there is one; none when all have begun.
    fn next(&self, lanes: &[Lane]) -> Option<Turn<'_, 'a>> {
        let mut states = self.states();
        loop {
            let waits =
                |place: &usize| states[*place] == State::Waiting && lanes.contains(&self.suites[*place].lane);
            let mut waiting = (0..states.len()).filter(waits).peekable();
            waiting.peek()?;
            let mut ready = waiting.filter(|place| self.may_run(*place, &states));
            // One by one they take longest: never later than they can.
            let shared = ready.clone().find(|place| self.suites[*place].lane == Lane::Shared);
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
        others.all(|(other, state)| {
            let both_share = [suite.lane, other.lane] == [Lane::Shared; 2];
            let is_in_the_way = both_share && *state == State::Running;
            let comes_later = suite.after.contains(&other.name) && *state != State::Ended;
            !is_in_the_way && !comes_later
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
    use std::sync::Barrier;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::*;
    use crate::count::Tally;
    use crate::suite::{Outcome, Work};

    /// Longer than any of these waits when nothing is wrong.
    const PATIENCE: Duration = Duration::from_secs(20);

    fn suite(name: &'static str) -> Suite {
        let work = Work::Commands(Vec::new());
        Suite {
            name,
            proves: "a sample",
            packages: &[],
            limit: PATIENCE,
            work,
            lane: Lane::Shared,
            after: &[],
        }
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
        let suites = [
            suite("first"),
            suite("waits").lane(Lane::Beside),
            suite("tells"),
            suite("last").lane(Lane::Beside),
        ];
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
            names.map(
                |name| if name.starts_with("beside") { suite(name).lane(Lane::Beside) } else { suite(name) },
            );
        let order = Order::new(&suites);
        let next = || order.next(WORKERS[0]).expect("one is left");
        let (first, second) = (next(), next());
        assert_eq!([first.place, second.place], [2, 0]);
        drop(first);
        assert_eq!(next().place, 3);
        drop(second);
        assert_eq!(next().place, 1);
        assert!(order.next(WORKERS[0]).is_none());
    }

    #[test]
    fn a_suite_starts_when_those_that_it_comes_after_have_ended_and_lets_others_go_first() {
        let (told, heard) = message();
        let ended = Mutex::new(Vec::new());
        let late = suite("late").lane(Lane::Beside).after(&["slow", "not selected"]);
        let suites = [suite("slow"), late, suite("other").lane(Lane::Beside)];
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
    fn suites_in_the_background_take_nobodys_place() {
        let (told, heard) = message();
        let waits = |name| suite(name).lane(Lane::Background);
        let suites = [waits("waits"), suite("first"), suite("tells").lane(Lane::Beside), waits("last")];
        let together = Barrier::new(2);
        let reports = run_all(&suites, |suite| {
            match suite.name {
                // In vain if one of the others came after it.
                "waits" => hear(&heard),
                "first" => _ = together.wait(),
                "tells" => {
                    together.wait();
                    told.send(()).expect("heard");
                }
                _ => {}
            }
            report(suite)
        });
        assert_eq!(reports.len(), suites.len());
        let order = Order::new(&suites);
        assert_eq!(order.next(WORKERS[2]).expect("one is left").place, 0);
    }

    #[test]
    fn a_suite_that_panics_is_not_waited_for() {
        let suites = [suite("panics"), suite("next"), suite("late").lane(Lane::Beside).after(&["panics"])];
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
