//! Suites of small commands: what passes, what fails, and with which words.

use super::*;
use crate::count::Count;
use crate::process::Task;
use crate::suite::Lane;

fn suite(scripts: &[&str], limit: Duration) -> Suite {
    let step =
        |script: &&str| Step { task: Task::new("sh", "/").args(["-c", script]), count: Count::TestResults };
    let work = Work::Commands(scripts.iter().map(step).collect());
    Suite { name: "sample", proves: "a sample", packages: &[], limit, work, lane: Lane::Shared, after: &[] }
}

fn report(scripts: &[&str]) -> Report {
    let workspace = Workspace { root: "/".into(), target: "/nowhere".into(), incremental: true };
    run(&suite(scripts, Duration::from_secs(20)), &workspace, false)
}

fn reason(report: &Report) -> &str {
    match &report.outcome {
        Outcome::Failed { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_suite_whose_tests_pass_passes_with_their_sum() {
    let passing = "echo 'test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured'";
    let report = report(&[passing, passing]);
    assert_eq!(report.outcome, Outcome::Passed);
    assert_eq!(report.tally, Tally { passed: 6, failed: 0, ignored: 2 });
}

#[test]
fn a_suite_that_ran_no_test_fails() {
    assert_eq!(reason(&report(&["true"])), "no test ran");
    assert_eq!(reason(&report(&["echo 'test result: ok. 0 passed; 0 failed; 4 ignored'"])), "no test ran");
    assert_eq!(reason(&report(&[])), "no test ran");
}

#[test]
fn a_command_that_fails_ends_its_suite() {
    let report = report(&["echo 'test result: ok. 3 passed; 0 failed; 0 ignored'", "exit 3", "touch /never"]);
    assert_eq!(reason(&report), "exit status: 3: sh -c exit 3");
    assert_eq!(report.tally.passed, 3);
}

#[test]
fn failed_tests_fail_the_suite_even_when_the_command_hides_it() {
    assert_eq!(
        reason(&report(&["echo 'test result: FAILED. 3 passed; 2 failed; 0 ignored'"])),
        "2 tests failed"
    );
}

#[test]
fn work_that_this_machine_cannot_do_is_skipped_and_a_problem_is_not_hidden_by_it() {
    let own = |check| Suite { work: Work::Own(check), ..suite(&[], Duration::from_secs(20)) };
    let workspace = Workspace { root: "/".into(), target: "/nowhere".into(), incremental: true };
    let of = |check| run(&own(check), &workspace, false);
    let skipped = of(|_, journal, _| {
        journal.skip("no such device");
        Tally::default()
    });
    assert_eq!(skipped.outcome, Outcome::Skipped { reason: "no such device".into() });
    let failed = of(|_, journal, _| {
        journal.skip("no such device");
        journal.fail("broken");
        Tally::default()
    });
    assert_eq!(reason(&failed), "broken");
}

#[test]
fn a_suite_past_its_time_says_so() {
    let workspace = Workspace { root: "/".into(), target: "/nowhere".into(), incremental: true };
    let report = run(&suite(&["sleep 300"], Duration::from_secs(1)), &workspace, false);
    assert_eq!(reason(&report), "timed out after 1 s: sh -c sleep 300");
}

#[test]
fn a_program_that_is_not_there_fails_the_suite() {
    let step = Step { task: Task::new("no-such-program", "/"), count: Count::Command };
    let suite = Suite { work: Work::Commands(vec![step]), ..suite(&[], Duration::from_secs(1)) };
    let report =
        run(&suite, &Workspace { root: "/".into(), target: "/nowhere".into(), incremental: true }, false);
    assert!(reason(&report).starts_with("no-such-program does not start"), "{report:?}");
}
