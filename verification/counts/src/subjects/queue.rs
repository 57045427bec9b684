//! Posting and polling: the driver's queue pair over memory, with the stores that a ConnectX gets.

use std::hint::black_box;

use pmd_core::{
    memory::{LocalKey, RemoteAddress, RemoteKey, Sge},
    provider::{Completion, Operation, Payload, Provider, SendFlags, SendRequest},
};

use super::SubjectError;
use crate::{
    device::{Plain, Shape},
    meter::Meter,
};

/// Requests of a subject.
const REQUESTS: u16 = 1024;

/// Requests of a batch, and completions of a poll.
const BATCH: u16 = 16;

const SHAPE: Shape = Shape { slots: 2048, entries: 2048, inline: 28 };

const REMOTE: RemoteAddress = RemoteAddress { address: 0x1000, key: RemoteKey(7) };

/// What is posted at once.
#[derive(Clone, Copy)]
struct Posting {
    name: &'static str,
    /// Requests for one doorbell.
    batch: u16,
    /// Of which one asks for a completion.
    interval: u16,
    is_inline: bool,
}

const POSTINGS: [Posting; 4] = [
    Posting { name: "post-1", batch: 1, interval: 1, is_inline: false },
    Posting { name: "post-1-inline", batch: 1, interval: 1, is_inline: true },
    Posting { name: "post-16", batch: BATCH, interval: 1, is_inline: false },
    Posting { name: "post-16-signalled-once", batch: BATCH, interval: BATCH, is_inline: false },
];

pub(super) fn run(meter: &mut Meter) -> Result<(), SubjectError> {
    for posting in POSTINGS {
        post(meter, posting)?;
    }
    poll(meter, "poll-1", 1, 1)?;
    poll(meter, "poll-16", BATCH, 1)?;
    poll(meter, "poll-16-signalled-once", BATCH, BATCH)?;
    poll_nothing(meter)
}

/// Posts and rings, batch by batch, all in one span: the queue has room.
fn post(meter: &mut Meter, posting: Posting) -> Result<(), SubjectError> {
    let mut device = Plain::new(SHAPE)?;
    for is_counted in [false, true] {
        let mut all = || send(&mut device, posting);
        if is_counted {
            meter.span(all)?
        } else {
            all()?
        }
        device.complete(REQUESTS, posting.interval);
        take(&mut device, REQUESTS / posting.interval, BATCH)?;
    }
    meter.end(posting.name, REQUESTS.into());
    Ok(())
}

/// Takes the completions of posted requests, so many requests' in a poll.
fn poll(meter: &mut Meter, name: &'static str, batch: u16, interval: u16) -> Result<(), SubjectError> {
    let mut device = Plain::new(SHAPE)?;
    let posting = Posting { name, batch, interval, is_inline: false };
    for is_counted in [false, true] {
        send(&mut device, posting)?;
        device.complete(REQUESTS, interval);
        let mut all = || take(&mut device, REQUESTS / interval, batch / interval);
        if is_counted { meter.span(all)? } else { all()? }
    }
    meter.end(name, REQUESTS.into());
    Ok(())
}

/// Polls that find nothing: what a lane does most of the time.
fn poll_nothing(meter: &mut Meter) -> Result<(), SubjectError> {
    let mut device = Plain::new(SHAPE)?;
    let mut completions = [Completion::EMPTY; BATCH as usize];
    meter.span(|| -> Result<(), SubjectError> {
        for _ in 0..REQUESTS {
            device.provider.poll(black_box(&mut completions))?;
        }
        Ok(())
    })?;
    meter.end("poll-nothing", REQUESTS.into());
    Ok(())
}

/// Takes `count` completions, `batch` in a poll, and no more.
#[inline(never)]
fn take(device: &mut Plain, count: u16, batch: u16) -> Result<(), SubjectError> {
    let mut completions = [Completion::EMPTY; BATCH as usize];
    for _ in 0..count / batch {
        let taken = device.provider.poll(black_box(&mut completions[..usize::from(batch)]))?;
        if taken != usize::from(batch) || completions[0].result.is_err() {
            return Err(format!("{taken} completions where {batch} should be").into());
        }
    }
    Ok(())
}

/// All requests, batch by batch, a doorbell for each.
#[inline(never)]
fn send(device: &mut Plain, posting: Posting) -> Result<(), SubjectError> {
    let Plain { provider, queue_pair } = device;
    let bytes = black_box([0x5a_u8; 8]);
    let entry = [Sge { address: black_box(0x2000), length: 4096, key: LocalKey(9) }];
    let local = if posting.is_inline { Payload::Inline(&bytes) } else { Payload::Gather(&entry) };
    for _ in 0..REQUESTS / posting.batch {
        for id in 1..=posting.batch {
            let is_signalled = posting.interval == 1 || id == posting.batch;
            let flags = if is_signalled { SendFlags::SIGNALED } else { SendFlags::empty() };
            let operation = Operation::Write { remote: REMOTE, local };
            let request = SendRequest { id: id.into(), operation, flags };
            provider.post_send(*queue_pair, black_box(&request))?;
        }
        provider.ring_send(*queue_pair);
    }
    Ok(())
}
