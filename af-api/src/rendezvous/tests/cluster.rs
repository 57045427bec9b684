//! The scheduler's state: who is admitted, who is told what, whom barriers wait for.

use std::net::SocketAddr;

use crate::{
    config::Shape,
    rendezvous::{
        barriers::Ticket,
        cluster::{Audience, Cluster, LOCAL, Request},
        member::{DataAddress, DownCause, MemberId, MemberState, Role, Roles, names},
        protocol::{BARRIER_LIMIT, BarrierFailure, Key, NAME_LIMIT, Notice, Place, Refused, Scope},
    },
};

const SHAPE: Shape = Shape { workers: 2, servers: 1, group_size: 2 };

fn remote(connection: u64) -> SocketAddr {
    ([10, 0, 0, connection as u8], 1).into()
}

fn place(id: MemberId, instance: u32) -> Place {
    Place { id, instance, data: None, after: 0 }
}

fn request(places: &[Place]) -> Request<'_> {
    Request { shape: SHAPE, name: "node", places, held: false }
}

/// The answer to the node that asks.
fn join(cluster: &mut Cluster, connection: u64, places: &[Place]) -> Notice {
    cluster.join(connection, remote(connection), &request(places));
    let told = cluster.take_outbox();
    let (audience, notice) = &told[0];
    assert_eq!(*audience, Audience::One(connection));
    notice.clone()
}

/// Workers 0 to 3 on connections 10 to 13, servers 0 and 1 on 20 and 21.
fn formed() -> Cluster {
    let mut cluster = Cluster::new(SHAPE);
    for rank in 0..4 {
        join(&mut cluster, 10 + u64::from(rank), &[place(MemberId::worker(rank), rank % 2)]);
    }
    for rank in 0..2 {
        join(&mut cluster, 20 + u64::from(rank), &[place(MemberId::server(rank), rank)]);
    }
    assert!(cluster.is_formed());
    cluster
}

fn key(roles: Roles, scope: Scope) -> Key {
    Key { name: "b".into(), roles: roles.bits(), scope }
}

/// Enters with ticket 7; what is told then.
fn enter(
    cluster: &mut Cluster,
    connection: u64,
    key: &Key,
    member: MemberId,
    patient: bool,
) -> Vec<(u64, Notice)> {
    cluster.enter(Ticket { connection, number: 7 }, key, &[member], patient);
    told(cluster)
}

fn told(cluster: &mut Cluster) -> Vec<(u64, Notice)> {
    let to_one = |(audience, notice)| match audience {
        Audience::One(connection) => Some((connection, notice)),
        Audience::AllBut(_) => None,
    };
    cluster.take_outbox().into_iter().filter_map(to_one).collect()
}

fn failed(failure: BarrierFailure) -> Notice {
    Notice::Failed { ticket: 7, failure }
}

fn released(connections: &[u64]) -> Vec<(u64, Notice)> {
    connections.iter().map(|connection| (*connection, Notice::Released { ticket: 7 })).collect()
}

#[test]
fn places_that_cannot_be_had_are_refused_with_the_reason() {
    let mut cluster = Cluster::new(SHAPE);
    let refused = |notice| match notice {
        Notice::Refused(refused) => refused,
        other => panic!("not refused: {other:?}"),
    };
    assert!(matches!(join(&mut cluster, 1, &[place(MemberId::worker(1), 1)]), Notice::Admitted { .. }));
    let beyond = refused(join(&mut cluster, 2, &[place(MemberId::worker(4), 0)]));
    assert_eq!(beyond, Refused::Rank { id: MemberId::worker(4), count: 4 });
    let instance = refused(join(&mut cluster, 2, &[place(MemberId::worker(3), 2)]));
    assert_eq!(instance, Refused::Instance { id: MemberId::worker(3), instance: 2, group_size: 2 });
    let taken = refused(join(&mut cluster, 2, &[place(MemberId::worker(1), 1)]));
    assert_eq!(taken, Refused::Taken { id: MemberId::worker(1), holder: "node".into(), address: remote(1) });
    assert!(taken.to_string().contains("worker 1") && taken.to_string().contains("10.0.0.1:1"), "{taken}");
    let twice = [place(MemberId::worker(0), 0), place(MemberId::worker(0), 0)];
    for places in [&[][..], &twice[..], &[place(MemberId::SCHEDULER, 0)]] {
        assert_eq!(refused(join(&mut cluster, 2, places)), Refused::Places);
    }
    assert_eq!(refused(join(&mut cluster, 1, &[place(MemberId::worker(0), 0)])), Refused::Places);

    let other = Shape { workers: 3, ..SHAPE };
    let first = [place(MemberId::worker(0), 0)];
    cluster.join(2, remote(2), &Request { shape: other, ..request(&first) });
    let Notice::Refused(shape) = cluster.take_outbox().remove(0).1 else { panic!("not refused") };
    assert_eq!(shape, Refused::Shape { theirs: SHAPE, ours: other });
    let name = "n".repeat(NAME_LIMIT + 1);
    cluster.join(2, remote(2), &Request { name: &name, ..request(&first) });
    let Notice::Refused(long) = cluster.take_outbox().remove(0).1 else { panic!("not refused") };
    assert_eq!(long, Refused::Name { length: NAME_LIMIT + 1 });
    assert_eq!(cluster.members().len(), 1, "none of them has changed anything");
}

