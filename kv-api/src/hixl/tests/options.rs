//! Options.

use super::*;
use crate::hixl::options::{ConnectPool, LinkPool, Options, StageFor, Staging};

fn read(given: &[(&str, &str)]) -> Result<Options, HixlError> {
    Options::read(&options(given), |_| None)
}

#[test]
fn nothing_given_is_the_default() {
    let defaults = read(&[]).expect("the defaults");
    assert_eq!(defaults, Options::default());
    assert_eq!((defaults.traffic_class, defaults.service_level), (132, 4));
    assert_eq!(defaults.staging, Some(Staging { buffers: 4, bytes: 8 << 20 }));
    assert_eq!(defaults.connect_pool, ConnectPool { threads: 2, capacity: 128 });
    // As in the original, an option that is empty is one that is not given, but for AutoConnect.
    for option in OPTIONS.into_iter().filter(|option| *option != OPTION_AUTO_CONNECT) {
        assert_eq!(read(&[(option, "")]).expect(option), Options::default());
    }
}

const OPTIONS: [&str; 7] = [
    OPTION_ENABLE_USE_FABRIC_MEM,
    OPTION_RDMA_TRAFFIC_CLASS,
    OPTION_RDMA_SERVICE_LEVEL,
    OPTION_BUFFER_POOL,
    OPTION_GLOBAL_RESOURCE_CONFIG,
    OPTION_AUTO_CONNECT,
    OPTION_LOCAL_COMM_RES,
];

#[test]
fn every_option_is_heard() {
    let resources = r#"{"connect_pool.thread_num": "8", "connect_pool.task_queue_capacity": 256,
        "channel_pool.max_channel": "10", "channel_pool.high_waterline": "0.3", "channel_pool.low_waterline": 0.1,
        "comm_resource_config.protocol_desc": ["hccs:device"], "comm_resource_config.listen_port": 26666}"#;
    let all = read(&[
        (OPTION_RDMA_TRAFFIC_CLASS, "252"),
        (OPTION_RDMA_SERVICE_LEVEL, "7"),
        (OPTION_BUFFER_POOL, "3:5"),
        (OPTION_AUTO_CONNECT, "1"),
        (OPTION_ENABLE_USE_FABRIC_MEM, "0"),
        (OPTION_LOCAL_COMM_RES, r#"{"version": "1.3"}"#),
        (OPTION_GLOBAL_RESOURCE_CONFIG, resources),
    ]);
    let wanted = Options {
        traffic_class: 252,
        service_level: 7,
        staging: Some(Staging { buffers: 3, bytes: 5 << 20 }),
        stage_for: StageFor::Host,
        auto_connect: true,
        connect_pool: ConnectPool { threads: 8, capacity: 256 },
        link_pool: Some(LinkPool { high: 3, low: 1 }),
    };
    assert_eq!(all.expect("options"), wanted);
    assert_eq!(read(&[(OPTION_BUFFER_POOL, "0:0")]).expect("off").staging, None);
    assert_eq!(read(&[(OPTION_ENABLE_USE_FABRIC_MEM, "1")]).expect("off").staging, None);
    let old = read(&[("adxl.BufferPool", "1:1"), ("adxl.RdmaServiceLevel", "2")]).expect("older names");
    assert_eq!((old.staging, old.service_level), (Some(Staging { buffers: 1, bytes: 1 << 20 }), 2));
    let both = read(&[("adxl.RdmaServiceLevel", "2"), (OPTION_RDMA_SERVICE_LEVEL, "3")]).expect("both names");
    assert_eq!(both.service_level, 3);
}

#[test]
fn the_environment_fills_in() {
    let variables = |name: &str| match name {
        "HCCL_RDMA_TC" => Some("96".to_owned()),
        "HCCL_RDMA_SL" => Some("1".to_owned()),
        STAGE_FOR_VARIABLE => Some("all".to_owned()),
        _ => None,
    };
    let read = Options::read(&options(&[(OPTION_RDMA_SERVICE_LEVEL, "6")]), variables).expect("options");
    assert_eq!((read.traffic_class, read.service_level, read.stage_for), (96, 6, StageFor::Everybody));
    for (value, wanted) in [("host", StageFor::Host), ("none", StageFor::Nobody)] {
        let variables = |name: &str| (name == STAGE_FOR_VARIABLE).then(|| value.to_owned());
        assert_eq!(Options::read(&options(&[]), variables).expect("options").stage_for, wanted);
    }
    let wrong = Options::read(&options(&[]), |_| Some("127".to_owned()));
    assert_eq!(status(wrong), Status::ParamInvalid);
}

