//! The far end dies, or says goodbye, in the midst of it all.

use super::*;

impl World {
    /// Lets the first so many things happen.
    fn run_for(&mut self, events: usize) {
        self.settle();
        for _ in 0..events {
            let Some(Reverse((time, _, event))) = self.events.pop() else { return };
            self.now = self.now.max(time);
            self.happen(event);
            self.settle();
        }
    }

    /// What the far end has carried out and answered for, and whose answers are on their way to the near one.
    fn answers(&self) -> Vec<(RailId, Load)> {
        let answer = |Reverse((_, _, event)): &Reverse<(Time, u32, Event)>| match *event {
            Event::Back { end: 0, rail, load } => Some((rail, load)),
            _ => None,
        };
        let outstanding = &self.ends[0].outstanding;
        self.events.iter().filter_map(answer).filter(|answer| outstanding.contains(answer)).collect()
    }

    /// Transfers of the near end of which everything was posted, and is answered for by these.
    fn answered_in_full(&self, answers: &[(RailId, Load)]) -> Vec<TransferId> {
        let is_answered = |of: &dyn Fn(&Load) -> bool| answers.iter().any(|(_, load)| of(load));
        let is_whole = |(id, work): &(&TransferId, &Work)| {
            let chunk = |index| ChunkId { transfer: **id, index };
            let chunks = (0..work.chunks.len() as u32).all(|index| {
                let answered = || is_answered(&|load| *load == Load::Chunk(chunk(index)));
                work.landed.contains(&index) || answered()
            });
            let told = |load: &Load| matches!(load, Load::Notification { transfer, .. } if transfer == *id);
            chunks && (!work.notify || is_answered(&told))
        };
        let running = |work: &Work| work.outcome.is_none() && !work.cancelled;
        let all = self.ends[0].work.iter().filter(|(_, work)| running(work));
        all.filter(is_whole).map(|(id, _)| *id).collect()
    }

    /// What follows from the peer's leaving: nothing is begun.
    fn wind_up(&mut self) {
        while let Some(action) = self.ends[0].bundle.poll(self.clock()) {
            self.ends[0].bundle.check();
            match action {
                Action::Finish { transfer, outcome, .. } => self.finish(0, transfer, outcome),
                Action::Close { .. } | Action::Tell { .. } | Action::Stop { .. } => {}
                action => panic!("{action:?} although the peer has left"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// A peer that dies at any moment ends everything.
    #[test]
    fn a_peer_that_dies_ends_everything(seed: u64, rails in 1_usize..4, events in 0_usize..400) {
        let mut world = World::new(seed, rails, 10, 4);
        world.run_for(events);
        world.ends[0].bundle.peer_down("dead");
        world.ends[0].open.clear();
        world.settle();
        let outstanding: Vec<_> = world.ends[0].outstanding.iter().copied().collect();
        world.ends[0].outstanding.clear();
        for (rail, load) in outstanding {
            world.come_back(0, rail, load, Fate::Lost("cut"));
        }
        while world.ends[0].bundle.poll(world.clock()).is_some() {}
        prop_assert_eq!(world.ends[0].bundle.unfinished(), 0);
    }

    /// A peer that leaves at any moment: what it has answered for counts, and all else ends.
    #[test]
    fn a_peer_that_leaves_is_heard_to_the_end(seed: u64, rails in 1_usize..4, events in 0_usize..400) {
        prop_assert!(leaves(seed, rails, events).is_ok());
    }
}

/// Has the far end leave after so many events. Returns the transfers that ended well by the answers on their way.
fn leaves(seed: u64, rails: usize, events: usize) -> Result<usize, TestCaseError> {
    let mut world = World::new(seed, rails, 10, 4);
    world.run_for(events);
    let answers = world.answers();
    let whole = world.answered_in_full(&answers);
    world.ends[0].bundle.peer_left("left");
    world.wind_up();
    world.broken.fill(false);
    for (rail, load) in answers {
        world.back(0, rail, load);
        world.wind_up();
    }
    let outstanding: Vec<_> = world.ends[0].outstanding.iter().copied().collect();
    world.ends[0].outstanding.clear();
    for (rail, load) in outstanding {
        world.come_back(0, rail, load, Fate::Lost("down"));
        world.wind_up();
    }
    prop_assert_eq!(world.ends[0].bundle.unfinished(), 0);
    for transfer in &whole {
        prop_assert!(world.ends[0].work[transfer].outcome.is_some_and(|outcome| outcome.is_ok()));
    }
    Ok(whole.len())
}

/// Peers of the test above do not only leave when nothing is on its way.
#[test]
fn some_peers_leave_with_answers_on_their_way() {
    let seeds = (1_u64..800).map(|seed| 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
    let whole =
        seeds.map(|seed| leaves(seed, 2, 40 + (seed % 160) as usize).expect("they end as they should"));
    assert!(whole.sum::<usize>() > 0);
}
