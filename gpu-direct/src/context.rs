//! One device's primary context and what the crate keeps for it; held by the accelerator and everything that it gave out.
#![allow(unsafe_code)] // calls into the driver's C interface

use core::ffi::{c_char, c_int, c_uint};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use pmd_core::{
    accelerator::{AcceleratorError, AcceleratorKind, DeviceIdentity},
    sync::{AtomicBool, AtomicU64, Ordering},
};

use crate::{
    CudaOptions, OpenError,
    blocks::BlockCopier,
    driver::{Driver, Handle, unsupported},
    flag::FlagPool,
    memory::{DmaBufs, Exports, Imports, Retired, Shares},
    probe::{self, CallResult, Unavailable},
};

/// The primary context of a device. It is retained from `open` until the last value that came from it is dropped.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) driver: Driver,
    pub(crate) identity: DeviceIdentity,
    pub(crate) facts: Facts,
    pub(crate) dma_bufs: DmaBufs,
    pub(crate) exports: Exports,
    pub(crate) imports: Imports,
    pub(crate) shares: Shares,
    pub(crate) options: CudaOptions,
    pub(crate) flags: Mutex<FlagPool>,
    pub(crate) blocks: Mutex<BlockCopier>,
    /// The driver has said that it does no batches.
    pub(crate) without_batches: AtomicBool,
    /// Native events that no one uses.
    events: Mutex<Vec<Handle>>,
    /// How much there is that is closed behind copies: memory of other processes, and memory that was mapped.
    tracked: AtomicU64,
    /// For each stream an event behind its last copy, while there is such memory.
    copying: Mutex<HashMap<Handle, Handle>>,
    /// What of it no one uses any more, and the events to wait for before it is closed; in this order.
    retired: Mutex<VecDeque<(Retired, Vec<Handle>)>>,
    handle: Handle,
    device: c_int,
}

/// A driver's function of a stream, a word's address, a value and flags.
pub(crate) type OnValue = unsafe extern "C" fn(Handle, u64, u64, c_uint) -> CallResult;

/// What the device can do, asked once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    /// `CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED`.
    pub(crate) dma_buf: bool,
    /// `CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS`.
    pub(crate) value_waits: bool,
    /// Whether what a NIC writes has to be flushed before the device's own work sees it, and whether the host may do so.
    pub(crate) flush: Flush,
    /// `CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED`.
    pub(crate) mapping: bool,
    /// `CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED`.
    pub(crate) descriptors: bool,
    /// `CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED`.
    pub(crate) mapped_for_nics: bool,
}

/// `CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WRITES_ORDERING` and `.._FLUSH_WRITES_OPTIONS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// Writes are ordered for the device itself.
    Needless,
    /// By `cuFlushGPUDirectRDMAWrites`.
    Host,
    /// Not by the host.
    Impossible,
}

impl Facts {
    fn of(driver: &Driver, device: c_int) -> Self {
        /// `CU_GPU_DIRECT_RDMA_WRITES_ORDERING_OWNER`.
        const OWNER: c_int = 100;
        /// `CU_FLUSH_GPU_DIRECT_RDMA_WRITES_OPTION_HOST`.
        const HOST: c_int = 1;
        // A driver that does not know an attribute refuses it, and the device cannot do it.
        let ask = |attribute| device_attribute(driver, device, attribute).unwrap_or(0);
        let (options, ordering) = (ask(117), ask(118));
        let flush = match () {
            () if ordering >= OWNER => Flush::Needless,
            () if options & HOST != 0 => Flush::Host,
            () => Flush::Impossible,
        };
        Self {
            dma_buf: ask(124) != 0,
            value_waits: ask(122) != 0,
            flush,
            mapping: ask(102) != 0,
            descriptors: ask(103) != 0,
            mapped_for_nics: ask(110) != 0,
        }
    }
}

impl Context {
    pub(crate) fn open(ordinal: u32, options: CudaOptions) -> Result<Self, OpenError> {
        let driver = Driver::load()?;
        // SAFETY: no flags are defined for cuInit.
        probe::check("cuInit", unsafe { (driver.init)(0) })?;
        let device = device(&driver, ordinal)?;
        let identity = identity(&driver, device, ordinal)?;
        let facts = Facts::of(&driver, device);
        let mut handle = 0;
        // SAFETY: the driver writes one handle.
        let retained = unsafe { (driver.context_retain)(&mut handle, device) };
        driver.check("cuDevicePrimaryCtxRetain", retained)?;
        Ok(Self {
            driver,
            identity,
            facts,
            dma_bufs: DmaBufs::default(),
            exports: Exports::default(),
            imports: Imports::default(),
            shares: Shares::default(),
            options,
            flags: Mutex::default(),
            blocks: Mutex::default(),
            without_batches: AtomicBool::new(false),
            events: Mutex::default(),
            tracked: AtomicU64::new(0),
            copying: Mutex::default(),
            retired: Mutex::default(),
            handle,
            device,
        })
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle
    }

