//! Drivers that lack functions: copies of the stand-in in which a function has another name.

use std::{fs, path::PathBuf};

use gpu_direct::{CudaAccelerator, OpenError, Unavailable};

use crate::support::*;

/// A folder with a stand-in that lacks these functions. The children's arguments tell the tests apart.
struct Older(PathBuf);

impl Older {
    fn without(functions: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("fake-cuda-{}-{}", std::process::id(), functions[0]));
        let mut library = fs::read(crate::support::folder().join("libcuda.so")).expect("the stand-in");
        for function in functions {
            rename(&mut library, function);
        }
        fs::create_dir_all(&folder).expect("a folder");
        fs::write(folder.join("libcuda.so"), library).expect("a library");
        Self(folder)
    }

    /// Runs a case with this driver.
    fn run(&self, case: &str) {
        let case = format!("{}::{case}", module_path!());
        run(&case, &[("LD_LIBRARY_PATH", self.0.display().to_string())]);
    }
}

impl Drop for Older {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Another first letter in the table of names, where names stand between zeros.
fn rename(library: &mut [u8], function: &str) {
    let name = [b"\0", function.as_bytes(), b"\0"].concat();
    let places: Vec<usize> = library
        .windows(name.len())
        .enumerate()
        .filter(|(_, window)| *window == name)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "{function} is in no table of names");
    for at in places {
        library[at + 1] = b'x';
    }
}

fn reason(error: &AcceleratorError) -> String {
    assert!(matches!(error, AcceleratorError::Unsupported { .. }), "{error}");
    error.to_string()
}

#[test]
fn a_driver_that_is_too_old_names_what_it_lacks() {
    Older::without(&["cuPointerSetAttribute"]).run("open_too_old");
}

#[test]
#[ignore = "run by the test above"]
fn open_too_old() {
    let error = CudaAccelerator::open(0).unwrap_err();
    assert_eq!(error, OpenError::Unavailable(Unavailable::Symbol { symbol: "cuPointerSetAttribute" }));
}

#[test]
fn a_driver_without_what_is_newer_does_the_rest() {
    let newer = [
        "cuMemcpyBatchAsync",
        "cuMemGetHandleForAddressRange",
        "cuStreamWaitValue64_v2",
        "cuFlushGPUDirectRDMAWrites",
        "cuDeviceGetUuid_v2",
        "cuStreamIsCapturing",
        "cuStreamBeginCapture_v2",
        "cuThreadExchangeStreamCaptureMode",
    ];
    Older::without(&newer).run("use_older");
}

#[test]
#[ignore = "run by the test above"]
fn use_older() {
    let gpu = open(0);
    let memory = gpu.allocate(4096).unwrap();
    assert_eq!(memory.description().descriptor, None);
    let refusal = reason(memory.without_descriptor().unwrap());
    assert_eq!(refusal, "cuda cannot export a dma-buf: the driver is older than that of CUDA 11.7");
    assert!(reason(&gpu.flush_remote_writes().unwrap_err()).contains("CUDA 11.3"));
    assert!(reason(&gpu.flag().unwrap_err()).contains("CUDA 11.7"));
    let stream = gpu.open_stream().unwrap();
    let cuda = CudaAccelerator::open(0).unwrap();
    assert!(reason(&cuda.begin_capture(&stream).unwrap_err()).contains("CUDA 11.4"));
    drop(cuda);
    let content = pattern(4096);
    let direction = CopyDirection::HostToDevice;
    let ranges: Vec<CopyRange> = (0..16)
        .map(|at| CopyRange {
            from: content.as_ptr() as u64 + (15 - at) * 256,
            to: address(&*memory) + at * 256,
            length: 256,
            direction,
        })
        .collect();
    // SAFETY: both live until the stream is done.
    unsafe { stream.copy(&ranges) }.unwrap();
    finish(&stream);
    let found = bytes(&*gpu, address(&*memory), 4096);
    assert!((0..16).all(|at| found[at * 256..][..256] == content[(15 - at) * 256..][..256]));
    drop((stream, memory, gpu));
    assert_nothing_left();
}
