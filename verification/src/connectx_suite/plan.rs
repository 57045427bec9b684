//! What runs on the simulated device, with what to expect of it. Called by `connectx_suite`.

use std::fmt;
use std::time::Duration;

use super::expect::{Expect, all_sizes};
use crate::connectx::Settings;

/// How the device is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Bench {
    mode: &'static str,
    link: &'static str,
    interface: &'static str,
    uar: &'static str,
    lint: &'static str,
    /// How it reaches memory of accelerators.
    device_memory: &'static str,
}

impl Bench {
    /// The launcher's settings.
    pub(super) fn settings(self) -> Settings {
        Settings {
            mode: self.mode.to_owned(),
            link: self.link.to_owned(),
            interface: self.interface.to_owned(),
            uar: Some(self.uar.to_owned()),
            lint: self.lint.to_owned(),
            device_memory: self.device_memory.to_owned(),
            ..Settings::default()
        }
    }
}

impl fmt::Display for Bench {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {} {}", self.mode, self.link, self.interface, self.uar)?;
        if self.device_memory == TRAP.device_memory { Ok(()) } else { write!(out, " {}", self.device_memory) }
    }
}

/// Every store to a register seen, in order.
pub(super) const TRAP: Bench = Bench {
    mode: "trap",
    link: "ib",
    interface: "ioctl",
    uar: "dynamic",
    lint: "abort",
    device_memory: "none",
};
/// The same, and the device reaches memory of accelerators by dma-bufs.
pub(super) const DMA_BUF: Bench = Bench { device_memory: "dma-buf", ..TRAP };
/// The same by its address.
pub(super) const PEER: Bench = Bench { device_memory: "peer", ..TRAP };
/// The same, with broken rules counted only.
pub(super) const LENIENT: Bench = Bench { lint: "report", ..TRAP };
/// The older interfaces: write() instead of ioctl(), register pages that come with the context.
const TRAP_OLD: Bench = Bench { interface: "write", uar: "static", ..TRAP };
/// RoCE.
const TRAP_ROCE: Bench = Bench { link: "roce", ..TRAP };
/// The device runs when programs poll.
pub(super) const STEP: Bench = Bench { mode: "step", ..TRAP };
/// The same on RoCE.
const STEP_ROCE: Bench = Bench { link: "roce", uar: "static", ..STEP };
/// The device has a thread.
const THREAD: Bench = Bench { mode: "thread", ..TRAP };

/// Something that must go well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    /// The device.
    pub(super) bench: Bench,
    /// The program and its arguments; the client of a pair gets the server's address besides.
    pub(super) command: String,
    /// Whether it is a server and its client.
    pub(super) is_pair: bool,
    /// What each side writes; a pair's server is only held to its exit code where `both_report` is not set.
    pub(super) expect: Expect,
    /// Whether the server writes the same.
    pub(super) both_report: bool,
    /// Bound for each side.
    pub(super) limit: Duration,
}

impl Case {
    /// A name for reports.
    pub(super) fn name(&self) -> String {
        format!("{} ({})", self.command, self.bench)
    }
}

/// All cases, in the order of their devices.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend([TRAP, TRAP_OLD, TRAP_ROCE].map(device_info));
    cases.extend([TRAP, TRAP_OLD].into_iter().flat_map(|bench| ping_pongs(bench, "")));
    cases.extend(ping_pongs(TRAP_ROCE, " -g 0"));
    cases.extend(ping_pongs(STEP, ""));
    cases.extend([ping_pong(THREAD, "rc", "-c", 300), ping_pong(THREAD, "rc", "-c -e", 300)]);
    cases.extend(latencies());
    cases.extend(bandwidths());
    cases.extend(variants());
    cases.sort_by_key(|case| case.bench);
    cases
}

fn device_info(bench: Bench) -> Case {
    let lines = &["hca_id:\tmlx5_0", "PORT_ACTIVE", "max_sge:\t\t\t30", "ATOMIC_HCA"];
    Case { is_pair: false, ..case(bench, "ibv_devinfo -v".to_owned(), Expect::Lines(lines)) }
}

/// rdma-core's, polling and sleeping, each checking what it receives.
fn ping_pongs(bench: Bench, gid: &str) -> Vec<Case> {
    let polling = ["rc", "uc", "ud", "srq"].map(|kind| ping_pong(bench, kind, &format!("-c{gid}"), 200));
    let sleeping = ["rc", "uc", "ud", "srq"].map(|kind| ping_pong(bench, kind, &format!("-c -e{gid}"), 200));
    let more = [("-c -N", 100), ("-c -s 1000000 -m 4096", 20)]
        .map(|(options, iterations)| ping_pong(bench, "rc", &format!("{options}{gid}"), iterations));
    polling.into_iter().chain(sleeping).chain(more).collect()
}

