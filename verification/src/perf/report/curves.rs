//! Figures by size and by number of blocks. Called for the page.

use serde_json::Value;

use super::{Line, Plot};
use crate::{
    perf::program::{Own, Peer, ProgramError},
    suite::Workspace,
};

/// Sizes at which the peer is asked; ours gives every power of two at once.
const SIZES: [u32; 7] = [8, 64, 512, 4 << 10, 32 << 10, 256 << 10, 1 << 20];

/// Numbers of blocks of 64 bytes, and how they are moved.
const BLOCKS: [(f64, &str); 5] = [
    (100.0, "bench --api agent --op write --blocks 100 --block-size 64 --memory arena --transport shm"),
    (1000.0, "bench --api agent --op write --blocks 1000 --block-size 64 --memory arena --transport shm"),
    (10000.0, "bench --api agent --op write --blocks 10000 --block-size 64 --memory arena --transport shm"),
    (100000.0, "bench --api agent --op write --blocks 100000 --block-size 64 --memory arena --transport shm"),
    (
        1000000.0,
        "bench --api agent --op write --blocks 1000000 --block-size 64 --memory arena --transport shm",
    ),
];

/// What the page's plots show.
#[derive(Debug)]
pub(in crate::perf) struct Curves {
    plots: Vec<Plot>,
    errors: Vec<String>,
}

impl Curves {
    /// Measures them all; what fails is missing in the plots, and said.
    pub(in crate::perf) fn measure(workspace: &Workspace) -> Self {
        println!("curves for the page");
        let mut errors = Vec::new();
        let mut line = |name, points: Result<Vec<(f64, f64)>, ProgramError>| {
            let points = points.unwrap_or_else(|error| {
                errors.push(format!("{name}: {error}"));
                Vec::new()
            });
            Line { name, points }
        };
        let plots = vec![
            Plot {
                title: "Latency of a write by its size, one host",
                axes: ["bytes", "us, half a round trip, p50"],
                lines: vec![
                    line(
                        "this driver",
                        sweep(workspace, "perf write_lat --transport shm --all-sizes --iters 5000", "p50_us"),
                    ),
                    line("UCX put", ucx(workspace, "ucp_put_lat", 20_000)),
                ],
            },
            Plot {
                title: "Bandwidth of writes by their size, one host",
                axes: ["bytes", "GB/s"],
                lines: vec![
                    line(
                        "this driver",
                        sweep(workspace, "perf write_bw --transport shm --all-sizes --iters 5000", "gbps"),
                    ),
                    line("UCX put", ucx(workspace, "ucp_put_bw", 5_000)),
                ],
            },
            Plot {
                title: "Latency of a notified message of 8 B, one host",
                axes: ["iterations of 1,000,000 that took longer", "us"],
                lines: vec![line("this driver", distribution(workspace))],
            },
            Plot {
                title: "Cost of a block by the number of blocks",
                axes: ["blocks", "ns a block"],
                lines: vec![
                    line("planned and posted", blocks(workspace, &["plan_us", "post_us"])),
                    line("moved", blocks(workspace, &["p50_us"])),
                ],
            },
        ];
        Self { plots, errors }
    }

    /// These.
    #[cfg(test)]
    pub(in crate::perf) const fn of(plots: Vec<Plot>, errors: Vec<String>) -> Self {
        Self { plots, errors }
    }

    /// The plots.
    pub(super) fn plots(&self) -> &[Plot] {
        &self.plots
    }

    /// What could not be measured.
    pub(super) fn errors(&self) -> &[String] {
        &self.errors
    }
}

/// One member of every size's result.
fn sweep(workspace: &Workspace, arguments: &'static str, key: &str) -> Result<Vec<(f64, f64)>, ProgramError> {
    let own = Own { program: "pmd", arguments, keys: &[], scale: 1.0 };
    Ok(points(&own.object(workspace)?, key))
}

/// Sizes and figures of `pmd perf --all-sizes`.
pub(in crate::perf) fn points(object: &Value, key: &str) -> Vec<(f64, f64)> {
    let results = object["results"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    results.iter().filter_map(|result| Some((result["size"].as_f64()?, result[key].as_f64()?))).collect()
}

fn ucx(workspace: &Workspace, test: &'static str, iterations: u32) -> Result<Vec<(f64, f64)>, ProgramError> {
    let figure = |size| {
        let peer = Peer::Ucx { test, size, iterations, transports: "shm,self" };
        Ok((f64::from(size), peer.figure(workspace)?))
    };
    SIZES.into_iter().map(figure).collect()
}

/// How many of a million iterations took longer than the median, the 99th and the 99.9th percentile.
fn distribution(workspace: &Workspace) -> Result<Vec<(f64, f64)>, ProgramError> {
    let arguments = "perf send_lat --transport shm --size 8 --iters 200000";
    let own = Own { program: "pmd", arguments, keys: &[], scale: 1.0 };
    let object = own.object(workspace)?;
    let shares = [("p50_us", 5e5), ("p99_us", 1e4), ("p999_us", 1e3)];
    Ok(shares.into_iter().filter_map(|(key, share)| Some((share, object[key].as_f64()?))).collect())
}

/// The sum of these members, by block, for every number of blocks.
fn blocks(workspace: &Workspace, keys: &'static [&'static str]) -> Result<Vec<(f64, f64)>, ProgramError> {
    let figure = |(count, arguments): (f64, &'static str)| {
        let own = Own { program: "kv", arguments, keys, scale: 1e3 / count };
        Ok((count, own.figure(workspace)?))
    };
    BLOCKS.into_iter().map(figure).collect()
}
