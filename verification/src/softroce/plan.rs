//! The steps that are taken on soft-RoCE: what runs, for how long at most, and which faults it is to survive.
//! Called by `softroce`. The steps' scripts use the functions of `verification/softroce/library`.

use std::path::Path;
use std::time::Duration;

use super::errand::quote;
use super::evidence::Fault;
use super::programs::Programs;
use crate::capi::attention;
use crate::demo;
use crate::examples::{self, Device};

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

/// Where ping-pongs and perftest listen unless told otherwise.
const PORT: u16 = 18515;

/// Where the schedulers of af-api's programs listen, one after the other.
const ATTENTION_PORT: u16 = 19_000;

/// The first port of the examples, of which each has its own.
const EXAMPLE_PORT: u16 = 20_000;

/// A way to harm packets.
struct Harm {
    /// Its name.
    name: &'static str,
    /// netem's arguments.
    netem: &'static str,
    /// What it must leave in the counters.
    fault: Fault,
    /// Groups of the conformance suite that it must not break, with endless repetition.
    groups: &'static str,
    /// The same, where repetition must end.
    bounded: &'static str,
}

/// Groups in which a lost packet only costs time.
const TRAFFIC: &str = "data order payload queues atomics ready shared parking lane";

/// With the one that fails queue pairs and uses them again.
const TRAFFIC_AND_LIFETIME: &str = "data order payload queues atomics ready shared parking lane lifetime";

/// Cases of these groups that are left out: wraps of 16-bit indexes would take minutes, and a refusal that is lost is
/// never repeated, so that a requester which repeats without end waits without end.
const LEFT_OUT: [&str; 6] = [
    "indexes_outlive",
    "too_long",
    "a_refused_piece",
    "another_route_goes_on_after",
    "taken_back",
    "takes_back",
];

/// Groups in which the peer refuses or dies. Group `chance` is nowhere: once a packet is lost, soft-RoCE's requester may
/// stand still with fenced requests in its queue, and no counter moves any more.
const REFUSALS: &str = "errors process";

/// The first of them beside all good links takes about as long as the others.
///
/// Delay without jitter lets some packets overtake the others. It also holds acknowledgements back until their queue
/// pair is in use again; soft-RoCE does not check that it has sent what they acknowledge. So groups that use queue pairs
/// again may fail there.
const HARMS: [Harm; 5] = [
    Harm {
        groups: TRAFFIC,
        bounded: "process",
        ..harm("reorder", "delay 0.5ms reorder 25% 50%", Fault::Reorder)
    },
    harm("loss-5", "loss 5%", Fault::Loss),
    harm("loss-1", "loss 1%", Fault::Loss),
    harm("duplicate", "duplicate 10%", Fault::Duplicate),
    harm("corrupt", "corrupt 1%", Fault::Corrupt),
];

const fn harm(name: &'static str, netem: &'static str, fault: Fault) -> Harm {
    Harm { name, netem, fault, groups: TRAFFIC_AND_LIFETIME, bounded: REFUSALS }
}

/// perftest's programs, with their sizes.
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

/// Messages to and fro on links that lose some. With events (-e) perftest hangs there.
const PATIENT_PERFTEST: &str = "ib_send_lat -F -x 1 -n 300 -s 4096";

/// All steps on two devices.
pub(super) fn on_a_pair(programs: &Programs) -> Vec<Step> {
    [on_good_links(programs), on_bad_links(programs, &HARMS)].concat()
}

/// All steps, for two guests. They have a processor each, and take about as long.
pub(super) fn in_guests(programs: &Programs) -> [Vec<Step>; 2] {
    let (reordered, others) = HARMS.split_at(1);
    let first = [on_good_links(programs), on_bad_links(programs, reordered), vec![host(programs)]];
    [first.concat(), [vec![acquaintance(programs)], on_bad_links(programs, others)].concat()]
}

/// Connecting asks for the peer's link address, and fails where the first question or its answer is lost: both ends know
/// each other's before that may happen.
fn acquaintance(programs: &Programs) -> Step {
    let case = format!("some_cases {} verbs::data::writes_of_every_size\n", conformance_command(programs));
    step("acquaintance", 60, case)
}

fn on_good_links(programs: &Programs) -> Vec<Step> {
    let mut steps = vec![devices()];
    steps.extend(driver(programs));
    steps.extend(["rc", "uc", "ud", "srq"].map(ping_pong));
    steps.extend(PERFTEST.map(|(program, options)| perftest(program, options)));
    steps
}

