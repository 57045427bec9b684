//! Many nodes, many messages, bounded memory.

use pmd_host::control::DownReason;

use super::*;
use crate::rendezvous::{
    protocol::Notice,
    view::{Outcome, View},
};

#[test]
fn sixty_four_workers_meet_sixty_four_servers() {
    let scheduler = scheduler(64, 64, 1);
    let (workers, servers) = form(&scheduler, 64, 64);
    let everyone = Barrier::new("all", Roles::WORKER | Roles::SERVER);
    thread::scope(|scope| {
        for node in workers.iter().chain(&servers) {
            assert_eq!(node.members().len(), 128);
            scope.spawn(|| (0..3).for_each(|_| node.barrier(&everyone, PATIENCE).unwrap()));
        }
    });
    let mut workers = workers;
    workers.remove(63).leave(PATIENCE).unwrap();
    for node in workers.iter().chain(&servers) {
        assert!(matches!(event(node), Event::Left(member) if member.id == MemberId::worker(63)));
    }
    drop((workers, servers));
    assert!(scheduler.wait_finished(PATIENCE));
}

#[test]
fn ten_thousand_barriers_leave_nothing_behind() {
    let scheduler = scheduler(1, 1, 1);
    let (workers, servers) = form(&scheduler, 1, 1);
    thread::scope(|scope| {
        for node in workers.iter().chain(&servers) {
            scope.spawn(|| {
                for round in 0..5_000_u32 {
                    let name = format!("round {round}");
                    node.barrier(&Barrier::new(name, Roles::WORKER | Roles::SERVER), PATIENCE).unwrap();
                }
            });
        }
    });
    assert_eq!(scheduler.barriers(), 0);
    assert_eq!(workers[0].open_tickets() + servers[0].open_tickets(), 0);
}

#[test]
fn events_that_nobody_takes_make_way_and_are_counted() {
    let mut view = View::new();
    view.listen();
    let member = Member {
        id: MemberId::worker(0),
        instance: 0,
        epoch: 0,
        name: String::new(),
        data: None,
        state: MemberState::Up,
    };
    for epoch in 1..=10_000 {
        view.apply(Ok(Notice::Joined(vec![Member { epoch, ..member.clone() }])));
    }
    assert_eq!(view.take_event(), Some(Event::Missed(10_000 - 4096)));
    let first = view.take_event();
    assert!(matches!(&first, Some(Event::Joined(member)) if member.epoch == 10_001 - 4096), "{first:?}");
    assert_eq!(std::iter::from_fn(|| view.take_event()).count(), 4095);
    assert_eq!(view.member(member.id).unwrap().epoch, 10_000);
}

#[test]
fn answers_that_nobody_waits_for_are_dropped_and_the_first_one_counts() {
    let mut view = View::new();
    let ticket = view.open_ticket();
    view.apply(Ok(Notice::Released { ticket }));
    view.apply(Ok(Notice::Withdrawn { ticket, missing: Vec::new() }));
    assert_eq!(view.outcome(ticket), Some(Outcome::Released));
    view.close_ticket(ticket);
    view.apply(Ok(Notice::Released { ticket }));
    assert_eq!((view.outcome(ticket), view.open_tickets()), (None, 0));
    view.lose(&DownReason::Closed);
    view.lose(&DownReason::Local);
    assert_eq!(view.lost, Some(DownReason::Closed));
}
