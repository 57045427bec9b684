//! Tests of the traces: made-up stamps, so that every figure is known.

mod chrome;
mod message;
mod offset;
mod recorder;
mod stamps;
mod stragglers;

use super::{Part, PeerNumber, Recorder, ServerRecorder, ServerStamps, WorkerStamps};

/// Stamps 100, 110, 130, `arrived` and 5 later.
fn worker_stamps(arrived: u64) -> WorkerStamps {
    WorkerStamps { submitted: 100, event_done: 110, posted: 130, arrived, completed: arrived + 5 }
}

/// Received at `received`, processed 10, responded 40 and sent 42 later.
fn server_stamps(received: u64) -> ServerStamps {
    ServerStamps { received, processed: received + 10, responded: received + 40, sent: received + 42 }
}

fn part(peer: PeerNumber, tag: u64, stamps: WorkerStamps) -> Part {
    Part { peer, tag, pushed: 64, pulled: 128, stamps }
}

/// Lets the worker fetch what is missing of one of its servers.
fn fetch(worker: &Recorder, to: PeerNumber, server: &ServerRecorder, from: PeerNumber) -> usize {
    let query = worker.query(to, None).expect("stamps are missing");
    worker.merge(to, &server.answer(from, &query).expect("a good query")).expect("a good answer")
}
