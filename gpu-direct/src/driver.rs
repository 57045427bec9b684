//! The driver's functions, resolved once; called by every module of this crate.
//!
//! cudarc's own wrappers panic on a missing symbol, so its library is asked for each function before the first call:
//! without one of the first list there is no accelerator, the second list may be absent.
#![allow(unsafe_code)] // prototypes of the driver's C interface

use core::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use core::fmt;

use cudarc::driver::sys;
use pmd_core::accelerator::{AcceleratorError, AcceleratorKind};

use crate::{
    context::Context,
    probe::{CallResult, Unavailable, require_library, symbol},
};

/// A context, stream, event, module or function of the driver: opaque, passed back as it came.
pub(crate) type Handle = usize;

/// `CUDA_ERROR_INVALID_VALUE`.
pub(crate) const INVALID_VALUE: u32 = 1;
/// `CUDA_ERROR_OUT_OF_MEMORY`.
pub(crate) const OUT_OF_MEMORY: u32 = 2;
/// `CUDA_ERROR_MAP_FAILED`.
pub(crate) const MAP_FAILED: u32 = 205;
/// `CUDA_ERROR_INVALID_HANDLE`.
pub(crate) const INVALID_HANDLE: u32 = 400;
/// `CUDA_ERROR_NOT_READY`.
pub(crate) const NOT_READY: u32 = 600;
/// `CUDA_ERROR_NOT_SUPPORTED`.
pub(crate) const NOT_SUPPORTED: u32 = 801;

/// `CUmemLocation`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct Location {
    pub(crate) kind: c_uint,
    pub(crate) number: c_int,
}

impl Location {
    /// `CU_MEM_LOCATION_TYPE_DEVICE`.
    pub(crate) const DEVICE: c_uint = 1;

    /// The context's device.
    pub(crate) fn of(context: &Context) -> Self {
        Self { kind: Self::DEVICE, number: context.device() }
    }
}

/// `CUmemAllocationProp`. Not cudarc's, whose enumerations must not hold what a newer driver says.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub(crate) struct AllocationProperties {
    pub(crate) kind: c_uint,
    pub(crate) handle_types: c_uint,
    pub(crate) location: Location,
    pub(crate) windows: usize,
    pub(crate) compression: u8,
    /// `gpuDirectRDMACapable`.
    pub(crate) for_nics: u8,
    pub(crate) usage: u16,
    pub(crate) reserved: [u8; 4],
}

/// `CUmemAccessDesc`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Access {
    location: Location,
    flags: c_uint,
}

impl Access {
    /// The context's device reads and writes.
    pub(crate) fn of(context: &Context) -> Self {
        /// `CU_MEM_ACCESS_FLAGS_PROT_READWRITE`.
        const READ_AND_WRITE: c_uint = 3;
        Self { location: Location::of(context), flags: READ_AND_WRITE }
    }
}

const _: () = assert!(size_of::<AllocationProperties>() == size_of::<sys::CUmemAllocationProp>());
const _: () = assert!(size_of::<Access>() == size_of::<sys::CUmemAccessDesc>());

macro_rules! functions {
    (
        required { $($field:ident: $name:literal ($($argument:ty),*);)* }
        optional { $($maybe:ident: $absent:literal ($($parameter:ty),*);)* }
    ) => {
        /// The driver's functions; `None` for what older drivers lack.
        pub(crate) struct Driver {
            $(pub(crate) $field: unsafe extern "C" fn($($argument),*) -> CallResult,)*
            $(pub(crate) $maybe: Option<unsafe extern "C" fn($($parameter),*) -> CallResult>,)*
        }

        impl Driver {
            /// Loads the driver's library, which is never unloaded.
            pub(crate) fn load() -> Result<Self, Unavailable> {
                require_library()?;
                // SAFETY: the library is present; each type is the prototype in cuda.h, with CUresult as its unsigned
                // integer and opaque handles as numbers of a pointer's size.
                unsafe {
                    Ok(Self {
                        $($field: symbol($name)?,)*
                        $($maybe: symbol($absent).ok(),)*
                    })
                }
            }
        }
    };
}

