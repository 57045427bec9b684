//! The figures, for people and for programs.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Arguments, Measured, samples::Summary};
use crate::{options::Place, report};

/// Everything that is reported.
pub(super) struct Report<'a> {
    pub(super) arguments: &'a Arguments,
    pub(super) measured: &'a Measured,
}

impl Report<'_> {
    pub(super) fn json(&self) -> Value {
        let summary = self.summary();
        let Measured { layout, transport, .. } = self.measured;
        let mut object = json!({
            "transport": transport,
            "device": transport,
            "op": self.arguments.op.name(),
            "api": self.arguments.api.name(),
            "blocks": layout.blocks(),
            "block_size": layout.block_bytes(),
            "bytes": layout.total_bytes(),
            "iters": self.arguments.iters,
            "memory": self.memory(),
            "plan_us": summary.plan,
            "post_us": summary.post,
            "p50_us": summary.median,
            "p99_us": summary.p99,
            "max_us": summary.max,
            "min_us": summary.min,
            "gbps": self.gigabytes_per_second(),
            "ns_per_block": self.nanoseconds_per_block(),
            "work_requests": summary.work_requests,
            "verified": self.measured.wrong.is_none(),
        });
        if let Some(device) = self.arguments.place.device {
            object["peer_memory"] = json!(device.to_string());
            object["path"] = json!(self.measured.path);
        }
        if let Some(baseline) = summary.baseline {
            object["memcpy_us"] = json!(baseline.memcpy);
            object["memcpy_ratio"] = json!(baseline.ratio);
        }
        object
    }

    pub(super) fn table(&self) -> String {
        let (header, cells): (Vec<_>, Vec<_>) = self.columns().into_iter().unzip();
        format!("{}\n\n{}", self.title(), report::table(&header, &[cells]))
    }

    /// Figures by name.
    pub(super) fn columns(&self) -> Vec<(&'static str, String)> {
        let summary = self.summary();
        let mut columns = vec![
            ("operation", self.arguments.op.name().to_owned()),
            ("requests", summary.work_requests.to_string()),
            ("plan us", format!("{:.1}", summary.plan)),
            ("post us", format!("{:.1}", summary.post)),
            ("p50 us", format!("{:.1}", summary.median)),
            ("p99 us", format!("{:.1}", summary.p99)),
            ("max us", format!("{:.1}", summary.max)),
            ("min us", format!("{:.1}", summary.min)),
            ("GB/s", format!("{:.2}", self.gigabytes_per_second())),
            ("ns/block", format!("{:.0}", self.nanoseconds_per_block())),
        ];
        if let Some(baseline) = summary.baseline {
            columns.push(("memcpy us", format!("{:.1}", baseline.memcpy)));
            columns.push(("ratio", format!("{:.2}", baseline.ratio)));
        }
        columns.push(("verified", if self.measured.wrong.is_none() { "yes" } else { "NO" }.to_owned()));
        columns
    }

    /// What was measured.
    pub(super) fn title(&self) -> String {
        let Measured { layout, transport, path, .. } = self.measured;
        format!(
            "{} over {}{}: {} blocks of {} bytes in {} memory, {:.1} MB, {} iterations",
            self.arguments.api.name(),
            transport,
            path.map(|path| format!(" ({path})")).unwrap_or_default(),
            layout.blocks(),
            layout.block_bytes(),
            self.memory(),
            layout.total_bytes() as f64 / 1e6,
            self.arguments.iters,
        )
    }

    /// Where this process's blocks are.
    fn memory(&self) -> String {
        let Place { device, in_host_memory, .. } = self.arguments.place;
        let device = device.filter(|_| !in_host_memory);
        device.map_or_else(|| self.arguments.shape.memory_name().to_owned(), |device| device.to_string())
    }

    const fn summary(&self) -> &Summary {
        &self.measured.summary
    }

    /// At the median.
    fn gigabytes_per_second(&self) -> f64 {
        let median = Duration::from_secs_f64(self.summary().median / 1e6);
        report::gigabytes_per_second(self.measured.layout.total_bytes(), median)
    }

    /// At the median.
    fn nanoseconds_per_block(&self) -> f64 {
        self.summary().median * 1e3 / f64::from(self.measured.layout.blocks())
    }
}
