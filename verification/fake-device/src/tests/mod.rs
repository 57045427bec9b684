//! Devices of memory and threads: what they hold, what they refuse, what they remember.

mod memory;
mod processes;
mod streams;

use crate::{Direction, FakeError, Runtime, Settings};

fn runtime() -> Runtime {
    Runtime::new(Settings { memory: 1 << 20, ..Settings::default() })
}

/// Copies bytes of the host to a device.
fn put(runtime: &Runtime, to: u64, bytes: &[u8]) -> Result<(), FakeError> {
    let (from, length) = (bytes.as_ptr() as u64, bytes.len() as u64);
    runtime.prepare_copy(to, from, length, Some(Direction::HostToDevice)).map(crate::PreparedCopy::run)
}

/// Copies bytes of a device to the host.
fn bytes(runtime: &Runtime, from: u64, length: usize) -> Result<Vec<u8>, FakeError> {
    let mut found = vec![0_u8; length];
    let to = found.as_mut_ptr() as u64;
    runtime.prepare_copy(to, from, length as u64, Some(Direction::DeviceToHost))?.run();
    Ok(found)
}

#[test]
fn faults_come_at_the_calls_that_they_are_planned_for() {
    let faults = "alloc@2=7, alloc@4+=-1,free@1=3";
    let runtime = Runtime::new(Settings { faults: faults.into(), ..Settings::default() });
    let calls: Vec<_> = (0..5).map(|_| runtime.fault("alloc")).collect();
    assert_eq!(calls, [None, Some(7), None, Some(-1), Some(-1)]);
    assert_eq!((runtime.fault("free"), runtime.fault("free"), runtime.fault("copy")), (Some(3), None, None));
    assert_eq!(runtime.misuses(), Vec::<String>::new());
}

#[test]
fn faults_that_are_none_are_told() {
    for wrong in ["alloc", "alloc@0=1", "alloc@1", "alloc@x=1", "alloc@1=x"] {
        let runtime = Runtime::new(Settings { faults: wrong.into(), ..Settings::default() });
        assert!(runtime.misuses()[0].contains(wrong), "{wrong}");
    }
}

#[test]
fn misuse_is_appended_to_a_file() {
    let file = std::env::temp_dir().join(format!("fake-device-report-{}", std::process::id()));
    let runtime = Runtime::new(Settings { report: Some(file.clone()), ..Settings::default() });
    runtime.misuse("first");
    runtime.misuse("second");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    assert_eq!(text, "first\nsecond\n");
    assert_eq!(runtime.counts().misuses, 2);
}
