//! Figures by size and by number of blocks. Called for the page.

use pmd_page::{Axis, Line, Plot};
use serde_json::Value;

use crate::{
    perf::program::{Own, Peer, ProgramError, ucx_percentile},
    suite::Workspace,
};

/// Places of a line.
type Points = Vec<(f64, f64)>;

/// Our figures of every size.
const LATENCY: &str = "perf write_lat --transport shm --all-sizes --iters 5000";
const BANDWIDTH: &str = "perf write_bw --transport shm --all-sizes --iters 5000";

/// Messages of a distribution, of ours and of the peer.
const MESSAGES: u32 = 200_000;

/// What UCX may use.
const SHARED: &str = "shm,self";

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
        let mut curves = Self { plots: Vec::new(), errors: Vec::new() };
        curves.plot(
            "Latency of a write by its size, one host",
            [Axis::bytes("bytes"), Axis::logarithmic("us, half a round trip, p50")],
            [
                ("this driver", sweep(workspace, LATENCY, "p50_us")),
                ("UCX put", ucx_by_size(workspace, "ucp_put_lat", 20_000)),
            ],
        );
        curves.plot(
            "Latency of a notified message of 8 B, one host",
            [Axis::percentile("share of the messages"), Axis::logarithmic("us, half a round trip")],
            [("this driver", distribution(workspace)), ("UCX am, its last 2048", ucx_distribution())],
        );
        curves.plot(
            "Bandwidth of writes by their size, one host, to one place",
            [Axis::bytes("bytes"), Axis::logarithmic("GB/s")],
            [
                ("this driver", sweep(workspace, BANDWIDTH, "gbps")),
                ("UCX put", ucx_by_size(workspace, "ucp_put_bw", 5_000)),
            ],
        );
        curves.plot(
            "Cost of a block of 64 bytes by the number of blocks",
            [Axis::logarithmic("blocks"), Axis::logarithmic("ns a block")],
            [
                ("planned and posted", blocks(workspace, &["plan_us", "post_us"])),
                ("moved", blocks(workspace, &["p50_us"])),
            ],
        );
        curves
    }

    /// Adds a plot of these lines; what is missing of them is said.
    fn plot(
        &mut self,
        title: &str,
        [across, up]: [Axis; 2],
        lines: impl IntoIterator<Item = (&'static str, Result<Points, ProgramError>)>,
    ) {
        let lines = lines.into_iter().map(|(name, points)| {
            let points = points.unwrap_or_else(|error| {
                self.errors.push(format!("{title}, {name}: {error}"));
                Vec::new()
            });
            Line::new(name, points)
        });
        let lines = lines.collect();
        self.plots.push(Plot { title: title.to_owned(), across, up, lines });
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
fn sweep(workspace: &Workspace, arguments: &'static str, key: &str) -> Result<Points, ProgramError> {
    let own = Own { program: "pmd", arguments, keys: &[], scale: 1.0 };
    Ok(points(&own.object(workspace)?, key))
}

/// Sizes and figures of `pmd perf --all-sizes`.
pub(in crate::perf) fn points(object: &Value, key: &str) -> Points {
    let results = object["results"].as_array().map_or(&[] as &[Value], Vec::as_slice);
    results.iter().filter_map(|result| Some((result["size"].as_f64()?, result[key].as_f64()?))).collect()
}

fn ucx_by_size(workspace: &Workspace, test: &'static str, iterations: u32) -> Result<Points, ProgramError> {
    let figure = |size| {
        let peer = Peer::Ucx { test, size, iterations, transports: SHARED };
        Ok((f64::from(size), peer.figure(workspace)?))
    };
    SIZES.into_iter().map(figure).collect()
}

/// Percentiles of our messages.
fn distribution(workspace: &Workspace) -> Result<Points, ProgramError> {
    let arguments = "perf send_lat --transport shm --size 8 --iters 200000";
    let own = Own { program: "pmd", arguments, keys: &[], scale: 1.0 };
    let object = own.object(workspace)?;
    let shares = [("min_us", 0.0), ("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)];
    Ok(shares.into_iter().filter_map(|(key, share)| Some((share, object[key].as_f64()?))).collect())
}

/// Percentiles of UCX, a run for each. It keeps its last 2048 messages, so that what held up one before them is not seen.
fn ucx_distribution() -> Result<Points, ProgramError> {
    let figure = |share: f64| Ok((share, ucx_percentile("ucp_am_lat", 8, MESSAGES, SHARED, share * 100.0)?));
    [0.5, 0.9, 0.99, 0.999].into_iter().map(figure).collect()
}

/// The sum of these members, by block, for every number of blocks.
fn blocks(workspace: &Workspace, keys: &'static [&'static str]) -> Result<Points, ProgramError> {
    let figure = |(count, arguments): (f64, &'static str)| {
        let own = Own { program: "kv", arguments, keys, scale: 1e3 / count };
        Ok((count, own.figure(workspace)?))
    };
    BLOCKS.into_iter().map(figure).collect()
}
