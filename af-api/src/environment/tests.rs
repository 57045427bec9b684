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

/// Only these variables, and two workers and two servers.
fn launched(variables: &[(&str, &str)]) -> Result<Config, EnvironmentError> {
    let shape = [("DMLC_NUM_WORKER", "2"), ("DMLC_NUM_SERVER", "2")];
    config_of(|asked| {
        let found = variables.iter().chain(&shape).find(|(name, _)| *name == asked);
        found.map(|(_, value)| (*value).to_owned())
    })
}

fn place_of(variables: &[(&str, &str)]) -> (MemberId, u32) {
    let config = launched(variables).expect("a configuration");
    (config.members().expect("a place")[0], config.accelerator)
}

const MASTER: [(&str, &str); 2] = [("MASTER_ADDR", "127.0.0.1"), ("MASTER_PORT", "29500")];

#[test]
fn one_launch_of_the_whole_cluster_gives_roles_ranks_and_the_scheduler() {
    let torchrun = |rank, size| {
        [&[("RANK", rank), ("WORLD_SIZE", size), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "2")], &MASTER[..]]
            .concat()
    };
    let scheduler = launched(&torchrun("0", "5")).expect("a configuration");
    assert_eq!(scheduler.role, ProcessRole::Scheduler);
    assert_eq!((scheduler.scheduler_host.as_str(), scheduler.scheduler_port), ("127.0.0.1", 29_501));
    let five = ["1", "2", "3", "4"].map(|rank| place_of(&torchrun(rank, "5")));
    let four = ["0", "1", "2", "3"].map(|rank| place_of(&torchrun(rank, "4")));
    let places = [MemberId::server(0), MemberId::server(1), MemberId::worker(0), MemberId::worker(1)];
    assert_eq!((five, four), (places.map(|place| (place, 1)), places.map(|place| (place, 1))));
    let slurm = [
        ("SLURM_PROCID", "3"),
        ("SLURM_NTASKS", "4"),
        ("SLURM_JOB_NODELIST", "localhost,gpu[01-02]"),
        ("SLURM_JOB_ID", "7"),
    ];
    let config = launched(&slurm).expect("a configuration");
    assert_eq!((config.scheduler_host.as_str(), config.scheduler_port), ("localhost", 20_007));
    assert_eq!(place_of(&slurm), (MemberId::worker(1), 0));
}

#[test]
fn one_launch_for_each_role_gives_ranks_in_it() {
    let root = [("DMLC_PS_ROOT_URI", "127.0.0.1"), ("DMLC_PS_ROOT_PORT", "8123"), ("DMLC_ROLE", "server")];
    let mpi = [("OMPI_COMM_WORLD_RANK", "1"), ("OMPI_COMM_WORLD_SIZE", "2")];
    assert_eq!(place_of(&[&root[..], &mpi].concat()), (MemberId::server(1), 0));
    let pmi = [("PMI_RANK", "1"), ("PMI_SIZE", "2")];
    assert_eq!(place_of(&[&root[..], &pmi].concat()), (MemberId::server(1), 0));
    let pod = [("JOB_COMPLETION_INDEX", "1")];
    assert_eq!(place_of(&[&root[..], &pod].concat()), (MemberId::server(1), 0));
    let set = [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("HOSTNAME", "ffn-1")];
    assert_eq!(place_of(&[&root[..], &set].concat()), (MemberId::server(1), 0));
    let groups = [("DMLC_GROUP_SIZE", "4"), ("RANK", "6"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "2")];
    let all = [&root[..], &groups].concat();
    assert_eq!(place_of(&all), (MemberId::server(6), 2));
    assert_eq!(launched(&all).expect("a configuration").instance, 2);
}

#[test]
fn own_variables_go_before_the_launcher() {
    let own = [
        ("DMLC_ROLE", "worker"),
        ("DMLC_NODE_RANK", "1"),
        ("DMLC_PS_ROOT_URI", "127.0.0.2"),
        ("DMLC_PS_ROOT_PORT", "8123"),
    ];
    let torchrun = [("RANK", "0"), ("WORLD_SIZE", "7"), ("LOCAL_RANK", "0")];
    let all = [&own[..], &torchrun, &MASTER].concat();
    assert_eq!(place_of(&all), (MemberId::worker(1), 0));
    let config = launched(&all).expect("a configuration");
    assert_eq!((config.scheduler_host.as_str(), config.scheduler_port), ("127.0.0.2", 8123));
    // What nobody needs may be wrong.
    assert_eq!(place_of(&[&own[..], &[("RANK", "many")]].concat()), (MemberId::worker(1), 0));
}