functions! {
    required {
        init: "cuInit"(c_uint);
        device_count: "cuDeviceGetCount"(*mut c_int);
        device: "cuDeviceGet"(*mut c_int, c_int);
        device_name: "cuDeviceGetName"(*mut c_char, c_int, c_int);
        device_attribute: "cuDeviceGetAttribute"(*mut c_int, c_uint, c_int);
        device_uuid: "cuDeviceGetUuid"(*mut [u8; 16], c_int);
        error_name: "cuGetErrorName"(c_uint, *mut *const c_char);
        context_retain: "cuDevicePrimaryCtxRetain"(*mut Handle, c_int);
        context_release: "cuDevicePrimaryCtxRelease_v2"(c_int);
        context_current: "cuCtxGetCurrent"(*mut Handle);
        context_push: "cuCtxPushCurrent_v2"(Handle);
        context_pop: "cuCtxPopCurrent_v2"(*mut Handle);
        memory_allocate: "cuMemAlloc_v2"(*mut u64, usize);
        memory_free: "cuMemFree_v2"(u64);
        host_allocate: "cuMemHostAlloc"(*mut u64, usize, c_uint);
        host_free: "cuMemFreeHost"(u64);
        host_register: "cuMemHostRegister_v2"(u64, usize, c_uint);
        host_unregister: "cuMemHostUnregister"(u64);
        pointer_attributes: "cuPointerGetAttributes"(c_uint, *const c_uint, *const *mut c_void, u64);
        pointer_set: "cuPointerSetAttribute"(*const c_void, c_uint, u64);
        ipc_export: "cuIpcGetMemHandle"(*mut sys::CUipcMemHandle, u64);
        ipc_open: "cuIpcOpenMemHandle_v2"(*mut u64, sys::CUipcMemHandle, c_uint);
        ipc_close: "cuIpcCloseMemHandle"(u64);
        address_range: "cuMemGetAddressRange_v2"(*mut u64, *mut usize, u64);
        physical_create: "cuMemCreate"(*mut u64, usize, *const AllocationProperties, c_ulonglong);
        physical_release: "cuMemRelease"(u64);
        physical_retain: "cuMemRetainAllocationHandle"(*mut u64, u64);
        physical_properties: "cuMemGetAllocationPropertiesFromHandle"(*mut AllocationProperties, u64);
        physical_granularity: "cuMemGetAllocationGranularity"(*mut usize, *const AllocationProperties, c_uint);
        handle_export: "cuMemExportToShareableHandle"(*mut c_void, u64, c_uint, c_ulonglong);
        handle_import: "cuMemImportFromShareableHandle"(*mut u64, usize, c_uint);
        range_reserve: "cuMemAddressReserve"(*mut u64, usize, usize, u64, c_ulonglong);
        range_free: "cuMemAddressFree"(u64, usize);
        range_map: "cuMemMap"(u64, usize, usize, u64, c_ulonglong);
        range_unmap: "cuMemUnmap"(u64, usize);
        range_access: "cuMemSetAccess"(u64, usize, *const Access, usize);
        stream_create: "cuStreamCreate"(*mut Handle, c_uint);
        stream_destroy: "cuStreamDestroy_v2"(Handle);
        stream_context: "cuStreamGetCtx"(Handle, *mut Handle);
        stream_wait_event: "cuStreamWaitEvent"(Handle, Handle, c_uint);
        event_create: "cuEventCreate"(*mut Handle, c_uint);
        event_destroy: "cuEventDestroy_v2"(Handle);
        event_record: "cuEventRecord"(Handle, Handle);
        event_query: "cuEventQuery"(Handle);
        copy: "cuMemcpyAsync"(u64, u64, usize, Handle);
        module_load: "cuModuleLoadData"(*mut Handle, *const c_void);
        module_unload: "cuModuleUnload"(Handle);
        module_function: "cuModuleGetFunction"(*mut Handle, Handle, *const c_char);
        launch: "cuLaunchKernel"(
            Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle,
            *const *const c_void, *const *const c_void
        );
    }
    optional {
        device_uuid_of_part: "cuDeviceGetUuid_v2"(*mut [u8; 16], c_int);
        copy_batch: "cuMemcpyBatchAsync"(
            *const u64, *const u64, *const usize, usize,
            *const sys::CUmemcpyAttributes, *const usize, usize, *mut usize, Handle
        );
        range_handle: "cuMemGetHandleForAddressRange"(*mut c_int, u64, usize, c_uint, c_ulonglong);
        wait_value: "cuStreamWaitValue64_v2"(Handle, u64, u64, c_uint);
        write_value: "cuStreamWriteValue64_v2"(Handle, u64, u64, c_uint);
        is_capturing: "cuStreamIsCapturing"(Handle, *mut c_uint);
        exchange_capture_mode: "cuThreadExchangeStreamCaptureMode"(*mut c_uint);
        begin_capture: "cuStreamBeginCapture_v2"(Handle, c_uint);
        end_capture: "cuStreamEndCapture"(Handle, *mut Handle);
        graph_instantiate: "cuGraphInstantiateWithFlags"(*mut Handle, Handle, c_ulonglong);
        graph_launch: "cuGraphLaunch"(Handle, Handle);
        graph_destroy: "cuGraphDestroy"(Handle);
        executable_destroy: "cuGraphExecDestroy"(Handle);
        flush_writes: "cuFlushGPUDirectRDMAWrites"(c_uint, c_uint);
    }
}

impl Driver {
    /// Takes the driver's answer apart.
    pub(crate) fn check(&self, function: &'static str, result: CallResult) -> Result<(), AcceleratorError> {
        if result == 0 { Ok(()) } else { Err(self.failure(function, result)) }
    }

    /// The same for a call that takes memory.
    pub(crate) fn check_memory(
        &self,
        function: &'static str,
        wanted: u64,
        result: CallResult,
    ) -> Result<(), AcceleratorError> {
        if result == OUT_OF_MEMORY {
            return Err(AcceleratorError::OutOfMemory { kind: AcceleratorKind::Cuda, wanted });
        }
        self.check(function, result)
    }

    /// What a failed call is told as.
    pub(crate) fn failure(&self, function: &'static str, code: CallResult) -> AcceleratorError {
        let mut text: *const c_char = core::ptr::null();
        // SAFETY: the driver writes the address of a constant text, or null for a code that it does not know.
        let found = unsafe { (self.error_name)(code, &mut text) };
        let name = if found == 0 && !text.is_null() {
            // SAFETY: a C string of the driver's, which lives as long as its library.
            unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
        } else {
            "unknown error".to_owned()
        };
        AcceleratorError::Runtime { kind: AcceleratorKind::Cuda, function, code: code.into(), name }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Driver")
    }
}

/// What the crate says of a function that is not there.
pub(crate) const fn unsupported(what: &'static str, why: &'static str) -> AcceleratorError {
    AcceleratorError::Unsupported { kind: AcceleratorKind::Cuda, what, why }
}
