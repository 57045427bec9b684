//! Processes of cases, and what cases have in common.

use std::{
    env, fs, io,
    os::unix::fs::symlink,
    path::PathBuf,
    process::Command,
    sync::{Arc, OnceLock},
    thread,
    time::{Duration, Instant},
};

use fake_device::Counts;
use gpu_direct::CudaAccelerator;
use libloading::{Library, Symbol};
pub(crate) use pmd_core::accelerator::{
    Accelerator, AcceleratorError, AcceleratorKind, BlockCopies, BlockPair, BlockTable, CopyDirection,
    CopyRange, DeviceMemory, ShareHandle, Stream,
};

/// After so long something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A case: the test starts it in a process with these variables, where the function runs.
macro_rules! case {
    ($name:ident, [$($variable:literal = $value:expr),*], $body:block) => {
        #[test]
        fn $name() {
            let case = concat!(module_path!(), "::", stringify!($name), "::in_child");
            $crate::support::run(case, &[$(($variable, $value.into())),*]);
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

/// A folder with the stand-in under the driver's name; cargo puts it beside this test under its own.
pub(crate) fn folder() -> PathBuf {
    let this = env::current_exe().expect("the path of this test");
    let folder = this.with_file_name("fake-cuda");
    fs::create_dir_all(&folder).expect("a folder");
    match symlink("../libfake_cuda.so", folder.join("libcuda.so")) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => panic!("no link: {error}"),
        _ => folder,
    }
}

/// The same test in another process.
pub(crate) fn command(case: &str) -> Command {
    let (_, case) = case.split_once("::").expect("a path");
    let mut command = Command::new(env::current_exe().expect("the path of this test"));
    command.args([case, "--exact", "--ignored", "--nocapture"]).env("LD_LIBRARY_PATH", folder());
    command
}

/// Runs a case, which fails here if it fails there or has misused the driver.
pub(crate) fn run(case: &str, variables: &[(&str, String)]) {
    let mut command = command(case);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let output = command.output().expect("this test runs again");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{case}: {}\n{text}\n{errors}", output.status);
}

/// A GPU of the stand-in's.
pub(crate) fn open(ordinal: u32) -> Arc<dyn Accelerator> {
    Arc::new(CudaAccelerator::open(ordinal).expect("the stand-in has a device"))
}

/// The stand-in's library, as this process has loaded it.
pub(crate) fn library() -> &'static Library {
    static LIBRARY: OnceLock<Library> = OnceLock::new();
    // SAFETY: it is loaded already.
    LIBRARY.get_or_init(|| unsafe { Library::new("libcuda.so") }.expect("the stand-in"))
}

/// A function of the stand-in's.
pub(crate) fn function<F>(name: &str) -> Symbol<'static, F> {
    // SAFETY: the caller gives the function's type.
    unsafe { library().get(name.as_bytes()) }.expect("the function")
}

pub(crate) fn counts() -> Counts {
    let mut counts = Counts::default();
    // SAFETY: the function writes the structure.
    unsafe { function::<unsafe extern "C" fn(*mut Counts)>("fake_device_counts")(&mut counts) };
    counts
}

/// Nothing is left, once no stream touches it any more.
pub(crate) fn assert_nothing_left() {
    wait_until("nothing is left", || counts() == Counts::default());
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

pub(crate) fn address(memory: &dyn DeviceMemory) -> u64 {
    memory.description().address
}

fn copy(accelerator: &dyn Accelerator, range: CopyRange) {
    let stream = accelerator.open_stream().expect("a stream");
    // SAFETY: the callers' ranges live until the stream is done.
    unsafe { stream.copy(&[range]) }.expect("a copy");
    finish(&stream);
}

/// Writes memory of the device.
pub(crate) fn put(accelerator: &dyn Accelerator, to: u64, bytes: &[u8]) {
    let (from, length) = (bytes.as_ptr() as u64, bytes.len() as u64);
    copy(accelerator, CopyRange { from, to, length, direction: CopyDirection::HostToDevice });
}

/// Reads memory of the device.
pub(crate) fn bytes(accelerator: &dyn Accelerator, from: u64, length: usize) -> Vec<u8> {
    let mut found = vec![0_u8; length];
    let to = found.as_mut_ptr() as u64;
    copy(accelerator, CopyRange { from, to, length: length as u64, direction: CopyDirection::DeviceToHost });
    found
}

/// The driver's code of an error.
pub(crate) fn code(error: &AcceleratorError) -> i64 {
    match error {
        AcceleratorError::Runtime { kind: AcceleratorKind::Cuda, code, .. } => *code,
        other => panic!("{other}"),
    }
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}