fn ping_pong(bench: Bench, kind: &str, options: &str, iterations: u64) -> Case {
    let command = format!("ibv_{kind}_pingpong {options} -n {iterations}");
    Case { both_report: true, ..case(bench, command, Expect::PingPong { iterations }) }
}

fn case(bench: Bench, command: String, expect: Expect) -> Case {
    Case { bench, command, is_pair: true, expect, both_report: false, limit: Duration::from_secs(60) }
}

/// perftest's latencies, of the smallest and the largest messages. (Each size costs perftest a second of its own.)
fn latencies() -> Vec<Case> {
    let smallest = ["ib_write_lat", "ib_read_lat", "ib_send_lat"].map(|program| sized(STEP, program, 2, 500));
    let largest =
        ["ib_write_lat", "ib_read_lat", "ib_send_lat"].map(|program| sized(STEP, program, 8 << 20, 10));
    let others = [
        sized(STEP_ROCE, "ib_write_lat -x 0", 4096, 500),
        sized(STEP_ROCE, "ib_read_lat -x 0", 4096, 500),
        case(STEP, "ib_atomic_lat -F -n 500".to_owned(), Expect::Table(vec![(8, 500)])),
    ];
    [smallest, largest, others].concat()
}

/// perftest's bandwidths, over all sizes to 8 MiB.
fn bandwidths() -> Vec<Case> {
    let all = |program: &str| case(STEP, format!("{program} -F -a -n 10"), all_sizes(10));
    vec![
        all("ib_write_bw"),
        all("ib_read_bw"),
        all("ib_send_bw"),
        case(STEP, "ib_atomic_bw -F -n 1000".to_owned(), Expect::Table(vec![(8, 1000)])),
        sized(STEP_ROCE, "ib_send_bw -x 0", 8 << 20, 10),
    ]
}

/// perftest's other ways to use queue pairs.
fn variants() -> Vec<Case> {
    vec![
        // Inline, small enough for BlueFlame and beyond it.
        sized(STEP, "ib_write_lat -I 128", 64, 500),
        sized(STEP, "ib_send_lat -I 256", 200, 500),
        sized(STEP, "ib_write_bw -I 512", 400, 1000),
        sized(TRAP, "ib_write_lat -I 128", 64, 200),
        // Both directions.
        sized(STEP, "ib_write_bw -b", 65536, 500),
        sized(STEP, "ib_read_bw -b", 65536, 500),
        sized(STEP, "ib_send_bw -b", 65536, 500),
        // Sleeping for completions.
        sized(STEP, "ib_send_lat -e", 4096, 200),
        sized(STEP, "ib_read_lat -e", 4096, 200),
        sized(STEP, "ib_send_bw -e", 65536, 300),
        sized(TRAP, "ib_send_lat -e", 4096, 200),
        // Unreliable services.
        sized(STEP, "ib_write_lat -c UC", 4096, 500),
        sized(STEP, "ib_send_lat -c UC", 4096, 500),
        sized(STEP, "ib_send_lat -c UD", 1024, 500),
        sized(STEP, "ib_send_bw -c UD", 1024, 500),
        sized(STEP_ROCE, "ib_send_lat -c UD -x 0", 1024, 500),
        // Lists of work requests, the older way to post, shared receives.
        sized(STEP, "ib_write_bw -l 8", 4096, 800),
        sized(STEP, "ib_write_bw --use_old_post_send -l 16 -Q 1", 4096, 800),
        sized(STEP, "ib_send_bw --use-srq", 4096, 500),
        sized(TRAP, "ib_write_bw -l 8", 4096, 400),
        sized(THREAD, "ib_write_bw", 65536, 300),
    ]
    .into_iter()
    .chain(several_queue_pairs())
    .collect()
}

/// Four queue pairs, whose iterations perftest adds up.
fn several_queue_pairs() -> Vec<Case> {
    let cases = [(STEP, "ib_write_bw -q 4"), (STEP, "ib_read_bw -q 4"), (STEP_ROCE, "ib_send_bw -q 4 -x 0")];
    let expect = Expect::Table(vec![(4096, 2000)]);
    cases.map(|(bench, program)| Case { expect: expect.clone(), ..sized(bench, program, 4096, 500) }).into()
}

fn sized(bench: Bench, program: &str, bytes: u64, iterations: u64) -> Case {
    let rows = Expect::Table(vec![(bytes, iterations)]);
    case(bench, format!("{program} -F -s {bytes} -n {iterations}"), rows)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn cases_have_names_of_their_own_and_devices_come_together() {
        let cases = cases();
        let names: BTreeSet<String> = cases.iter().map(Case::name).collect();
        assert_eq!(names.len(), cases.len());
        let benches: BTreeSet<Bench> = cases.iter().map(|case| case.bench).collect();
        let changes = cases.windows(2).filter(|pair| pair[0].bench != pair[1].bench).count();
        assert_eq!(changes + 1, benches.len());
    }
}
