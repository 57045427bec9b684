//! The page of `--report`: the figures, how the iterations are distributed, and what more blocks cost.

use std::time::Duration;

use pmd_page::{Axis, Line, Page, Plot, Table};

use super::{
    Arguments, Measured, Shape, measure,
    output::Report,
    samples::{Sample, Summary},
};
use crate::failure::Failure;

/// Iterations of each number of blocks but the one that was asked for.
const SWEEP: u32 = 20;

/// Points of a line that an eye can tell apart.
const POINTS: usize = 500;

/// What the iterations with so many blocks took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    blocks: u32,
    bytes: u64,
    summary: Summary,
}

impl Step {
    fn of(measured: &Measured) -> Self {
        let Measured { layout, summary, .. } = measured;
        Self { blocks: layout.blocks(), bytes: layout.total_bytes(), summary: *summary }
    }
}

/// Moves 1, 10, 100 and so on of the blocks, each number as often as a median needs.
pub(super) fn sweep(arguments: &Arguments) -> Result<Vec<Step>, Failure> {
    let powers = (0..).map_while(|power| 10_u32.checked_pow(power));
    let counts = powers.take_while(|count| *count < arguments.shape.blocks);
    let step = |blocks: u32| {
        let shape = Shape { blocks, ..arguments.shape };
        let few = Arguments { shape, iters: SWEEP, report: None, ..arguments.clone() };
        let measured = measure(&few)?;
        measured.verdict(&few)?;
        Ok(Step::of(&measured))
    };
    counts.map(step).collect()
}

/// The page; `sweep` are the smaller numbers of blocks.
pub(super) fn page(report: &Report<'_>, sweep: Vec<Step>) -> Page {
    let mut page = Page::new(&format!("kv bench: {}", report.arguments.op.name()));
    page.paragraph(&report.title());
    let mut table = Table::new(&["figure", "value"]);
    table.rows.extend(report.columns().into_iter().map(|(name, value)| vec![name.into(), value.into()]));
    page.table(&table);
    page.plot(&distribution(&report.measured.samples));
    page.plot(&in_order(&report.measured.samples));
    let steps: Vec<Step> = sweep.into_iter().chain([Step::of(report.measured)]).collect();
    page.plot(&cost(&steps));
    page.plot(&bandwidth(&steps));
    page
}

fn distribution(samples: &[Sample]) -> Plot {
    Plot {
        title: "Time of an iteration: what share took no longer".to_owned(),
        across: Axis::percentile("share of the iterations"),
        up: Axis::logarithmic("us"),
        lines: times(samples).map(|(name, times)| Line::distribution(name, &times)).collect(),
    }
}

/// At most [`POINTS`] points: the longest of as many iterations in turn as that takes.
fn in_order(samples: &[Sample]) -> Plot {
    let group = samples.len().div_ceil(POINTS).max(1);
    let longest = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    let points = |times: Vec<f64>| {
        let groups = times.chunks(group).enumerate();
        groups.map(|(number, times)| ((number * group + 1) as f64, longest(times))).collect()
    };
    let title = match group {
        1 => "Time of every iteration, in their order".to_owned(),
        _ => format!("Time of the longest of every {group} iterations, in their order"),
    };
    Plot {
        title,
        across: Axis::linear("iteration"),
        up: Axis::logarithmic("us"),
        lines: times(samples).map(|(name, times)| Line::new(name, points(times))).collect(),
    }
}

/// Microseconds of every iteration: the transfer, and the copy beside it where there is one.
fn times(samples: &[Sample]) -> impl Iterator<Item = (&'static str, Vec<f64>)> {
    let microseconds = |duration: Duration| duration.as_secs_f64() * 1e6;
    let transfers: Vec<f64> = samples.iter().map(|sample| microseconds(sample.total)).collect();
    let copies: Vec<f64> = samples.iter().filter_map(|sample| sample.memcpy).map(microseconds).collect();
    [("posted until done", transfers), ("memcpy", copies)].into_iter().filter(|(_, times)| !times.is_empty())
}

fn cost(steps: &[Step]) -> Plot {
    let across = |step: &Step| f64::from(step.blocks);
    let each = |step: &Step, microseconds: f64| microseconds * 1e3 / f64::from(step.blocks);
    let plan = line("planned and posted", steps, |step| {
        Some((across(step), each(step, step.summary.plan + step.summary.post)))
    });
    let moved =
        line("posted until done", steps, |step| Some((across(step), each(step, step.summary.median))));
    let copied =
        line("memcpy", steps, |step| Some((across(step), each(step, step.summary.baseline?.memcpy))));
    Plot {
        title: "Cost of a block by the number of blocks".to_owned(),
        across: Axis::logarithmic("blocks"),
        up: Axis::logarithmic("ns a block, median"),
        lines: [moved, copied, plan].into_iter().flatten().collect(),
    }
}

fn bandwidth(steps: &[Step]) -> Plot {
    let rate = |step: &Step, microseconds: f64| {
        let bytes = step.bytes as f64;
        (bytes, bytes / microseconds.max(1e-3) / 1e3)
    };
    let moved = line("posted until done", steps, |step| Some(rate(step, step.summary.median)));
    let copied = line("memcpy", steps, |step| Some(rate(step, step.summary.baseline?.memcpy)));
    Plot {
        title: "Bandwidth by the bytes of an iteration".to_owned(),
        across: Axis::bytes("bytes"),
        up: Axis::logarithmic("GB/s, median"),
        lines: [moved, copied].into_iter().flatten().collect(),
    }
}

/// A point of each step; no line where there is none.
fn line(name: &str, steps: &[Step], point: impl Fn(&Step) -> Option<(f64, f64)>) -> Option<Line> {
    let points: Vec<(f64, f64)> = steps.iter().filter_map(point).collect();
    (!points.is_empty()).then(|| Line::new(name, points))
}
