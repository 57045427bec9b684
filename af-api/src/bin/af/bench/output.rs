//! What the benchmark prints.

use serde_json::{Value, json};

use super::{
    BUDGET, Shape,
    protocol::{Phase, Report},
};
use crate::{cluster::Size, report, statistics::Statistics};

/// Columns of the table.
pub(super) const HEADER: [&str; 6] = ["us", "mean", "p50", "p90", "p99", "max"];

/// Figures of all workers together.
pub(super) struct Summary {
    size: Size,
    shape: Shape,
    transport: String,
    device: Option<String>,
    total: Statistics,
    post: Statistics,
    /// Two copies of the same bytes, and a round trip in units of the copies that were made right beside it.
    memcpy: Option<(Statistics, f64)>,
    gigabytes_per_second: f64,
    work_requests: f64,
    reports: Vec<Report>,
}

impl Summary {
    /// Of what the workers said.
    pub(super) fn of(size: Size, shape: &Shape, device: Option<String>, reports: &[Report]) -> Self {
        let all = |of: fn(&Report) -> &Vec<f64>| {
            Statistics::of_microseconds(reports.iter().flat_map(|report| of(report).iter().copied()))
        };
        let seconds = reports.iter().map(|report| report.seconds).fold(0.0, f64::max);
        let bytes = shape.bytes(size.servers) as f64 * f64::from(shape.iters) * reports.len() as f64;
        let ratios = reports.iter().flat_map(|report| report.total.iter().zip(&report.memcpy));
        let ratio = Statistics::of_microseconds(ratios.map(|(total, copies)| total / copies.max(1e-3))).p50;
        Self {
            size,
            shape: *shape,
            transport: reports.first().map(|report| report.transport.clone()).unwrap_or_default(),
            device,
            total: all(|report| &report.total),
            post: all(|report| &report.post),
            memcpy: shape.compare_memcpy.then(|| (all(|report| &report.memcpy), ratio)),
            gigabytes_per_second: bytes / seconds.max(1e-9) / 1e9,
            work_requests: reports.iter().map(|report| report.work_requests).fold(0.0, f64::max),
            reports: reports.to_vec(),
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut rows = self.rows();
        rows.extend(self.phases());
        let ratio = self.memcpy.map_or_else(String::new, |(_, ratio)| format!(", {ratio:.2} x two memcpy"));
        format!(
            "{}\n\n{}\n\n{:.2} GB/s, {:.2} work requests a round trip at the worker{ratio}\n\
             p50 is {:.0} % of {BUDGET:.0} us, a budget of 61 layers x 3 stages in 50 ms",
            self.title(),
            report::table(&HEADER, &rows),
            self.gigabytes_per_second,
            self.work_requests,
            self.share() * 100.0,
        )
    }

    /// What was measured.
    pub(super) fn title(&self) -> String {
        let Shape { push_bytes, pull_bytes, iters, .. } = self.shape;
        let Size { workers, servers } = self.size;
        format!(
            "{workers} x {servers}, push {push_bytes} and pull {pull_bytes} bytes, {iters} iterations over {}, verified",
            self.transport,
        )
    }

    /// Round trips and what stands beside them, by the columns of [`HEADER`].
    pub(super) fn rows(&self) -> Vec<Vec<String>> {
        let row = |name: &str, of: &Statistics| [name.to_owned()].into_iter().chain(of.cells()).collect();
        let mut rows: Vec<Vec<String>> = vec![row("round trip", &self.total), row("post", &self.post)];
        rows.extend(self.memcpy.iter().map(|(copies, _)| row("two memcpy", copies)));
        rows
    }

    /// Phases of every worker's round trips, by the same columns.
    pub(super) fn phases(&self) -> Vec<Vec<String>> {
        let row = |(worker, phase): (usize, &Phase)| {
            let name = format!("{} (worker {worker}, {})", phase.name, phase.server);
            let figures = [phase.mean, phase.p50, phase.p90, phase.p99, phase.max];
            [name].into_iter().chain(figures.map(|value| format!("{value:.1}"))).collect()
        };
        let workers = self.reports.iter().enumerate();
        workers
            .flat_map(|(worker, report)| report.phases.iter().map(move |phase| (worker, phase)))
            .map(row)
            .collect()
    }

    /// What the workers said.
    pub(super) fn reports(&self) -> &[Report] {
        &self.reports
    }

    /// Median round trip in microseconds, and of two copies where they were made.
    pub(super) fn medians(&self) -> (f64, Option<f64>) {
        (self.total.p50, self.memcpy.map(|(copies, _)| copies.p50))
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let Shape { push_bytes, pull_bytes, iters, .. } = self.shape;
        json!({
            "op": "push_pull", "transport": self.transport, "device": self.device,
            "workers": self.size.workers, "servers": self.size.servers,
            "push_bytes": push_bytes, "pull_bytes": pull_bytes,
            "bytes": self.shape.bytes(self.size.servers), "iters": iters,
            "post_us": self.post.p50, "mean_us": self.total.mean, "min_us": self.total.min,
            "p50_us": self.total.p50, "p90_us": self.total.p90, "p99_us": self.total.p99,
            "max_us": self.total.max, "gbps": self.gigabytes_per_second,
            "work_requests": self.work_requests,
            "budget_us": BUDGET, "budget": "61 layers x 3 stages in 50 ms", "budget_share": self.share(),
            "memcpy_us": self.memcpy.map(|(copies, _)| copies.p50),
            "memcpy_ratio": self.memcpy.map(|(_, ratio)| ratio),
            "phases": self.reports.iter().map(|report| &report.phases).collect::<Vec<_>>(),
            // A worker or server that found a wrong byte would have ended the command.
            "verified": true,
        })
    }

    /// Of the budget that a median round trip takes.
    fn share(&self) -> f64 {
        self.total.p50 / BUDGET
    }
}
