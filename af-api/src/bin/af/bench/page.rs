//! The page of `--report`: the figures, how the round trips are distributed, and what larger tensors cost.

use pmd_page::{Axis, Line, Page, Plot, Table};

use super::{
    Arguments, Shape, measure,
    output::{HEADER, Summary},
    protocol::Report,
};
use crate::failure::Failure;

/// Round trips of each size but the one that was asked for, and those before them that do not count.
const SWEEP: [u32; 2] = [200, 50];

/// From one size to the next.
const STEP: u32 = 8;

/// Bytes both ways, and what a round trip of them took.
pub(super) struct Step {
    bytes: u64,
    /// Microseconds.
    median: f64,
    /// Microseconds of two copies of the same bytes.
    copies: Option<f64>,
}

impl Step {
    fn of(arguments: &Arguments, shape: &Shape, summary: &Summary) -> Self {
        let (median, copies) = summary.medians();
        Self { bytes: shape.bytes(arguments.size.servers), median, copies }
    }
}

/// Round trips of smaller tensors, both ways in the same proportion.
pub(super) fn sweep(arguments: &Arguments) -> Result<Vec<Step>, Failure> {
    let whole = &arguments.shape;
    let larger = whole.push_bytes.max(whole.pull_bytes);
    let divisors: Vec<u32> = (1..)
        .map_while(|power| STEP.checked_pow(power))
        .take_while(|divisor| larger / divisor >= STEP)
        .collect();
    let step = |divisor: u32| {
        let [iters, warmup] = SWEEP;
        let (push_bytes, pull_bytes) = (whole.push_bytes / divisor, whole.pull_bytes / divisor);
        let shape = Shape { push_bytes, pull_bytes, iters, warmup, ..*whole };
        Ok(Step::of(arguments, &shape, &measure(arguments, &shape)?))
    };
    divisors.into_iter().rev().map(step).collect()
}

/// The page; `sweep` are the smaller sizes.
pub(super) fn page(arguments: &Arguments, summary: &Summary, sweep: Vec<Step>) -> Page {
    let mut page = Page::new("af bench: push and pull");
    page.paragraph(&summary.title());
    let mut table = Table::new(&HEADER);
    let rows = summary.rows().into_iter().chain(summary.phases());
    table.rows.extend(rows.map(|cells| cells.into_iter().map(Into::into).collect()));
    page.table(&table);
    page.plot(&distribution(summary.reports()));
    let whole = Step::of(arguments, &arguments.shape, summary);
    let steps: Vec<Step> = sweep.into_iter().chain([whole]).collect();
    let axis = || Axis::bytes("bytes of a round trip, both ways");
    page.plot(&Plot {
        title: "Round trip by size".to_owned(),
        across: axis(),
        up: Axis::logarithmic("us, median"),
        lines: lines(&steps, |_, microseconds| microseconds),
    });
    page.plot(&Plot {
        title: "Bandwidth by size, one round trip after the other".to_owned(),
        across: axis(),
        up: Axis::logarithmic("GB/s at the median"),
        lines: lines(&steps, |bytes, microseconds| bytes / microseconds.max(1e-3) / 1e3),
    });
    page
}

fn distribution(reports: &[Report]) -> Plot {
    let all = |of: fn(&Report) -> &Vec<f64>| -> Vec<f64> { reports.iter().flat_map(of).copied().collect() };
    let samples = [
        ("round trip", all(|report| &report.total)),
        ("post", all(|report| &report.post)),
        ("two memcpy", all(|report| &report.memcpy)),
    ];
    let lines = samples.into_iter().filter(|(_, times)| !times.is_empty());
    Plot {
        title: "Time of a round trip: what share took no longer".to_owned(),
        across: Axis::percentile("share of the round trips"),
        up: Axis::logarithmic("us"),
        lines: lines.map(|(name, times)| Line::distribution(name, &times)).collect(),
    }
}

/// A figure of round trips, and of the copies beside them where there are any, by size.
fn lines(steps: &[Step], figure: fn(bytes: f64, microseconds: f64) -> f64) -> Vec<Line> {
    let line = |name: &str, of: fn(&Step) -> Option<f64>| {
        let point = |step: &Step| Some((step.bytes as f64, figure(step.bytes as f64, of(step)?)));
        Line::new(name, steps.iter().filter_map(point).collect())
    };
    let both = [line("round trip", |step| Some(step.median)), line("two memcpy", |step| step.copies)];
    both.into_iter().filter(|line| !line.points.is_empty()).collect()
}
