//! Bundles by themselves: single steps, and two ends in a simulated world whose rails break at random.

mod fair;
mod pairing;
mod steps;
mod world;

use std::time::Duration;

use super::{
    Action, Bundle, BundleConfig, ChunkId, DISCOVERY, Fate, Inbox, Pairing, Port, RailId, RailSet, RailState,
    Reach, Request, Role, Taken, TransferId, WINDOW, pairs,
};
use crate::transfer::{Direction, Priority};

/// What failures are told by here.
type Why = &'static str;

const NOW: Duration = Duration::from_secs(1);

fn writing(chunks: &[u64]) -> Request<'_> {
    Request {
        chunks,
        direction: Direction::Write,
        notify: true,
        priority: Priority::Normal,
        near: RailSet::ALL,
    }
}

/// Everything that is to be done now.
fn all(bundle: &mut Bundle<Why>, now: Duration) -> Vec<Action<Why>> {
    std::iter::from_fn(|| bundle.poll(now)).collect()
}

/// A bundle whose rails are all up.
fn up(rails: usize, config: BundleConfig) -> Bundle<Why> {
    let mut bundle = Bundle::new(rails, Role::Opens, config);
    for action in all(&mut bundle, NOW) {
        let Action::Open { rail } = action else { panic!("{action:?}") };
        bundle.opened(rail, NOW);
        assert_eq!(bundle.poll(NOW), Some(Action::Probe { rail }));
        bundle.answered(rail, NOW);
        assert_eq!(bundle.state(rail.number), Some(RailState::Up));
    }
    bundle
}

/// The chunks that are posted now, with their rails.
fn posts(bundle: &mut Bundle<Why>, now: Duration) -> Vec<(u16, u32)> {
    let post = |action| match action {
        Action::Post { rail, chunk } => (rail.number, chunk.index),
        other => panic!("{other:?}"),
    };
    all(bundle, now).into_iter().map(post).collect()
}

const fn rail(number: u16, life: u32) -> RailId {
    RailId { number, life }
}

const fn chunk(transfer: TransferId, index: u32) -> ChunkId {
    ChunkId { transfer, index }
}
