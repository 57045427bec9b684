//! Ranks, places and what cannot be.

use std::{sync::Arc, time::Duration};

use pmd_host::endpoint::PeerService;

use super::*;

fn worker(workers: u32, servers: u32) -> Config {
    Config::new(ProcessRole::Worker, workers, servers, ([127, 0, 0, 1], 4711).into())
}

#[test]
fn the_rank_is_of_group_instance_and_offset() {
    let config = worker(8, 2).with_instance(4, 3).with_node_rank(5);
    assert_eq!(config.rank(), 23);
    assert_eq!(config.members().unwrap(), [MemberId::worker(23)]);
    let offset = Config { rank_offset: 8, node_rank: 5, ..config };
    assert_eq!(offset.members().unwrap(), [MemberId::worker(31)]);
    let last = Config { rank_offset: 9, ..offset };
    let error = last.members().unwrap_err();
    assert!(matches!(error, ConfigError::Rank { role: Role::Worker, rank: 32, count: 32 }), "{error}");
    let below = Config { rank_offset: -24, ..last };
    assert!(matches!(below.members().unwrap_err(), ConfigError::Rank { rank: -1, .. }));
    let huge = Config { node_rank: u32::MAX, rank_offset: i64::MAX, ..below };
    assert!(matches!(huge.members().unwrap_err(), ConfigError::Rank { .. }));
}

#[test]
fn a_joint_process_is_a_server_and_a_worker_of_one_rank() {
    let config = Config { role: ProcessRole::Joint, ..worker(2, 3).with_node_rank(1) };
    assert_eq!(config.members().unwrap(), [MemberId::server(1), MemberId::worker(1)]);
    let beyond = Config { node_rank: 2, ..config };
    let error = beyond.members().unwrap_err();
    assert!(matches!(error, ConfigError::Rank { role: Role::Worker, rank: 2, count: 2 }), "{error}");
    let scheduler = Config { role: ProcessRole::Scheduler, ..beyond };
    assert_eq!(scheduler.members().unwrap(), [MemberId::SCHEDULER]);
}

#[test]
fn what_cannot_be_is_refused_and_says_why() {
    for (workers, servers, group_size) in
        [(0, 1, 1), (1, 0, 1), (1, 1, 0), (40_000, 40_000, 1), (u32::MAX, 1, 2)]
    {
        let config = worker(workers, servers).with_instance(group_size, 0);
        let error = config.members().unwrap_err();
        assert!(matches!(error, ConfigError::Shape { shape } if shape == config.shape), "{error}");
    }
    let error = worker(1, 1).with_instance(2, 2).members().unwrap_err();
    assert!(matches!(error, ConfigError::Instance { instance: 2, group_size: 2 }), "{error}");
    let second = Duration::from_secs(1);
    for (interval, bound) in [(Duration::ZERO, second), (second, second)] {
        let error = worker(1, 1).with_keep_alive(interval, bound).members().unwrap_err();
        assert!(matches!(error, ConfigError::KeepAlive { .. }), "{error}");
    }
    let nowhere = Config { scheduler_host: "no.such.host.invalid".into(), ..worker(1, 1) };
    let error = nowhere.scheduler_addresses().unwrap_err();
    assert!(
        matches!(&error, ConfigError::SchedulerHost { host, .. } if host == "no.such.host.invalid"),
        "{error}"
    );
}

#[test]
fn an_endpoint_is_announced_for_every_role() {
    struct Silent;
    impl PeerService for Silent {}
    let listen = Some(([127, 0, 0, 1], 0).into());
    let config = EndpointConfig { listen, ..EndpointConfig::default() };
    let endpoint = Endpoint::open(config, Arc::new(Silent)).unwrap();
    let joint = Config { role: ProcessRole::Joint, ..worker(1, 1) }.with_endpoint(&endpoint);
    let data = joint.data(Role::Server).unwrap();
    assert_eq!(Some(data.address), endpoint.local_address());
    assert_eq!(data.incarnation, endpoint.identity().incarnation);
    assert_eq!(joint.data(Role::Worker), Some(data));
    assert_eq!(joint.data(Role::Scheduler), None);
    let worker = worker(1, 1).with_endpoint(&endpoint);
    assert_eq!((worker.data(Role::Worker), worker.data(Role::Server)), (Some(data), None));
}