    /// `CUdevice`.
    pub(crate) const fn device(&self) -> c_int {
        self.device
    }

    /// Makes the context current for this thread until the value is dropped. Until then nothing that the thread calls breaks
    /// a capture that the application has begun, on whichever thread.
    pub(crate) fn enter(&self) -> Result<Entered<'_>, AcceleratorError> {
        let mut current = 0;
        // SAFETY: the driver writes one handle.
        self.driver.check("cuCtxGetCurrent", unsafe { (self.driver.context_current)(&mut current) })?;
        let push = current != self.handle;
        if push {
            // SAFETY: a context that this value retains.
            self.driver.check("cuCtxPushCurrent", unsafe { (self.driver.context_push)(self.handle) })?;
        }
        /// `CU_STREAM_CAPTURE_MODE_RELAXED`.
        const RELAXED: c_uint = 2;
        let mut mode = RELAXED;
        // SAFETY: the driver exchanges one number.
        let relax = |exchange: unsafe extern "C" fn(*mut c_uint) -> u32| unsafe { exchange(&mut mode) == 0 };
        let relaxed = self.driver.exchange_capture_mode.is_some_and(relax);
        Ok(Entered { driver: &self.driver, pushed: push, mode: relaxed.then_some(mode) })
    }

    /// The functions by which streams wait for a value and write one.
    pub(crate) fn values(&self) -> Result<(OnValue, OnValue), AcceleratorError> {
        const WHAT: &str = "signal or wait for a flag";
        if !self.facts.value_waits {
            return Err(unsupported(WHAT, "the device has no 64-bit stream memory operations"));
        }
        let both = self.driver.wait_value.zip(self.driver.write_value);
        both.ok_or(unsupported(WHAT, "the driver is older than that of CUDA 11.7"))
    }

    /// An event that no one uses. Inside [`Context::enter`].
    pub(crate) fn take_event(&self) -> Result<Handle, AcceleratorError> {
        /// `CU_EVENT_DISABLE_TIMING`.
        const WITHOUT_TIMES: c_uint = 2;
        if let Some(event) = lock(&self.events).pop() {
            return Ok(event);
        }
        let mut event = 0;
        // SAFETY: the driver writes one handle.
        let created = unsafe { (self.driver.event_create)(&mut event, WITHOUT_TIMES) };
        self.driver.check("cuEventCreate", created)?;
        Ok(event)
    }

    /// Gives an event back, which may be recorded anew even if it was not reached.
    pub(crate) fn return_event(&self, event: Handle) {
        lock(&self.events).push(event);
    }

    /// A fresh event behind what is in a stream. Inside [`Context::enter`].
    pub(crate) fn record(&self, stream: Handle) -> Result<Handle, AcceleratorError> {
        let event = self.take_event()?;
        // SAFETY: an event of the pool, and a stream that its user keeps open.
        let recorded = unsafe { (self.driver.event_record)(event, stream) };
        self.driver.check("cuEventRecord", recorded).inspect_err(|_| self.return_event(event))?;
        Ok(event)
    }

    /// Whether an event was reached; a failed one will not be touched any more either. Inside [`Context::enter`].
    pub(crate) fn is_over(&self, event: Handle) -> bool {
        // SAFETY: an event of the pool.
        unsafe { (self.driver.event_query)(event) != crate::driver::NOT_READY }
    }

    /// Whether what is put into a stream becomes part of a graph: then nothing of this crate's may be used in it that is
    /// used again once the stream has passed, as the graph passes more than once. Inside [`Context::enter`].
    pub(crate) fn is_capturing(&self, stream: Handle) -> bool {
        /// `CU_STREAM_CAPTURE_STATUS_NONE`; the others are active and invalidated.
        const NONE: c_uint = 0;
        let mut status = NONE;
        let ask = |ask: unsafe extern "C" fn(Handle, *mut c_uint) -> u32| {
            // SAFETY: a stream that its user keeps open; the driver writes one number.
            unsafe { ask(stream, &mut status) == 0 }
        };
        self.driver.is_capturing.is_some_and(ask) && status != NONE
    }

    /// From now on copies are noted for one range more, until it is [retired](Context::retire).
    pub(crate) fn track(&self) {
        self.tracked.fetch_add(1, Ordering::AcqRel);
    }

    /// Notes that a stream copies, for memory that is to be closed. Inside [`Context::enter`].
    pub(crate) fn note_copy(&self, stream: Handle) -> Result<(), AcceleratorError> {
        if self.tracked.load(Ordering::Acquire) == 0 || self.is_capturing(stream) {
            return Ok(());
        }
        let event = self.record(stream)?;
        if let Some(before) = lock(&self.copying).insert(stream, event) {
            self.return_event(before);
        }
        Ok(())
    }

    /// Closes a range that was [tracked](Context::track), once every copy that was begun before is done.
    pub(crate) fn retire(&self, range: Retired) {
        let behind = lock(&self.copying).drain().map(|(_, event)| event).collect();
        lock(&self.retired).push_back((range, behind));
        self.tracked.fetch_sub(1, Ordering::AcqRel);
        self.reap();
    }

    /// Closes what has become free.
    pub(crate) fn reap(&self) {
        let mut retired = lock(&self.retired);
        if retired.is_empty() {
            return;
        }
        let Ok(_entered) = self.enter() else { return };
        while let Some((_, events)) = retired.front_mut() {
            while let Some(event) = events.pop_if(|event| self.is_over(*event)) {
                self.return_event(event);
            }
            if !events.is_empty() {
                return;
            }
            if let Some((range, _)) = retired.pop_front() {
                range.close(&self.driver);
            }
        }
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // What is retired still is left open: a copy that no one can wait for any more may touch it.
        self.reap();
        if let Ok(_entered) = self.enter() {
            lock(&self.flags).close(&self.driver);
            lock(&self.blocks).close(&self.driver);
            for event in
                lock(&self.events).drain(..).chain(lock(&self.copying).drain().map(|(_, event)| event))
            {
                // SAFETY: events of this context, which no one holds any more.
                unsafe { (self.driver.event_destroy)(event) };
            }
        }
        // SAFETY: retained once by `open`.
        unsafe { (self.driver.context_release)(self.device) };
    }
}