#[test]
fn epochs_count_how_often_a_place_was_taken() {
    let mut cluster = formed();
    for epoch in 2..5 {
        cluster.down(10 + (epoch - 2) * 100, &DownCause::Closed);
        let gone = Notice::Down { members: vec![MemberId::worker(0)], cause: DownCause::Closed };
        assert_eq!(cluster.take_outbox(), [(Audience::AllBut(10 + (epoch - 2) * 100), gone)]);
        assert_eq!(cluster.missing(), [MemberId::worker(0)]);
        let connection = 10 + (epoch - 1) * 100;
        let places = [place(MemberId::worker(0), 0)];
        cluster.join(connection, remote(1), &Request { name: "again", ..request(&places) });
        let told = cluster.take_outbox();
        let [
            (_, Notice::Admitted { members, formed: true }),
            (Audience::AllBut(but), Notice::Joined(joined)),
        ] = &told[..]
        else {
            panic!("told {told:?}")
        };
        assert_eq!((members.len(), *but, joined.len()), (6, connection, 1));
        assert_eq!((joined[0].epoch, joined[0].name.as_str()), (epoch, "again"));
    }
    cluster.down(99, &DownCause::Closed);
    assert!(cluster.take_outbox().is_empty(), "a connection that never joined is no news");
    // One that comes from a scheduler that is gone brings its epoch along.
    let mut successor = Cluster::new(SHAPE);
    let place = Place { after: 7, ..place(MemberId::worker(0), 0) };
    let Notice::Admitted { members, .. } = join(&mut successor, 1, &[place]) else { panic!("not admitted") };
    assert_eq!(members[0].epoch, 8);
}

#[test]
fn an_unspecified_address_becomes_the_one_that_is_seen() {
    let mut cluster = Cluster::new(SHAPE);
    let incarnation = pmd_host::identity::DeviceId([1; 16]);
    let announced = |address: SocketAddr| Some(DataAddress { address, incarnation });
    let seen = |cluster: &mut Cluster, rank, address| {
        let place = Place { data: announced(address), ..place(MemberId::worker(rank), 0) };
        join(cluster, u64::from(rank) + 1, &[place]);
        let member = cluster.members().into_iter().find(|member| member.id.rank == rank).unwrap();
        assert_eq!(member.data.unwrap().incarnation, incarnation);
        member.data.unwrap().address
    };
    let exact = ([192, 168, 1, 1], 55).into();
    assert_eq!(seen(&mut cluster, 0, ([0, 0, 0, 0], 77).into()), ([10, 0, 0, 1], 77).into());
    assert_eq!(seen(&mut cluster, 1, exact), exact);
}

#[test]
fn a_held_place_is_taken_and_nobody_is_there_before_it_is_announced() {
    let mut cluster = formed();
    cluster.down(10, &DownCause::Closed);
    cluster.take_outbox();
    let places = [place(MemberId::worker(0), 0)];
    let held = |cluster: &mut Cluster, connection| {
        cluster.join(connection, remote(7), &Request { held: true, ..request(&places) });
        cluster.take_outbox()
    };
    let told = held(&mut cluster, 30);
    let [(Audience::One(30), Notice::Admitted { members, .. })] = &told[..] else { panic!("told {told:?}") };
    let own = members.iter().find(|member| member.id == MemberId::worker(0)).unwrap();
    assert_eq!((own.epoch, &own.state, own.data), (2, &MemberState::Up, None));
    assert!(matches!(join(&mut cluster, 31, &places), Notice::Refused(Refused::Taken { .. })));
    assert_eq!(cluster.missing(), [MemberId::worker(0)]);
    assert_eq!(cluster.members().len(), 5);

    // One that goes before it was announced is no news.
    cluster.down(30, &DownCause::Closed);
    assert_eq!(cluster.take_outbox(), []);
    held(&mut cluster, 32);
    let incarnation = pmd_host::identity::DeviceId([1; 16]);
    let data = DataAddress { address: ([0, 0, 0, 0], 9).into(), incarnation };
    cluster.announce(32, &[(MemberId::worker(0), Some(data))]);
    let told = cluster.take_outbox();
    let [
        (Audience::One(32), Notice::Announced { members: own, formed: true }),
        (Audience::AllBut(32), Notice::Joined(others)),
    ] = &told[..]
    else {
        panic!("told {told:?}")
    };
    assert_eq!(own, others);
    let address = ([10, 0, 0, 7], 9).into();
    assert_eq!((own[0].epoch, own[0].data), (3, Some(DataAddress { address, incarnation })));
    assert_eq!((cluster.missing(), cluster.members().len()), (Vec::new(), 6));
    cluster.announce(99, &[]);
    assert_eq!(cluster.take_outbox(), [(Audience::One(99), Notice::Refused(Refused::Places))]);
}

