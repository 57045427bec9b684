//! What is compared with what. Called by the command; a row that this machine can measure belongs here.

use super::{
    copy::CopyLoop,
    program::{Own, Peer},
};

/// A figure of ours, a peer's, and what their ratio should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Row {
    /// For `--only`.
    pub(super) name: &'static str,
    /// What a reader of the table reads.
    pub(super) what: &'static str,
    /// Of both figures.
    pub(super) unit: &'static str,
    /// Of ours divided by the peer's.
    pub(super) goal: Goal,
    /// Our side.
    pub(super) ours: Own,
    /// The other.
    pub(super) peer: Peer,
}

/// What a ratio should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Goal {
    /// Of times.
    AtMost(f64),
    /// Of rates.
    AtLeast(f64),
}

impl Goal {
    /// Whether a ratio is as it should be.
    pub(super) fn is_met(self, ratio: f64) -> bool {
        match self {
            Self::AtMost(most) => ratio <= most,
            Self::AtLeast(least) => ratio >= least,
        }
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(most) => write!(formatter, "<= {most:.3}"),
            Self::AtLeast(least) => write!(formatter, ">= {least:.3}"),
        }
    }
}

/// What UCX may use within a host.
const SHARED: &str = "shm,self";

/// Bytes that block rows move in an iteration.
const CACHE: usize = 64 << 20;

/// Every row, in the table's order.
pub(super) fn all() -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(latencies());
    rows.extend(copies());
    rows.extend(blocks());
    rows.extend(exchanges());
    rows.extend(tcp());
    rows
}

const fn pmd(arguments: &'static str, keys: &'static [&'static str]) -> Own {
    Own { program: "pmd", arguments, keys, scale: 1.0 }
}

const fn kv(arguments: &'static str) -> Own {
    Own { program: "kv", arguments, keys: &["p50_us"], scale: 1.0 }
}

const fn latency(name: &'static str, what: &'static str, ours: &'static str, peer: Peer) -> Row {
    Row { name, what, unit: "us", goal: Goal::AtMost(1.0), ours: pmd(ours, &["p50_us"]), peer }
}

fn latencies() -> [Row; 4] {
    let ucx = |test, size| Peer::Ucx { test, size, iterations: 200_000, transports: SHARED };
    [
        latency(
            "write-8",
            "8 B write, one host, UCX put",
            "perf write_lat --transport shm --size 8 --iters 200000",
            ucx("ucp_put_lat", 8),
        ),
        latency(
            "write-4k",
            "4 KiB write, one host, UCX put",
            "perf write_lat --transport shm --size 4096 --iters 200000",
            ucx("ucp_put_lat", 4096),
        ),
        latency(
            "send-8-am",
            "8 B notified, one host, UCX am",
            "perf send_lat --transport shm --size 8 --iters 200000",
            ucx("ucp_am_lat", 8),
        ),
        latency(
            "send-8-tag",
            "8 B notified, one host, UCX tag",
            "perf send_lat --transport shm --size 8 --iters 200000",
            ucx("tag_lat", 8),
        ),
    ]
}

fn copies() -> [Row; 2] {
    let row = |name, what, goal, ours, peer| Row {
        name,
        what,
        unit: "GB/s",
        goal,
        ours: pmd(ours, &["gbps"]),
        peer,
    };
    let copy = CopyLoop { blocks: CACHE >> 20, block_bytes: 1 << 20 };
    // UCX writes the same megabyte again and again, so that it stays in the caches: ours does too beside it.
    let ucx = Peer::Ucx { test: "ucp_put_bw", size: 1 << 20, iterations: 4000, transports: SHARED };
    [
        row(
            "copy-1m",
            "1 MiB writes over 64 MiB, one host, memcpy",
            Goal::AtLeast(0.95),
            "perf write_bw --transport shm --size 1M --footprint 64M --iters 4000",
            Peer::CopyRate(copy),
        ),
        row(
            "copy-1m-ucx",
            "1 MiB writes to one place, one host, UCX put",
            Goal::AtLeast(1.0),
            "perf write_bw --transport shm --size 1M --footprint 1M --iters 4000",
            ucx,
        ),
    ]
}

fn blocks() -> [Row; 3] {
    let copy = |block_bytes| Peer::CopyTime(CopyLoop { blocks: CACHE / block_bytes, block_bytes });
    let row = |name, what, ours, peer| Row { name, what, unit: "us", goal: Goal::AtMost(1.15), ours, peer };
    let plan = Own {
        keys: &["plan_us", "post_us"],
        // Microseconds of 100,000 descriptors, as nanoseconds of one.
        scale: 1e3 / 1e5,
        ..kv("bench --api agent --op write --blocks 100000 --block-size 64 --memory arena --transport shm")
    };
    let posting = Row {
        name: "post-100k",
        what: "posting 100,000 block descriptors, each",
        unit: "ns",
        goal: Goal::AtMost(1.0),
        ours: plan,
        peer: Peer::Limit(20.0),
    };
    [
        row(
            "blocks-16k",
            "4096 x 16 KiB permuted, arena, memcpy loop",
            kv(
                "bench --api engine --op read --blocks 4096 --block-size 16384 --memory arena --transport shm",
            ),
            copy(16 << 10),
        ),
        row(
            "blocks-4k",
            "16384 x 4 KiB permuted, arena, memcpy loop",
            kv(
                "bench --api engine --op read --blocks 16384 --block-size 4096 --memory arena --transport shm",
            ),
            copy(4 << 10),
        ),
        posting,
    ]
}

fn exchanges() -> [Row; 2] {
    let af = |arguments, keys| Own { program: "af", arguments, keys, scale: 1.0 };
    let large = "bench --push-bytes 917504 --pull-bytes 1835008 --iters 400 --compare-memcpy";
    let small = af("bench --push-bytes 8 --pull-bytes 8 --iters 20000", &["p50_us"]);
    let round_trip = Peer::Ucx { test: "ucp_am_lat", size: 8, iterations: 200_000, transports: SHARED };
    [
        Row {
            name: "push-pull",
            what: "896 KiB push + 1.75 MiB pull, two memcpy",
            unit: "us",
            goal: Goal::AtMost(1.15),
            ours: af(large, &["p50_us"]),
            peer: Peer::Own(af(large, &["memcpy_us"])),
        },
        Row {
            name: "push-pull-8",
            what: "8 B push + pull, a way of UCX am",
            unit: "us",
            goal: Goal::AtMost(2.0),
            ours: small,
            peer: round_trip,
        },
    ]
}

fn tcp() -> [Row; 2] {
    let small = Peer::Ucx { test: "ucp_put_lat", size: 8, iterations: 20_000, transports: "tcp,self" };
    let bandwidth = pmd("perf write_bw --transport tcp --size 1M --footprint 64M --iters 4000", &["gbps"]);
    [
        Row {
            name: "tcp-bandwidth",
            what: "1 MiB writes, TCP over loopback, iperf3",
            unit: "GB/s",
            goal: Goal::AtLeast(0.95),
            ours: bandwidth,
            peer: Peer::Iperf,
        },
        latency(
            "tcp-write-8",
            "8 B write, TCP over loopback, UCX put",
            "perf write_lat --transport tcp --size 8 --iters 20000",
            small,
        ),
    ]
}
