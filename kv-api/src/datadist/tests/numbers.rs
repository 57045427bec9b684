//! Numbers that other languages rely on, and how options are read.

use std::time::Duration;

use super::*;
use crate::datadist::options::PoolSettings;

#[test]
fn statuses_have_upstreams_numbers() {
    let numbers = [
        ("LLM_SUCCESS", 0),
        ("LLM_WAIT_PROC_TIMEOUT", 0x5010_B001),
        ("LLM_KV_CACHE_NOT_EXIST", 0x5010_B002),
        ("LLM_PARAM_INVALID", 0x5010_B005),
        ("LLM_NOT_YET_LINK", 0x5010_B007),
        ("LLM_ALREADY_LINK", 0x5010_B008),
        ("LLM_LINK_FAILED", 0x5010_B009),
        ("LLM_UNLINK_FAILED", 0x5010_B00A),
        ("LLM_NOTIFY_PROMPT_UNLINK_FAILED", 0x5010_B00B),
        ("LLM_CLUSTER_NUM_EXCEED_LIMIT", 0x5010_B00C),
        ("LLM_PROCESSING_LINK", 0x5010_B00D),
        ("LLM_DEVICE_OUT_OF_MEMORY", 0x5010_B00E),
        ("LLM_EXIST_LINK", 0x5010_B018),
        ("LLM_FEATURE_NOT_ENABLED", 0x5010_B019),
        ("LLM_TIMEOUT", 0x5010_B01A),
        ("LLM_LINK_BUSY", 0x5010_B01B),
        ("LLM_OUT_OF_MEMORY", 0x5010_B01C),
        ("LLM_FAILED", 0xFFFF_FFFF),
    ];
    let ours: Vec<(&str, u32)> = Status::ALL.iter().map(|status| (status.name(), status.code())).collect();
    assert_eq!(ours, numbers);
    for status in Status::ALL {
        assert_eq!(Status::from_code(status.code()), Some(*status));
        assert_eq!(status.is_success(), *status == Status::Success);
        assert_eq!(status.to_string(), status.name());
    }
    assert_eq!(Status::from_code(0x5010_B003), None);
}

#[test]
fn data_types_have_upstreams_numbers_and_sizes() {
    use DataType::*;
    let bytes = [
        (Float, 0, 4),
        (Float16, 1, 2),
        (Int8, 2, 1),
        (Int32, 3, 4),
        (Uint8, 4, 1),
        (Int16, 6, 2),
        (Uint16, 7, 2),
        (Uint32, 8, 4),
        (Int64, 9, 8),
        (Uint64, 10, 8),
        (Double, 11, 8),
        (Bool, 12, 1),
        (String, 13, 16),
        (DualSubInt8, 14, 1),
        (DualSubUint8, 15, 1),
        (Complex64, 16, 8),
        (Complex128, 17, 16),
        (QuantisedInt8, 18, 1),
        (QuantisedInt16, 19, 2),
        (QuantisedInt32, 20, 4),
        (QuantisedUint8, 21, 1),
        (QuantisedUint16, 22, 2),
        (Resource, 23, 8),
        (StringReference, 24, 16),
        (Dual, 25, 5),
        (Variant, 26, 8),
        (Bfloat16, 27, 2),
        (Complex32, 33, 4),
        (Hifloat8, 34, 1),
        (Float8E5m2, 35, 1),
        (Float8E4m3fn, 36, 1),
        (Float8E8m0, 37, 1),
    ];
    for (data_type, number, bytes) in bytes {
        assert_eq!((data_type.number(), data_type.bits()), (number, Some(8 * bytes)), "{data_type:?}");
        let desc = CacheDesc::new(CachePlacement::Host, 1, data_type, &[2, 3]);
        assert_eq!(CacheShape::of(&desc).expect("a shape").tensor_bytes, 6 * bytes);
    }
    let packed = [
        (Int4, 29, 4),
        (Uint1, 30, 1),
        (Int2, 31, 2),
        (Uint2, 32, 2),
        (Float6E3m2, 38, 6),
        (Float6E2m3, 39, 6),
    ];
    for (data_type, number, bits) in packed.into_iter().chain([(Float4E2m1, 40, 4), (Float4E1m2, 41, 4)]) {
        assert_eq!((data_type.number(), data_type.bits()), (number, Some(bits)), "{data_type:?}");
        let desc = CacheDesc::new(CachePlacement::Host, 1, data_type, &[1, 9]);
        assert_eq!(CacheShape::of(&desc).expect("a shape").tensor_bytes, (9 * bits).div_ceil(8));
    }
    assert_eq!((Undefined.number(), Undefined.bits()), (28, None));
    assert_eq!(DataType::ALL.len(), 41);
    for data_type in DataType::ALL {
        assert_eq!(DataType::from_number(data_type.number()), Some(*data_type));
    }
    assert_eq!((DataType::from_number(5), DataType::from_number(42)), (None, None));
    let roles = [1, 2, 3].map(LlmRole::from_number);
    assert_eq!(roles, [Some(LlmRole::Prompt), Some(LlmRole::Decoder), Some(LlmRole::Mix)]);
    assert_eq!((LlmRole::from_number(0), LlmRole::from_number(4)), (None, None));
}

