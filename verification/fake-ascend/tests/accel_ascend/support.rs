//! Processes of cases, and what cases have in common.

use std::{
    env,
    ffi::c_int,
    fs, io,
    os::unix::fs::symlink,
    path::PathBuf,
    process::Command,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use accel_ascend::AscendAccelerator;
use fake_device::Counts;
use libloading::Library;
pub(crate) use pmd_core::accelerator::{
    Accelerator, AcceleratorError, AcceleratorKind, CopyDirection, CopyRange, Flag, Stream,
};

/// After so long something hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// A case: the test starts it in a process with these variables, where the function runs.
macro_rules! case {
    ($name:ident, [$($variable:literal = $value:expr),*], $body:block) => {
        #[test]
        fn $name() {
            let case = concat!(module_path!(), "::", stringify!($name), "::in_child");
            $crate::support::run(case, &[$(($variable, $value)),*]);
        }

        mod $name {
            #[allow(unused_imports, reason = "cases use a part")]
            use super::*;

            #[test]
            #[ignore = "run by the test of the same name, in a process of its own"]
            fn in_child() $body
        }
    };
}
pub(crate) use case;

/// A folder with the stand-in under the runtime's name; cargo puts it beside this test under its own.
pub(crate) fn folder() -> PathBuf {
    let this = env::current_exe().expect("the path of this test");
    let folder = this.with_file_name("fake-ascend");
    fs::create_dir_all(&folder).expect("a folder");
    match symlink("../libfake_ascend.so", folder.join("libascendcl.so")) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => panic!("no link: {error}"),
        _ => folder,
    }
}

/// Runs a case, which fails here if it fails there or has misused the runtime.
pub(crate) fn run(case: &str, variables: &[(&str, &str)]) {
    let this = env::current_exe().expect("the path of this test");
    let (_, case) = case.split_once("::").expect("a path");
    let mut command = Command::new(&this);
    command.args([case, "--exact", "--ignored", "--nocapture"]);
    command.env("LD_LIBRARY_PATH", folder()).envs(variables.iter().copied());
    let output = command.output().expect("this test runs again");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{case}: {}\n{text}\n{errors}", output.status);
}

/// An NPU of the stand-in's.
pub(crate) fn open(ordinal: u32) -> AscendAccelerator {
    AscendAccelerator::open(ordinal).expect("the stand-in has a device")
}

/// Makes a device this thread's, as another library would.
pub(crate) fn select(device: c_int) {
    // SAFETY: the function's prototype.
    let set = unsafe { library().get::<unsafe extern "C" fn(c_int) -> c_int>(b"aclrtSetDevice") };
    // SAFETY: as above.
    assert_eq!(unsafe { set.expect("the function")(device) }, 0);
}

/// The stand-in's library, as this process has loaded it.
pub(crate) fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    // SAFETY: it is loaded already.
    LIBRARY.get_or_init(|| unsafe { Library::new("libascendcl.so") }.expect("the stand-in"))
}

pub(crate) fn counts() -> Counts {
    let mut counts = Counts::default();
    // SAFETY: the function writes the structure.
    let ask = unsafe { library().get::<unsafe extern "C" fn(*mut Counts)>(b"fake_device_counts") };
    // SAFETY: as above.
    unsafe { ask.expect("the function")(&mut counts) };
    counts
}

pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}: {:?}", counts());
        thread::sleep(Duration::from_millis(1));
    }
}

/// Waits for what is in the stream.
pub(crate) fn finish(stream: &Arc<dyn Stream>) {
    let event = stream.record().expect("an event");
    wait_until("the stream is done", || event.query().expect("no failure"));
}

/// Puts a copy into a stream; the case keeps both ranges until it is done.
pub(crate) fn copy(
    stream: &Arc<dyn Stream>,
    from: u64,
    to: u64,
    direction: CopyDirection,
) -> Result<(), AcceleratorError> {
    // SAFETY: the case's promise.
    unsafe { stream.copy(&[CopyRange { from, to, length: 64, direction }]) }
}

/// The function and the code of an error of the runtime's.
pub(crate) fn failure<T>(result: Result<T, AcceleratorError>) -> (&'static str, i64) {
    match result.err().expect("it fails") {
        AcceleratorError::Runtime { kind: AcceleratorKind::Ascend, function, code, .. } => (function, code),
        other => panic!("{other}"),
    }
}

/// Whether a result says that the runtime or the device cannot do it.
pub(crate) fn is_unsupported<T>(result: Result<T, AcceleratorError>) -> bool {
    matches!(result, Err(AcceleratorError::Unsupported { kind: AcceleratorKind::Ascend, .. }))
}
