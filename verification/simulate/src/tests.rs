//! Small worlds: that they are good, that they are the same again, and that a bad one is noticed.

use af_api::{
    config::Shape,
    rendezvous::machine::{KIND, NodeState},
};
use pmd_host::control::sizes;

use crate::{Run, Settings, Violation, node, not_flat, run, run::DIGITS, world::World};

fn world(nodes: u32, seed: u64) -> Run {
    run(Settings::new(nodes, seed))
}

#[test]
fn the_same_seed_gives_the_same_world_and_another_seed_another() {
    let (first, again, other) = (world(16, 7), world(16, 7), world(16, 8));
    assert_eq!(first, again);
    assert_ne!(first.digest, other.digest);
    assert_eq!((first.violations, other.violations), (vec![], vec![]));
}

#[test]
fn worlds_of_every_seed_keep_their_promises() {
    let mut counts = [0; 5];
    for seed in 1..9 {
        let run = world(16, seed);
        assert_eq!(run.violations, [], "seed {seed}");
        let found = &run.counts;
        let seen =
            [found.failed, found.returned, found.rails_lost, found.credit_messages, found.without_scheduler];
        counts.iter_mut().zip(seen).for_each(|(count, seen)| *count += seen);
    }
    assert!(counts.iter().all(|count| *count > 0), "not everything that can go wrong has: {counts:?}");
}

#[test]
fn what_should_be_flat_is() {
    let runs = [world(16, 3), world(64, 3)];
    assert_eq!(not_flat(&runs), []);
    assert!(runs.iter().all(|run| run.violations.is_empty()), "{:?}", runs[1].violations);
    assert!(runs[1].frames_heard() > 3 * runs[0].frames_heard(), "everybody hears of everybody");
    assert_eq!(runs[0].frames_said(), 2, "a greeting, and the question for a place");
}

#[test]
fn what_a_node_says_of_itself_takes_a_few_digits_more_in_the_largest_cluster() {
    let said = |nodes: u32| {
        let shape = Shape { workers: nodes / 2, servers: nodes / 2, group_size: 1 };
        let config = node::config(nodes - 1, shape);
        let join = NodeState::new(&config).expect("a rank of the shape").join(false);
        (node::greeting_bytes(nodes - 1) + sizes::event_bytes(KIND, &join)) as u64
    };
    let (small, large) = (said(2), said(65_536));
    assert!(small < large && large * 100 <= small * (100 + DIGITS), "{small} and {large} bytes");
}

#[test]
fn what_grows_is_noticed() {
    let (small, mut large) = (world(4, 3), world(8, 3));
    large.line_held += 1;
    let grown = not_flat(&[small.clone(), large]);
    assert!(matches!(grown[..], [Violation::NotFlat { small_nodes: 4, large_nodes: 8, .. }]), "{grown:?}");
    assert_eq!(not_flat(&[small]), []);
}

#[test]
fn what_does_not_come_to_an_end_is_noticed() {
    let mut world = World::new(Settings::new(4, 1));
    world.kill_scheduler();
    world.run_until("nothing", std::time::Duration::from_secs(1), |_| 3);
    assert_eq!(world.violations, [Violation::Stuck { phase: "nothing", seconds: 1, left: 3 }]);
}