#[test]
fn a_barrier_is_of_its_roles_and_instances() {
    let mut cluster = formed();
    let servers = key(Roles::SERVER, Scope::Everyone);
    assert_eq!(enter(&mut cluster, 20, &servers, MemberId::server(0), false), []);
    // Another barrier of the same name goes on beside it.
    let odd = key(Roles::WORKER | Roles::SERVER, Scope::Instance(1));
    assert_eq!(enter(&mut cluster, 11, &odd, MemberId::worker(1), false), []);
    assert_eq!(enter(&mut cluster, 21, &odd, MemberId::server(1), false), []);
    assert_eq!(enter(&mut cluster, 13, &odd, MemberId::worker(3), false), released(&[11, 13, 21]));
    assert_eq!(enter(&mut cluster, 21, &servers, MemberId::server(1), false), released(&[20, 21]));

    // One of each group is enough; whoever comes before that is released with them.
    let groups = key(Roles::WORKER | Roles::SCHEDULER, Scope::Groups);
    assert_eq!(enter(&mut cluster, 10, &groups, MemberId::worker(0), false), []);
    assert_eq!(enter(&mut cluster, 11, &groups, MemberId::worker(1), false), []);
    assert_eq!(enter(&mut cluster, LOCAL, &groups, MemberId::SCHEDULER, false), []);
    assert_eq!(enter(&mut cluster, 13, &groups, MemberId::worker(3), false), released(&[0, 10, 11, 13]));
}

#[test]
fn who_may_not_enter_is_told_why() {
    let mut cluster = formed();
    let odd = key(Roles::WORKER, Scope::Instance(1));
    let mut refusal = |connection, key: &Key, member| {
        let told = enter(&mut cluster, connection, key, member, false);
        let [(to, Notice::Failed { ticket: 7, failure })] = &told[..] else { panic!("told {told:?}") };
        assert_eq!(*to, connection);
        failure.clone()
    };
    let excluded = BarrierFailure::NotExpected(MemberId::worker(0));
    assert_eq!(refusal(10, &odd, MemberId::worker(0)), excluded);
    let strange = BarrierFailure::NotYours(MemberId::worker(1));
    assert_eq!(refusal(10, &odd, MemberId::worker(1)), strange);
    assert_eq!(refusal(99, &odd, MemberId::worker(1)), strange, "a connection that never joined");
    let long = Key { name: "n".repeat(NAME_LIMIT + 1), ..odd.clone() };
    assert_eq!(refusal(11, &long, MemberId::worker(1)), BarrierFailure::Name { length: NAME_LIMIT + 1 });
    cluster.enter(Ticket { connection: 11, number: 7 }, &odd, &[], false);
    assert_eq!(told(&mut cluster), [(11, failed(BarrierFailure::Nobody))]);

    assert_eq!(enter(&mut cluster, 11, &odd, MemberId::worker(1), false), []);
    let again = enter(&mut cluster, 11, &odd, MemberId::worker(1), false);
    assert_eq!(again, [(11, failed(BarrierFailure::AlreadyThere(MemberId::worker(1))))]);
    for number in 1..BARRIER_LIMIT {
        let named = Key { name: number.to_string(), ..odd.clone() };
        cluster.enter(
            Ticket { connection: 11, number: 100 + number as u64 },
            &named,
            &[MemberId::worker(1)],
            false,
        );
    }
    assert_eq!(told(&mut cluster), []);
    let full = Key { name: "one more".into(), ..odd.clone() };
    let failure = enter(&mut cluster, 11, &full, MemberId::worker(1), false);
    assert_eq!(failure, [(11, failed(BarrierFailure::TooMany))]);
}

