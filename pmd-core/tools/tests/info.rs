//! `pmd info` says what is there and never fails.

use serde_json::Value;

#[allow(dead_code, reason = "each test file uses a part")]
mod support;

use support::pmd;

#[test]
fn info_prints_one_object_with_its_keys() {
    let run = pmd(&["info", "--json"]);
    assert_eq!((run.code, run.out.lines().count()), (Some(0), 1), "{}", run.err);
    let report = run.json();
    assert_eq!(report["op"], "info");
    assert!(report["rdma"]["devices"].is_array());
    let names: Vec<_> = report["libraries"].as_array().unwrap().iter().map(|found| &found["name"]).collect();
    for name in [
        "libibverbs.so.1",
        "libmlx5.so.1",
        "librdmacm.so.1",
        "libcuda.so.1",
        "libamdhip64.so",
        "libascendcl.so",
    ] {
        assert!(names.contains(&&Value::from(name)), "{name}");
    }
    for library in report["libraries"].as_array().unwrap() {
        assert!(library["found"].is_boolean());
        assert!(!library["package"].as_str().unwrap().is_empty());
        assert!(library["found"] == true || library["reason"].is_string(), "{library}");
    }
    assert!(report["soft"]["memfd"]["works"].is_boolean());
    assert!(report["soft"]["process_vm"]["permitted"].is_boolean());
    assert!(!report["soft"]["cores"].as_array().unwrap().is_empty());
    let kinds: Vec<_> =
        report["accelerators"].as_array().unwrap().iter().map(|found| &found["kind"]).collect();
    assert_eq!(kinds, ["cuda", "rocm", "ascend"]);
    for list in ["numa_nodes", "elsewhere", "accelerators", "nics"] {
        assert!(report["topology"][list].is_array(), "{list}");
    }
}

#[test]
fn absence_is_explained_and_is_no_failure() {
    let report = pmd(&["info", "--json"]).json();
    let devices = report["rdma"]["devices"].as_array().unwrap();
    assert_eq!(devices.is_empty(), report["rdma"]["missing"].is_string());
    let run = pmd(&["info"]);
    assert_eq!(run.code, Some(0));
    for heading in ["RDMA devices", "Libraries", "Soft HCA on this host", "Accelerators", "Topology"] {
        assert!(run.out.contains(heading), "{}", run.out);
    }
}
