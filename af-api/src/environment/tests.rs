//! Every variable is heard, or accepted; values that cannot be are refused by name.

use pmd_host::{backend::Transport, endpoint::TransportChoice};

use super::*;
use crate::{config::Shape, rendezvous::MemberId};

const CLUSTER: [(&str, &str); 5] = [
    ("DMLC_ROLE", "worker"),
    ("DMLC_NUM_WORKER", "8"),
    ("DMLC_NUM_SERVER", "4"),
    ("DMLC_PS_ROOT_URI", "127.0.0.1"),
    ("DMLC_PS_ROOT_PORT", "8123"),
];

/// The cluster's variables and others, which go before them.
fn with(others: &[(&str, &str)]) -> Result<Config, EnvironmentError> {
    config_of(|asked| {
        let mut all = others.iter().chain(&CLUSTER);
        all.find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned())
    })
}

fn good(others: &[(&str, &str)]) -> Config {
    with(others).expect("a configuration")
}

#[test]
fn the_least_that_must_be_set_is_enough() {
    let config = good(&[]);
    assert_eq!(config.role, ProcessRole::Worker);
    assert_eq!(config.shape, Shape { workers: 8, servers: 4, group_size: 1 });
    assert_eq!((config.scheduler_host.as_str(), config.scheduler_port), ("127.0.0.1", 8123));
    assert_eq!((config.rank(), config.instance, config.accelerator, config.verbosity), (0, 0, 0, 0));
    assert_eq!((config.keep_alive, config.down_after), (Duration::from_secs(1), Duration::from_secs(5)));
    assert_eq!((config.endpoint.listen, config.endpoint.lane.core), (None, None), "a worker does not listen");
    assert_eq!((config.backend, config.start_timeout), (None, Duration::from_secs(60)));
    for (name, _) in CLUSTER {
        let without = |asked: &str| {
            let (_, value) = CLUSTER.iter().find(|(set, _)| *set == asked && asked != name)?;
            Some((*value).to_owned())
        };
        let error = config_of(without).unwrap_err();
        assert!(matches!(error, EnvironmentError::Missing { variable, .. } if variable == name), "{error}");
        assert!(error.to_string().starts_with(name));
    }
}

#[test]
fn roles_and_ranks_are_as_upstream_computes_them() {
    for (name, role) in [
        ("worker", ProcessRole::Worker),
        ("server", ProcessRole::Server),
        ("scheduler", ProcessRole::Scheduler),
        ("joint", ProcessRole::Joint),
    ] {
        assert_eq!(good(&[("DMLC_ROLE", name)]).role, role);
    }
    let place = |others: &[(&str, &str)]| {
        let config = good(others);
        (config.members().unwrap()[0].rank, config.instance)
    };
    let (group, node) = (("DMLC_GROUP_SIZE", "4"), ("DMLC_NODE_RANK", "3"));
    assert_eq!(place(&[group, node, ("STEPMESH_GPU", "2")]), (14, 2));
    assert_eq!(place(&[group, node, ("STEPAF_GPU", "2")]), (14, 2), "the name before");
    assert_eq!(place(&[node, ("STEPMESH_GPU", "2")]), (5, 0), "one process for each accelerator, no groups");
    let server = ("DMLC_ROLE", "server");
    let behind = [server, group, ("STEPMESH_GPU", "6"), ("DMLC_RANK_OFFSET", "-4")];
    assert_eq!(place(&behind), (2, 2), "servers on the accelerators after the workers'");
    assert_eq!(good(&behind).accelerator, 6);
    let explicit = [group, node, ("STEPMESH_GPU", "2"), ("DMLC_INSTANCE_ID", "1"), ("DMLC_RANK_OFFSET", "8")];
    assert_eq!(place(&explicit), (22, 1), "the instance changes nothing about the rank");
    assert_eq!(
        good(&[("DMLC_ROLE", "joint"), ("STEPMESH_GPU", "3")]).members().unwrap()[1],
        MemberId::worker(3)
    );
}