/// The context is current for this thread.
#[derive(Debug)]
pub(crate) struct Entered<'context> {
    driver: &'context Driver,
    pushed: bool,
    /// The thread's own mode of capture.
    mode: Option<c_uint>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some((exchange, mut mode)) = self.driver.exchange_capture_mode.zip(self.mode) {
            // SAFETY: the driver exchanges one number.
            unsafe { exchange(&mut mode) };
        }
        if self.pushed {
            let mut popped = 0;
            // SAFETY: takes back what `enter` has pushed; the driver writes one handle.
            unsafe { (self.driver.context_pop)(&mut popped) };
        }
    }
}

/// The device of an ordinal.
fn device(driver: &Driver, ordinal: u32) -> Result<c_int, OpenError> {
    let mut count: c_int = 0;
    // SAFETY: the driver writes one int.
    probe::check("cuDeviceGetCount", unsafe { (driver.device_count)(&mut count) })?;
    let devices = count.max(0).cast_unsigned();
    if devices == 0 {
        return Err(Unavailable::NoDevice.into());
    }
    if ordinal >= devices {
        return Err(OpenError::NoSuchDevice { ordinal, devices });
    }
    let mut device = 0;
    // SAFETY: the driver writes one handle.
    driver.check("cuDeviceGet", unsafe { (driver.device)(&mut device, ordinal.cast_signed()) })?;
    Ok(device)
}

fn identity(driver: &Driver, device: c_int, ordinal: u32) -> Result<DeviceIdentity, AcceleratorError> {
    let mut unique = [0_u8; 16];
    // The newer function tells parts of one GPU (MIG) apart.
    let ask = driver.device_uuid_of_part.unwrap_or(driver.device_uuid);
    // SAFETY: the driver writes 16 bytes.
    driver.check("cuDeviceGetUuid", unsafe { ask(&mut unique, device) })?;
    let mut name: [c_char; probe::NAME_BYTES] = [0; probe::NAME_BYTES];
    // SAFETY: the driver writes at most so many bytes, the closing zero among them.
    let named = unsafe { (driver.device_name)(name.as_mut_ptr(), probe::NAME_BYTES as c_int, device) };
    driver.check("cuDeviceGetName", named)?;
    Ok(DeviceIdentity {
        kind: AcceleratorKind::Cuda,
        ordinal,
        unique,
        pci: probe::pci_address(|attribute| device_attribute(driver, device, attribute).ok()),
        name: probe::text(&name),
    })
}

fn device_attribute(driver: &Driver, device: c_int, attribute: c_uint) -> Result<c_int, AcceleratorError> {
    let mut value = 0;
    // SAFETY: the driver writes one int.
    let asked = unsafe { (driver.device_attribute)(&mut value, attribute, device) };
    driver.check("cuDeviceGetAttribute", asked).map(|()| value)
}

/// No code of the application runs under these locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
