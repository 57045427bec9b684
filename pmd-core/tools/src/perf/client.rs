//! The side that measures.

use std::time::Duration;

use pmd_host::backend::{Backend, Transport};

use super::{
    bandwidth::Stream,
    error::PerfError,
    fabric::{Fabric, Task},
    latency::{ReadTurns, Turns, drive},
    peer::{Message, PATIENCE, Peer},
    plan::{Plan, Test},
    progress::Progress,
    report::{Figures, Measurement},
    side::{Role, Side, Unconnected},
};
use crate::statistics::Summary;

/// Measures every size of a plan with the server at the other end of `peer`.
#[derive(Debug)]
pub(super) struct Measure {
    pub(super) peer: Peer,
    pub(super) plan: Plan,
}

impl Task for Measure {
    type Output = Vec<Measurement>;

    fn run<B: Backend, F: Fabric>(self, backend: B, fabric: &F) -> Result<Vec<Measurement>, PerfError> {
        let Self { mut peer, plan } = self;
        let transport = backend.transport();
        let mut side = Unconnected::new(backend, fabric, Role::Client, &plan)?;
        let endpoint = side.endpoint()?;
        peer.send(&Message::Setup { plan: plan.clone(), transport, endpoint })?;
        let Message::Endpoint(remote) = peer.receive()? else { return Err(PerfError::OutOfTurn) };
        let remote = peer.seen(remote);
        side.connect(&remote)?;
        let mut side = side.with(peer, remote);
        let device = fabric.device();
        plan.sizes.iter().map(|size| round(&mut side, *size, transport, &device)).collect()
    }
}

/// Measures one size.
fn round<B: Backend>(
    side: &mut Side<B>,
    size: u32,
    transport: Transport,
    device: &str,
) -> Result<Measurement, PerfError> {
    let (warm_up, iterations) = (side.plan.warm_up(size), side.plan.iterations(size));
    side.prepare(size);
    side.link.peer.send(&Message::Round { size, warm_up, iterations })?;
    expect(side, &Message::Ready)?;
    let progress = Progress::new(iterations, format!("{} {size} bytes", side.plan.test.name()));
    let figures = run(side, size, warm_up, iterations, &progress)?;
    drop(progress);
    side.link.peer.send(&Message::Finish)?;
    expect(side, &Message::Done)?;
    Ok(Measurement::new(side, size, transport, device, figures))
}

fn expect<B: Backend>(side: &mut Side<B>, expected: &Message) -> Result<(), PerfError> {
    if side.link.next(Some(PATIENCE))? == *expected { Ok(()) } else { Err(PerfError::OutOfTurn) }
}

fn run<B: Backend>(
    side: &mut Side<B>,
    size: u32,
    warm_up: u64,
    iterations: u64,
    progress: &Progress,
) -> Result<Figures, PerfError> {
    let total = warm_up + iterations;
    match side.plan.test {
        Test::WriteLat => turns(&mut side.write_turns(size), warm_up, iterations, progress, 2),
        Test::SendLat => turns(&mut side.send_turns(size, total)?, warm_up, iterations, progress, 2),
        Test::ReadLat => {
            let (shape, remote) = (side.shape(size), side.remote.outgoing);
            let mut reads = ReadTurns::new(&mut side.link, &side.incoming, remote, shape);
            turns(&mut reads, warm_up, iterations, progress, 1)
        }
        Test::WriteBw | Test::ReadBw => {
            let elapsed = stream(side, size, warm_up, iterations, progress)?;
            if side.plan.test == Test::ReadBw {
                side.verify_places(size, iterations)?;
            }
            Ok(Figures::bandwidth(elapsed, size, iterations, &side.plan))
        }
        Test::Post | Test::Poll => Err(PerfError::OutOfTurn),
    }
}

fn turns(
    turns: &mut impl Turns,
    warm_up: u64,
    iterations: u64,
    progress: &Progress,
    parts: u32,
) -> Result<Figures, PerfError> {
    let samples = drive(turns, warm_up, iterations, progress)?;
    turns.verify(warm_up + iterations)?;
    let summary = Summary::new(samples, parts).ok_or(PerfError::OutOfTurn)?;
    Ok(Figures::latency(summary, parts))
}

fn stream<B: Backend>(
    side: &mut Side<B>,
    size: u32,
    warm_up: u64,
    iterations: u64,
    progress: &Progress,
) -> Result<Duration, PerfError> {
    let is_read = side.plan.test == Test::ReadBw;
    let (local, remote) =
        if is_read { (&side.incoming, side.remote.outgoing) } else { (&side.outgoing, side.remote.incoming) };
    let stream = Stream {
        local,
        remote,
        is_read,
        inline: side.plan.is_inline(size),
        size,
        places: side.plan.places(size),
        queue_depth: side.plan.queue_depth.into(),
        batch: side.plan.batch.into(),
    };
    stream.run(&mut side.link, warm_up, iterations, progress)
}
