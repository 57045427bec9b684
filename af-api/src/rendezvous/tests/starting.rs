//! Nodes that start, come late, come back, leave, and what they are told of each other.

use std::{net::TcpListener, sync::Arc, time::Instant};

use pmd_host::{
    control::{ControlConfig, ControlPlane, DownReason, FrameError, KeepAliveError, PeerIdentity, Service},
    endpoint::{Endpoint, EndpointConfig, PeerService},
    identity::{DeviceId, HostId},
    security::PreSharedKey,
};

use super::*;
use crate::{
    config::{ConfigError, Shape, WaitFor},
    rendezvous::protocol::{KIND, Notice, decode, encode},
};

struct Silent;

impl PeerService for Silent {}

fn endpoint() -> Endpoint {
    let listen = Some(([127, 0, 0, 1], 0).into());
    Endpoint::open(EndpointConfig { listen, ..EndpointConfig::default() }, Arc::new(Silent)).unwrap()
}

#[test]
fn everybody_knows_everybody() {
    let scheduler = scheduler(3, 2, 1);
    let (workers, servers) = form(&scheduler, 3, 2);
    scheduler.wait_formed(PATIENCE).unwrap();
    let all = [
        MemberId::server(0),
        MemberId::server(1),
        MemberId::worker(0),
        MemberId::worker(1),
        MemberId::worker(2),
    ];
    for node in workers.iter().chain(&servers) {
        let members = node.members();
        assert_eq!(ids(&members), all);
        assert!(members.iter().all(|member| (member.epoch, &member.state) == (1, &MemberState::Up)));
        assert_eq!(ids(&node.members_of(Role::Server)), all[..2]);
        assert!(node.is_formed());
        assert_eq!(node.try_event(), None, "who was there from the start is no event");
    }
    assert_eq!(workers[1].ids(), [MemberId::worker(1)]);
    assert_eq!(servers[0].member(MemberId::worker(2)).unwrap().name, "Worker 2");
    assert_eq!(servers[0].member(MemberId::worker(3)), None);
    assert_eq!(ids(&scheduler.members()), all);
}

#[test]
fn a_worker_reaches_the_server_where_it_was_announced() {
    let scheduler = scheduler(1, 1, 1);
    let address = scheduler.local_address();
    let serving = endpoint();
    let server = node_config(ProcessRole::Server, (1, 1), 0, address).with_endpoint(&serving);
    let server = thread::spawn(move || Node::start(server).unwrap());
    let worker = Node::start(node_config(ProcessRole::Worker, (1, 1), 0, address)).unwrap();
    let server = server.join().unwrap();
    let data = worker.member(MemberId::server(0)).unwrap().data.unwrap();
    let asking = endpoint();
    let peer = asking.connect(data.address).unwrap();
    assert_eq!(peer.identity().incarnation, data.incarnation);
    assert_eq!(server.member(MemberId::worker(0)).unwrap().data, None, "it announced none");
}

#[test]
fn a_node_knows_its_epoch_before_the_others_hear_of_it() {
    let scheduler = scheduler(1, 1, 1);
    let address = scheduler.local_address();
    let nobody = node_config(ProcessRole::Worker, (1, 1), 0, address).with_wait_for(WaitFor::Nobody);
    let worker = Node::start(nobody).unwrap();
    let server = Node::reserve(node_config(ProcessRole::Server, (1, 1), 0, address)).unwrap();
    assert_eq!(server.member(MemberId::server(0)).unwrap().epoch, 1);
    let error = worker.wait_member(MemberId::server(0), 0, SHORT).unwrap_err();
    assert!(matches!(error, WaitError::Missing { .. }), "{error}");
    assert!(!worker.is_formed() && !server.is_formed());

    let serving = endpoint();
    let data = DataAddress::of(&serving).unwrap();
    server.announce(&[(Role::Server, data)]).unwrap();
    assert!(server.is_formed());
    assert_eq!(server.member(MemberId::server(0)).unwrap().data, Some(data));
    let seen = worker.wait_member(MemberId::server(0), 0, PATIENCE).unwrap();
    assert_eq!((seen.epoch, seen.data), (1, Some(data)));
    assert_eq!(event(&worker), Event::Joined(seen));
    // The address goes along when it joins again.
    server.rejoin().unwrap();
    let seen = worker.wait_member(MemberId::server(0), 1, PATIENCE).unwrap();
    assert_eq!(seen.data, Some(data));

    drop(scheduler);
    while server.scheduler_lost().is_none() {
        let _ = server.wait_event(SHORT);
    }
    let error = server.announce(&[]).unwrap_err();
    assert!(matches!(error, StartError::SchedulerLost { .. }), "{error}");
}

