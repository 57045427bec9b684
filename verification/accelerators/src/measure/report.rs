//! The table, and the object for programs.

use std::{process::ExitCode, time::Duration};

use pmd_core::accelerator::{AcceleratorError, DeviceIdentity};
use serde_json::{Value, json};

use super::Workload;
use crate::{bench::Name, context::Context};

/// How long each iteration took.
#[derive(Debug, Default)]
pub(super) struct Times {
    posts: Vec<Duration>,
    totals: Vec<Duration>,
}

impl Times {
    pub(super) fn add(&mut self, post: Duration, total: Duration) {
        self.posts.push(post);
        self.totals.push(total);
    }
}

/// The smallest of which so many of a hundred are not larger, in microseconds.
fn percentile(times: &[Duration], of_hundred: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * of_hundred).div_ceil(100).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(at).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

/// A way of moving a workload.
#[derive(Debug)]
pub(super) struct Row {
    workload: Workload,
    path: &'static str,
    way: &'static str,
    /// What `plain` of the same path moved, in GB/s.
    plain: Option<f64>,
    right: bool,
    timed: Result<Times, AcceleratorError>,
}

impl Row {
    pub(super) fn new(
        workload: Workload,
        path: &'static str,
        way: &'static str,
        plain: Option<f64>,
        right: bool,
        timed: Result<Times, AcceleratorError>,
    ) -> Self {
        Self { workload, path, way, plain, right, timed }
    }

    /// By the median; `None` for what failed.
    fn gigabytes_a_second(&self) -> Option<f64> {
        let times = self.timed.as_ref().ok()?;
        Some(self.workload.bytes() as f64 / percentile(&times.totals, 50).max(1e-3) / 1e3)
    }

    fn of_plain(&self) -> Option<f64> {
        Some(self.gigabytes_a_second()? / self.plain?)
    }

    fn line(&self) -> String {
        let Workload { blocks, block_bytes } = self.workload;
        let what = format!("{blocks} x {}", bytes(block_bytes));
        let Self { path, way, right, .. } = self;
        let times = match &self.timed {
            Ok(times) => times,
            Err(error) => return format!("| {what} | {path} | {way} | failed: {error} | | | | | no |"),
        };
        let rate = self.gigabytes_a_second().unwrap_or(0.0);
        let of_plain = self.of_plain().map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let (post, p50, p99) =
            (percentile(&times.posts, 50), percentile(&times.totals, 50), percentile(&times.totals, 99));
        let right = if *right { "yes" } else { "NO" };
        format!(
            "| {what} | {path} | {way} | {post:.1} | {p50:.1} | {p99:.1} | {rate:.1} | {of_plain} | {right} |"
        )
    }

    fn object(&self) -> Value {
        let Workload { blocks, block_bytes } = self.workload;
        let mut object = json!({
            "path": self.path, "way": self.way, "blocks": blocks, "block_size": block_bytes,
            "bytes": self.workload.bytes(), "verified": self.right,
        });
        match &self.timed {
            Err(error) => object["error"] = error.to_string().into(),
            Ok(times) => {
                let p50 = percentile(&times.totals, 50);
                object["iters"] = times.totals.len().into();
                object["post_us"] = percentile(&times.posts, 50).into();
                object["p50_us"] = p50.into();
                object["p99_us"] = percentile(&times.totals, 99).into();
                object["max_us"] = percentile(&times.totals, 100).into();
                object["gbps"] = self.gigabytes_a_second().into();
                object["ns_per_block"] = (p50 * 1e3 / f64::from(blocks)).into();
                object["of_plain"] = self.of_plain().into();
            }
        }
        object
    }
}

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Report {
    accelerator: &'static str,
    device: DeviceIdentity,
    driver: String,
    iterations: u32,
    rows: Vec<Row>,
    failures: Vec<(Workload, String)>,
}

impl Report {
    pub(super) fn new(context: &Context, iterations: u32) -> Self {
        Self {
            accelerator: context.name.text(),
            device: context.accelerator.identity().clone(),
            driver: driver(context.name),
            iterations,
            rows: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Takes a row; what a second of it moves, if it moved.
    pub(super) fn add(&mut self, row: Row) -> Option<f64> {
        let rate = row.gigabytes_a_second();
        self.rows.push(row);
        rate
    }

    /// A workload that could not be set up.
    pub(super) fn fail(&mut self, workload: Workload, reason: &str) {
        self.failures.push((workload, reason.to_owned()));
    }

    /// Prints it; whether all was right.
    pub(super) fn print(&self, as_json: bool) -> ExitCode {
        let right = self.failures.is_empty()
            && self.rows.iter().all(|row| row.right && row.timed.is_ok())
            && !self.rows.is_empty();
        if as_json {
            println!("{}", self.object(right));
        } else {
            self.print_table();
        }
        ExitCode::from(u8::from(!right))
    }

    fn print_table(&self) {
        let Self { accelerator, device, driver, iterations, .. } = self;
        println!("{accelerator} {}: {}, {driver}; medians of {iterations}\n", device.ordinal, device.name);
        println!("| blocks | path | way | post us | p50 us | p99 us | GB/s | of plain | right |");
        println!("|---|---|---|---|---|---|---|---|---|");
        self.rows.iter().for_each(|row| println!("{}", row.line()));
        for (Workload { blocks, block_bytes }, reason) in &self.failures {
            println!("\n{blocks} x {} was not measured: {reason}", bytes(*block_bytes));
        }
    }

    fn object(&self, right: bool) -> Value {
        let failure = |(workload, reason): &(Workload, String)| json!({ "blocks": workload.blocks, "block_size": workload.block_bytes, "error": reason });
        json!({
            "op": "bench-device", "transport": "device", "accelerator": self.accelerator,
            "device": self.device.name, "ordinal": self.device.ordinal,
            "pci": self.device.pci.map(|pci| pci.to_string()), "driver": self.driver,
            "iters": self.iterations, "verified": right,
            "rows": self.rows.iter().map(Row::object).collect::<Vec<_>>(),
            "failures": self.failures.iter().map(failure).collect::<Vec<_>>(),
        })
    }
}

/// Which driver it was, where it tells.
fn driver(name: Name) -> String {
    let version = match name {
        Name::Cuda | Name::CudaMapped => gpu_direct::probe().ok().map(|runtime| runtime.driver_version),
        _ => None,
    };
    version.map_or_else(
        || "driver unknown".to_owned(),
        |version| format!("driver of CUDA {}.{}", version.major, version.minor),
    )
}

fn bytes(count: u64) -> String {
    match count {
        _ if count >= 1 << 30 && count.is_multiple_of(1 << 30) => format!("{} GiB", count >> 30),
        _ if count >= 1 << 20 && count.is_multiple_of(1 << 20) => format!("{} MiB", count >> 20),
        _ if count >= 1 << 10 && count.is_multiple_of(1 << 10) => format!("{} KiB", count >> 10),
        _ => format!("{count} B"),
    }
}