#[test]
fn what_cannot_be_is_refused_with_what_can() {
    let wrong = [
        (OPTION_RDMA_TRAFFIC_CLASS, "133"),
        (OPTION_RDMA_TRAFFIC_CLASS, "256"),
        (OPTION_RDMA_SERVICE_LEVEL, "8"),
        (OPTION_RDMA_SERVICE_LEVEL, "-1"),
        (OPTION_BUFFER_POOL, "4"),
        (OPTION_BUFFER_POOL, "4:"),
        (OPTION_BUFFER_POOL, "0:8"),
        (OPTION_BUFFER_POOL, "4:0"),
        (OPTION_BUFFER_POOL, "4:8:1"),
        (OPTION_BUFFER_POOL, "4:99999999999999999999"),
        (OPTION_BUFFER_POOL, "99999999999:99999999999"),
        (OPTION_AUTO_CONNECT, ""),
        (OPTION_AUTO_CONNECT, "2"),
        (OPTION_AUTO_CONNECT, "true"),
        (OPTION_ENABLE_USE_FABRIC_MEM, "2"),
        (OPTION_LOCAL_COMM_RES, "no json"),
        (OPTION_GLOBAL_RESOURCE_CONFIG, "no json"),
        (OPTION_GLOBAL_RESOURCE_CONFIG, "[]"),
        (OPTION_GLOBAL_RESOURCE_CONFIG, r#"{"connect_pool.thread_num": 0}"#),
        (OPTION_GLOBAL_RESOURCE_CONFIG, r#"{"connect_pool.thread_num": "65"}"#),
        (OPTION_GLOBAL_RESOURCE_CONFIG, r#"{"connect_pool.thread_num": null}"#),
        (OPTION_GLOBAL_RESOURCE_CONFIG, r#"{"connect_pool.task_queue_capacity": 65536}"#),
        (OPTION_GLOBAL_RESOURCE_CONFIG, r#"{"channel_pool.max_channel": 5}"#),
        (OPTION_GLOBAL_RESOURCE_CONFIG, r#"{"channel_pool.high_waterline": 0.5}"#),
        (
            OPTION_GLOBAL_RESOURCE_CONFIG,
            r#"{"channel_pool.high_waterline": 1.5, "channel_pool.low_waterline": 0.1}"#,
        ),
        (
            OPTION_GLOBAL_RESOURCE_CONFIG,
            r#"{"channel_pool.high_waterline": 0.2, "channel_pool.low_waterline": 0.2}"#,
        ),
        (OPTION_GLOBAL_RESOURCE_CONFIG, r#"{"comm_resource_config.listen_port": 0}"#),
        (OPTION_GLOBAL_RESOURCE_CONFIG, r#"{"comm_resource_config.qos": 8}"#),
        (OPTION_GLOBAL_RESOURCE_CONFIG, r#"{"fabric_memory.task_stream_num": 9}"#),
        (OPTION_GLOBAL_RESOURCE_CONFIG, r#"{"local_comm_res_path": 5}"#),
        (OPTION_GLOBAL_RESOURCE_CONFIG, r#"{"local_comm_res_path": ""}"#),
        (OPTION_GLOBAL_RESOURCE_CONFIG, r#"{"local_comm_res_path": "/nowhere/at/all"}"#),
        (OPTION_GLOBAL_RESOURCE_CONFIG, r#"{"local_comm_res_path": "/"}"#),
        ("Bufferpool", "4:8"),
        ("hixl.BufferPool", "4:8"),
    ];
    for (option, value) in wrong {
        let error = read(&[(option, value)]).expect_err(value);
        assert_eq!(error.status(), Status::ParamInvalid, "{option} {value}: {error}");
        assert!(error.to_string().len() > 20, "{error}");
    }
    let both = [(OPTION_BUFFER_POOL, "1:1"), (OPTION_ENABLE_USE_FABRIC_MEM, "1")];
    assert!(matches!(read(&both), Err(HixlError::ExclusiveOptions)));
    assert_eq!(status(Hixl::new().initialize("127.0.0.1", &options(&both))), Status::ParamInvalid);
}

#[test]
fn a_file_of_resources_is_read_where_no_option_has_them() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let config = format!(r#"{{"local_comm_res_path": {:?}}}"#, file.path());
    let named = (OPTION_GLOBAL_RESOURCE_CONFIG, config.as_str());
    assert_eq!(status(read(&[named])), Status::ParamInvalid, "it is empty");
    read(&[named, (OPTION_LOCAL_COMM_RES, r#"{"version": "1.3"}"#)]).expect("the option counts");
    std::fs::write(file.path(), "nonsense").expect("written");
    assert_eq!(status(read(&[named])), Status::ParamInvalid, "it holds no object");
    std::fs::write(file.path(), r#"{"version": "1.3"}"#).expect("written");
    read(&[named]).expect("it holds one");
}
