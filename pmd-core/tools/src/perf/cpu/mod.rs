//! `pmd perf post` and `pmd perf poll`: what one work request costs the CPU, without a second process.
//!
//! | device | posts and polls | at the doorbell |
//! |---|---|---|
//! | in-process | the driver's queues over plain memory | nothing: completions are written between the measured spans |
//! | soft HCA | the same queues, connected to each other | moves the bytes |
//!
//! The first is the driver alone, as silicon would leave it; the second is what a machine without a NIC pays.

use pmd_core::provider::{Operation, Payload, Provider, QueuePairHandle};
use pmd_host::backend::{Backend, ConnectOptions, QueuePairConfig};
use serde::Serialize;

use super::{
    Arguments, PerfError, cores,
    cores::Cores,
    fabric::{Chosen, Fabric, Task},
    plan::{MemoryChoice, Test},
    progress::Progress,
};
use crate::{
    memory::Memory,
    outcome::{self, Outcome},
};

mod cost;
mod in_process;
mod instructions;

use cost::{Cost, Costs, Subject};
use in_process::InProcess;

/// Requests in one measured span.
const SPAN: u32 = 256;

/// Spans by default: a quarter of a million requests.
const SPANS: u64 = 1000;

/// Payloads up to this size can be inline here.
const INLINE: u32 = 128;

/// What one device gave.
#[derive(Debug, Serialize)]
struct DeviceCost {
    device: String,
    /// Writing the queue entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    post: Option<Cost>,
    /// Writing it and ringing the doorbell, for every request.
    #[serde(skip_serializing_if = "Option::is_none")]
    post_and_doorbell: Option<Cost>,
    /// One completion, 32 taken in a poll.
    #[serde(skip_serializing_if = "Option::is_none")]
    poll: Option<Cost>,
    verified: bool,
}

/// The JSON object.
#[derive(Debug, Serialize)]
struct Report {
    op: &'static str,
    transport: &'static str,
    size: u32,
    payload: &'static str,
    iters: u64,
    verified: bool,
    verification: &'static str,
    results: Vec<DeviceCost>,
}

/// Measures both devices.
pub(super) fn run(test: Test, arguments: &Arguments) -> Result<Outcome, PerfError> {
    let chosen = Chosen::new(arguments.transport, arguments.device.clone())?;
    cores::pin(Cores::choose(&arguments.cores).own)?;
    let work = Work {
        test,
        size: arguments.size,
        inline: arguments.size <= arguments.inline_bytes(chosen.transport).min(INLINE),
        spans: arguments.iters.map_or(SPANS, |iters| iters.div_ceil(SPAN.into())),
        memory: arguments.memory,
    };
    let results = vec![work.in_process()?, chosen.run(&work)?];
    let report = Report {
        op: test.name(),
        transport: chosen.transport.name(),
        size: work.size,
        payload: if work.inline { "inline" } else { "gather" },
        iters: work.spans * u64::from(SPAN),
        verified: results.iter().all(|result| result.verified),
        verification: "every completion's id; on the soft HCA every byte at the end",
        results,
    };
    if arguments.json {
        outcome::print_json(&report);
    } else {
        outcome::print(&table(&report));
    }
    Ok(Outcome::Done)
}

/// What is posted, and how often.
#[derive(Clone, Copy, Debug)]
struct Work {
    test: Test,
    size: u32,
    inline: bool,
    spans: u64,
    memory: MemoryChoice,
}

impl Work {
    fn in_process(&self) -> Result<DeviceCost, PerfError> {
        let mut device = InProcess::new()?;
        let bytes = vec![0x5a; self.size as usize];
        let entry = [in_process::entry(&bytes)];
        let local = if self.inline { Payload::Inline(&bytes) } else { Payload::Gather(&entry) };
        let operation = Operation::Write { remote: in_process::REMOTE, local };
        let queue_pair = device.queue_pair();
        let subject = Subject { provider: device.provider(), queue_pair, operation, span: SPAN };
        self.measure(subject, InProcess::deliver, "in-process".into())
    }

    fn measure<P: Provider>(
        &self,
        mut subject: Subject<'_, P>,
        deliver: impl FnMut(&mut P),
        device: String,
    ) -> Result<DeviceCost, PerfError> {
        let progress = Progress::new(self.spans, format!("{} {device}", self.test.name()));
        let Costs { post, post_and_doorbell, poll } = subject.measure(self.spans, deliver, &progress)?;
        let is_post = self.test == Test::Post;
        Ok(DeviceCost {
            device,
            post: is_post.then_some(post),
            post_and_doorbell: is_post.then_some(post_and_doorbell),
            poll: (!is_post).then_some(poll),
            verified: true,
        })
    }
}

impl Task for &Work {
    type Output = DeviceCost;

    fn run<B: Backend, F: Fabric>(self, mut backend: B, fabric: &F) -> Result<DeviceCost, PerfError> {
        let (queue_pair, _) = loopback(&mut backend)?;
        let mut source = fabric.memory(self.size.into(), self.memory)?;
        let mut target = fabric.memory(self.size.into(), self.memory)?;
        source.fill(0, self.size, 1);
        target.poison();
        let entry = [source.sge(0, self.size)?];
        let local = if self.inline {
            Payload::Inline(source.outgoing(0, self.size))
        } else {
            Payload::Gather(&entry)
        };
        let operation = Operation::Write { remote: Memory::remote(&target), local };
        let subject = Subject { provider: &mut backend, queue_pair, operation, span: SPAN };
        let cost = self.measure(subject, |_| (), fabric.device())?;
        target.check(0, self.size, 1, None)?;
        Ok(cost)
    }
}

/// Two queue pairs of one back end, connected to each other.
fn loopback<B: Backend>(backend: &mut B) -> Result<(QueuePairHandle, QueuePairHandle), PerfError> {
    let config = QueuePairConfig {
        send_slots: 4 * SPAN,
        receives: 1,
        sges: 1,
        inline_bytes: INLINE,
        shared_receive: None,
    };
    let pair = (backend.create_queue_pair(&config)?, backend.create_queue_pair(&config)?);
    let (one, other) = (backend.address(pair.0)?, backend.address(pair.1)?);
    backend.connect(pair.0, &other, &ConnectOptions::default())?;
    backend.connect(pair.1, &one, &ConnectOptions::default())?;
    Ok(pair)
}

fn table(report: &Report) -> String {
    let Report { op, size, payload, iters, verification, .. } = report;
    let mut out = format!(
        "{op}: WRITE of {size} bytes ({payload}), {iters} requests, {SPAN} in a span; CPU cost of one\n\
         verified: {verification}\n{:<12} {:<18} {:>9} {:>9} {:>13}\n",
        "device", "what", "ns (p50)", "average", "instructions"
    );
    for result in &report.results {
        let rows = [
            ("post", &result.post),
            ("post and doorbell", &result.post_and_doorbell),
            ("poll", &result.poll),
        ];
        for (what, cost) in rows {
            let Some(cost) = cost else { continue };
            let instructions = cost.instructions.map_or_else(|| "-".into(), |count| format!("{count:.1}"));
            out += &format!(
                "{:<12} {what:<18} {:>9.2} {:>9.2} {instructions:>13}\n",
                result.device, cost.p50_ns, cost.average_ns
            );
        }
    }
    out
}