fn on_bad_links(programs: &Programs, harms: &[Harm]) -> Vec<Step> {
    let mut steps = Vec::new();
    for harm in harms {
        let conformance = conformance_on_bad_links(programs, harm);
        steps.push(under_faults("conformance", &conformance, harm));
        // Either ping-pong leaves when it has its last message: if the acknowledgement of that one is lost, the other
        // asks in vain. perftest's programs wait for each other.
        steps.push(if harm.fault.loses() {
            under_faults("perftest", &two_sided(PATIENT_PERFTEST, PATIENT_PERFTEST), harm)
        } else {
            under_faults("interoperation", &interoperation(programs), harm)
        });
    }
    steps
}

/// One side's half of all steps between two guests. Both sides' plans have the same names in the same order.
pub(super) fn between_guests(programs: &Programs, side: Side) -> Vec<Step> {
    let same = |name, command: String| (name, command.clone(), command);
    let (debian, own) = (ibv_rc_pingpong(), pmd_pingpong(programs));
    let commands = [
        ("interoperation/client", debian.clone(), own.clone()),
        ("interoperation/server", own.clone(), debian),
        same("pingpong/own", own),
        same("pingpong/ud", format!("ibv_ud_pingpong -e -c {GID} -n 500")),
        same("perftest/ib_write_bw", "ib_write_bw -F -x 1 -n 100 -s 65536".to_owned()),
        same("perftest/ib_read_lat", "ib_read_lat -F -x 1 -n 100 -s 4096".to_owned()),
        same("perftest/ib_send_bw", "ib_send_bw -F -x 1 -n 100 -s 65536".to_owned()),
        same("perftest/ib_atomic_lat", "ib_atomic_lat -F -x 1 -n 100".to_owned()),
    ];
    let half = |(name, server, client): (&str, String, String)| {
        let flag = name.replace('/', "-");
        let script = match side {
            Side::Server => format!("serve {flag} {PORT} {}\n", quote(&format!("{server} -d rxe0"))),
            Side::Client => format!("visit {flag} {}\n", quote(&format!("{client} -d rxe0 $PEER"))),
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
    let kv = "demo --transport verbs --model llama-3-8b --tokens 32 --idle park --json";
    let (debian, own) = (ibv_rc_pingpong(), pmd_pingpong(programs));
    let mut steps = vec![
        step("conformance", 240, conformance(programs)),
        step("kv", 60, format!("{} {kv}\n", word(&programs.kv))),
        step("af", 90, push_pulls(programs)),
        step("interoperation/client", 30, two_sided(&debian, &own)),
        step("interoperation/server", 30, two_sided(&own, &debian)),
    ];
    steps.extend(demo::INTERFACES.map(|interface| {
        let blocks = "--transport verbs --blocks 64 --block-size 4096 --iters 3 --idle park --json";
        let bench = format!("{} bench --api {interface} --op read {blocks}\n", word(&programs.kv));
        step(format!("bench/{interface}"), 60, bench)
    }));
    let ports = (EXAMPLE_PORT..).step_by(examples::PORTS.into());
    steps.extend(programs.examples.iter().zip(ports).map(|(example, port)| {
        let script = examples::script(example, Device::SoftRoce, port);
        step(format!("example/{}", example.name()), 60, script)
    }));
    steps.extend(programs.attention.iter().map(|(program, path)| {
        let script = attention::script(program, &word(path), Device::SoftRoce, ATTENTION_PORT);
        step(format!("attention/{}", program.name), 120, format!("(\n{script})\n"))
    }));
    steps
}

/// Push-pulls: a model of few layers, all results checked, and round trips that are all verified.
fn push_pulls(programs: &Programs) -> String {
    let af = word(&programs.af);
    let common = "--transport verbs --idle park --json";
    format!(
        "{af} demo --workers 2 --servers 2 --layers 3 --rows 16 --columns 1024 {common}\n\
         {af} bench --push-bytes 65536 --pull-bytes 131072 --iters 20 --warmup 2 --verify all {common}\n"
    )
}

/// The suite of all back ends, between both devices: within one soft-RoCE device no packet would meet netem.
fn conformance(programs: &Programs) -> String {
    format!("some_cases {}\n", conformance_command(programs))
}

/// What of it bad links must not break.
///
/// Soft-RoCE counts the losses of a whole message, so it is told to repeat without end wherever it may.
fn conformance_on_bad_links(programs: &Programs, Harm { groups, bounded, .. }: &Harm) -> String {
    let command = conformance_command(programs);
    let left_out: String = LEFT_OUT.iter().map(|case| format!(" --skip {case}")).collect();
    let patient = format!("{command} --retry-count 7{left_out}");
    format!(
        "for group in {groups}; do some_cases {patient} verbs::$group::; done\n\
         for group in {bounded}; do some_cases {command} --seeds 2 verbs::$group::; done\n"
    )
}

fn conformance_command(programs: &Programs) -> String {
    let options = "--bed verbs --device rxe0 --peer-device rxe1 --effort quick --patience 20";
    format!("{} {options}", word(&programs.conformance))
}

/// This driver's ping-pong as the client of Debian's, with data checked on both sides.
fn interoperation(programs: &Programs) -> String {
    two_sided(&ibv_rc_pingpong(), &pmd_pingpong(programs))
}

fn ibv_rc_pingpong() -> String {
    format!("ibv_rc_pingpong -e -c {GID} -n 500")
}

fn pmd_pingpong(programs: &Programs) -> String {
    format!("{} pingpong -e {GID} -n 500 --transport verbs", word(&programs.pmd))
}

/// One of rdma-core's ping-pongs, both sides checking what they receive where the program can.
fn ping_pong(kind: &str) -> Step {
    let check = if kind == "srq" { "" } else { "-c" };
    let command = format!("ibv_{kind}_pingpong -e {check} {GID} -n 500");
    step(format!("pingpong/{kind}"), 30, two_sided(&command, &command))
}

fn perftest(program: &str, options: &str) -> Step {
    let command = format!("{program} -F -x 1 -n 200 {options}");
    step(format!("perftest/{program}"), 30, two_sided(&command, &command))
}

/// A server on the first device and its client on the second; both programs must be content.
fn two_sided(server: &str, client: &str) -> String {
    format!(
        "pair {PORT} {} {}\n",
        quote(&format!("{server} -d rxe0")),
        quote(&format!("{client} -d rxe1 $ADDRESS"))
    )
}

fn under_faults(name: &str, work: &str, harm: &Harm) -> Step {
    let script = format!("work() {{\n{work}}}\nfaulty {} work\n", quote(harm.netem));
    Step { fault: Some(harm.fault), ..step(format!("{name}/{}", harm.name), 240, script) }
}

/// `--host` where there is a kernel for it, which must be left as it was: after a command, and after being ended in the
/// middle of one. It takes the place of the devices that all other steps use, so it is the last.
fn host(programs: &Programs) -> Step {
    let host = format!("{} softroce --host", word(&programs.verification));
    let script = format!(
        "remove_devices\n\
         export TMPDIR=$(mktemp -d)\n\
         before=$(traces)\n\
         {host} -- ibv_devinfo -d rxe1\n\
         until_traces_are \"$before\"\n\
         {host} -- sleep 60 &\n\
         until_devices_are_there\n\
         kill $!\n\
         until_traces_are \"$before\"\n"
    );
    step("host", 60, script)
}

fn word(path: &Path) -> String {
    quote(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use super::*;
    use crate::examples::{EXAMPLES, Runnable};

    fn programs() -> Programs {
        let path = |name: &str| format!("/it's a path/{name}").into();
        Programs {
            kv: path("kv"),
            af: path("af"),
            pmd: path("pmd"),
            conformance: path("conformance"),
            verification: path("verification"),
            examples: EXAMPLES.iter().map(|example| Runnable::new(example, "'/it is/an example'")).collect(),
            attention: attention::PROGRAMS.iter().map(|program| (program, path(program.name))).collect(),
        }
    }

    fn names(steps: &[Step]) -> BTreeSet<&str> {
        steps.iter().map(|step| step.name.as_str()).collect()
    }

    #[test]
    fn steps_have_names_of_their_own_in_one_word() {
        for steps in [in_guests(&programs()).concat(), between_guests(&programs(), Side::Server)] {
            assert_eq!(names(&steps).len(), steps.len());
            assert!(steps.iter().all(|step| !step.name.contains(char::is_whitespace)));
        }
    }

    #[test]
    fn both_guests_take_the_same_steps() {
        let [server, client] = [Side::Server, Side::Client].map(|side| between_guests(&programs(), side));
        assert_eq!(names(&server), names(&client));
        assert!(server.iter().zip(&client).all(|(server, client)| server.script != client.script));
    }

    #[test]
    fn the_driver_meets_every_fault() {
        let steps = on_a_pair(&programs());
        for Harm { name, netem, fault, .. } in &HARMS {
            let step = steps.iter().find(|step| step.name == format!("conformance/{name}")).expect(name);
            assert_eq!(step.fault, Some(*fault));
            assert!(step.script.contains(&format!("faulty '{netem}' work")), "{}", step.script);
        }
    }

    #[test]
    fn scripts_are_understood_by_the_shell() {
        let between = [Side::Server, Side::Client].map(|side| between_guests(&programs(), side)).concat();
        for step in in_guests(&programs()).concat().into_iter().chain(between) {
            let checked = Command::new("sh").args(["-n", "-c", &step.script]).status().expect("a shell");
            assert!(checked.success(), "{}: {}", step.name, step.script);
        }
    }
}