#[test]
fn a_barrier_fails_when_who_is_waited_for_goes_down_unless_it_is_patient() {
    let mut cluster = formed();
    let workers = key(Roles::WORKER, Scope::Everyone);
    enter(&mut cluster, 10, &workers, MemberId::worker(0), false);
    enter(&mut cluster, 11, &workers, MemberId::worker(1), true);
    enter(&mut cluster, 12, &workers, MemberId::worker(2), false);
    // A server that goes down is none of its business.
    cluster.down(20, &DownCause::Closed);
    assert_eq!(told(&mut cluster), []);
    // Neither a member that had entered nor one that had not can be done without.
    cluster.down(12, &DownCause::Closed);
    let down = failed(BarrierFailure::Down(vec![MemberId::worker(2)]));
    assert_eq!(told(&mut cluster), [(10, down.clone())]);
    assert_eq!(enter(&mut cluster, 10, &workers, MemberId::worker(0), false), [(10, down)]);

    join(&mut cluster, 32, &[place(MemberId::worker(2), 0)]);
    enter(&mut cluster, 10, &workers, MemberId::worker(0), false);
    enter(&mut cluster, 13, &workers, MemberId::worker(3), false);
    assert_eq!(enter(&mut cluster, 32, &workers, MemberId::worker(2), false), released(&[10, 11, 13, 32]));
}

#[test]
fn a_group_is_represented_by_whoever_lives() {
    let mut cluster = formed();
    let groups = key(Roles::WORKER, Scope::Groups);
    cluster.down(13, &DownCause::Closed);
    cluster.take_outbox();
    assert_eq!(enter(&mut cluster, 10, &groups, MemberId::worker(0), false), []);
    cluster.down(12, &DownCause::Closed);
    let down = failed(BarrierFailure::Down(vec![MemberId::worker(2), MemberId::worker(3)]));
    assert_eq!(told(&mut cluster), [(10, down)]);
}

#[test]
fn nobody_waits_for_who_has_left() {
    let mut cluster = formed();
    let everyone = key(Roles::WORKER | Roles::SERVER, Scope::Everyone);
    for connection in [10, 11, 12] {
        let member = MemberId::worker(connection as u32 - 10);
        assert_eq!(enter(&mut cluster, connection, &everyone, member, false), []);
    }
    enter(&mut cluster, 20, &everyone, MemberId::server(0), false);
    cluster.leave(13);
    assert_eq!(told(&mut cluster), [(13, Notice::Bye)]);
    cluster.leave(21);
    let mut told = told(&mut cluster);
    assert_eq!(told.remove(0), (21, Notice::Bye));
    assert_eq!(told, released(&[10, 11, 12, 20]));
    // The end of its connection is no news after that, and it may come back.
    cluster.down(13, &DownCause::Ended);
    assert_eq!(cluster.take_outbox(), []);
    let states: Vec<_> = cluster.members().into_iter().map(|member| member.state).collect();
    assert_eq!(states.iter().filter(|state| **state == MemberState::Left).count(), 2);
    assert!(matches!(
        join(&mut cluster, 43, &[place(MemberId::worker(3), 1)]),
        Notice::Admitted { formed: true, .. }
    ));
}

#[test]
fn who_withdraws_hears_who_is_missing_and_is_missed_by_the_others() {
    let mut cluster = formed();
    let workers = key(Roles::WORKER, Scope::Everyone);
    enter(&mut cluster, 10, &workers, MemberId::worker(0), false);
    enter(&mut cluster, 11, &workers, MemberId::worker(1), false);
    cluster.withdraw(Ticket { connection: 10, number: 7 });
    let missing = vec![MemberId::worker(2), MemberId::worker(3)];
    assert_eq!(told(&mut cluster), [(10, Notice::Withdrawn { ticket: 7, missing })]);
    cluster.withdraw(Ticket { connection: 10, number: 7 });
    assert_eq!(told(&mut cluster), [], "it was answered before");
    cluster.withdraw(Ticket { connection: 11, number: 7 });
    let missing = vec![MemberId::worker(0), MemberId::worker(2), MemberId::worker(3)];
    assert_eq!(told(&mut cluster), [(11, Notice::Withdrawn { ticket: 7, missing })]);
}

#[test]
fn members_are_named_in_few_words() {
    let workers = [3, 0, 4, 5, 9].map(MemberId::worker);
    assert_eq!(names(&workers), "workers 0, 3-5, 9");
    assert_eq!(names(&[MemberId::worker(2), MemberId::server(1)]), "server 1; worker 2");
    assert_eq!(names(&[]), "");
    assert_eq!((MemberId::server(3).ps_lite_id(), MemberId::worker(3).ps_lite_id()), (14, 15));
    assert_eq!(MemberId::SCHEDULER.ps_lite_id(), 1);
    assert_eq!(Role::Scheduler.as_roles() | Role::Server.as_roles() | Role::Worker.as_roles(), Roles::all());
}
