// Generated from acl/acl.h (include) by `regenerate`: change that, not this file.

pub const ACL_RT_IPC_KEY_LENGTH: u32 = 65;
pub const ACL_RT_IPC_MEM_EXPORT_FLAG_DISABLE_PID_VALIDATION: u32 = 1;
pub const ACL_RT_IPC_MEM_IMPORT_FLAG_DEFAULT: u32 = 0;
pub const ACL_VALUE_WAIT_GEQ: u32 = 0;
pub const ACL_STOP_ON_FAILURE: u32 = 1;
pub type aclError = ::std::os::raw::c_int;
pub const ACL_SUCCESS: ::std::os::raw::c_int = 0;
pub const ACL_ERROR_NONE: ::std::os::raw::c_int = 0;
pub const ACL_ERROR_INVALID_PARAM: ::std::os::raw::c_int = 100000;
pub const ACL_ERROR_UNINITIALIZE: ::std::os::raw::c_int = 100001;
pub const ACL_ERROR_REPEAT_INITIALIZE: ::std::os::raw::c_int = 100002;
pub const ACL_ERROR_REPEAT_FINALIZE: ::std::os::raw::c_int = 100037;
pub const ACL_ERROR_BAD_ALLOC: ::std::os::raw::c_int = 200000;
pub const ACL_ERROR_RT_FAILURE: ::std::os::raw::c_int = 500003;
pub const ACL_ERROR_RT_PARAM_INVALID: i32 = 107000;
pub const ACL_ERROR_RT_INVALID_DEVICEID: i32 = 107001;
pub const ACL_ERROR_RT_CONTEXT_NULL: i32 = 107002;
pub const ACL_ERROR_RT_STREAM_CONTEXT: i32 = 107003;
pub const ACL_ERROR_RT_ADDR_UNALIGNED: i32 = 107008;
pub const ACL_ERROR_RT_INVALID_MEMORY_TYPE: i32 = 107016;
pub const ACL_ERROR_RT_INVALID_HANDLE: i32 = 107017;
pub const ACL_ERROR_RT_FEATURE_NOT_SUPPORT: i32 = 207000;
pub const ACL_ERROR_RT_MEMORY_ALLOCATION: i32 = 207001;
pub const ACL_ERROR_RT_NO_DEVICE: i32 = 207004;
pub const ACL_ERROR_RT_STREAM_SYNC_TIMEOUT: i32 = 507046;
pub type aclrtContext = *mut ::std::os::raw::c_void;
pub type aclrtStream = *mut ::std::os::raw::c_void;
pub type aclrtEvent = *mut ::std::os::raw::c_void;
pub type aclrtHostFunc = ::std::option::Option<
    unsafe extern "C" fn(args: *mut ::std::os::raw::c_void),
