//! Launches, as variables of every launcher say them, and those that cannot be.

use super::*;

fn with(variables: &[(&str, &str)]) -> Result<Option<Launch>, LaunchError> {
    launch_of(|asked| {
        let found = variables.iter().find(|(name, _)| *name == asked);
        found.map(|(_, value)| (*value).to_owned())
    })
}

fn launched(variables: &[(&str, &str)]) -> Launch {
    with(variables).expect("variables that go together").expect("a launch")
}

/// Rank, number, both on the host, number of the host.
fn figures(launch: &Launch) -> (u32, Option<u32>, Option<u32>, Option<u32>, Option<u32>) {
    let size = launch.size.map(|size| size.value);
    (launch.rank.value, size, launch.local_rank, launch.local_size, launch.node_rank)
}

const TORCHRUN: &[(&str, &str)] = &[
    ("RANK", "9"),
    ("WORLD_SIZE", "16"),
    ("LOCAL_RANK", "1"),
    ("LOCAL_WORLD_SIZE", "8"),
    ("GROUP_RANK", "1"),
    ("MASTER_ADDR", "gpu00"),
    ("MASTER_PORT", "29500"),
    ("TORCHELASTIC_RUN_ID", "none"),
];

#[test]
fn nothing_set_is_no_launch() {
    assert_eq!(with(&[]), Ok(None));
    assert_eq!(with(&[("HOSTNAME", "gpu-7")]), Ok(None));
    assert_eq!(with(&[("PMD_LAUNCHER", "auto"), ("LOCAL_RANK", "1")]), Ok(None));
}

#[test]
fn torchrun_is_heard_and_its_store_keeps_its_port() {
    let launch = launched(TORCHRUN);
    assert_eq!(launch.launcher, Launcher::Torchrun);
    assert_eq!(figures(&launch), (9, Some(16), Some(1), Some(8), Some(1)));
    assert_eq!(launch.first, Some(("gpu00".to_owned(), Some(29_501))));
}

#[test]
fn mpi_is_heard() {
    let launch = launched(&[
        ("OMPI_COMM_WORLD_RANK", "3"),
        ("OMPI_COMM_WORLD_SIZE", "4"),
        ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
        ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
        // Of this process on its host among all jobs: not the number of the host.
        ("OMPI_COMM_WORLD_NODE_RANK", "1"),
    ]);
    assert_eq!((launch.launcher, launch.first.clone()), (Launcher::OpenMpi, None));
    assert_eq!(figures(&launch), (3, Some(4), Some(1), Some(2), None));
    let launch =
        launched(&[("PMI_RANK", "0"), ("PMI_SIZE", "2"), ("MPI_LOCALRANKID", "0"), ("MPI_LOCALNRANKS", "2")]);
    assert_eq!(launch.launcher, Launcher::Pmi);
    assert_eq!(figures(&launch), (0, Some(2), Some(0), Some(2), None));
}

#[test]
fn slurm_is_heard_and_its_first_host_is_found() {
    let variables = [
        ("SLURM_PROCID", "2"),
        ("SLURM_NTASKS", "8"),
        ("SLURM_LOCALID", "0"),
        ("SLURM_NODEID", "1"),
        ("SLURM_JOB_NODELIST", "gpu[09-12]"),
        ("SLURM_JOB_ID", "30012"),
    ];
    let launch = launched(&variables);
    assert_eq!(launch.launcher, Launcher::Slurm);
    assert_eq!(figures(&launch), (2, Some(8), Some(0), None, Some(1)));
    assert_eq!(launch.first, Some(("gpu09".to_owned(), Some(20_012))));
    // A step has fewer tasks and hosts than its job.
    let step =
        [&variables[..], &[("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_STEP_NODELIST", "gpu[11-12]")]].concat();
    let launch = launched(&step);
    assert_eq!(launch.size, Some(Setting { variable: "SLURM_STEP_NUM_TASKS", value: 4 }));
    assert_eq!(launch.first, Some(("gpu11".to_owned(), Some(20_012))));
    // What the job's script exports goes before.
    let launch = launched(&[&step[..], &[("MASTER_ADDR", "10.0.0.1"), ("MASTER_PORT", "7000")]].concat());
    assert_eq!(launch.first, Some(("10.0.0.1".to_owned(), Some(7001))));
}

#[test]
fn pods_of_jobs_and_stateful_sets_are_heard() {
    let launch = launched(&[("JOB_COMPLETION_INDEX", "3"), ("MASTER_ADDR", "job-0.pods")]);
    assert_eq!((launch.launcher, figures(&launch).0), (Launcher::Kubernetes, 3));
    assert_eq!((launch.size, launch.first), (None, Some(("job-0.pods".to_owned(), None))));
    let pod = |name| [("KUBERNETES_SERVICE_HOST", "10.0.0.1"), ("HOSTNAME", name), ("WORLD_SIZE", "4")];
    let launch = launched(&pod("ffn-server-2"));
    assert_eq!(launch.rank, Setting { variable: "HOSTNAME", value: 2 });
    assert_eq!(launch.size, Some(Setting { variable: "WORLD_SIZE", value: 4 }));
    assert_eq!(launched(&pod("ffn-3.ffn.default.svc")).rank.value, 3);
    // Of a Deployment; the second one's ending is of digits by chance.
    for other in ["ffn-7d4b9c6f5-x2x8z", "ffn-7d4b9c6f5-24567", "ffn", "ffn-"] {
        assert_eq!(with(&pod(other)), Ok(None), "{other}");
    }
}

