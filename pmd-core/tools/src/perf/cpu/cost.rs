//! The measured spans: post, post with doorbell, poll.

use std::time::{Duration, Instant};

use pmd_core::provider::{Completion, Operation, Provider, QueuePairHandle, SendFlags, SendRequest};
use serde::Serialize;

use super::instructions::Instructions;
use crate::perf::{error::PerfError, progress::Progress};

/// Completions taken in one poll.
const POLLED: usize = 32;

/// Longest wait for completions.
const STALL: Duration = Duration::from_secs(10);

/// CPU cost of one request.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Cost {
    /// Median of the spans.
    pub(super) p50_ns: f64,
    pub(super) average_ns: f64,
    /// User-mode instructions; none where the system does not let this process count.
    pub(super) instructions: Option<f64>,
}

/// The three costs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Costs {
    pub(super) post: Cost,
    pub(super) post_and_doorbell: Cost,
    pub(super) poll: Cost,
}

/// What is measured: one operation, posted `span` times in a row.
#[derive(Debug)]
pub(super) struct Subject<'a, P> {
    pub(super) provider: &'a mut P,
    pub(super) queue_pair: QueuePairHandle,
    pub(super) operation: Operation<'a>,
    pub(super) span: u32,
}

impl<P: Provider> Subject<'_, P> {
    /// Measures `spans` spans of each kind; `deliver` completes what was rung, outside of what is measured.
    pub(super) fn measure(
        &mut self,
        spans: u64,
        mut deliver: impl FnMut(&mut P),
        progress: &Progress,
    ) -> Result<Costs, PerfError> {
        let instructions = Instructions::open();
        let mut meters = [(); 3].map(|()| Meter::new(&instructions, spans));
        for span in 0..spans + spans.div_ceil(10) {
            let [post, both, poll] = &mut meters;
            post.time(|| self.post())?;
            self.provider.ring_send(self.queue_pair);
            deliver(self.provider);
            poll.time(|| self.poll())?;
            both.time(|| self.post_and_ring())?;
            deliver(self.provider);
            self.poll()?;
            if span + 1 == spans.div_ceil(10) {
                meters.iter_mut().for_each(Meter::forget);
            }
            progress.reached(span);
        }
        let [post, both, poll] = meters.map(|meter| meter.cost(self.span));
        Ok(Costs { post, post_and_doorbell: both, poll })
    }

    fn post(&mut self) -> Result<(), PerfError> {
        for id in 0..self.span {
            let request = request(id, self.operation);
            self.provider.post_send(self.queue_pair, &request)?;
        }
        Ok(())
    }

    fn post_and_ring(&mut self) -> Result<(), PerfError> {
        for id in 0..self.span {
            let request = request(id, self.operation);
            self.provider.post_send(self.queue_pair, &request)?;
            self.provider.ring_send(self.queue_pair);
        }
        Ok(())
    }

    /// Takes a span's completions, which must come in order.
    fn poll(&mut self) -> Result<(), PerfError> {
        let mut completions = [Completion::EMPTY; POLLED];
        let mut next = 0;
        let mut idle_since = None;
        while next < u64::from(self.span) {
            let count = self.provider.poll(&mut completions)?;
            for completion in &completions[..count] {
                completion.result?;
                if completion.id != next {
                    let (id, found) = (completion.id, completion.byte_length);
                    return Err(PerfError::Unexpected { id, found, expected: 0 });
                }
                next += 1;
            }
            if count == 0 {
                let since = *idle_since.get_or_insert_with(Instant::now);
                if since.elapsed() > STALL {
                    return Err(PerfError::Stalled(STALL));
                }
            }
        }
        Ok(())
    }
}

#[inline(always)]
fn request(id: u32, operation: Operation<'_>) -> SendRequest<'_> {
    SendRequest { id: id.into(), operation, flags: SendFlags::SIGNALED }
}

/// Times and instructions of one kind of span.
#[derive(Debug)]
struct Meter<'a> {
    instructions: &'a Option<Instructions>,
    samples: Vec<Duration>,
    counted: u64,
}

impl<'a> Meter<'a> {
    fn new(instructions: &'a Option<Instructions>, spans: u64) -> Self {
        Self { instructions, samples: Vec::with_capacity((spans + spans.div_ceil(10)) as usize), counted: 0 }
    }

    fn time(&mut self, span: impl FnOnce() -> Result<(), PerfError>) -> Result<(), PerfError> {
        let before = self.instructions.as_ref().and_then(Instructions::count);
        let start = Instant::now();
        let outcome = span();
        self.samples.push(start.elapsed());
        let after = self.instructions.as_ref().and_then(Instructions::count);
        self.counted += before.zip(after).map_or(0, |(before, after)| after - before);
        outcome
    }

    /// Drops what was measured while caches and branch predictors filled.
    fn forget(&mut self) {
        self.samples.clear();
        self.counted = 0;
    }

    fn cost(mut self, span: u32) -> Cost {
        self.samples.sort_unstable();
        let nanoseconds = |time: Duration| time.as_nanos() as f64 / f64::from(span);
        let median = self.samples.get(self.samples.len() / 2).copied().unwrap_or_default();
        let spans = self.samples.len().max(1) as f64;
        Cost {
            p50_ns: nanoseconds(median),
            average_ns: nanoseconds(self.samples.iter().sum()) / spans,
            instructions: (self.counted > 0).then(|| self.counted as f64 / spans / f64::from(span)),
        }
    }
}
