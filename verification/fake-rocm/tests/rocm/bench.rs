//! What the cases have in common: devices, bytes in their memory, the runtime's own functions and counts.
#![allow(unsafe_code)] // copies between addresses, calls the runtime past the crate

use std::{
    ffi::{c_int, c_uint, c_void},
    ptr, slice,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use accel_rocm::RocmAccelerator;
use hip_sys::hip::hipStream_t;
use libloading::Library;
use pmd_core::accelerator::{
    Accelerator, AcceleratorError, CopyDirection, CopyRange, DeviceMemory, Event, Stream,
};

pub(crate) use fake_device::Counts;

const PATIENCE: Duration = Duration::from_secs(60);

/// A device of the fake.
pub(crate) fn open(ordinal: u32) -> Arc<dyn Accelerator> {
    Arc::new(RocmAccelerator::open(ordinal).expect("a device of the fake"))
}

/// Where memory is.
pub(crate) fn address(memory: &dyn DeviceMemory) -> u64 {
    memory.description().address
}

/// Bytes that differ from place to place and from seed to seed.
pub(crate) fn pattern(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|index| (index as u8).wrapping_mul(31).wrapping_add(seed)).collect()
}

/// Writes bytes to the device.
pub(crate) fn write(stream: &dyn Stream, to: u64, bytes: &[u8]) {
    let from = bytes.as_ptr().expose_provenance() as u64;
    copy(stream, CopyRange { from, to, length: bytes.len() as u64, direction: CopyDirection::HostToDevice });
}

/// Reads bytes from the device.
pub(crate) fn read(stream: &dyn Stream, from: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0_u8; length];
    let to = bytes.as_mut_ptr().expose_provenance() as u64;
    copy(stream, CopyRange { from, to, length: length as u64, direction: CopyDirection::DeviceToHost });
    bytes
}

/// Copies, and waits for it.
pub(crate) fn copy(stream: &dyn Stream, range: CopyRange) {
    // SAFETY: the cases name memory that is there until the copy is done, which is waited for.
    unsafe { stream.copy(&[range]) }.expect("the copy is taken");
    wait(&*stream.record().expect("the stream takes an event"));
}

/// Waits for an event.
pub(crate) fn wait(event: &dyn Event) {
    until(|| event.query().expect("nothing failed in front of it"));
}

/// Waits for a condition.
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "it does not come true");
        thread::sleep(Duration::from_micros(100));
    }
}

/// An error without what there would be.
pub(crate) fn error<T>(result: Result<T, AcceleratorError>) -> AcceleratorError {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error,
    }
}

/// The fake by its file, past `hip-sys`.
pub(crate) struct Fake(Library);

impl Fake {
    /// The one that this process has loaded.
    pub(crate) fn loaded() -> Self {
        // SAFETY: it is on the library path of every case, and runs nothing when it is loaded.
        Self(unsafe { Library::new("libamdhip64.so.7") }.expect("the fake is on the path"))
    }

    /// What is alive.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        // SAFETY: the fake's prototype.
        let get = unsafe { self.0.get::<unsafe extern "C" fn(*mut Counts)>(b"fake_device_counts\0") };
        // SAFETY: writes the counts.
        unsafe { get.expect("the fake has it")(&mut counts) };
        counts
    }

    /// Expects that nothing is alive.
    pub(crate) fn is_empty(&self) {
        let misuses = self.counts().misuses;
        assert_eq!(self.counts(), Counts { misuses, ..Counts::default() });
    }

    /// A function that takes nothing and gives a number.
    pub(crate) fn number(&self, name: &str) -> u32 {
        // SAFETY: the cases name functions of this prototype.
        let function = unsafe { self.0.get::<extern "C" fn() -> u32>(name.as_bytes()) };
        function.expect("the fake has it")()
    }

    /// The device of this thread.
    pub(crate) fn device(&self) -> c_int {
        let mut device = -1;
        // SAFETY: HIP's prototype.
        let get = unsafe { self.0.get::<unsafe extern "C" fn(*mut c_int) -> u32>(b"hipGetDevice\0") };
        // SAFETY: writes an int.
        assert_eq!(unsafe { get.expect("the fake has it")(&mut device) }, 0);
        device
    }

    /// Makes a device this thread's.
    pub(crate) fn set_device(&self, device: c_int) {
        // SAFETY: HIP's prototype.
        let set = unsafe { self.0.get::<extern "C" fn(c_int) -> u32>(b"hipSetDevice\0") };
        assert_eq!(set.expect("the fake has it")(device), 0);
    }

    /// A stream as an application makes it, on this thread's device.
    pub(crate) fn create_stream(&self) -> u64 {
        let mut stream: hipStream_t = ptr::null_mut();
        // SAFETY: HIP's prototype.
        let create = unsafe {
            self.0.get::<unsafe extern "C" fn(*mut hipStream_t, c_uint) -> u32>(b"hipStreamCreateWithFlags\0")
        };
        // SAFETY: writes a handle.
        assert_eq!(unsafe { create.expect("the fake has it")(&mut stream, 1) }, 0);
        stream.addr() as u64
    }

    /// Ends an application's stream.
    pub(crate) fn destroy_stream(&self, stream: u64) {
        self.take("hipStreamDestroy", stream);
    }

    /// Memory as an application makes it, on this thread's device.
    pub(crate) fn malloc(&self, size: usize) -> u64 {
        self.give(size, |library| {
            // SAFETY: HIP's prototype.
            let malloc = unsafe {
                library.get::<unsafe extern "C" fn(*mut *mut c_void, usize) -> u32>(b"hipMalloc\0")
            };
            let malloc = *malloc.expect("the fake has it");
            // SAFETY: writes an address.
            move |address, size| unsafe { malloc(address, size) }
        })
    }

    /// Managed memory of this thread's device.
    pub(crate) fn malloc_managed(&self, size: usize) -> u64 {
        self.give(size, |library| {
            type Managed = unsafe extern "C" fn(*mut *mut c_void, usize, c_uint) -> u32;
            // SAFETY: HIP's prototype.
            let malloc = *unsafe { library.get::<Managed>(b"hipMallocManaged\0") }.expect("the fake has it");
            // SAFETY: writes an address.
            move |address, size| unsafe { malloc(address, size, 1) }
        })
    }

    fn give<F: Fn(*mut *mut c_void, usize) -> u32>(&self, size: usize, find: impl Fn(&Library) -> F) -> u64 {
        let mut address = ptr::null_mut();
        assert_eq!(find(&self.0)(&mut address, size), 0);
        address.expose_provenance() as u64
    }

    /// Frees an application's memory.
    pub(crate) fn free(&self, address: u64) {
        self.take("hipFree", address);
    }

    fn take(&self, name: &str, handle: u64) {
        // SAFETY: HIP's prototype of the functions that the cases name.
        let function = unsafe { self.0.get::<extern "C" fn(*mut c_void) -> u32>(name.as_bytes()) };
        let handle = ptr::with_exposed_provenance_mut(handle as usize);
        assert_eq!(function.expect("the fake has it")(handle), 0);
    }
}

/// The bytes of memory that the host may touch.
pub(crate) fn host_bytes(memory: &dyn DeviceMemory) -> &[u8] {
    let description = memory.description();
    let first: *const u8 = ptr::with_exposed_provenance(description.address as usize);
    // SAFETY: pinned memory, which the cases do not write meanwhile.
    unsafe { slice::from_raw_parts(first, description.length as usize) }
}