#[test]
fn a_server_listens_where_it_is_told_or_where_the_scheduler_sees_it() {
    let server = ("DMLC_ROLE", "server");
    let listens = |others: &[(&str, &str)]| good(&[&[server], others].concat()).endpoint.listen.unwrap();
    assert_eq!(listens(&[]), ([127, 0, 0, 1], 0).into());
    assert_eq!(listens(&[("DMLC_PORT", "7001"), ("DMLC_INTERFACE", "auto")]), ([127, 0, 0, 1], 7001).into());
    assert_eq!(
        listens(&[("DMLC_NODE_HOST", "127.0.0.9"), ("DMLC_INTERFACE", "nonsense")]),
        ([127, 0, 0, 9], 0).into()
    );
    assert_eq!(listens(&[("DMLC_INTERFACE", "lo")]), ([127, 0, 0, 1], 0).into());
    assert_eq!(listens(&[("DMLC_PS_ROOT_URI", "::1")]).ip(), "::1".parse::<IpAddr>().unwrap());
    let error = with(&[server, ("DMLC_INTERFACE", "no-such-interface")]).unwrap_err();
    assert!(matches!(error, EnvironmentError::Interface(InterfaceError::Unknown { .. })), "{error}");
    let error = with(&[server, ("DMLC_PS_ROOT_URI", "no.such.host.invalid")]).unwrap_err();
    assert!(matches!(error, EnvironmentError::Config(ConfigError::SchedulerHost { .. })), "{error}");
}

#[test]
fn lanes_and_times_are_heard_and_our_own_names_go_before() {
    let lanes = |others: &[(&str, &str)]| good(others).endpoint;
    assert_eq!(lanes(&[("STEPAF_QP_NUM", "2")]).queue_pairs, 2);
    assert_eq!(lanes(&[("STEPAF_QP_NUM", "2"), ("PMD_QUEUE_PAIRS", "3")]).queue_pairs, 3);
    assert_eq!(lanes(&[("STEPAF_BUSY_POLL_ENABLE", "1")]).lane.idle, Idle::Yield);
    assert_eq!(lanes(&[("STEPAF_BUSY_POLL_ENABLE", "0")]).lane.idle, Idle::Park);
    assert_eq!(lanes(&[("STEPAF_BUSY_POLL_ENABLE", "0"), ("PMD_IDLE", "spin")]).lane.idle, Idle::Spin);
    assert_eq!(lanes(&[("PMD_TRANSPORT", "shm")]).transport, TransportChoice::Only(Transport::SharedMemory));
    assert_eq!(lanes(&[("PMD_DEVICE", "mlx5_3")]).nic.device.as_deref(), Some("mlx5_3"));

    let core = |gpu: &str, others: &[(&str, &str)]| {
        let pinned = [("STEPMESH_BIND_CPU_CORE", "1"), ("STEPMESH_GPU", gpu)];
        lanes(&[&pinned, others].concat()).lane.core
    };
    let cores = ["0", "1", "2", "3", "4", "7"].map(|gpu| core(gpu, &[]));
    assert_eq!(cores, [10, 15, 34, 39, 58, 87].map(Some));
    let others = [
        ("STEPMESH_CPU_START_OFFSET", "1"),
        ("STEPMESH_CPU_CORES_PER_GPU", "2"),
        ("STEPMESH_CPU_CORES_PER_SOCKET", "16"),
    ];
    assert_eq!(core("3", &others), Some(11));
    assert_eq!(lanes(&others).lane.core, None, "pinning was not asked for");

    let times = |others: &[(&str, &str)]| {
        let config = good(others);
        assert_eq!(config.endpoint.keep_alive, config.keep_alive);
        assert_eq!(config.endpoint.down_after, config.down_after);
        (config.keep_alive.as_secs(), config.down_after.as_secs())
    };
    let (interval, bound) = (("PS_HEARTBEAT_INTERVAL", "2"), ("PS_HEARTBEAT_TIMEOUT", "30"));
    assert_eq!([times(&[interval]), times(&[bound]), times(&[interval, bound])], [(2, 10), (6, 30), (2, 30)]);
    assert_eq!(times(&[("PS_HEARTBEAT_INTERVAL", "0"), ("PS_HEARTBEAT_TIMEOUT", "0")]), (1, 5));
    assert_eq!(good(&[("PMD_START_TIMEOUT", "7")]).start_timeout, Duration::from_secs(7));
    assert_eq!(good(&[("PS_VERBOSE", "3")]).verbosity, 3);
    assert_eq!(good(&[("STEPMESH_BAKCEND", "CPU")]).backend, Some(Backend::Cpu));
    assert_eq!(good(&[("STEPMESH_BAKCEND", "CPU"), ("STEPMESH_BACKEND", "GPU")]).backend, Some(Backend::Gpu));
}

