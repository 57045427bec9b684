//! Traces as JSON of the trace event format, for `chrome://tracing` and Perfetto. `af bench` and the language bindings
//! write such files.
//!
//! One row (thread) for each server, with a span for each phase of each request. Servers' stamps are shifted into the
//! worker's clock by the estimated [`ClockOffset`](super::ClockOffset); how far and how surely is in the row's metadata,
//! and in `otherData` of the file.
//! Source: the "Trace Event Format" document of the Chromium project (complete events `X`, metadata events `M`).

use std::io;

use serde_json::{Value, json};

use super::{PeerReport, Recorder, RequestTrace};

/// Process number of the one process in the file.
const PROCESS: u32 = 1;

impl Recorder {
    /// Writes every trace that is kept. Fetch the servers' stamps before, or their spans are missing.
    ///
    /// # Errors
    /// As `writer` fails.
    pub fn write_chrome_trace(&self, process: &str, mut writer: impl io::Write) -> io::Result<()> {
        let (peers, traces) = (self.peers(), self.traces());
        let offsets: Vec<Value> = peers.iter().map(offset).collect();
        let head = json!({ "clock": "the worker's, CLOCK_MONOTONIC", "offsets": offsets });
        write!(writer, "{{\"displayTimeUnit\":\"ns\",\"otherData\":{head},\"traceEvents\":[")?;
        write!(writer, "{}", metadata("process_name", 0, &json!({ "name": process })))?;
        for peer in &peers {
            write!(writer, ",\n{}", metadata("thread_name", row(peer), &json!({ "name": peer.name })))?;
        }
        for trace in &traces {
            let Some(peer) = peers.iter().find(|peer| peer.peer == trace.part.peer) else { continue };
            for event in events(trace, peer) {
                write!(writer, ",\n{event}")?;
            }
        }
        writeln!(writer, "]}}")
    }
}

/// Rows start at 1: viewers treat 0 as "none".
const fn row(peer: &PeerReport) -> u32 {
    peer.peer.0 + 1
}

fn offset(peer: &PeerReport) -> Value {
    json!({
        "peer": peer.name,
        "offset_ns": peer.offset.map(|offset| offset.nanoseconds),
        "uncertainty_ns": peer.offset.map(|offset| offset.uncertainty),
    })
}

fn metadata(name: &str, row: u32, arguments: &Value) -> Value {
    json!({ "ph": "M", "name": name, "pid": PROCESS, "tid": row, "args": arguments })
}

/// The request as a whole, and its phases nested in it.
fn events(trace: &RequestTrace, peer: &PeerReport) -> Vec<Value> {
    let worker = trace.part.stamps;
    let shift = |stamp| peer.offset.map_or(0, |offset| offset.to_worker(stamp));
    let server = trace.server.unwrap_or_default();
    let [received, processed, responded, sent] =
        [server.received, server.processed, server.responded, server.sent].map(shift);
    let end = if worker.completed == 0 { worker.arrived } else { worker.completed };
    let spans = [
        ("request", worker.submitted, end),
        ("event", worker.submitted, worker.event_done),
        ("post", worker.event_done, worker.posted),
        ("outbound", worker.posted, received),
        ("queue", received, processed),
        ("compute", processed, responded),
        ("respond", responded, sent),
        ("inbound", sent, worker.arrived),
        ("complete", worker.arrived, worker.completed),
    ];
    let known = spans.into_iter().filter(|(_, from, to)| *from != 0 && to > from);
    known.map(|(name, from, to)| complete(name, (from, to), trace, row(peer))).collect()
}

/// Times are microseconds with three decimals.
fn complete(name: &str, (from, to): (u64, u64), trace: &RequestTrace, row: u32) -> Value {
    let microseconds = |nanoseconds: u64| nanoseconds as f64 / 1e3;
    let part = &trace.part;
    json!({
        "ph": "X", "name": name, "cat": "af", "pid": PROCESS, "tid": row,
        "ts": microseconds(from), "dur": microseconds(to - from),
        "args": { "request": trace.request, "tag": part.tag, "pushed": part.pushed, "pulled": part.pulled },
    })
}
