//! The side that answers: in ping-pongs it sends every message back, otherwise it lends its memory.

use pmd_host::backend::Backend;

use super::{
    error::PerfError,
    fabric::{Chosen, Fabric, Task},
    latency::{Turns, answer},
    peer::{Endpoint, Message, Peer},
    plan::{Plan, Test},
    side::{Role, Side, Unconnected},
};
use crate::{Failure, outcome::explain};

/// Serves one client until it goes.
pub(super) fn serve(mut peer: Peer, device: Option<String>) -> Result<(), PerfError> {
    match peer.receive()? {
        Message::Setup { plan, transport, endpoint } => {
            let client = peer.seen(endpoint);
            Chosen { transport, device }.run(Serve { peer, plan, client })
        }
        _ => Err(PerfError::OutOfTurn),
    }
}

struct Serve {
    peer: Peer,
    plan: Plan,
    client: Endpoint,
}

impl Task for Serve {
    type Output = ();

    fn run<B: Backend, F: Fabric>(self, backend: B, fabric: &F) -> Result<(), PerfError> {
        let Self { peer, plan, client } = self;
        let side = match prepare(backend, fabric, &plan, &client) {
            Ok(side) => side,
            Err(error) => return refuse(&peer, error),
        };
        peer.send(&Message::Endpoint(side.endpoint()?))?;
        let mut side = side.with(peer, client);
        rounds(&mut side).or_else(|error| refuse(&side.link.peer, error))
    }
}

fn prepare<B: Backend>(
    backend: B,
    fabric: &impl Fabric,
    plan: &Plan,
    client: &Endpoint,
) -> Result<Unconnected<B>, PerfError> {
    let mut side = Unconnected::new(backend, fabric, Role::Server, plan)?;
    side.connect(client)?;
    Ok(side)
}

/// Tells the client why it is over.
fn refuse(peer: &Peer, error: PerfError) -> Result<(), PerfError> {
    if !matches!(error, PerfError::Down(_) | PerfError::Peer { .. }) {
        let text = explain(&error);
        // A client that is gone has its own troubles.
        let _ = peer.send(&Message::Failed { code: error.outcome() as u8, text });
    }
    Err(error)
}

fn rounds<B: Backend>(side: &mut Side<B>) -> Result<(), PerfError> {
    for _ in 0..side.plan.sizes.len() {
        let Message::Round { size, warm_up, iterations } = side.link.next(None)? else {
            return Err(PerfError::OutOfTurn);
        };
        if size == 0 || size > side.plan.largest() {
            return Err(PerfError::OutOfTurn);
        }
        side.prepare(size);
        round(side, size, warm_up, iterations)?;
        side.link.peer.send(&Message::Done)?;
    }
    // The client closes: leaving first would flush what it still has under way.
    match side.link.next(None) {
        Err(PerfError::Down(_)) => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(PerfError::OutOfTurn),
    }
}

/// One size, until the client has finished.
fn round<B: Backend>(side: &mut Side<B>, size: u32, warm_up: u64, iterations: u64) -> Result<(), PerfError> {
    let total = warm_up.saturating_add(iterations);
    match side.plan.test {
        Test::WriteLat => {
            side.link.peer.send(&Message::Ready)?;
            let mut turns = side.write_turns(size);
            answer(&mut turns, total)?;
            turns.verify(total)?;
            finished(side)
        }
        Test::SendLat => {
            // The receives are posted by now, so that the client's first message finds one.
            let mut turns = side.send_turns(size, total)?;
            turns.peer().send(&Message::Ready)?;
            answer(&mut turns, total)?;
            turns.verify(total)?;
            finished(side)
        }
        Test::WriteBw => {
            side.link.peer.send(&Message::Ready)?;
            finished(side)?;
            side.verify_places(size, iterations)
        }
        Test::ReadBw | Test::ReadLat => {
            side.link.peer.send(&Message::Ready)?;
            finished(side)
        }
        Test::Post | Test::Poll => Err(PerfError::OutOfTurn),
    }
}

/// Waits until the client has finished.
fn finished<B: Backend>(side: &mut Side<B>) -> Result<(), PerfError> {
    match side.link.next(None)? {
        Message::Finish => Ok(()),
        _ => Err(PerfError::OutOfTurn),
    }
}
