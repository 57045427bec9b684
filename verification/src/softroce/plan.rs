//! The steps that are taken on soft-RoCE: what runs, for how long at most, and which faults it is to survive.
//! Called by `softroce`. The steps' scripts use the functions of `verification/softroce/library`.

use std::time::Duration;

use super::errand::quote;
use super::evidence::Fault;
use super::programs::Programs;

/// A step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    /// Its name, without spaces.
    pub(super) name: String,
    /// How long it may take.
    pub(super) limit: Duration,
    /// What runs, for the shell: every command must succeed.
    pub(super) script: String,
    /// What must be proven to have happened meanwhile.
    pub(super) fault: Option<Fault>,
}

// Both sides share one emulated processor: they sleep for their completions (-e) where they can.

/// The GID of RoCE v2 over IPv4.
const GID: &str = "-g 1";

/// netem's arguments for each fault. The delay without jitter lets some packets overtake the others.
const FAULTS: [(&str, &str, Fault); 5] = [
    ("loss-1", "loss 1%", Fault::Loss),
    ("loss-5", "loss 5%", Fault::Loss),
    ("reorder", "delay 1ms reorder 25% 50%", Fault::Reorder),
    ("duplicate", "duplicate 10%", Fault::Duplicate),
    ("corrupt", "corrupt 3%", Fault::Corrupt),
];

/// perftest's programs that move data, with a size each and whether a bandwidth is measured.
const PERFTEST: [(&str, &str); 8] = [
    ("ib_write_lat", "-s 4096"),
    ("ib_read_lat", "-s 4096"),
    ("ib_send_lat", "-s 4096"),
    ("ib_atomic_lat", ""),
    ("ib_write_bw", "-s 65536"),
    ("ib_read_bw", "-s 65536"),
    ("ib_send_bw", "-s 65536"),
    ("ib_atomic_bw", ""),
];

/// Which half of a step between two guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    /// The half that listens.
    Server,
    /// The half that connects.
    Client,
}

/// All steps on two devices.
pub(super) fn on_a_pair(programs: &Programs) -> Vec<Step> {
    let mut steps = vec![devices()];
    steps.extend(driver(programs));
    steps.extend(["rc", "uc", "ud", "srq"].map(ping_pong));
    steps.extend(PERFTEST.map(|(program, options)| perftest(program, options)));
    steps.extend(FAULTS.map(|(name, netem, fault)| under_faults(name, netem, fault)));
    steps
}

/// One side's half of all steps between two guests. Both sides' plans have the same names in the same order.
pub(super) fn between_guests(side: Side) -> Vec<Step> {
    let commands = [
        ("pingpong/rc", format!("ibv_rc_pingpong -e -c {GID} -n 500")),
        ("pingpong/ud", format!("ibv_ud_pingpong -e -c {GID} -n 200")),
        ("perftest/ib_write_bw", "ib_write_bw -F -x 1 -n 100 -s 65536".to_owned()),
        ("perftest/ib_read_lat", "ib_read_lat -F -x 1 -n 100 -s 4096".to_owned()),
        ("perftest/ib_send_bw", "ib_send_bw -F -x 1 -n 100 -s 65536".to_owned()),
        ("perftest/ib_atomic_lat", "ib_atomic_lat -F -x 1 -n 100".to_owned()),
    ];
    let half = |(name, command): (&str, String)| {
        let flag = name.replace('/', "-");
        let script = match side {
            Side::Server => format!("serve {flag} 18515 '{command} -d rxe0'\n"),
            Side::Client => format!("visit {flag} '{command} -d rxe0 '\"$PEER\"\n"),
        };
        step(format!("two/{name}"), 60, script)
    };
    commands.into_iter().map(half).collect()
}

fn step(name: impl Into<String>, seconds: u64, script: impl Into<String>) -> Step {
    Step { name: name.into(), limit: Duration::from_secs(seconds), script: script.into(), fault: None }
}

/// libibverbs finds both devices, and their ports are up.
fn devices() -> Step {
    let script = "for device in rxe0 rxe1; do ibv_devinfo -v -d $device | grep PORT_ACTIVE; done\n";
    step("devices", 20, script)
}

/// This driver's own programs.
fn driver(programs: &Programs) -> Vec<Step> {
    let program = |path: &std::path::Path| quote(&path.to_string_lossy());
    let kv = program(&programs.kv);
    vec![
        step("verbs", 60, format!("{} --ignored --test-threads=1\n", program(&programs.nic_verbs))),
        step(
            "kv",
            60,
            format!("{kv} demo --transport verbs --model llama-3-8b --tokens 32 --idle park --json\n"),
        ),
    ]
}

/// One of rdma-core's ping-pongs, both sides checking what they receive where the program can.
fn ping_pong(kind: &str) -> Step {
    let check = if kind == "srq" { "" } else { "-c" };
    let command = format!("ibv_{kind}_pingpong -e {check} {GID} -n 500");
    step(format!("pingpong/{kind}"), 30, two_sided(18515, &command))
}

fn perftest(program: &str, options: &str) -> Step {
    step(format!("perftest/{program}"), 30, two_sided(18515, &format!("{program} -F -x 1 -n 200 {options}")))
}

/// A server on the first device and its client on the second.
fn two_sided(port: u16, command: &str) -> String {
    format!("pair {port} '{command} -d rxe0' '{command} -d rxe1 '\"$ADDRESS\"\n")
}

fn under_faults(name: &str, netem: &str, fault: Fault) -> Step {
    let command = format!("ibv_rc_pingpong -e -c {GID} -n 500");
    let work = two_sided(18515, &command);
    let script = format!("work() {{ {}; }}\nfaulty {} work\n", work.trim(), quote(netem));
    Step { fault: Some(fault), ..step(format!("pingpong/rc/{name}"), 60, script) }
}
