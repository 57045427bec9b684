//! Names of devices, and what is said where a runtime is missing or is not the stand-in that it must be.

use super::*;

#[test]
fn names_are_a_runtime_and_a_number() {
    let cases = [
        ("cuda", AcceleratorKind::Cuda, 0, false, "cuda:0"),
        ("cuda:1", AcceleratorKind::Cuda, 1, false, "cuda:1"),
        ("rocm:12", AcceleratorKind::Rocm, 12, false, "rocm:12"),
        ("ascend", AcceleratorKind::Ascend, 0, false, "ascend:0"),
        ("cpu:3", AcceleratorKind::Cpu, 3, false, "cpu:3"),
        ("fake-cuda", AcceleratorKind::Cuda, 0, true, "fake-cuda:0"),
        ("fake-rocm:1", AcceleratorKind::Rocm, 1, true, "fake-rocm:1"),
        ("fake-ascend", AcceleratorKind::Ascend, 0, true, "fake-ascend:0"),
    ];
    for (text, kind, ordinal, stand_in, shown) in cases {
        let name: DeviceName = text.parse().expect(text);
        assert_eq!(name, DeviceName { kind, ordinal, stand_in });
        assert_eq!(name.to_string(), shown);
        assert_eq!(shown.parse(), Ok(name));
    }
}

#[test]
fn other_texts_name_no_device() {
    let texts =
        ["", "gpu", "cuda:", "cuda:-1", "cuda:+1", "cuda:1:2", "Cuda", "cuda:4294967296", " cuda", "fake-"];
    for text in texts.into_iter().chain(["fake-cpu", "fake-fake-cuda", "fake-cuda:x"]) {
        let refused = text.parse::<DeviceName>().expect_err(text);
        assert_eq!(refused, NotADevice { text: text.to_owned() });
    }
}

#[test]
fn ordinary_memory_is_always_there() {
    let name = "cpu:2".parse().expect("a name");
    let accelerator = open(name).expect("no runtime is needed");
    assert_eq!((accelerator.identity().kind, accelerator.identity().ordinal), (AcceleratorKind::Cpu, 2));
    assert_eq!(accelerator.allocate(100).expect("memory").description().length, 100);
}

/// No machine has so many devices: a runtime that is there refuses the number, one that is not says so.
#[test]
fn a_runtime_or_a_device_that_is_missing_is_named() {
    for (text, named) in [("cuda:4000", "CUDA"), ("rocm:4000", "ROCm"), ("ascend:4000", "Ascend")] {
        let refused = open(text.parse().expect("a name")).expect_err("there is no such device");
        let said = refused.to_string();
        assert!(said.contains(named) || said.contains("4000"), "{text}: {said}");
    }
}

/// With whatever is on this machine: only a stand-in is ever opened.
#[test]
fn a_runtime_that_is_no_stand_in_is_refused_before_it_is_asked_for_a_device() {
    for text in ["fake-cuda", "fake-rocm", "fake-ascend"] {
        let name: DeviceName = text.parse().expect("a name");
        match (is_stand_in(name.kind), open(name)) {
            (Ok(true), _) => {}
            (Ok(false), Err(refused @ OpenError::NotAStandIn { kind })) => {
                assert_eq!(kind, name.kind);
                assert!(refused.to_string().contains(text), "{refused}");
            }
            (Err(absent), Err(refused)) => assert_eq!(absent.to_string(), refused.to_string()),
            (found, opened) => panic!("{text}: {found:?}, {opened:?}"),
        }
    }
}