fn parse(options: &[(&str, &str)]) -> Result<Settings, DataDistError> {
    Settings::parse(&options.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

#[test]
fn options_have_upstreams_defaults_and_spellings() {
    let settings = parse(&[("llm.DeviceId", "0"), ("ge.anything", "x")]).expect("parsed");
    let plain = Settings {
        device: 0,
        listen: None,
        wait_time: Duration::from_millis(1000),
        switch_role: true,
        cluster_limit: None,
        operation_limit: None,
        device_pool: None,
        host_pool: None,
    };
    assert_eq!(settings, plain);
    let all = [
        ("ge.exec.deviceId", "3;1"),
        ("llm.listenIpInfo", "[::1]:26000"),
        ("llm.SyncKvCacheWaitTime", "5"),
        ("llm.EnableSwitchRole", "0"),
        ("llm.TransferBackend", "hixl"),
        ("llm.LocalCommRes", "{\"version\": \"1.3\"}"),
        ("llm.GlobalResourceConfig", "{}"),
        ("llm.MemPoolConfig", "{\"memory_size\": 1048576, \"page_shift\": 12}"),
        ("llm.HostMemPoolConfig", "{\"memory_size\": 1}"),
        ("pmd.ClusterLimit", "16"),
        ("pmd.OperationLimit", "1"),
    ];
    let settings = parse(&all).expect("parsed");
    let wanted = Settings {
        device: 3,
        listen: Some(([0, 0, 0, 0, 0, 0, 0, 1], 26000).into()),
        wait_time: Duration::from_millis(5),
        switch_role: false,
        cluster_limit: Some(16),
        operation_limit: Some(1),
        device_pool: Some(PoolSettings { bytes: 1 << 20, page: 1 << 12 }),
        host_pool: Some(PoolSettings { bytes: 1, page: 1 << 16 }),
    };
    assert_eq!(settings, wanted);
}

#[test]
fn options_that_cannot_be_are_refused_with_what_can() {
    let wrong = [
        ("llm.DeviceId", ""),
        ("llm.DeviceId", "-1"),
        ("llm.DeviceId", "0;"),
        ("llm.DeviceId", "npu"),
        ("llm.ListenIpInfo", "127.0.0.1"),
        ("llm.ListenIpInfo", "127.0.0.1:"),
        ("llm.ListenIpInfo", "127.0.0.1:65536"),
        ("llm.ListenIpInfo", "localhost:1"),
        ("llm.ListenIpInfo", "::1:1"),
        ("llm.ListenIpInfo", "[127.0.0.1]:1"),
        ("llm.ListenIpInfo", "1.2.3.4:1;1.2.3.4:2"),
        ("llm.SyncKvCacheWaitTime", "0"),
        ("llm.SyncKvCacheWaitTime", "-1"),
        ("llm.SyncKvCacheWaitTime", "2147483648"),
        ("llm.EnableSwitchRole", "true"),
        ("llm.TransferBackend", "hccl"),
        ("llm.GlobalResourceConfig", "{"),
        ("llm.LocalCommRes", "[]"),
        ("llm.MemPoolConfig", "1048576"),
        ("llm.MemPoolConfig", "{\"memory_size\": 0}"),
        ("llm.MemPoolConfig", "{\"memory_size\": 1048576, \"page_shift\": 9}"),
        ("llm.HostMemPoolConfig", "{\"memory_size\": 1048576, \"page_shift\": 31}"),
        ("llm.HostMemPoolConfig", "{\"page_shift\": 16}"),
        ("pmd.ClusterLimit", "0"),
        ("pmd.OperationLimit", "x"),
    ];
    for (wrong_name, wrong_value) in wrong {
        let options = with(client(), wrong_name, wrong_value);
        let error = LlmDataDist::new(0, LlmRole::Mix).initialize(&options).expect_err(wrong_value);
        let DataDistError::Option { name, value, allowed } = &error else { panic!("{wrong_name}: {error}") };
        assert_eq!((*name, value.as_str()), (wrong_name, wrong_value));
        assert!(error.to_string().contains(allowed));
        assert_eq!(error.status(), Status::ParamInvalid);
    }
    let missing = parse(&[]).expect_err("no device");
    assert!(matches!(missing, DataDistError::OptionMissing { name: "llm.DeviceId", .. }), "{missing}");
    assert_eq!(missing.status(), Status::ParamInvalid);
}