#[test]
fn a_joint_process_holds_two_places() {
    let scheduler = scheduler(2, 1, 1);
    let address = scheduler.local_address();
    let joint = node_config(ProcessRole::Joint, (2, 1), 0, address);
    let joint = thread::spawn(move || Node::start(joint).unwrap());
    let worker = Node::start(node_config(ProcessRole::Worker, (2, 1), 1, address)).unwrap();
    let joint = joint.join().unwrap();
    assert_eq!(joint.ids(), [MemberId::server(0), MemberId::worker(0)]);
    drop(joint);
    let (first, second) = (event(&worker), event(&worker));
    let left = |event| match event {
        Event::Left(member) => member.id,
        other => panic!("not left: {other:?}"),
    };
    assert_eq!([left(first), left(second)], [MemberId::server(0), MemberId::worker(0)]);
}

#[test]
fn who_is_missing_is_named_at_the_deadline() {
    let scheduler = scheduler(40, 2, 1);
    let config = node_config(ProcessRole::Worker, (40, 2), 3, scheduler.local_address());
    let error = patiently(|patience| {
        let error = Node::start(config.clone().with_start_timeout(patience)).unwrap_err();
        matches!(error, StartError::Missing { .. }).then_some(()).ok_or_else(|| error.to_string())?;
        Ok(error)
    });
    let StartError::Missing { missing, expected: 42, waited } = &error else { panic!("unexpected: {error}") };
    assert!(*waited >= SHORT);
    assert_eq!(missing.len(), 41);
    assert!(
        error.to_string().ends_with("41 of 42 places are not taken: servers 0-1; workers 0-2, 4-39"),
        "{error}"
    );
    let error = scheduler.wait_formed(SHORT).unwrap_err();
    assert!(matches!(error, StartError::Missing { expected: 42, .. }), "{error}");
}

