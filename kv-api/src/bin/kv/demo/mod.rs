//! `kv demo`: a prefill and a decode process on this machine, one cache, five ways across, every byte verified.
//!
//! ```text
//!  kv demo (parent)                prefill                         decode
//!     | starts --------------------> fills its cache, listens
//!     | <- address
//!     | starts ------------------------------------------------------> connects, looks up the cache
//!     |                                | <--------- RDMA READ ---------- pull, pull of shuffled blocks
//!     |                                | <-- ask: push ----------------- push, layer by layer
//!     |                                | ---------- RDMA WRITE --------> notified, verifies, reports
//!     | <- rows -------------------------------------------------------'
//! ```

mod content;
mod decode;
mod hosts;
mod prefill;
mod protocol;

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use pmd_accelerators::DeviceName;
use serde_json::json;

use self::{
    content::Source,
    protocol::{DecodeSays, PrefillSays, Row},
};
pub(crate) use self::{
    decode::{Arguments as DecodeArguments, run as decode},
    hosts::{FetchArguments, ServeArguments, fetch, serve},
    prefill::{Arguments as PrefillArguments, run as prefill},
};
use crate::{
    Outcome,
    child::RoleProcess,
    failure::Failure,
    options::{Common, Place},
    report,
};

/// How long the slowest step may take: filling, hashing and moving tens of gigabytes.
const PATIENCE: Duration = Duration::from_secs(600);

/// `kv demo`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Write what the decode process received to this file.
    #[arg(long, value_name = "FILE", requires = "input")]
    output: Option<PathBuf>,
    /// Print one JSON object as the last line instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
    /// Keep caches in the memory of this device: cuda:0, rocm:1, ascend:0, or cpu for ordinary memory in a device's place.
    /// With fake- in front the runtime must be the stand-in of this project's tests.
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceName>,
    /// Which process's cache is on the device.
    #[arg(long, value_enum, default_value_t, requires = "device")]
    device_end: End,
    /// Page-lock the driver's shared memory for the device: copies between the two then go without the processor.
    #[arg(long, requires = "device")]
    pin_arenas: bool,
}

/// `--device-end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
enum End {
    /// Both: from device to device.
    #[default]
    Both,
    /// The prefill's: from device to host.
    Prefill,
    /// The decode's: from host to device.
    Decode,
}

impl Arguments {
    /// Where the cache of one process is.
    fn place(&self, end: End) -> Place {
        let in_host_memory = self.device.is_some() && self.device_end != End::Both && self.device_end != end;
        Place { device: self.device, in_host_memory, pin_arenas: self.pin_arenas }
    }
}

/// Runs the whole demo.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let content = arguments.source.measure()?;
    let progress = progress(arguments.json);
    progress.set_message(format!("prefill: filling {}", content.summary()));
    let mut common = arguments.source.arguments();
    common.extend(arguments.common.arguments());
    common.extend(arguments.place(End::Prefill).arguments());
    let mut prefill = RoleProcess::start("prefill", &common)?;
    let PrefillSays { address } = prefill.hear(PATIENCE)?;

    let mut decode_arguments = vec!["--connect".into(), address.to_string()];
    decode_arguments.extend(arguments.common.arguments());
    decode_arguments.extend(arguments.place(End::Decode).arguments());
    if let Some(output) = &arguments.output {
        decode_arguments.extend(["--output".into(), output.display().to_string()]);
    }
    let mut decode = RoleProcess::start("decode", &decode_arguments)?;
    let mut rows = Vec::new();
    loop {
        match decode.hear(PATIENCE)? {
            DecodeSays::Step(step) => progress.set_message(format!("decode: {step}")),
            DecodeSays::Row(row) => rows.push(row),
            // The demo's processes have none.
            DecodeSays::Rails(_) => {}
            DecodeSays::Done => break,
        }
    }
    decode.ended_well(PATIENCE)?;
    prefill.finish(PATIENCE)?;
    progress.finish_and_clear();
    if arguments.json {
        println!("{}", summary("demo", &content.summary(), &rows));
    } else {
        println!("{}\n\n{}", content.summary(), table(&rows));
    }
    Ok(())
}

fn progress(hidden: bool) -> ProgressBar {
    if hidden {
        return ProgressBar::hidden();
    }
    // Draws on standard error, and only where that is a terminal.
    let bar = ProgressBar::new_spinner();
    bar.set_style(ProgressStyle::default_spinner());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn table(rows: &[Row]) -> String {
    let header = [
        "mode",
        "operation",
        "layers",
        "blocks",
        "block size",
        "requests",
        "bytes",
        "ms",
        "GB/s",
        "transport",
        "verified",
    ];
    let cells = |row: &Row| {
        vec![
            row.mode.clone(),
            row.operation.clone(),
            row.layers.to_string(),
            row.blocks.to_string(),
            row.block_size.to_string(),
            row.work_requests.to_string(),
            row.bytes.to_string(),
            format!("{:.2}", row.seconds * 1e3),
            format!("{:.2}", row.gigabytes_per_second()),
            row.way(),
            if row.verified { "yes" } else { "NO" }.to_owned(),
        ]
    };
    report::table(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}

fn summary(operation: &str, cache: &str, rows: &[Row]) -> serde_json::Value {
    let first = rows.first();
    let per_row = |row: &Row| {
        json!({
            "mode": row.mode, "op": row.operation, "layers": row.layers, "blocks": row.blocks,
            "block_size": row.block_size, "work_requests": row.work_requests, "bytes": row.bytes,
            "us": row.seconds * 1e6, "gbps": row.gigabytes_per_second(),
            "ns_per_block": row.seconds * 1e9 / row.blocks.max(1) as f64,
            "transport": row.transport, "prefill_path": row.paths.0, "decode_path": row.paths.1,
            "verified": row.verified,
        })
    };
    json!({
        "op": operation,
        "cache": cache,
        "transport": first.map(|row| row.transport.clone()),
        "device": first.map(|row| row.device.clone()),
        "blocks": first.map(|row| row.blocks),
        "block_size": first.map(|row| row.block_size),
        "bytes": rows.iter().map(|row| row.bytes).sum::<u64>(),
        "iters": 1,
        "verified": !rows.is_empty() && rows.iter().all(|row| row.verified),
        "rows": rows.iter().map(per_row).collect::<Vec<_>>(),
    })
}

impl Row {
    /// The transport, and how it reaches the bytes where that is not as memory of the host is reached: from the prefill's
    /// cache to the decode's, whoever of them posts.
    fn way(&self) -> String {
        let (prefill, decode) = (self.paths.0.as_str(), self.paths.1.as_str());
        match (prefill, decode) {
            ("mapped" | "pinned", "mapped" | "pinned") => self.transport.clone(),
            (from, to) if from == to => format!("{}, {from}", self.transport),
            (from, to) => format!("{}, {from} to {to}", self.transport),
        }
    }

    fn gigabytes_per_second(&self) -> f64 {
        report::gigabytes_per_second(self.bytes, Duration::from_secs_f64(self.seconds))
    }
}

/// A file that could not be used.
fn file_failure(what: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::File { what, path, source }
}
