//! The summary: a table for people, an object for programs. Called by `main` after the last suite.

use std::time::Duration;

use serde_json::{Value, json};

use crate::suite::{Outcome, Report};

/// How many suites came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Suites that passed.
    pub(crate) passed: usize,
    /// Suites that failed.
    pub(crate) failed: usize,
    /// Suites that were not run.
    pub(crate) skipped: usize,
}

impl Totals {
    /// Counts the suites.
    pub(crate) fn of(reports: &[Report]) -> Self {
        let count = |word| reports.iter().filter(|report| report.outcome.word() == word).count();
        Self { passed: count("passed"), failed: count("failed"), skipped: count("skipped") }
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The table, and the totals alone on the last line. `elapsed` is what the clock showed: suites run beside each other.
pub(crate) fn render(reports: &[Report], elapsed: Duration) -> String {
    let mut text = row("suite", "tests", "seconds", "result", "");
    for report in reports {
        let seconds = format!("{:.1}", report.time.as_secs_f64());
        let tests = report.tally.passed.to_string();
        text += &row(report.name, &tests, &seconds, report.outcome.word(), &remark(report));
    }
    let tests: usize = reports.iter().map(|report| report.tally.passed).sum();
    text += &row("total", &tests.to_string(), &format!("{:.1}", elapsed.as_secs_f64()), "", "by the clock");
    format!("{text}{}\n", Totals::of(reports))
}

fn row(suite: &str, tests: &str, seconds: &str, result: &str, remark: &str) -> String {
    format!("{:<12} {tests:>5} {seconds:>8}  {result:<8} {remark}", suite).trim_end().to_owned() + "\n"
}

/// Why a suite did not pass, or which of its tests were left out.
fn remark(report: &Report) -> String {
    match &report.outcome {
        Outcome::Failed { reason } | Outcome::Skipped { reason } => reason.clone(),
        Outcome::Passed if report.tally.ignored > 0 => format!("{} ignored", report.tally.ignored),
        Outcome::Passed => String::new(),
    }
}

/// The summary as one line of JSON.
pub(crate) fn json(reports: &[Report], elapsed: Duration) -> Value {
    let Totals { passed, failed, skipped } = Totals::of(reports);
    let suites: Vec<Value> = reports
        .iter()
        .map(|report| {
            json!({
                "suite": report.name,
                "tests": report.tally.passed,
                "failed_tests": report.tally.failed,
                "ignored_tests": report.tally.ignored,
                "seconds": tenths(report.time),
                "result": report.outcome.word(),
                "remark": remark(report),
            })
        })
        .collect();
    let seconds = tenths(elapsed);
    json!({ "suites": suites, "passed": passed, "failed": failed, "skipped": skipped, "seconds": seconds })
}

fn tenths(time: Duration) -> f64 {
    (time.as_secs_f64() * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::Tally;

    fn reports() -> Vec<Report> {
        let report = |name, passed, outcome| Report {
            name,
            tally: Tally { passed, failed: 0, ignored: 1 },
            time: Duration::from_millis(1500),
            outcome,
        };
        vec![
            report("unit", 12, Outcome::Passed),
            report("loom", 3, Outcome::Failed { reason: "2 tests failed".to_owned() }),
            report("verbs", 0, Outcome::Skipped { reason: "libibverbs1 is missing".to_owned() }),
        ]
    }

    #[test]
    fn the_table_names_each_suite_and_closes_with_the_totals() {
        let expected = "\
suite        tests  seconds  result
unit            12      1.5  passed   1 ignored
loom             3      1.5  failed   2 tests failed
verbs            0      1.5  skipped  libibverbs1 is missing
total           15      3.2           by the clock
1 passed, 1 failed, 1 skipped
";
        assert_eq!(render(&reports(), Duration::from_millis(3210)), expected);
    }

    #[test]
    fn the_object_holds_the_same() {
        let object = json(&reports(), Duration::from_millis(3210));
        assert_eq!(
            (&object["passed"], &object["failed"], &object["skipped"]),
            (&json!(1), &json!(1), &json!(1))
        );
        assert_eq!(object["seconds"], json!(3.2));
        assert_eq!(object["suites"][0]["tests"], json!(12));
        assert_eq!(object["suites"][1]["remark"], json!("2 tests failed"));
    }
}