#[test]
fn a_scheduler_may_be_started_last_and_its_absence_is_told() {
    // An address that no other test listens at: nobody takes the port meanwhile.
    let listener = TcpListener::bind("127.18.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let config = |role| node_config(role, (1, 1), 0, address);
    let error = Node::start(config(ProcessRole::Worker).with_start_timeout(SHORT)).unwrap_err();
    assert!(matches!(error, StartError::Unreachable { address: at, .. } if at == address), "{error}");

    let nodes = [ProcessRole::Worker, ProcessRole::Server].map(|role| {
        let config = config(role);
        thread::spawn(move || Node::start(config).unwrap())
    });
    thread::sleep(SHORT);
    let scheduler = Scheduler::start(&quick(Config::new(ProcessRole::Scheduler, 1, 1, address))).unwrap();
    for node in nodes {
        assert_eq!(node.join().unwrap().members().len(), 2);
    }
    assert!(scheduler.wait_finished(PATIENCE), "both have left");
}

#[test]
fn who_asks_for_what_is_not_there_or_taken_hears_it() {
    let scheduler = scheduler(2, 1, 1);
    let address = scheduler.local_address();
    let nobody = |config: Config| config.with_wait_for(WaitFor::Nobody);
    let holder = Node::start(nobody(node_config(ProcessRole::Worker, (2, 1), 1, address))).unwrap();
    // It waits a while for the end of a predecessor.
    let again = nobody(node_config(ProcessRole::Worker, (2, 1), 1, address));
    let taken = patiently(|patience| {
        match Node::start(again.clone().with_keep_alive(patience / 3, patience)).unwrap_err() {
            StartError::Refused(Refused::Taken { id, holder, .. }) => Ok((id, holder)),
            other => Err(other.to_string()),
        }
    });
    assert_eq!(taken, (MemberId::worker(1), "Worker 1".to_owned()));

    let other = node_config(ProcessRole::Worker, (3, 1), 2, address);
    let error = Node::start(other).unwrap_err();
    let (theirs, ours) =
        (Shape { workers: 2, servers: 1, group_size: 1 }, Shape { workers: 3, servers: 1, group_size: 1 });
    assert!(
        matches!(error, StartError::Refused(Refused::Shape { theirs: t, ours: o }) if (t, o) == (theirs, ours)),
        "{error}"
    );
    let beyond = node_config(ProcessRole::Worker, (2, 1), 2, address);
    let error = Node::start(beyond).unwrap_err();
    assert!(matches!(error, StartError::Config(ConfigError::Rank { rank: 2, count: 2, .. })), "{error}");
    let named = node_config(ProcessRole::Worker, (2, 1), 0, address).with_name("n".repeat(NAME_LIMIT + 1));
    let error = Node::start(named).unwrap_err();
    assert!(matches!(error, StartError::Refused(Refused::Name { .. })), "{error}");
    assert_eq!(holder.members().len(), 1);
}

#[test]
fn roles_are_started_as_what_they_are() {
    let address = ([127, 0, 0, 1], 0).into();
    let error = Node::start(node_config(ProcessRole::Scheduler, (1, 1), 0, address)).unwrap_err();
    assert!(matches!(error, StartError::Config(ConfigError::WrongRole { .. })), "{error}");
    let error = Scheduler::start(&node_config(ProcessRole::Worker, (1, 1), 0, address)).unwrap_err();
    assert!(matches!(error, SchedulerError::Config(ConfigError::WrongRole { .. })), "{error}");
    let taken = scheduler(1, 1, 1);
    let error =
        Scheduler::start(&Config::new(ProcessRole::Scheduler, 1, 1, taken.local_address())).unwrap_err();
    assert!(matches!(error, SchedulerError::Control(_)), "{error}");
}

#[test]
fn a_node_that_comes_back_has_a_new_epoch_and_the_others_hear_it() {
    let scheduler = scheduler(2, 1, 1);
    let (mut workers, servers) = form(&scheduler, 2, 1);
    let gone = workers.remove(1);
    gone.leave(PATIENCE).unwrap();
    let reason = DownReason::Local;
    let refused = gone.barrier(&Barrier::new("b", Roles::WORKER), PATIENCE).unwrap_err();
    assert_eq!(refused, BarrierError::SchedulerLost { name: "b".into(), reason: reason.clone() });
    assert_eq!((gone.leave(PATIENCE), gone.members().len()), (Err(LeaveError::SchedulerLost(reason)), 3));
    for node in [&workers[0], &servers[0]] {
        assert!(matches!(event(node), Event::Left(member) if member.id == MemberId::worker(1)));
        assert_eq!(node.member(MemberId::worker(1)).unwrap().state, MemberState::Left);
        let error = node.wait_member(MemberId::worker(1), 0, SHORT).unwrap_err();
        assert_eq!(error, WaitError::Missing { member: MemberId::worker(1), waited: SHORT });
    }
    let back = Node::start(node_config(ProcessRole::Worker, (2, 1), 1, scheduler.local_address())).unwrap();
    assert_eq!(back.members().len(), 3);
    for node in [&workers[0], &servers[0]] {
        let member = node.wait_member(MemberId::worker(1), 1, PATIENCE).unwrap();
        assert_eq!((member.epoch, &member.state), (2, &MemberState::Up));
        assert_eq!(event(node), Event::Joined(member));
    }
}

#[test]
fn who_waits_for_nobody_is_told_of_late_joiners() {
    let scheduler = scheduler(1, 2, 1);
    let early = node_config(ProcessRole::Worker, (1, 2), 0, scheduler.local_address());
    let early = Node::start(early.with_wait_for(WaitFor::Nobody)).unwrap();
    assert!(!early.is_formed());
    for rank in 0..2 {
        let late = node_config(ProcessRole::Server, (1, 2), rank, scheduler.local_address());
        let late = Node::start(late.with_wait_for(WaitFor::Nobody)).unwrap();
        let member = early.wait_member(MemberId::server(rank), 0, PATIENCE).unwrap();
        assert_eq!(event(&early), Event::Joined(member));
        assert_eq!(late.member(MemberId::worker(0)).unwrap().epoch, 1);
        late.leave(PATIENCE).unwrap();
        assert!(matches!(event(&early), Event::Left(_)));
    }
    assert!(!early.is_formed(), "they were never all there at one time");
}

#[test]
fn a_scheduler_that_ends_is_told_and_its_successor_is_joined() {
    let apart = Config::new(ProcessRole::Scheduler, 1, 1, ([127, 18, 0, 1], 0).into());
    let first = Scheduler::start(&quick(apart)).unwrap();
    let address = first.local_address();
    let (workers, servers) = form(&first, 1, 1);
    drop(first);
    let both = Barrier::new("b", Roles::WORKER | Roles::SERVER);
    for node in workers.iter().chain(&servers) {
        assert_eq!(event(node), Event::SchedulerLost(DownReason::Goodbye));
        assert_eq!(node.scheduler_lost(), Some(DownReason::Goodbye));
        let error = node.barrier(&both, PATIENCE).unwrap_err();
        assert_eq!(error, BarrierError::SchedulerLost { name: "b".into(), reason: DownReason::Goodbye });
        let error = node.wait_member(MemberId::worker(9), 0, PATIENCE).unwrap_err();
        assert!(matches!(error, WaitError::SchedulerLost { .. }), "{error}");
        assert_eq!(node.members().len(), 2, "who is known stays known");
    }
    let second = Scheduler::start(&quick(Config::new(ProcessRole::Scheduler, 1, 1, address))).unwrap();
    thread::scope(|scope| {
        for node in workers.iter().chain(&servers) {
            let both = &both;
            scope.spawn(move || {
                node.rejoin().unwrap();
                assert_eq!(node.scheduler_lost(), None);
                node.barrier(both, PATIENCE).unwrap();
            });
        }
    });
    second.wait_formed(PATIENCE).unwrap();
    drop(second);
    let worker = workers.into_iter().next().unwrap();
    while worker.scheduler_lost().is_none() {
        let _ = worker.wait_event(SHORT);
    }
    assert_eq!(worker.leave(PATIENCE), Err(LeaveError::SchedulerLost(DownReason::Goodbye)));
}

/// Plays a scheduler: answers every event with what it was made with, if with anything.
struct Fake(Option<Vec<u8>>);

impl Service for Fake {
    fn connected(&self, _: &pmd_host::control::Connection) {}

    fn request(
        &self,
        _: &pmd_host::control::Connection,
        _: u16,
        _: &[u8],
    ) -> Result<Vec<u8>, pmd_host::control::Refusal> {
        Ok(Vec::new())
    }

    fn event(&self, connection: &pmd_host::control::Connection, _: u16, _: &[u8]) {
        if let Some(bytes) = &self.0 {
            let _ = connection.event(KIND, bytes.clone());
        }
    }

    fn down(&self, _: &pmd_host::control::Connection, _: &DownReason) {}
}

fn fake(answer: Option<Vec<u8>>) -> ControlPlane {
    fake_with(answer, None)
}

fn fake_with(answer: Option<Vec<u8>>, key: Option<PreSharedKey>) -> ControlPlane {
    fake_that(answer, |config| config.key = key)
}

fn fake_that(answer: Option<Vec<u8>>, adjust: impl FnOnce(&mut ControlConfig)) -> ControlPlane {
    let identity = PeerIdentity {
        incarnation: DeviceId::random().unwrap(),
        name: String::new(),
        host: HostId::current().unwrap(),
    };
    let mut config = ControlConfig::new(identity, Some(([127, 0, 0, 1], 0).into()));
    adjust(&mut config);
    ControlPlane::start(config, Arc::new(Fake(answer))).unwrap()
}

#[test]
fn a_scheduler_of_another_version_or_none_at_all_is_told_from_one() {
    let start = |plane: &ControlPlane, patience| {
        let config = node_config(ProcessRole::Worker, (1, 1), 0, plane.local_address().unwrap());
        Node::start(config.with_start_timeout(patience)).unwrap_err()
    };
    let mut future = encode(&Notice::Formed);
    future[..2].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let error = start(&fake(Some(future)), PATIENCE);
    assert!(matches!(error, StartError::Version { theirs } if theirs == VERSION + 1), "{error}");
    for answer in [None, Some(Vec::new()), Some(vec![VERSION as u8, 0, 0xff])] {
        let plane = fake(answer);
        patiently(|patience| match start(&plane, patience) {
            StartError::NoAnswer { .. } => Ok(()),
            other => Err(other.to_string()),
        });
    }
}

#[test]
fn a_scheduler_with_another_key_or_none_is_told_at_once() {
    let key = |number| Some(PreSharedKey::from_bytes(&[number; 32]));
    let cases = [
        (key(1), None, FrameError::OnlyOneKey { here: true }),
        (None, key(1), FrameError::OnlyOneKey { here: false }),
        (key(1), key(2), FrameError::WrongKey),
    ];
    for (ours, theirs, expected) in cases {
        let plane = fake_with(None, theirs);
        let mut config = node_config(ProcessRole::Worker, (1, 1), 0, plane.local_address().unwrap());
        config.endpoint.security.key = ours;
        match Node::start(config.with_start_timeout(PATIENCE * 10)).unwrap_err() {
            StartError::Key { source, .. } => assert_eq!(source, expected),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn a_scheduler_with_other_keep_alive_terms_is_told_at_once() {
    let (interval, bound) = (Duration::from_millis(100), Duration::from_secs(10));
    let plane = fake_that(None, |config| config.timeout = interval);
    let config = node_config(ProcessRole::Worker, (1, 1), 0, plane.local_address().unwrap());
    let config = config.with_keep_alive(interval, bound).with_start_timeout(PATIENCE * 10);
    let expected = KeepAliveError::TooRare { here: true, interval, timeout: interval };
    match Node::start(config).unwrap_err() {
        StartError::KeepAlive { source, .. } => assert_eq!(source, expected),
        other => panic!("{other}"),
    }
}

#[test]
fn a_scheduler_and_its_nodes_may_have_a_key() {
    let key = Some(PreSharedKey::from_bytes(&[7; 32]));
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = quick(Config::new(ProcessRole::Scheduler, 1, 1, local));
    config.endpoint.security.key.clone_from(&key);
    let scheduler = Scheduler::start(&config).unwrap();
    let mut config = node_config(ProcessRole::Worker, (1, 1), 0, scheduler.local_address());
    config.endpoint.security.key = key;
    let node = Node::start(config.with_wait_for(WaitFor::Nobody)).unwrap();
    assert_eq!(scheduler.members().len(), 1);
    drop(node);
}

#[test]
fn a_scheduler_that_admits_and_then_says_nothing_is_given_up() {
    let admitted = encode(&Notice::Admitted { members: Vec::new(), formed: true });
    let plane = fake(Some(admitted));
    let start = || {
        let config = node_config(ProcessRole::Worker, (1, 1), 0, plane.local_address().unwrap());
        Node::start(config).unwrap()
    };
    assert_eq!(start().leave(SHORT), Err(LeaveError::Timeout { waited: SHORT }));
    let node = start();
    let long = Barrier::new("n".repeat(17 << 20), Roles::WORKER);
    let error = node.barrier(&long, SHORT).unwrap_err();
    assert!(matches!(error, BarrierError::Untold { .. }), "it does not fit a frame");
    patiently(|patience| {
        let quick = node.config().clone().with_keep_alive(patience / 3, 5 * patience);
        let quick = Node::start(quick).map_err(|error| error.to_string())?;
        match quick.barrier(&Barrier::new("b", Roles::WORKER), SHORT).unwrap_err() {
            BarrierError::SchedulerLost { reason: DownReason::Silent(_), .. } => Ok(()),
            other => Err(other.to_string()),
        }
    });
}

#[test]
fn a_scheduler_answers_other_versions_and_ends_what_it_does_not_understand() {
    let scheduler = scheduler(1, 1, 1);
    let plane = fake(None);
    let connection = plane.connect(scheduler.local_address(), PATIENCE).unwrap();
    assert!(connection.request(1, Vec::new(), PATIENCE).is_err(), "it answers no requests");
    connection.event(KIND + 1, Vec::new()).unwrap();
    connection.event(KIND, vec![9, 9, 1]).unwrap();
    assert!(connection.request(1, Vec::new(), PATIENCE).is_err());
    assert_eq!(connection.down_reason(), None, "a node of another version is told so");
    connection.event(KIND, vec![VERSION as u8, 0, 0xff]).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while connection.down_reason().is_none() {
        assert!(Instant::now() < deadline, "it is still connected");
        thread::sleep(SHORT / 10);
    }
    assert_eq!(connection.down_reason(), Some(DownReason::Goodbye));
}

#[test]
fn messages_survive_and_others_do_not() {
    let notice = Notice::Withdrawn { ticket: 3, missing: vec![MemberId::worker(300)] };
    let mut bytes = encode(&notice);
    assert_eq!(decode::<Notice>(&bytes), Ok(notice));
    assert!(bytes.len() < 16, "{} bytes", bytes.len());
    bytes.push(0);
    assert!(decode::<Notice>(&bytes).is_err(), "something behind it");
    for cut in 0..bytes.len() - 1 {
        assert!(decode::<Notice>(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}