#[test]
fn what_cannot_both_be_names_both() {
    let two = |error: EnvironmentError| match error {
        EnvironmentError::Contradiction { own, launcher } => (own, launcher.to_string()),
        other => panic!("{other}"),
    };
    let torchrun = |rank, size| [&[("RANK", rank), ("WORLD_SIZE", size)], &MASTER[..]].concat();
    let named = |own: &str, launcher: &str| (own.to_owned(), launcher.to_owned());
    let role = [&torchrun("0", "4")[..], &[("DMLC_ROLE", "worker")]].concat();
    assert_eq!(two(launched(&role).expect_err("a server")), named("DMLC_ROLE=worker", "RANK=0"));
    let scheduler = [&torchrun("0", "5")[..], &[("DMLC_ROLE", "worker")]].concat();
    assert_eq!(two(launched(&scheduler).expect_err("the scheduler")), named("DMLC_ROLE=worker", "RANK=0"));
    let size = [&torchrun("0", "7")[..], &[("DMLC_ROLE", "worker")]].concat();
    assert_eq!(two(launched(&size).expect_err("three more")), named("DMLC_NUM_WORKER=2", "WORLD_SIZE=7"));
    let all = two(launched(&torchrun("0", "7")).expect_err("three more"));
    assert_eq!(all, named("DMLC_NUM_SERVER=2", "WORLD_SIZE=7"));
    let ranks = [&torchrun("0", "4")[..], &[("PMI_RANK", "1"), ("PMI_SIZE", "4")]].concat();
    let refused = launched(&ranks).expect_err("two ranks");
    assert!(matches!(refused, EnvironmentError::Launch(LaunchError::Contradiction { .. })), "{refused}");
    let said = refused.to_string();
    assert!(said.contains("RANK=0") && said.contains("PMI_RANK=1"), "{said}");
}

#[test]
fn a_launcher_that_says_too_little_leaves_what_is_missing_to_be_told() {
    let missing = |variables: &[(&str, &str)]| match launched(variables) {
        Err(EnvironmentError::Missing { variable, .. }) => variable,
        other => panic!("{other:?}"),
    };
    assert_eq!(missing(&[("JOB_COMPLETION_INDEX", "0")]), "DMLC_ROLE");
    assert_eq!(missing(&[("PMI_RANK", "0"), ("PMI_SIZE", "4")]), "DMLC_PS_ROOT_URI");
    let host = [("PMI_RANK", "0"), ("PMI_SIZE", "4"), ("MASTER_ADDR", "127.0.0.1")];
    assert_eq!(missing(&host), "DMLC_PS_ROOT_PORT");
    assert_eq!(missing(&[("RANK", "0"), ("WORLD_SIZE", "4"), ("PMD_LAUNCHER", "none")]), "DMLC_ROLE");
}

#[cfg(feature = "etcd")]
#[test]
fn a_directory_takes_the_place_of_the_scheduler_s_address() {
    let named = [("PMD_METADATA", "etcd://127.0.0.1:1"), ("PMD_GROUP", "ffn")];
    let of = |others: &[(&str, &str)]| launched(&[others, &named].concat()).expect("a configuration");
    let worker = of(&[("DMLC_ROLE", "worker")]);
    let group = worker.group.expect("a group");
    assert_eq!((&*group.name, group.claims_rank), ("ffn", true));
    assert_eq!(group.scheduler_name(), "af/ffn/scheduler");
    let ranked = of(&[("DMLC_ROLE", "server"), ("DMLC_NODE_RANK", "1")]);
    assert!(!ranked.group.expect("a group").claims_rank);
    assert_eq!(ranked.endpoint.listen, Some(([127, 0, 0, 1], 0).into()), "from where it reaches etcd");
    let scheduler = of(&[("DMLC_ROLE", "scheduler")]);
    assert_eq!((scheduler.scheduler_host.as_str(), scheduler.scheduler_port), ("127.0.0.1", 0));
    let refused =
        launched(&[("PMD_METADATA", "consul://a"), ("DMLC_ROLE", "worker")]).expect_err("no such directory");
    assert!(
        matches!(refused, EnvironmentError::Directory { ref url, .. } if url == "consul://a"),
        "{refused}"
    );
}
