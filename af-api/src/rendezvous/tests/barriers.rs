//! Barriers between nodes.

use std::time::Instant;

use super::*;

fn both() -> Barrier {
    Barrier::new("both", Roles::WORKER | Roles::SERVER)
}

#[test]
fn nobody_goes_on_before_everybody_has_come() {
    let scheduler = scheduler(3, 2, 1);
    let (workers, servers) = form(&scheduler, 3, 2);
    let arrived = std::sync::Mutex::new(0);
    let everyone = Barrier::new("all", Roles::all());
    thread::scope(|scope| {
        for node in workers.iter().chain(&servers) {
            scope.spawn(|| {
                for round in 1..=20 {
                    *arrived.lock().unwrap() += 1;
                    node.barrier(&both(), PATIENCE).unwrap();
                    let count = *arrived.lock().unwrap();
                    assert!(count >= 5 * round && count < 5 * (round + 1), "{count} in round {round}");
                    // The name begins anew.
                    node.barrier(&both(), PATIENCE).unwrap();
                }
                node.barrier(&everyone, PATIENCE).unwrap();
            });
        }
        scheduler.barrier(&everyone, PATIENCE).unwrap();
    });
}

#[test]
fn a_barrier_that_takes_too_long_names_who_is_missing_and_can_be_repeated() {
    let scheduler = scheduler(2, 1, 1);
    let (workers, servers) = form(&scheduler, 2, 1);
    let begin = Instant::now();
    let error = workers[0].barrier(&both(), SHORT).unwrap_err();
    let BarrierError::Missing { name, missing, waited } = &error else { panic!("unexpected: {error}") };
    assert_eq!((name.as_str(), &missing[..]), ("both", &[MemberId::server(0), MemberId::worker(1)][..]));
    assert!(*waited >= SHORT && begin.elapsed() < PATIENCE);
    assert!(error.to_string().contains("server 0; worker 1"), "{error}");
    let with_scheduler = Barrier::new("s", Roles::SCHEDULER | Roles::SERVER);
    let error = scheduler.barrier(&with_scheduler, SHORT).unwrap_err();
    let BarrierError::Missing { missing, .. } = error else { panic!("unexpected: {error}") };
    assert_eq!(missing, [MemberId::server(0)]);
    thread::scope(|scope| {
        for node in workers.iter().chain(&servers) {
            scope.spawn(|| node.barrier(&both(), PATIENCE).unwrap());
        }
    });
}

#[test]
fn who_is_not_meant_or_is_there_already_is_told() {
    let scheduler = scheduler(2, 1, 1);
    let (workers, _servers) = form(&scheduler, 2, 1);
    let failure = |node: &Node, barrier: &Barrier| match node.barrier(barrier, PATIENCE).unwrap_err() {
        BarrierError::Failed { failure, .. } => failure,
        other => panic!("unexpected: {other}"),
    };
    assert_eq!(failure(&workers[0], &Barrier::new("b", Roles::SERVER)), BarrierFailure::Nobody);
    let second = Barrier::new("b", Roles::WORKER).with_scope(Scope::Instance(1));
    assert_eq!(failure(&workers[0], &second), BarrierFailure::Nobody);
    let stranger = Barrier::new("b", Roles::WORKER).entering(MemberId::worker(1));
    assert_eq!(failure(&workers[0], &stranger), BarrierFailure::NotYours(MemberId::worker(1)));
    let long = Barrier::new("b".repeat(NAME_LIMIT + 1), Roles::WORKER);
    assert_eq!(failure(&workers[0], &long), BarrierFailure::Name { length: NAME_LIMIT + 1 });
    let error = scheduler.barrier(&Barrier::new("b", Roles::WORKER), PATIENCE).unwrap_err();
    let failure = BarrierFailure::NotExpected(MemberId::SCHEDULER);
    assert_eq!(error, BarrierError::Failed { name: "b".into(), failure });
}

#[test]
fn the_two_members_of_a_joint_process_may_enter_apart_or_together() {
    let scheduler = scheduler(1, 1, 1);
    let joint = Node::start(node_config(ProcessRole::Joint, (1, 1), 0, scheduler.local_address())).unwrap();
    joint.barrier(&both(), PATIENCE).unwrap();
    thread::scope(|scope| {
        for id in joint.ids() {
            let joint = &joint;
            scope.spawn(move || joint.barrier(&both().entering(*id), PATIENCE).unwrap());
        }
    });
    let error = joint.barrier(&both().entering(MemberId::server(0)), SHORT).unwrap_err();
    assert!(matches!(error, BarrierError::Missing { .. }), "{error}");
}

#[test]
fn a_barrier_ends_when_its_node_joins_again() {
    let scheduler = scheduler(2, 1, 1);
    let (workers, _servers) = form(&scheduler, 2, 1);
    thread::scope(|scope| {
        let waiting = scope.spawn(|| workers[0].barrier(&both(), PATIENCE));
        let deadline = Instant::now() + PATIENCE;
        while scheduler.barriers() == 0 {
            assert!(Instant::now() < deadline, "nobody is at the barrier");
            thread::sleep(SHORT / 10);
        }
        workers[0].rejoin().unwrap();
        let reason = pmd_host::control::DownReason::Local;
        assert_eq!(waiting.join().unwrap(), Err(BarrierError::SchedulerLost { name: "both".into(), reason }));
    });
    let back = workers[1].wait_member(MemberId::worker(0), 1, PATIENCE).unwrap();
    assert_eq!((back.epoch, scheduler.barriers()), (2, 0));
}

#[test]
fn a_barrier_ends_when_a_member_goes_and_a_patient_one_waits_for_its_return() {
    let scheduler = scheduler(2, 1, 1);
    let (mut workers, servers) = form(&scheduler, 2, 1);
    let (first, second) = (workers.remove(0), workers.remove(0));
    thread::scope(|scope| {
        let hasty = scope.spawn(|| first.barrier(&both(), PATIENCE));
        let patient = scope.spawn(|| servers[0].barrier(&both().patiently(), PATIENCE));
        // A panic that drops its node is no orderly leave.
        let panicked = thread::spawn(move || {
            let _node = second;
            std::panic::resume_unwind(Box::new(()));
        });
        assert!(panicked.join().is_err());
        let failure = BarrierFailure::Down(vec![MemberId::worker(1)]);
        let error = hasty.join().unwrap().unwrap_err();
        assert_eq!(error, BarrierError::Failed { name: "both".into(), failure });
        assert!(matches!(event(&first), Event::Down { cause: DownCause::Ended, .. }));

        let back = node_config(ProcessRole::Worker, (2, 1), 1, scheduler.local_address());
        let back = Node::start(back).unwrap();
        let returned = scope.spawn(move || back.barrier(&both(), PATIENCE));
        first.barrier(&both(), PATIENCE).unwrap();
        patient.join().unwrap().unwrap();
        returned.join().unwrap().unwrap();
    });
}