#[test]
fn the_innermost_launcher_counts() {
    let outer = [("SLURM_PROCID", "1"), ("SLURM_NTASKS", "2"), ("SLURM_JOB_NODELIST", "gpu[00-01]")];
    let launch = launched(&[TORCHRUN, &outer].concat());
    assert_eq!((launch.launcher, launch.rank.value), (Launcher::Torchrun, 9));
    // One process a node, and torchrun has numbered the nodes as they came.
    let alone = [("RANK", "0"), ("WORLD_SIZE", "2"), ("TORCHELASTIC_RUN_ID", "1")];
    assert_eq!(launched(&[&alone[..], &outer].concat()).rank.value, 0);
}

#[test]
fn two_ranks_of_the_same_processes_contradict_each_other() {
    let variables = [("RANK", "0"), ("WORLD_SIZE", "2"), ("SLURM_PROCID", "1"), ("SLURM_NTASKS", "2")];
    let one = Setting { variable: "RANK", value: 0 };
    let other = Setting { variable: "SLURM_PROCID", value: 1 };
    let refused = with(&variables).expect_err("two ranks");
    assert_eq!(refused, LaunchError::Contradiction { one, other });
    let said = refused.to_string();
    assert!(said.contains("RANK=0") && said.contains("SLURM_PROCID=1"), "{said}");
    let equal = [("RANK", "1"), ("WORLD_SIZE", "2"), ("SLURM_PROCID", "1"), ("SLURM_NTASKS", "2")];
    assert_eq!(launched(&equal).launcher, Launcher::Torchrun);
    // Whoever says which is heard.
    let asked = launched(&[&variables[..], &[("PMD_LAUNCHER", "slurm")]].concat());
    assert_eq!((asked.launcher, asked.rank), (Launcher::Slurm, other));
    assert_eq!(with(&[&variables[..], &[("PMD_LAUNCHER", "none")]].concat()), Ok(None));
}

#[test]
fn what_cannot_be_is_refused_with_the_variables() {
    let (rank, size) = (Setting { variable: "RANK", value: 2 }, Setting { variable: "WORLD_SIZE", value: 2 });
    assert_eq!(with(&[("RANK", "2"), ("WORLD_SIZE", "2")]), Err(LaunchError::OutOfRange { rank, size }));
    assert_eq!(with(&[("RANK", "2")]), Err(LaunchError::Missing { variable: "WORLD_SIZE", rank }));
    let local = [("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "3"), ("LOCAL_WORLD_SIZE", "2")];
    assert!(matches!(with(&local), Err(LaunchError::OutOfRange { .. })));
    let value = |variable| match with(&[(variable, "many"), ("WORLD_SIZE", "2")]) {
        Err(LaunchError::Value(wrong)) => (wrong.variable, wrong.value),
        other => panic!("{other:?}"),
    };
    for variable in ["RANK", "SLURM_PROCID", "JOB_COMPLETION_INDEX", "PMD_LAUNCHER"] {
        assert_eq!(value(variable), (variable, "many".to_owned()));
    }
    let launcher = Launcher::Pmi;
    let refused = with(&[("PMD_LAUNCHER", "pmi"), ("RANK", "0")]);
    assert_eq!(refused, Err(LaunchError::NotLaunched { launcher, rank: "PMI_RANK" }));
    let list = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1"), ("SLURM_JOB_NODELIST", "gpu[1-")];
    let Err(LaunchError::NodeList { variable, source, .. }) = with(&list) else { panic!("{list:?}") };
    assert_eq!((variable, source), ("SLURM_JOB_NODELIST", NodeListError::Bracket { at: 6 }));
}

#[test]
fn lists_of_hosts_are_read_in_their_order() {
    let cases: [(&str, &[&str]); 7] = [
        ("gpu1", &["gpu1"]),
        ("gpu1,login", &["gpu1", "login"]),
        ("gpu[9-11]", &["gpu9", "gpu10", "gpu11"]),
        ("gpu[009-011,20],a", &["gpu009", "gpu010", "gpu011", "gpu20", "a"]),
        ("r[1-2]n[3,5]-ib", &["r1n3-ib", "r1n5-ib", "r2n3-ib", "r2n5-ib"]),
        ("b,a", &["b", "a"]),
        ("gpu[7]", &["gpu7"]),
    ];
    for (list, expected) in cases {
        assert_eq!(hosts(list).expect(list), expected, "{list}");
    }
}

#[test]
fn lists_that_do_not_parse_say_where() {
    let range = |range: &str| NodeListError::Range { range: range.to_owned() };
    let cases = [
        ("", NodeListError::Empty),
        (" , ", NodeListError::Empty),
        ("gpu[1-2", NodeListError::Bracket { at: 7 }),
        ("gpu1]", NodeListError::Bracket { at: 4 }),
        ("gpu[[1]]", NodeListError::Bracket { at: 4 }),
        ("gpu[]", range("")),
        ("gpu[1-]", range("1-")),
        ("gpu[b-c]", range("b-c")),
        ("gpu[2-1]", range("2-1")),
        ("gpu[+1]", range("+1")),
        ("gpu[1-99999999999999999999]", range("1-99999999999999999999")),
        ("gpu[0-65536]", NodeListError::TooMany),
        ("gpu[0-18446744073709551615]", NodeListError::TooMany),
        ("a[0-9999]b[0-9999]", NodeListError::TooMany),
        ("a[0-65535],b", NodeListError::TooMany),
    ];
    for (list, expected) in cases {
        assert_eq!(hosts(list), Err(expected), "{list}");
    }
    assert_eq!(hosts("a[0-65535]").map(|hosts| hosts.len()), Ok(MOST_HOSTS));
}