>;
pub const ACL_MEM_MALLOC_HUGE_FIRST: aclrtMemMallocPolicy = 0;
pub const ACL_MEM_MALLOC_HUGE_ONLY: aclrtMemMallocPolicy = 1;
pub const ACL_MEM_MALLOC_NORMAL_ONLY: aclrtMemMallocPolicy = 2;
pub const ACL_MEM_MALLOC_HUGE_FIRST_P2P: aclrtMemMallocPolicy = 3;
pub const ACL_MEM_MALLOC_HUGE_ONLY_P2P: aclrtMemMallocPolicy = 4;
pub const ACL_MEM_MALLOC_NORMAL_ONLY_P2P: aclrtMemMallocPolicy = 5;
pub type aclrtMemMallocPolicy = ::std::os::raw::c_uint;
pub const ACL_MEMCPY_HOST_TO_HOST: aclrtMemcpyKind = 0;
pub const ACL_MEMCPY_HOST_TO_DEVICE: aclrtMemcpyKind = 1;
pub const ACL_MEMCPY_DEVICE_TO_HOST: aclrtMemcpyKind = 2;
pub const ACL_MEMCPY_DEVICE_TO_DEVICE: aclrtMemcpyKind = 3;
pub const ACL_MEMCPY_DEFAULT: aclrtMemcpyKind = 4;
pub type aclrtMemcpyKind = ::std::os::raw::c_uint;
pub const ACL_STREAM_STATUS_COMPLETE: aclrtStreamStatus = 0;
pub const ACL_STREAM_STATUS_NOT_READY: aclrtStreamStatus = 1;
pub type aclrtStreamStatus = ::std::os::raw::c_uint;
pub const ACL_EVENT_RECORDED_STATUS_NOT_READY: aclrtEventRecordedStatus = 0;
pub const ACL_EVENT_RECORDED_STATUS_COMPLETE: aclrtEventRecordedStatus = 1;
pub type aclrtEventRecordedStatus = ::std::os::raw::c_uint;
pub const ACL_HOST_REGISTER_MAPPED: aclrtHostRegisterType = 0;
pub type aclrtHostRegisterType = ::std::os::raw::c_uint;
pub const ACL_MEM_LOCATION_TYPE_HOST: aclrtMemLocationType = 0;
pub const ACL_MEM_LOCATION_TYPE_DEVICE: aclrtMemLocationType = 1;
pub const ACL_MEM_LOCATION_TYPE_UNREGISTERED: aclrtMemLocationType = 2;
pub const ACL_MEM_LOCATION_TYPE_MANAGED: aclrtMemLocationType = 3;
pub const ACL_MEM_LOCATION_TYPE_HOST_NUMA: aclrtMemLocationType = 4;
pub type aclrtMemLocationType = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Copy, Clone)]
pub struct aclrtMemLocation {
    pub id: u32,
    pub type_: aclrtMemLocationType,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of aclrtMemLocation"][::std::mem::size_of::<aclrtMemLocation>() - 8usize];
    [
        "Alignment of aclrtMemLocation",
    ][::std::mem::align_of::<aclrtMemLocation>() - 4usize];
    [
        "Offset of field: aclrtMemLocation::id",
    ][::std::mem::offset_of!(aclrtMemLocation, id) - 0usize];
    [
        "Offset of field: aclrtMemLocation::type_",
    ][::std::mem::offset_of!(aclrtMemLocation, type_) - 4usize];
};
impl Default for aclrtMemLocation {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Copy, Clone)]
pub struct aclrtPtrAttributes {
    pub location: aclrtMemLocation,
    pub pageSize: u32,
    pub rsv: [u32; 4usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of aclrtPtrAttributes",
    ][::std::mem::size_of::<aclrtPtrAttributes>() - 28usize];
    [
        "Alignment of aclrtPtrAttributes",
    ][::std::mem::align_of::<aclrtPtrAttributes>() - 4usize];
    [
        "Offset of field: aclrtPtrAttributes::location",
    ][::std::mem::offset_of!(aclrtPtrAttributes, location) - 0usize];
    [
        "Offset of field: aclrtPtrAttributes::pageSize",
    ][::std::mem::offset_of!(aclrtPtrAttributes, pageSize) - 8usize];
    [
        "Offset of field: aclrtPtrAttributes::rsv",
    ][::std::mem::offset_of!(aclrtPtrAttributes, rsv) - 12usize];
};
impl Default for aclrtPtrAttributes {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct aclrtUuid {
    pub bytes: [::std::os::raw::c_char; 16usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of aclrtUuid"][::std::mem::size_of::<aclrtUuid>() - 16usize];
    ["Alignment of aclrtUuid"][::std::mem::align_of::<aclrtUuid>() - 1usize];
    [
        "Offset of field: aclrtUuid::bytes",
    ][::std::mem::offset_of!(aclrtUuid, bytes) - 0usize];
};
pub struct Acl {
    __library: ::libloading::Library,
    pub aclrtGetDeviceCount: Result<
        unsafe extern "C" fn(count: *mut u32) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtSetDevice: Result<
        unsafe extern "C" fn(deviceId: i32) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtGetDevice: Result<
        unsafe extern "C" fn(deviceId: *mut i32) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtResetDevice: Result<
        unsafe extern "C" fn(deviceId: i32) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtSynchronizeDevice: Result<
        unsafe extern "C" fn() -> aclError,
        ::libloading::Error,
    >,
    pub aclrtGetCurrentContext: Result<
        unsafe extern "C" fn(context: *mut aclrtContext) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtSetCurrentContext: Result<
        unsafe extern "C" fn(context: aclrtContext) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtGetSocName: Result<
        unsafe extern "C" fn() -> *const ::std::os::raw::c_char,
        ::libloading::Error,
    >,
    pub aclrtGetPhyDevIdByLogicDevId: Result<
        unsafe extern "C" fn(logicDevId: i32, phyDevId: *mut i32) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtDeviceGetUuid: Result<
        unsafe extern "C" fn(deviceId: i32, uuid: *mut aclrtUuid) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtDeviceGetPCIBusId: Result<
        unsafe extern "C" fn(
            deviceId: i32,
            pciBusId: *mut ::std::os::raw::c_char,
            length: i32,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtMalloc: Result<
        unsafe extern "C" fn(
            devPtr: *mut *mut ::std::os::raw::c_void,
            size: usize,
            policy: aclrtMemMallocPolicy,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtFree: Result<
        unsafe extern "C" fn(devPtr: *mut ::std::os::raw::c_void) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtMallocHost: Result<
        unsafe extern "C" fn(
            hostPtr: *mut *mut ::std::os::raw::c_void,
            size: usize,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtFreeHost: Result<
        unsafe extern "C" fn(hostPtr: *mut ::std::os::raw::c_void) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtHostRegister: Result<
        unsafe extern "C" fn(
            ptr: *mut ::std::os::raw::c_void,
            size: u64,
            type_: aclrtHostRegisterType,
            devPtr: *mut *mut ::std::os::raw::c_void,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtHostUnregister: Result<
        unsafe extern "C" fn(ptr: *mut ::std::os::raw::c_void) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtMemset: Result<
        unsafe extern "C" fn(
            devPtr: *mut ::std::os::raw::c_void,
            maxCount: usize,
            value: i32,
            count: usize,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtMemcpy: Result<
        unsafe extern "C" fn(
            dst: *mut ::std::os::raw::c_void,
            destMax: usize,
            src: *const ::std::os::raw::c_void,
            count: usize,
            kind: aclrtMemcpyKind,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtMemcpyAsync: Result<
        unsafe extern "C" fn(
            dst: *mut ::std::os::raw::c_void,
            destMax: usize,
            src: *const ::std::os::raw::c_void,
            count: usize,
            kind: aclrtMemcpyKind,
            stream: aclrtStream,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtPointerGetAttributes: Result<
        unsafe extern "C" fn(
            ptr: *const ::std::os::raw::c_void,
            attributes: *mut aclrtPtrAttributes,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtMemGetAddressRange: Result<
        unsafe extern "C" fn(
            ptr: *mut ::std::os::raw::c_void,
            pbase: *mut *mut ::std::os::raw::c_void,
            psize: *mut usize,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtIpcMemGetExportKey: Result<
        unsafe extern "C" fn(
            devPtr: *mut ::std::os::raw::c_void,
            size: usize,
            key: *mut ::std::os::raw::c_char,
            len: usize,
            flags: u64,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtIpcMemImportByKey: Result<
        unsafe extern "C" fn(
            devPtr: *mut *mut ::std::os::raw::c_void,
            key: *const ::std::os::raw::c_char,
            flags: u64,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtIpcMemClose: Result<
        unsafe extern "C" fn(key: *const ::std::os::raw::c_char) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtCreateStream: Result<
        unsafe extern "C" fn(stream: *mut aclrtStream) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtDestroyStream: Result<
        unsafe extern "C" fn(stream: aclrtStream) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtSynchronizeStream: Result<
        unsafe extern "C" fn(stream: aclrtStream) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtSynchronizeStreamWithTimeout: Result<
        unsafe extern "C" fn(stream: aclrtStream, timeout: i32) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtStreamQuery: Result<
        unsafe extern "C" fn(
            stream: aclrtStream,
            status: *mut aclrtStreamStatus,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtSetStreamFailureMode: Result<
        unsafe extern "C" fn(stream: aclrtStream, mode: u64) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtStreamWaitEvent: Result<
        unsafe extern "C" fn(stream: aclrtStream, event: aclrtEvent) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtLaunchHostFunc: Result<
        unsafe extern "C" fn(
            stream: aclrtStream,
            fn_: aclrtHostFunc,
            args: *mut ::std::os::raw::c_void,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtValueWrite: Result<
        unsafe extern "C" fn(
            devAddr: *mut ::std::os::raw::c_void,
            value: u64,
            flag: u32,
            stream: aclrtStream,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtValueWait: Result<
        unsafe extern "C" fn(
            devAddr: *mut ::std::os::raw::c_void,
            value: u64,
            flag: u32,
            stream: aclrtStream,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtCreateEvent: Result<
        unsafe extern "C" fn(event: *mut aclrtEvent) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtDestroyEvent: Result<
        unsafe extern "C" fn(event: aclrtEvent) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtRecordEvent: Result<
        unsafe extern "C" fn(event: aclrtEvent, stream: aclrtStream) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtQueryEventStatus: Result<
        unsafe extern "C" fn(
            event: aclrtEvent,
            status: *mut aclrtEventRecordedStatus,
        ) -> aclError,
        ::libloading::Error,
    >,
    pub aclrtSynchronizeEvent: Result<
        unsafe extern "C" fn(event: aclrtEvent) -> aclError,
        ::libloading::Error,
    >,
    pub aclInit: Result<
        unsafe extern "C" fn(configPath: *const ::std::os::raw::c_char) -> aclError,
        ::libloading::Error,
    >,
    pub aclFinalize: Result<unsafe extern "C" fn() -> aclError, ::libloading::Error>,
    pub aclGetRecentErrMsg: Result<
        unsafe extern "C" fn() -> *const ::std::os::raw::c_char,
        ::libloading::Error,
    >,
}
impl Acl {
    pub unsafe fn new<P>(path: P) -> Result<Self, ::libloading::Error>
    where
        P: AsRef<::std::ffi::OsStr>,
    {
        let path = path.as_ref();
        let library = ::libloading::Library::new(path)?;
        Self::from_library(library)
    }
    pub unsafe fn from_library<L>(library: L) -> Result<Self, ::libloading::Error>
    where
        L: Into<::libloading::Library>,
    {
        let __library = library.into();
        let aclrtGetDeviceCount = __library
            .get(b"aclrtGetDeviceCount\0")
            .map(|sym| *sym);
        let aclrtSetDevice = __library.get(b"aclrtSetDevice\0").map(|sym| *sym);
        let aclrtGetDevice = __library.get(b"aclrtGetDevice\0").map(|sym| *sym);
        let aclrtResetDevice = __library.get(b"aclrtResetDevice\0").map(|sym| *sym);
        let aclrtSynchronizeDevice = __library
            .get(b"aclrtSynchronizeDevice\0")
            .map(|sym| *sym);
        let aclrtGetCurrentContext = __library
            .get(b"aclrtGetCurrentContext\0")
            .map(|sym| *sym);
        let aclrtSetCurrentContext = __library
            .get(b"aclrtSetCurrentContext\0")
            .map(|sym| *sym);
        let aclrtGetSocName = __library.get(b"aclrtGetSocName\0").map(|sym| *sym);
        let aclrtGetPhyDevIdByLogicDevId = __library
            .get(b"aclrtGetPhyDevIdByLogicDevId\0")
            .map(|sym| *sym);
        let aclrtDeviceGetUuid = __library.get(b"aclrtDeviceGetUuid\0").map(|sym| *sym);
        let aclrtDeviceGetPCIBusId = __library
            .get(b"aclrtDeviceGetPCIBusId\0")
            .map(|sym| *sym);
        let aclrtMalloc = __library.get(b"aclrtMalloc\0").map(|sym| *sym);
        let aclrtFree = __library.get(b"aclrtFree\0").map(|sym| *sym);
        let aclrtMallocHost = __library.get(b"aclrtMallocHost\0").map(|sym| *sym);
        let aclrtFreeHost = __library.get(b"aclrtFreeHost\0").map(|sym| *sym);
        let aclrtHostRegister = __library.get(b"aclrtHostRegister\0").map(|sym| *sym);
        let aclrtHostUnregister = __library
            .get(b"aclrtHostUnregister\0")
            .map(|sym| *sym);
        let aclrtMemset = __library.get(b"aclrtMemset\0").map(|sym| *sym);
        let aclrtMemcpy = __library.get(b"aclrtMemcpy\0").map(|sym| *sym);
        let aclrtMemcpyAsync = __library.get(b"aclrtMemcpyAsync\0").map(|sym| *sym);
        let aclrtPointerGetAttributes = __library
            .get(b"aclrtPointerGetAttributes\0")
            .map(|sym| *sym);
        let aclrtMemGetAddressRange = __library
            .get(b"aclrtMemGetAddressRange\0")
            .map(|sym| *sym);
        let aclrtIpcMemGetExportKey = __library
            .get(b"aclrtIpcMemGetExportKey\0")
            .map(|sym| *sym);
        let aclrtIpcMemImportByKey = __library
            .get(b"aclrtIpcMemImportByKey\0")
            .map(|sym| *sym);
        let aclrtIpcMemClose = __library.get(b"aclrtIpcMemClose\0").map(|sym| *sym);
        let aclrtCreateStream = __library.get(b"aclrtCreateStream\0").map(|sym| *sym);
        let aclrtDestroyStream = __library.get(b"aclrtDestroyStream\0").map(|sym| *sym);
        let aclrtSynchronizeStream = __library
            .get(b"aclrtSynchronizeStream\0")
            .map(|sym| *sym);
        let aclrtSynchronizeStreamWithTimeout = __library
            .get(b"aclrtSynchronizeStreamWithTimeout\0")
            .map(|sym| *sym);
        let aclrtStreamQuery = __library.get(b"aclrtStreamQuery\0").map(|sym| *sym);
        let aclrtSetStreamFailureMode = __library
            .get(b"aclrtSetStreamFailureMode\0")
            .map(|sym| *sym);
        let aclrtStreamWaitEvent = __library
            .get(b"aclrtStreamWaitEvent\0")
            .map(|sym| *sym);
        let aclrtLaunchHostFunc = __library
            .get(b"aclrtLaunchHostFunc\0")
            .map(|sym| *sym);
        let aclrtValueWrite = __library.get(b"aclrtValueWrite\0").map(|sym| *sym);
        let aclrtValueWait = __library.get(b"aclrtValueWait\0").map(|sym| *sym);
        let aclrtCreateEvent = __library.get(b"aclrtCreateEvent\0").map(|sym| *sym);
        let aclrtDestroyEvent = __library.get(b"aclrtDestroyEvent\0").map(|sym| *sym);
        let aclrtRecordEvent = __library.get(b"aclrtRecordEvent\0").map(|sym| *sym);
        let aclrtQueryEventStatus = __library
            .get(b"aclrtQueryEventStatus\0")
            .map(|sym| *sym);
        let aclrtSynchronizeEvent = __library
            .get(b"aclrtSynchronizeEvent\0")
            .map(|sym| *sym);
        let aclInit = __library.get(b"aclInit\0").map(|sym| *sym);
        let aclFinalize = __library.get(b"aclFinalize\0").map(|sym| *sym);
        let aclGetRecentErrMsg = __library.get(b"aclGetRecentErrMsg\0").map(|sym| *sym);
        Ok(Acl {
            __library,
            aclrtGetDeviceCount,
            aclrtSetDevice,
            aclrtGetDevice,
            aclrtResetDevice,
            aclrtSynchronizeDevice,
            aclrtGetCurrentContext,
            aclrtSetCurrentContext,
            aclrtGetSocName,
            aclrtGetPhyDevIdByLogicDevId,
            aclrtDeviceGetUuid,
            aclrtDeviceGetPCIBusId,
            aclrtMalloc,
            aclrtFree,
            aclrtMallocHost,
            aclrtFreeHost,
            aclrtHostRegister,
            aclrtHostUnregister,
            aclrtMemset,
            aclrtMemcpy,
            aclrtMemcpyAsync,
            aclrtPointerGetAttributes,
            aclrtMemGetAddressRange,
            aclrtIpcMemGetExportKey,
            aclrtIpcMemImportByKey,
            aclrtIpcMemClose,
            aclrtCreateStream,
            aclrtDestroyStream,
            aclrtSynchronizeStream,
            aclrtSynchronizeStreamWithTimeout,
            aclrtStreamQuery,
            aclrtSetStreamFailureMode,
            aclrtStreamWaitEvent,
            aclrtLaunchHostFunc,
            aclrtValueWrite,
            aclrtValueWait,
            aclrtCreateEvent,
            aclrtDestroyEvent,
            aclrtRecordEvent,
            aclrtQueryEventStatus,
            aclrtSynchronizeEvent,
            aclInit,
            aclFinalize,
            aclGetRecentErrMsg,
        })
    }
    pub unsafe fn aclrtGetDeviceCount(
        &self,
        count: *mut u32,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtGetDeviceCount, "aclrtGetDeviceCount")?;
        Ok(unsafe { function(count) })
    }
    pub unsafe fn aclrtSetDevice(
        &self,
        deviceId: i32,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtSetDevice, "aclrtSetDevice")?;
        Ok(unsafe { function(deviceId) })
    }
    pub unsafe fn aclrtGetDevice(
        &self,
        deviceId: *mut i32,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtGetDevice, "aclrtGetDevice")?;
        Ok(unsafe { function(deviceId) })
    }
    pub unsafe fn aclrtResetDevice(
        &self,
        deviceId: i32,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtResetDevice, "aclrtResetDevice")?;
        Ok(unsafe { function(deviceId) })
    }
    pub unsafe fn aclrtSynchronizeDevice(&self) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtSynchronizeDevice, "aclrtSynchronizeDevice")?;
        Ok(unsafe { function() })
    }
    pub unsafe fn aclrtGetCurrentContext(
        &self,
        context: *mut aclrtContext,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtGetCurrentContext, "aclrtGetCurrentContext")?;
        Ok(unsafe { function(context) })
    }
    pub unsafe fn aclrtSetCurrentContext(
        &self,
        context: aclrtContext,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtSetCurrentContext, "aclrtSetCurrentContext")?;
        Ok(unsafe { function(context) })
    }
    pub unsafe fn aclrtGetSocName(
        &self,
    ) -> Result<*const ::std::os::raw::c_char, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtGetSocName, "aclrtGetSocName")?;
        Ok(unsafe { function() })
    }
    pub unsafe fn aclrtGetPhyDevIdByLogicDevId(
        &self,
        logicDevId: i32,
        phyDevId: *mut i32,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtGetPhyDevIdByLogicDevId, "aclrtGetPhyDevIdByLogicDevId")?;
        Ok(unsafe { function(logicDevId, phyDevId) })
    }
    pub unsafe fn aclrtDeviceGetUuid(
        &self,
        deviceId: i32,
        uuid: *mut aclrtUuid,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtDeviceGetUuid, "aclrtDeviceGetUuid")?;
        Ok(unsafe { function(deviceId, uuid) })
    }
    pub unsafe fn aclrtDeviceGetPCIBusId(
        &self,
        deviceId: i32,
        pciBusId: *mut ::std::os::raw::c_char,
        length: i32,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtDeviceGetPCIBusId, "aclrtDeviceGetPCIBusId")?;
        Ok(unsafe { function(deviceId, pciBusId, length) })
    }
    pub unsafe fn aclrtMalloc(
        &self,
        devPtr: *mut *mut ::std::os::raw::c_void,
        size: usize,
        policy: aclrtMemMallocPolicy,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtMalloc, "aclrtMalloc")?;
        Ok(unsafe { function(devPtr, size, policy) })
    }
    pub unsafe fn aclrtFree(
        &self,
        devPtr: *mut ::std::os::raw::c_void,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<Self, _>(&self.aclrtFree, "aclrtFree")?;
        Ok(unsafe { function(devPtr) })
    }
    pub unsafe fn aclrtMallocHost(
        &self,
        hostPtr: *mut *mut ::std::os::raw::c_void,
        size: usize,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtMallocHost, "aclrtMallocHost")?;
        Ok(unsafe { function(hostPtr, size) })
    }
    pub unsafe fn aclrtFreeHost(
        &self,
        hostPtr: *mut ::std::os::raw::c_void,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtFreeHost, "aclrtFreeHost")?;
        Ok(unsafe { function(hostPtr) })
    }
    pub unsafe fn aclrtHostRegister(
        &self,
        ptr: *mut ::std::os::raw::c_void,
        size: u64,
        type_: aclrtHostRegisterType,
        devPtr: *mut *mut ::std::os::raw::c_void,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtHostRegister, "aclrtHostRegister")?;
        Ok(unsafe { function(ptr, size, type_, devPtr) })
    }
    pub unsafe fn aclrtHostUnregister(
        &self,
        ptr: *mut ::std::os::raw::c_void,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtHostUnregister, "aclrtHostUnregister")?;
        Ok(unsafe { function(ptr) })
    }
    pub unsafe fn aclrtMemset(
        &self,
        devPtr: *mut ::std::os::raw::c_void,
        maxCount: usize,
        value: i32,
        count: usize,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtMemset, "aclrtMemset")?;
        Ok(unsafe { function(devPtr, maxCount, value, count) })
    }
    pub unsafe fn aclrtMemcpy(
        &self,
        dst: *mut ::std::os::raw::c_void,
        destMax: usize,
        src: *const ::std::os::raw::c_void,
        count: usize,
        kind: aclrtMemcpyKind,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtMemcpy, "aclrtMemcpy")?;
        Ok(unsafe { function(dst, destMax, src, count, kind) })
    }
    pub unsafe fn aclrtMemcpyAsync(
        &self,
        dst: *mut ::std::os::raw::c_void,
        destMax: usize,
        src: *const ::std::os::raw::c_void,
        count: usize,
        kind: aclrtMemcpyKind,
        stream: aclrtStream,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtMemcpyAsync, "aclrtMemcpyAsync")?;
        Ok(unsafe { function(dst, destMax, src, count, kind, stream) })
    }
    pub unsafe fn aclrtPointerGetAttributes(
        &self,
        ptr: *const ::std::os::raw::c_void,
        attributes: *mut aclrtPtrAttributes,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtPointerGetAttributes, "aclrtPointerGetAttributes")?;
        Ok(unsafe { function(ptr, attributes) })
    }
    pub unsafe fn aclrtMemGetAddressRange(
        &self,
        ptr: *mut ::std::os::raw::c_void,
        pbase: *mut *mut ::std::os::raw::c_void,
        psize: *mut usize,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtMemGetAddressRange, "aclrtMemGetAddressRange")?;
        Ok(unsafe { function(ptr, pbase, psize) })
    }
    pub unsafe fn aclrtIpcMemGetExportKey(
        &self,
        devPtr: *mut ::std::os::raw::c_void,
        size: usize,
        key: *mut ::std::os::raw::c_char,
        len: usize,
        flags: u64,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtIpcMemGetExportKey, "aclrtIpcMemGetExportKey")?;
        Ok(unsafe { function(devPtr, size, key, len, flags) })
    }
    pub unsafe fn aclrtIpcMemImportByKey(
        &self,
        devPtr: *mut *mut ::std::os::raw::c_void,
        key: *const ::std::os::raw::c_char,
        flags: u64,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtIpcMemImportByKey, "aclrtIpcMemImportByKey")?;
        Ok(unsafe { function(devPtr, key, flags) })
    }
    pub unsafe fn aclrtIpcMemClose(
        &self,
        key: *const ::std::os::raw::c_char,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtIpcMemClose, "aclrtIpcMemClose")?;
        Ok(unsafe { function(key) })
    }
    pub unsafe fn aclrtCreateStream(
        &self,
        stream: *mut aclrtStream,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtCreateStream, "aclrtCreateStream")?;
        Ok(unsafe { function(stream) })
    }
    pub unsafe fn aclrtDestroyStream(
        &self,
        stream: aclrtStream,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtDestroyStream, "aclrtDestroyStream")?;
        Ok(unsafe { function(stream) })
    }
    pub unsafe fn aclrtSynchronizeStream(
        &self,
        stream: aclrtStream,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtSynchronizeStream, "aclrtSynchronizeStream")?;
        Ok(unsafe { function(stream) })
    }
    pub unsafe fn aclrtSynchronizeStreamWithTimeout(
        &self,
        stream: aclrtStream,
        timeout: i32,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtSynchronizeStreamWithTimeout, "aclrtSynchronizeStreamWithTimeout")?;
        Ok(unsafe { function(stream, timeout) })
    }
    pub unsafe fn aclrtStreamQuery(
        &self,
        stream: aclrtStream,
        status: *mut aclrtStreamStatus,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtStreamQuery, "aclrtStreamQuery")?;
        Ok(unsafe { function(stream, status) })
    }
    pub unsafe fn aclrtSetStreamFailureMode(
        &self,
        stream: aclrtStream,
        mode: u64,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtSetStreamFailureMode, "aclrtSetStreamFailureMode")?;
        Ok(unsafe { function(stream, mode) })
    }
    pub unsafe fn aclrtStreamWaitEvent(
        &self,
        stream: aclrtStream,
        event: aclrtEvent,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtStreamWaitEvent, "aclrtStreamWaitEvent")?;
        Ok(unsafe { function(stream, event) })
    }
    pub unsafe fn aclrtLaunchHostFunc(
        &self,
        stream: aclrtStream,
        fn_: aclrtHostFunc,
        args: *mut ::std::os::raw::c_void,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtLaunchHostFunc, "aclrtLaunchHostFunc")?;
        Ok(unsafe { function(stream, fn_, args) })
    }
    pub unsafe fn aclrtValueWrite(
        &self,
        devAddr: *mut ::std::os::raw::c_void,
        value: u64,
        flag: u32,
        stream: aclrtStream,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtValueWrite, "aclrtValueWrite")?;
        Ok(unsafe { function(devAddr, value, flag, stream) })
    }
    pub unsafe fn aclrtValueWait(
        &self,
        devAddr: *mut ::std::os::raw::c_void,
        value: u64,
        flag: u32,
        stream: aclrtStream,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtValueWait, "aclrtValueWait")?;
        Ok(unsafe { function(devAddr, value, flag, stream) })
    }
    pub unsafe fn aclrtCreateEvent(
        &self,
        event: *mut aclrtEvent,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtCreateEvent, "aclrtCreateEvent")?;
        Ok(unsafe { function(event) })
    }
    pub unsafe fn aclrtDestroyEvent(
        &self,
        event: aclrtEvent,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtDestroyEvent, "aclrtDestroyEvent")?;
        Ok(unsafe { function(event) })
    }
    pub unsafe fn aclrtRecordEvent(
        &self,
        event: aclrtEvent,
        stream: aclrtStream,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtRecordEvent, "aclrtRecordEvent")?;
        Ok(unsafe { function(event, stream) })
    }
    pub unsafe fn aclrtQueryEventStatus(
        &self,
        event: aclrtEvent,
        status: *mut aclrtEventRecordedStatus,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtQueryEventStatus, "aclrtQueryEventStatus")?;
        Ok(unsafe { function(event, status) })
    }
    pub unsafe fn aclrtSynchronizeEvent(
        &self,
        event: aclrtEvent,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclrtSynchronizeEvent, "aclrtSynchronizeEvent")?;
        Ok(unsafe { function(event) })
    }
    pub unsafe fn aclInit(
        &self,
        configPath: *const ::std::os::raw::c_char,
    ) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<Self, _>(&self.aclInit, "aclInit")?;
        Ok(unsafe { function(configPath) })
    }
    pub unsafe fn aclFinalize(&self) -> Result<aclError, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclFinalize, "aclFinalize")?;
        Ok(unsafe { function() })
    }
    pub unsafe fn aclGetRecentErrMsg(
        &self,
    ) -> Result<*const ::std::os::raw::c_char, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.aclGetRecentErrMsg, "aclGetRecentErrMsg")?;
        Ok(unsafe { function() })
    }
    pub fn missing(&self) -> Vec<&'static str> {
        let symbols = [
            ("aclrtGetDeviceCount", self.aclrtGetDeviceCount.is_ok()),
            ("aclrtSetDevice", self.aclrtSetDevice.is_ok()),
            ("aclrtGetDevice", self.aclrtGetDevice.is_ok()),
            ("aclrtResetDevice", self.aclrtResetDevice.is_ok()),
            ("aclrtSynchronizeDevice", self.aclrtSynchronizeDevice.is_ok()),
            ("aclrtGetCurrentContext", self.aclrtGetCurrentContext.is_ok()),
            ("aclrtSetCurrentContext", self.aclrtSetCurrentContext.is_ok()),
            ("aclrtGetSocName", self.aclrtGetSocName.is_ok()),
            ("aclrtGetPhyDevIdByLogicDevId", self.aclrtGetPhyDevIdByLogicDevId.is_ok()),
            ("aclrtDeviceGetUuid", self.aclrtDeviceGetUuid.is_ok()),
            ("aclrtDeviceGetPCIBusId", self.aclrtDeviceGetPCIBusId.is_ok()),
            ("aclrtMalloc", self.aclrtMalloc.is_ok()),
            ("aclrtFree", self.aclrtFree.is_ok()),
            ("aclrtMallocHost", self.aclrtMallocHost.is_ok()),
            ("aclrtFreeHost", self.aclrtFreeHost.is_ok()),
            ("aclrtHostRegister", self.aclrtHostRegister.is_ok()),
            ("aclrtHostUnregister", self.aclrtHostUnregister.is_ok()),
            ("aclrtMemset", self.aclrtMemset.is_ok()),
            ("aclrtMemcpy", self.aclrtMemcpy.is_ok()),
            ("aclrtMemcpyAsync", self.aclrtMemcpyAsync.is_ok()),
            ("aclrtPointerGetAttributes", self.aclrtPointerGetAttributes.is_ok()),
            ("aclrtMemGetAddressRange", self.aclrtMemGetAddressRange.is_ok()),
            ("aclrtIpcMemGetExportKey", self.aclrtIpcMemGetExportKey.is_ok()),
            ("aclrtIpcMemImportByKey", self.aclrtIpcMemImportByKey.is_ok()),
            ("aclrtIpcMemClose", self.aclrtIpcMemClose.is_ok()),
            ("aclrtCreateStream", self.aclrtCreateStream.is_ok()),
            ("aclrtDestroyStream", self.aclrtDestroyStream.is_ok()),
            ("aclrtSynchronizeStream", self.aclrtSynchronizeStream.is_ok()),
            (
                "aclrtSynchronizeStreamWithTimeout",
                self.aclrtSynchronizeStreamWithTimeout.is_ok(),
            ),
            ("aclrtStreamQuery", self.aclrtStreamQuery.is_ok()),
            ("aclrtSetStreamFailureMode", self.aclrtSetStreamFailureMode.is_ok()),
            ("aclrtStreamWaitEvent", self.aclrtStreamWaitEvent.is_ok()),
            ("aclrtLaunchHostFunc", self.aclrtLaunchHostFunc.is_ok()),
            ("aclrtValueWrite", self.aclrtValueWrite.is_ok()),
            ("aclrtValueWait", self.aclrtValueWait.is_ok()),
            ("aclrtCreateEvent", self.aclrtCreateEvent.is_ok()),
            ("aclrtDestroyEvent", self.aclrtDestroyEvent.is_ok()),
            ("aclrtRecordEvent", self.aclrtRecordEvent.is_ok()),
            ("aclrtQueryEventStatus", self.aclrtQueryEventStatus.is_ok()),
            ("aclrtSynchronizeEvent", self.aclrtSynchronizeEvent.is_ok()),
            ("aclInit", self.aclInit.is_ok()),
            ("aclFinalize", self.aclFinalize.is_ok()),
            ("aclGetRecentErrMsg", self.aclGetRecentErrMsg.is_ok()),
        ];
        symbols
            .into_iter()
            .filter(|(_, present)| !present)
            .map(|(symbol, _)| symbol)
            .collect()
    }
}