#[test]
fn values_that_cannot_be_are_refused_by_name() {
    let wrong = [
        ("DMLC_ROLE", "boss"),
        ("DMLC_NUM_WORKER", "many"),
        ("DMLC_NUM_SERVER", "-1"),
        ("DMLC_GROUP_SIZE", "1.5"),
        ("DMLC_NODE_RANK", ""),
        ("DMLC_RANK_OFFSET", "x"),
        ("DMLC_INSTANCE_ID", "-1"),
        ("DMLC_PS_ROOT_URI", ""),
        ("DMLC_PS_ROOT_PORT", "65536"),
        ("DMLC_NODE_HOST", "no.such.host.invalid"),
        ("DMLC_INTERFACE", ""),
        ("DMLC_PORT", "http"),
        ("STEPMESH_GPU", "a"),
        ("STEPAF_GPU", "a"),
        ("STEPMESH_BACKEND", "TPU"),
        ("STEPMESH_BAKCEND", "cpu"),
        ("STEPMESH_BIND_CPU_CORE", "yes"),
        ("STEPMESH_CPU_START_OFFSET", "-1"),
        ("STEPMESH_CPU_CORES_PER_GPU", "x"),
        ("STEPMESH_CPU_CORES_PER_SOCKET", "99999"),
        ("STEPAF_QP_NUM", "0"),
        ("STEPAF_BUSY_POLL_ENABLE", "2"),
        ("PS_VERBOSE", "5"),
        ("PS_HEARTBEAT_INTERVAL", "99999999"),
        ("PS_HEARTBEAT_TIMEOUT", "-1"),
        ("PMD_START_TIMEOUT", "soon"),
        ("PMD_TRANSPORT", "tpc"),
        ("PMD_IDLE", "SPIN"),
    ];
    for (name, value) in wrong {
        let error = with(&[(name, value), ("DMLC_ROLE", "server")]).unwrap_err();
        let EnvironmentError::Value(error) = error else { panic!("{name}: {error}") };
        assert_eq!((error.variable, error.value.as_str()), (name, value));
        assert!(error.to_string().contains(error.allowed));
    }
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    for others in [
        [("DMLC_NODE_RANK", "8"), ("DMLC_GROUP_SIZE", "1")],
        [("DMLC_RANK_OFFSET", "-1"), ("DMLC_GROUP_SIZE", "1")],
        [("DMLC_INSTANCE_ID", "2"), ("DMLC_GROUP_SIZE", "2")],
        [("DMLC_NUM_WORKER", "0"), ("DMLC_GROUP_SIZE", "1")],
        [("DMLC_NODE_RANK", "0"), ("DMLC_GROUP_SIZE", "0")],
        [("PS_HEARTBEAT_INTERVAL", "5"), ("PS_HEARTBEAT_TIMEOUT", "5")],
    ] {
        let error = with(&others).unwrap_err();
        assert!(matches!(error, EnvironmentError::Config(_)), "{others:?}: {error}");
    }
}

#[test]
fn what_means_nothing_here_is_accepted_whatever_it_is() {
    for name in [
        "DMLC_ENABLE_RDMA",
        "STEPMESH_SPLIT_QP_LAG",
        "STEPMESH_MEM_SYNC",
        "PS_RESEND",
        "PS_RESEND_TIMEOUT",
        "PS_DROP_MSG",
    ] {
        assert_eq!(format!("{:?}", good(&[(name, "anything")])), format!("{:?}", good(&[])), "{name}");
    }
}

#[cfg(feature = "accelerators")]
#[test]
fn accelerators_are_opened_by_name_and_one_that_is_not_here_is_told() {
    let opened = accelerators("cpu:1, cpu,", 3).expect("ordinary memory is always there");
    let numbers: Vec<_> = opened.iter().map(|of| of.identity().ordinal).collect();
    assert_eq!(numbers, [1, 3]);
    assert!(accelerators("", 0).expect("none").is_empty());
    for (names, expected) in [("gpu", "gpu:0"), ("cpu,cuda:4000", "cuda:4000")] {
        match accelerators(names, 0) {
            Err(EnvironmentError::Accelerator { name, .. }) => assert_eq!(name, expected),
            other => panic!("{other:?}"),
        }
    }
}
