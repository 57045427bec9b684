// Generated from hip/hip_runtime_api.h (libamdhip64-dev 5.2.3) by `regenerate`: change that, not this file.

pub const hipIpcMemLazyEnablePeerAccess: u32 = 0;
pub const HIP_IPC_HANDLE_SIZE: u32 = 64;
pub const hipStreamNonBlocking: u32 = 1;
pub const hipEventDisableTiming: u32 = 2;
pub const hipHostMallocPortable: u32 = 1;
pub const hipMallocSignalMemory: u32 = 2;
pub const hipHostRegisterPortable: u32 = 1;
pub const hipStreamWaitValueGte: u32 = 0;
#[repr(C)]
#[derive(Debug, Default, Copy, Clone)]
pub struct hipUUID_t {
    pub bytes: [::std::os::raw::c_char; 16usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    ["Size of hipUUID_t"][::std::mem::size_of::<hipUUID_t>() - 16usize];
    ["Alignment of hipUUID_t"][::std::mem::align_of::<hipUUID_t>() - 1usize];
    [
        "Offset of field: hipUUID_t::bytes",
    ][::std::mem::offset_of!(hipUUID_t, bytes) - 0usize];
};
pub type hipUUID = hipUUID_t;
pub const hipMemoryTypeHost: hipMemoryType = 0;
pub const hipMemoryTypeDevice: hipMemoryType = 1;
pub const hipMemoryTypeArray: hipMemoryType = 2;
pub const hipMemoryTypeUnified: hipMemoryType = 3;
pub type hipMemoryType = ::std::os::raw::c_uint;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct hipPointerAttribute_t {
    pub memoryType: hipMemoryType,
    pub device: ::std::os::raw::c_int,
    pub devicePointer: *mut ::std::os::raw::c_void,
    pub hostPointer: *mut ::std::os::raw::c_void,
    pub isManaged: ::std::os::raw::c_int,
    pub allocationFlags: ::std::os::raw::c_uint,
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of hipPointerAttribute_t",
    ][::std::mem::size_of::<hipPointerAttribute_t>() - 32usize];
    [
        "Alignment of hipPointerAttribute_t",
    ][::std::mem::align_of::<hipPointerAttribute_t>() - 8usize];
    [
        "Offset of field: hipPointerAttribute_t::memoryType",
    ][::std::mem::offset_of!(hipPointerAttribute_t, memoryType) - 0usize];
    [
        "Offset of field: hipPointerAttribute_t::device",
    ][::std::mem::offset_of!(hipPointerAttribute_t, device) - 4usize];
    [
        "Offset of field: hipPointerAttribute_t::devicePointer",
    ][::std::mem::offset_of!(hipPointerAttribute_t, devicePointer) - 8usize];
    [
        "Offset of field: hipPointerAttribute_t::hostPointer",
    ][::std::mem::offset_of!(hipPointerAttribute_t, hostPointer) - 16usize];
    [
        "Offset of field: hipPointerAttribute_t::isManaged",
    ][::std::mem::offset_of!(hipPointerAttribute_t, isManaged) - 24usize];
    [
        "Offset of field: hipPointerAttribute_t::allocationFlags",
    ][::std::mem::offset_of!(hipPointerAttribute_t, allocationFlags) - 28usize];
};
impl Default for hipPointerAttribute_t {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub const hipSuccess: hipError_t = 0;
pub const hipErrorInvalidValue: hipError_t = 1;
pub const hipErrorOutOfMemory: hipError_t = 2;
pub const hipErrorMemoryAllocation: hipError_t = 2;
pub const hipErrorNotInitialized: hipError_t = 3;
pub const hipErrorInitializationError: hipError_t = 3;
pub const hipErrorDeinitialized: hipError_t = 4;
pub const hipErrorProfilerDisabled: hipError_t = 5;
pub const hipErrorProfilerNotInitialized: hipError_t = 6;
pub const hipErrorProfilerAlreadyStarted: hipError_t = 7;
pub const hipErrorProfilerAlreadyStopped: hipError_t = 8;
pub const hipErrorInvalidConfiguration: hipError_t = 9;
pub const hipErrorInvalidPitchValue: hipError_t = 12;
pub const hipErrorInvalidSymbol: hipError_t = 13;
pub const hipErrorInvalidDevicePointer: hipError_t = 17;
pub const hipErrorInvalidMemcpyDirection: hipError_t = 21;
pub const hipErrorInsufficientDriver: hipError_t = 35;
pub const hipErrorMissingConfiguration: hipError_t = 52;
pub const hipErrorPriorLaunchFailure: hipError_t = 53;
pub const hipErrorInvalidDeviceFunction: hipError_t = 98;
pub const hipErrorNoDevice: hipError_t = 100;
pub const hipErrorInvalidDevice: hipError_t = 101;
pub const hipErrorInvalidImage: hipError_t = 200;
pub const hipErrorInvalidContext: hipError_t = 201;
pub const hipErrorContextAlreadyCurrent: hipError_t = 202;
pub const hipErrorMapFailed: hipError_t = 205;
pub const hipErrorMapBufferObjectFailed: hipError_t = 205;
pub const hipErrorUnmapFailed: hipError_t = 206;
pub const hipErrorArrayIsMapped: hipError_t = 207;
pub const hipErrorAlreadyMapped: hipError_t = 208;
pub const hipErrorNoBinaryForGpu: hipError_t = 209;
pub const hipErrorAlreadyAcquired: hipError_t = 210;
pub const hipErrorNotMapped: hipError_t = 211;
pub const hipErrorNotMappedAsArray: hipError_t = 212;
pub const hipErrorNotMappedAsPointer: hipError_t = 213;
pub const hipErrorECCNotCorrectable: hipError_t = 214;
pub const hipErrorUnsupportedLimit: hipError_t = 215;
pub const hipErrorContextAlreadyInUse: hipError_t = 216;
pub const hipErrorPeerAccessUnsupported: hipError_t = 217;
pub const hipErrorInvalidKernelFile: hipError_t = 218;
pub const hipErrorInvalidGraphicsContext: hipError_t = 219;
pub const hipErrorInvalidSource: hipError_t = 300;
pub const hipErrorFileNotFound: hipError_t = 301;
pub const hipErrorSharedObjectSymbolNotFound: hipError_t = 302;
pub const hipErrorSharedObjectInitFailed: hipError_t = 303;
pub const hipErrorOperatingSystem: hipError_t = 304;
pub const hipErrorInvalidHandle: hipError_t = 400;
pub const hipErrorInvalidResourceHandle: hipError_t = 400;
pub const hipErrorIllegalState: hipError_t = 401;
pub const hipErrorNotFound: hipError_t = 500;
pub const hipErrorNotReady: hipError_t = 600;
pub const hipErrorIllegalAddress: hipError_t = 700;
pub const hipErrorLaunchOutOfResources: hipError_t = 701;
pub const hipErrorLaunchTimeOut: hipError_t = 702;
pub const hipErrorPeerAccessAlreadyEnabled: hipError_t = 704;
pub const hipErrorPeerAccessNotEnabled: hipError_t = 705;
pub const hipErrorSetOnActiveProcess: hipError_t = 708;
pub const hipErrorContextIsDestroyed: hipError_t = 709;
pub const hipErrorAssert: hipError_t = 710;
pub const hipErrorHostMemoryAlreadyRegistered: hipError_t = 712;
pub const hipErrorHostMemoryNotRegistered: hipError_t = 713;
pub const hipErrorLaunchFailure: hipError_t = 719;
pub const hipErrorCooperativeLaunchTooLarge: hipError_t = 720;
pub const hipErrorNotSupported: hipError_t = 801;
pub const hipErrorStreamCaptureUnsupported: hipError_t = 900;
pub const hipErrorStreamCaptureInvalidated: hipError_t = 901;
pub const hipErrorStreamCaptureMerge: hipError_t = 902;
pub const hipErrorStreamCaptureUnmatched: hipError_t = 903;
pub const hipErrorStreamCaptureUnjoined: hipError_t = 904;
pub const hipErrorStreamCaptureIsolation: hipError_t = 905;
pub const hipErrorStreamCaptureImplicit: hipError_t = 906;
pub const hipErrorCapturedEvent: hipError_t = 907;
pub const hipErrorStreamCaptureWrongThread: hipError_t = 908;
pub const hipErrorGraphExecUpdateFailure: hipError_t = 910;
pub const hipErrorUnknown: hipError_t = 999;
pub const hipErrorRuntimeMemory: hipError_t = 1052;
pub const hipErrorRuntimeOther: hipError_t = 1053;
pub const hipErrorTbd: hipError_t = 1054;
pub type hipError_t = ::std::os::raw::c_uint;
pub const hipDeviceAttributeCudaCompatibleBegin: hipDeviceAttribute_t = 0;
pub const hipDeviceAttributeEccEnabled: hipDeviceAttribute_t = 0;
pub const hipDeviceAttributeAccessPolicyMaxWindowSize: hipDeviceAttribute_t = 1;
pub const hipDeviceAttributeAsyncEngineCount: hipDeviceAttribute_t = 2;
pub const hipDeviceAttributeCanMapHostMemory: hipDeviceAttribute_t = 3;
pub const hipDeviceAttributeCanUseHostPointerForRegisteredMem: hipDeviceAttribute_t = 4;
pub const hipDeviceAttributeClockRate: hipDeviceAttribute_t = 5;
pub const hipDeviceAttributeComputeMode: hipDeviceAttribute_t = 6;
pub const hipDeviceAttributeComputePreemptionSupported: hipDeviceAttribute_t = 7;
pub const hipDeviceAttributeConcurrentKernels: hipDeviceAttribute_t = 8;
pub const hipDeviceAttributeConcurrentManagedAccess: hipDeviceAttribute_t = 9;
pub const hipDeviceAttributeCooperativeLaunch: hipDeviceAttribute_t = 10;
pub const hipDeviceAttributeCooperativeMultiDeviceLaunch: hipDeviceAttribute_t = 11;
pub const hipDeviceAttributeDeviceOverlap: hipDeviceAttribute_t = 12;
pub const hipDeviceAttributeDirectManagedMemAccessFromHost: hipDeviceAttribute_t = 13;
pub const hipDeviceAttributeGlobalL1CacheSupported: hipDeviceAttribute_t = 14;
pub const hipDeviceAttributeHostNativeAtomicSupported: hipDeviceAttribute_t = 15;
pub const hipDeviceAttributeIntegrated: hipDeviceAttribute_t = 16;
pub const hipDeviceAttributeIsMultiGpuBoard: hipDeviceAttribute_t = 17;
pub const hipDeviceAttributeKernelExecTimeout: hipDeviceAttribute_t = 18;
pub const hipDeviceAttributeL2CacheSize: hipDeviceAttribute_t = 19;
pub const hipDeviceAttributeLocalL1CacheSupported: hipDeviceAttribute_t = 20;
pub const hipDeviceAttributeLuid: hipDeviceAttribute_t = 21;
pub const hipDeviceAttributeLuidDeviceNodeMask: hipDeviceAttribute_t = 22;
pub const hipDeviceAttributeComputeCapabilityMajor: hipDeviceAttribute_t = 23;
pub const hipDeviceAttributeManagedMemory: hipDeviceAttribute_t = 24;
pub const hipDeviceAttributeMaxBlocksPerMultiProcessor: hipDeviceAttribute_t = 25;
pub const hipDeviceAttributeMaxBlockDimX: hipDeviceAttribute_t = 26;
pub const hipDeviceAttributeMaxBlockDimY: hipDeviceAttribute_t = 27;
pub const hipDeviceAttributeMaxBlockDimZ: hipDeviceAttribute_t = 28;
pub const hipDeviceAttributeMaxGridDimX: hipDeviceAttribute_t = 29;
pub const hipDeviceAttributeMaxGridDimY: hipDeviceAttribute_t = 30;
pub const hipDeviceAttributeMaxGridDimZ: hipDeviceAttribute_t = 31;
pub const hipDeviceAttributeMaxSurface1D: hipDeviceAttribute_t = 32;
pub const hipDeviceAttributeMaxSurface1DLayered: hipDeviceAttribute_t = 33;
pub const hipDeviceAttributeMaxSurface2D: hipDeviceAttribute_t = 34;
pub const hipDeviceAttributeMaxSurface2DLayered: hipDeviceAttribute_t = 35;
pub const hipDeviceAttributeMaxSurface3D: hipDeviceAttribute_t = 36;
pub const hipDeviceAttributeMaxSurfaceCubemap: hipDeviceAttribute_t = 37;
pub const hipDeviceAttributeMaxSurfaceCubemapLayered: hipDeviceAttribute_t = 38;
pub const hipDeviceAttributeMaxTexture1DWidth: hipDeviceAttribute_t = 39;
pub const hipDeviceAttributeMaxTexture1DLayered: hipDeviceAttribute_t = 40;
pub const hipDeviceAttributeMaxTexture1DLinear: hipDeviceAttribute_t = 41;
pub const hipDeviceAttributeMaxTexture1DMipmap: hipDeviceAttribute_t = 42;
pub const hipDeviceAttributeMaxTexture2DWidth: hipDeviceAttribute_t = 43;
pub const hipDeviceAttributeMaxTexture2DHeight: hipDeviceAttribute_t = 44;
pub const hipDeviceAttributeMaxTexture2DGather: hipDeviceAttribute_t = 45;
pub const hipDeviceAttributeMaxTexture2DLayered: hipDeviceAttribute_t = 46;
pub const hipDeviceAttributeMaxTexture2DLinear: hipDeviceAttribute_t = 47;
pub const hipDeviceAttributeMaxTexture2DMipmap: hipDeviceAttribute_t = 48;
pub const hipDeviceAttributeMaxTexture3DWidth: hipDeviceAttribute_t = 49;
pub const hipDeviceAttributeMaxTexture3DHeight: hipDeviceAttribute_t = 50;
pub const hipDeviceAttributeMaxTexture3DDepth: hipDeviceAttribute_t = 51;
pub const hipDeviceAttributeMaxTexture3DAlt: hipDeviceAttribute_t = 52;
pub const hipDeviceAttributeMaxTextureCubemap: hipDeviceAttribute_t = 53;
pub const hipDeviceAttributeMaxTextureCubemapLayered: hipDeviceAttribute_t = 54;
pub const hipDeviceAttributeMaxThreadsDim: hipDeviceAttribute_t = 55;
pub const hipDeviceAttributeMaxThreadsPerBlock: hipDeviceAttribute_t = 56;
pub const hipDeviceAttributeMaxThreadsPerMultiProcessor: hipDeviceAttribute_t = 57;
pub const hipDeviceAttributeMaxPitch: hipDeviceAttribute_t = 58;
pub const hipDeviceAttributeMemoryBusWidth: hipDeviceAttribute_t = 59;
pub const hipDeviceAttributeMemoryClockRate: hipDeviceAttribute_t = 60;
pub const hipDeviceAttributeComputeCapabilityMinor: hipDeviceAttribute_t = 61;
pub const hipDeviceAttributeMultiGpuBoardGroupID: hipDeviceAttribute_t = 62;
pub const hipDeviceAttributeMultiprocessorCount: hipDeviceAttribute_t = 63;
pub const hipDeviceAttributeName: hipDeviceAttribute_t = 64;
pub const hipDeviceAttributePageableMemoryAccess: hipDeviceAttribute_t = 65;
pub const hipDeviceAttributePageableMemoryAccessUsesHostPageTables: hipDeviceAttribute_t = 66;
pub const hipDeviceAttributePciBusId: hipDeviceAttribute_t = 67;
pub const hipDeviceAttributePciDeviceId: hipDeviceAttribute_t = 68;
pub const hipDeviceAttributePciDomainID: hipDeviceAttribute_t = 69;
pub const hipDeviceAttributePersistingL2CacheMaxSize: hipDeviceAttribute_t = 70;
pub const hipDeviceAttributeMaxRegistersPerBlock: hipDeviceAttribute_t = 71;
pub const hipDeviceAttributeMaxRegistersPerMultiprocessor: hipDeviceAttribute_t = 72;
pub const hipDeviceAttributeReservedSharedMemPerBlock: hipDeviceAttribute_t = 73;
pub const hipDeviceAttributeMaxSharedMemoryPerBlock: hipDeviceAttribute_t = 74;
pub const hipDeviceAttributeSharedMemPerBlockOptin: hipDeviceAttribute_t = 75;
pub const hipDeviceAttributeSharedMemPerMultiprocessor: hipDeviceAttribute_t = 76;
pub const hipDeviceAttributeSingleToDoublePrecisionPerfRatio: hipDeviceAttribute_t = 77;
pub const hipDeviceAttributeStreamPrioritiesSupported: hipDeviceAttribute_t = 78;
pub const hipDeviceAttributeSurfaceAlignment: hipDeviceAttribute_t = 79;
pub const hipDeviceAttributeTccDriver: hipDeviceAttribute_t = 80;
pub const hipDeviceAttributeTextureAlignment: hipDeviceAttribute_t = 81;
pub const hipDeviceAttributeTexturePitchAlignment: hipDeviceAttribute_t = 82;
pub const hipDeviceAttributeTotalConstantMemory: hipDeviceAttribute_t = 83;
pub const hipDeviceAttributeTotalGlobalMem: hipDeviceAttribute_t = 84;
pub const hipDeviceAttributeUnifiedAddressing: hipDeviceAttribute_t = 85;
pub const hipDeviceAttributeUuid: hipDeviceAttribute_t = 86;
pub const hipDeviceAttributeWarpSize: hipDeviceAttribute_t = 87;
pub const hipDeviceAttributeMemoryPoolsSupported: hipDeviceAttribute_t = 88;
pub const hipDeviceAttributeCudaCompatibleEnd: hipDeviceAttribute_t = 9999;
pub const hipDeviceAttributeAmdSpecificBegin: hipDeviceAttribute_t = 10000;
pub const hipDeviceAttributeClockInstructionRate: hipDeviceAttribute_t = 10000;
pub const hipDeviceAttributeArch: hipDeviceAttribute_t = 10001;
pub const hipDeviceAttributeMaxSharedMemoryPerMultiprocessor: hipDeviceAttribute_t = 10002;
pub const hipDeviceAttributeGcnArch: hipDeviceAttribute_t = 10003;
pub const hipDeviceAttributeGcnArchName: hipDeviceAttribute_t = 10004;
pub const hipDeviceAttributeHdpMemFlushCntl: hipDeviceAttribute_t = 10005;
pub const hipDeviceAttributeHdpRegFlushCntl: hipDeviceAttribute_t = 10006;
pub const hipDeviceAttributeCooperativeMultiDeviceUnmatchedFunc: hipDeviceAttribute_t = 10007;
pub const hipDeviceAttributeCooperativeMultiDeviceUnmatchedGridDim: hipDeviceAttribute_t = 10008;
pub const hipDeviceAttributeCooperativeMultiDeviceUnmatchedBlockDim: hipDeviceAttribute_t = 10009;
pub const hipDeviceAttributeCooperativeMultiDeviceUnmatchedSharedMem: hipDeviceAttribute_t = 10010;
pub const hipDeviceAttributeIsLargeBar: hipDeviceAttribute_t = 10011;
pub const hipDeviceAttributeAsicRevision: hipDeviceAttribute_t = 10012;
pub const hipDeviceAttributeCanUseStreamWaitValue: hipDeviceAttribute_t = 10013;
pub const hipDeviceAttributeImageSupport: hipDeviceAttribute_t = 10014;
pub const hipDeviceAttributePhysicalMultiProcessorCount: hipDeviceAttribute_t = 10015;
pub const hipDeviceAttributeFineGrainSupport: hipDeviceAttribute_t = 10016;
pub const hipDeviceAttributeAmdSpecificEnd: hipDeviceAttribute_t = 19999;
pub const hipDeviceAttributeVendorSpecificBegin: hipDeviceAttribute_t = 20000;
pub type hipDeviceAttribute_t = ::std::os::raw::c_uint;
pub type hipDeviceptr_t = *mut ::std::os::raw::c_void;
pub const hipMemcpyHostToHost: hipMemcpyKind = 0;
pub const hipMemcpyHostToDevice: hipMemcpyKind = 1;
pub const hipMemcpyDeviceToHost: hipMemcpyKind = 2;
pub const hipMemcpyDeviceToDevice: hipMemcpyKind = 3;
pub const hipMemcpyDefault: hipMemcpyKind = 4;
pub type hipMemcpyKind = ::std::os::raw::c_uint;
pub type hipDevice_t = ::std::os::raw::c_int;
#[repr(C)]
#[derive(Debug)]
pub struct ihipStream_t {
    _unused: [u8; 0],
}
pub type hipStream_t = *mut ihipStream_t;
#[repr(C)]
#[derive(Debug, Copy, Clone)]
pub struct hipIpcMemHandle_st {
    pub reserved: [::std::os::raw::c_char; 64usize],
}
#[allow(clippy::unnecessary_operation, clippy::identity_op)]
#[cfg(target_arch = "x86_64")]
const _: () = {
    [
        "Size of hipIpcMemHandle_st",
    ][::std::mem::size_of::<hipIpcMemHandle_st>() - 64usize];
    [
        "Alignment of hipIpcMemHandle_st",
    ][::std::mem::align_of::<hipIpcMemHandle_st>() - 1usize];
    [
        "Offset of field: hipIpcMemHandle_st::reserved",
    ][::std::mem::offset_of!(hipIpcMemHandle_st, reserved) - 0usize];
};
impl Default for hipIpcMemHandle_st {
    fn default() -> Self {
        let mut s = ::std::mem::MaybeUninit::<Self>::uninit();
        unsafe {
            ::std::ptr::write_bytes(s.as_mut_ptr(), 0, 1);
            s.assume_init()
        }
    }
}
pub type hipIpcMemHandle_t = hipIpcMemHandle_st;
#[repr(C)]
#[derive(Debug)]
pub struct ihipEvent_t {
    _unused: [u8; 0],
}
pub type hipEvent_t = *mut ihipEvent_t;
pub struct Hip {
    __library: ::libloading::Library,
    pub hipRuntimeGetVersion: Result<
        unsafe extern "C" fn(runtimeVersion: *mut ::std::os::raw::c_int) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipDeviceGetName: Result<
        unsafe extern "C" fn(
            name: *mut ::std::os::raw::c_char,
            len: ::std::os::raw::c_int,
            device: hipDevice_t,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipDeviceGetUuid: Result<
        unsafe extern "C" fn(uuid: *mut hipUUID, device: hipDevice_t) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipDeviceGetPCIBusId: Result<
        unsafe extern "C" fn(
            pciBusId: *mut ::std::os::raw::c_char,
            len: ::std::os::raw::c_int,
            device: ::std::os::raw::c_int,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipDeviceTotalMem: Result<
        unsafe extern "C" fn(bytes: *mut usize, device: hipDevice_t) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipSetDevice: Result<
        unsafe extern "C" fn(deviceId: ::std::os::raw::c_int) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipGetDevice: Result<
        unsafe extern "C" fn(deviceId: *mut ::std::os::raw::c_int) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipGetDeviceCount: Result<
        unsafe extern "C" fn(count: *mut ::std::os::raw::c_int) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipDeviceGetAttribute: Result<
        unsafe extern "C" fn(
            pi: *mut ::std::os::raw::c_int,
            attr: hipDeviceAttribute_t,
            deviceId: ::std::os::raw::c_int,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipIpcGetMemHandle: Result<
        unsafe extern "C" fn(
            handle: *mut hipIpcMemHandle_t,
            devPtr: *mut ::std::os::raw::c_void,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipIpcOpenMemHandle: Result<
        unsafe extern "C" fn(
            devPtr: *mut *mut ::std::os::raw::c_void,
            handle: hipIpcMemHandle_t,
            flags: ::std::os::raw::c_uint,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipIpcCloseMemHandle: Result<
        unsafe extern "C" fn(devPtr: *mut ::std::os::raw::c_void) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipGetLastError: Result<
        unsafe extern "C" fn() -> hipError_t,
        ::libloading::Error,
    >,
    pub hipGetErrorName: Result<
        unsafe extern "C" fn(hip_error: hipError_t) -> *const ::std::os::raw::c_char,
        ::libloading::Error,
    >,
    pub hipStreamCreateWithFlags: Result<
        unsafe extern "C" fn(
            stream: *mut hipStream_t,
            flags: ::std::os::raw::c_uint,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipStreamDestroy: Result<
        unsafe extern "C" fn(stream: hipStream_t) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipStreamSynchronize: Result<
        unsafe extern "C" fn(stream: hipStream_t) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipStreamWaitEvent: Result<
        unsafe extern "C" fn(
            stream: hipStream_t,
            event: hipEvent_t,
            flags: ::std::os::raw::c_uint,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipStreamWaitValue64: Result<
        unsafe extern "C" fn(
            stream: hipStream_t,
            ptr: *mut ::std::os::raw::c_void,
            value: u64,
            flags: ::std::os::raw::c_uint,
            mask: u64,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipStreamWriteValue64: Result<
        unsafe extern "C" fn(
            stream: hipStream_t,
            ptr: *mut ::std::os::raw::c_void,
            value: u64,
            flags: ::std::os::raw::c_uint,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipEventCreateWithFlags: Result<
        unsafe extern "C" fn(
            event: *mut hipEvent_t,
            flags: ::std::os::raw::c_uint,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipEventRecord: Result<
        unsafe extern "C" fn(event: hipEvent_t, stream: hipStream_t) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipEventDestroy: Result<
        unsafe extern "C" fn(event: hipEvent_t) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipEventSynchronize: Result<
        unsafe extern "C" fn(event: hipEvent_t) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipEventQuery: Result<
        unsafe extern "C" fn(event: hipEvent_t) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipPointerGetAttributes: Result<
        unsafe extern "C" fn(
            attributes: *mut hipPointerAttribute_t,
            ptr: *const ::std::os::raw::c_void,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipMalloc: Result<
        unsafe extern "C" fn(
            ptr: *mut *mut ::std::os::raw::c_void,
            size: usize,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipExtMallocWithFlags: Result<
        unsafe extern "C" fn(
            ptr: *mut *mut ::std::os::raw::c_void,
            sizeBytes: usize,
            flags: ::std::os::raw::c_uint,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipHostMalloc: Result<
        unsafe extern "C" fn(
            ptr: *mut *mut ::std::os::raw::c_void,
            size: usize,
            flags: ::std::os::raw::c_uint,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipHostRegister: Result<
        unsafe extern "C" fn(
            hostPtr: *mut ::std::os::raw::c_void,
            sizeBytes: usize,
            flags: ::std::os::raw::c_uint,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipHostUnregister: Result<
        unsafe extern "C" fn(hostPtr: *mut ::std::os::raw::c_void) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipFree: Result<
        unsafe extern "C" fn(ptr: *mut ::std::os::raw::c_void) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipHostFree: Result<
        unsafe extern "C" fn(ptr: *mut ::std::os::raw::c_void) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipMemcpyAsync: Result<
        unsafe extern "C" fn(
            dst: *mut ::std::os::raw::c_void,
            src: *const ::std::os::raw::c_void,
            sizeBytes: usize,
            kind: hipMemcpyKind,
            stream: hipStream_t,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipMemGetAddressRange: Result<
        unsafe extern "C" fn(
            pbase: *mut hipDeviceptr_t,
            psize: *mut usize,
            dptr: hipDeviceptr_t,
        ) -> hipError_t,
        ::libloading::Error,
    >,
    pub hipGetStreamDeviceId: Result<
        unsafe extern "C" fn(stream: hipStream_t) -> ::std::os::raw::c_int,
        ::libloading::Error,
    >,
}
impl Hip {
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
        let hipRuntimeGetVersion = __library
            .get(b"hipRuntimeGetVersion\0")
            .map(|sym| *sym);
        let hipDeviceGetName = __library.get(b"hipDeviceGetName\0").map(|sym| *sym);
        let hipDeviceGetUuid = __library.get(b"hipDeviceGetUuid\0").map(|sym| *sym);
        let hipDeviceGetPCIBusId = __library
            .get(b"hipDeviceGetPCIBusId\0")
            .map(|sym| *sym);
        let hipDeviceTotalMem = __library.get(b"hipDeviceTotalMem\0").map(|sym| *sym);
        let hipSetDevice = __library.get(b"hipSetDevice\0").map(|sym| *sym);
        let hipGetDevice = __library.get(b"hipGetDevice\0").map(|sym| *sym);
        let hipGetDeviceCount = __library.get(b"hipGetDeviceCount\0").map(|sym| *sym);
        let hipDeviceGetAttribute = __library
            .get(b"hipDeviceGetAttribute\0")
            .map(|sym| *sym);
        let hipIpcGetMemHandle = __library.get(b"hipIpcGetMemHandle\0").map(|sym| *sym);
        let hipIpcOpenMemHandle = __library
            .get(b"hipIpcOpenMemHandle\0")
            .map(|sym| *sym);
        let hipIpcCloseMemHandle = __library
            .get(b"hipIpcCloseMemHandle\0")
            .map(|sym| *sym);
        let hipGetLastError = __library.get(b"hipGetLastError\0").map(|sym| *sym);
        let hipGetErrorName = __library.get(b"hipGetErrorName\0").map(|sym| *sym);
        let hipStreamCreateWithFlags = __library
            .get(b"hipStreamCreateWithFlags\0")
            .map(|sym| *sym);
        let hipStreamDestroy = __library.get(b"hipStreamDestroy\0").map(|sym| *sym);
        let hipStreamSynchronize = __library
            .get(b"hipStreamSynchronize\0")
            .map(|sym| *sym);
        let hipStreamWaitEvent = __library.get(b"hipStreamWaitEvent\0").map(|sym| *sym);
        let hipStreamWaitValue64 = __library
            .get(b"hipStreamWaitValue64\0")
            .map(|sym| *sym);
        let hipStreamWriteValue64 = __library
            .get(b"hipStreamWriteValue64\0")
            .map(|sym| *sym);
        let hipEventCreateWithFlags = __library
            .get(b"hipEventCreateWithFlags\0")
            .map(|sym| *sym);
        let hipEventRecord = __library.get(b"hipEventRecord\0").map(|sym| *sym);
        let hipEventDestroy = __library.get(b"hipEventDestroy\0").map(|sym| *sym);
        let hipEventSynchronize = __library
            .get(b"hipEventSynchronize\0")
            .map(|sym| *sym);
        let hipEventQuery = __library.get(b"hipEventQuery\0").map(|sym| *sym);
        let hipPointerGetAttributes = __library
            .get(b"hipPointerGetAttributes\0")
            .map(|sym| *sym);
        let hipMalloc = __library.get(b"hipMalloc\0").map(|sym| *sym);
        let hipExtMallocWithFlags = __library
            .get(b"hipExtMallocWithFlags\0")
            .map(|sym| *sym);
        let hipHostMalloc = __library.get(b"hipHostMalloc\0").map(|sym| *sym);
        let hipHostRegister = __library.get(b"hipHostRegister\0").map(|sym| *sym);
        let hipHostUnregister = __library.get(b"hipHostUnregister\0").map(|sym| *sym);
        let hipFree = __library.get(b"hipFree\0").map(|sym| *sym);
        let hipHostFree = __library.get(b"hipHostFree\0").map(|sym| *sym);
        let hipMemcpyAsync = __library.get(b"hipMemcpyAsync\0").map(|sym| *sym);
        let hipMemGetAddressRange = __library
            .get(b"hipMemGetAddressRange\0")
            .map(|sym| *sym);
        let hipGetStreamDeviceId = __library
            .get(b"hipGetStreamDeviceId\0")
            .map(|sym| *sym);
        Ok(Hip {
            __library,
            hipRuntimeGetVersion,
            hipDeviceGetName,
            hipDeviceGetUuid,
            hipDeviceGetPCIBusId,
            hipDeviceTotalMem,
            hipSetDevice,
            hipGetDevice,
            hipGetDeviceCount,
            hipDeviceGetAttribute,
            hipIpcGetMemHandle,
            hipIpcOpenMemHandle,
            hipIpcCloseMemHandle,
            hipGetLastError,
            hipGetErrorName,
            hipStreamCreateWithFlags,
            hipStreamDestroy,
            hipStreamSynchronize,
            hipStreamWaitEvent,
            hipStreamWaitValue64,
            hipStreamWriteValue64,
            hipEventCreateWithFlags,
            hipEventRecord,
            hipEventDestroy,
            hipEventSynchronize,
            hipEventQuery,
            hipPointerGetAttributes,
            hipMalloc,
            hipExtMallocWithFlags,
            hipHostMalloc,
            hipHostRegister,
            hipHostUnregister,
            hipFree,
            hipHostFree,
            hipMemcpyAsync,
            hipMemGetAddressRange,
            hipGetStreamDeviceId,
        })
    }
    pub unsafe fn hipRuntimeGetVersion(
        &self,
        runtimeVersion: *mut ::std::os::raw::c_int,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipRuntimeGetVersion, "hipRuntimeGetVersion")?;
        Ok(unsafe { function(runtimeVersion) })
    }
    pub unsafe fn hipDeviceGetName(
        &self,
        name: *mut ::std::os::raw::c_char,
        len: ::std::os::raw::c_int,
        device: hipDevice_t,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipDeviceGetName, "hipDeviceGetName")?;
        Ok(unsafe { function(name, len, device) })
    }
    pub unsafe fn hipDeviceGetUuid(
        &self,
        uuid: *mut hipUUID,
        device: hipDevice_t,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipDeviceGetUuid, "hipDeviceGetUuid")?;
        Ok(unsafe { function(uuid, device) })
    }
    pub unsafe fn hipDeviceGetPCIBusId(
        &self,
        pciBusId: *mut ::std::os::raw::c_char,
        len: ::std::os::raw::c_int,
        device: ::std::os::raw::c_int,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipDeviceGetPCIBusId, "hipDeviceGetPCIBusId")?;
        Ok(unsafe { function(pciBusId, len, device) })
    }
    pub unsafe fn hipDeviceTotalMem(
        &self,
        bytes: *mut usize,
        device: hipDevice_t,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipDeviceTotalMem, "hipDeviceTotalMem")?;
        Ok(unsafe { function(bytes, device) })
    }
    pub unsafe fn hipSetDevice(
        &self,
        deviceId: ::std::os::raw::c_int,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipSetDevice, "hipSetDevice")?;
        Ok(unsafe { function(deviceId) })
    }
    pub unsafe fn hipGetDevice(
        &self,
        deviceId: *mut ::std::os::raw::c_int,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipGetDevice, "hipGetDevice")?;
        Ok(unsafe { function(deviceId) })
    }
    pub unsafe fn hipGetDeviceCount(
        &self,
        count: *mut ::std::os::raw::c_int,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipGetDeviceCount, "hipGetDeviceCount")?;
        Ok(unsafe { function(count) })
    }
    pub unsafe fn hipDeviceGetAttribute(
        &self,
        pi: *mut ::std::os::raw::c_int,
        attr: hipDeviceAttribute_t,
        deviceId: ::std::os::raw::c_int,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipDeviceGetAttribute, "hipDeviceGetAttribute")?;
        Ok(unsafe { function(pi, attr, deviceId) })
    }
    pub unsafe fn hipIpcGetMemHandle(
        &self,
        handle: *mut hipIpcMemHandle_t,
        devPtr: *mut ::std::os::raw::c_void,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipIpcGetMemHandle, "hipIpcGetMemHandle")?;
        Ok(unsafe { function(handle, devPtr) })
    }
    pub unsafe fn hipIpcOpenMemHandle(
        &self,
        devPtr: *mut *mut ::std::os::raw::c_void,
        handle: hipIpcMemHandle_t,
        flags: ::std::os::raw::c_uint,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipIpcOpenMemHandle, "hipIpcOpenMemHandle")?;
        Ok(unsafe { function(devPtr, handle, flags) })
    }
    pub unsafe fn hipIpcCloseMemHandle(
        &self,
        devPtr: *mut ::std::os::raw::c_void,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipIpcCloseMemHandle, "hipIpcCloseMemHandle")?;
        Ok(unsafe { function(devPtr) })
    }
    pub unsafe fn hipGetLastError(&self) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipGetLastError, "hipGetLastError")?;
        Ok(unsafe { function() })
    }
    pub unsafe fn hipGetErrorName(
        &self,
        hip_error: hipError_t,
    ) -> Result<*const ::std::os::raw::c_char, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipGetErrorName, "hipGetErrorName")?;
        Ok(unsafe { function(hip_error) })
    }
    pub unsafe fn hipStreamCreateWithFlags(
        &self,
        stream: *mut hipStream_t,
        flags: ::std::os::raw::c_uint,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipStreamCreateWithFlags, "hipStreamCreateWithFlags")?;
        Ok(unsafe { function(stream, flags) })
    }
    pub unsafe fn hipStreamDestroy(
        &self,
        stream: hipStream_t,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipStreamDestroy, "hipStreamDestroy")?;
        Ok(unsafe { function(stream) })
    }
    pub unsafe fn hipStreamSynchronize(
        &self,
        stream: hipStream_t,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipStreamSynchronize, "hipStreamSynchronize")?;
        Ok(unsafe { function(stream) })
    }
    pub unsafe fn hipStreamWaitEvent(
        &self,
        stream: hipStream_t,
        event: hipEvent_t,
        flags: ::std::os::raw::c_uint,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipStreamWaitEvent, "hipStreamWaitEvent")?;
        Ok(unsafe { function(stream, event, flags) })
    }
    pub unsafe fn hipStreamWaitValue64(
        &self,
        stream: hipStream_t,
        ptr: *mut ::std::os::raw::c_void,
        value: u64,
        flags: ::std::os::raw::c_uint,
        mask: u64,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipStreamWaitValue64, "hipStreamWaitValue64")?;
        Ok(unsafe { function(stream, ptr, value, flags, mask) })
    }
    pub unsafe fn hipStreamWriteValue64(
        &self,
        stream: hipStream_t,
        ptr: *mut ::std::os::raw::c_void,
        value: u64,
        flags: ::std::os::raw::c_uint,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipStreamWriteValue64, "hipStreamWriteValue64")?;
        Ok(unsafe { function(stream, ptr, value, flags) })
    }
    pub unsafe fn hipEventCreateWithFlags(
        &self,
        event: *mut hipEvent_t,
        flags: ::std::os::raw::c_uint,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipEventCreateWithFlags, "hipEventCreateWithFlags")?;
        Ok(unsafe { function(event, flags) })
    }
    pub unsafe fn hipEventRecord(
        &self,
        event: hipEvent_t,
        stream: hipStream_t,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipEventRecord, "hipEventRecord")?;
        Ok(unsafe { function(event, stream) })
    }
    pub unsafe fn hipEventDestroy(
        &self,
        event: hipEvent_t,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipEventDestroy, "hipEventDestroy")?;
        Ok(unsafe { function(event) })
    }
    pub unsafe fn hipEventSynchronize(
        &self,
        event: hipEvent_t,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipEventSynchronize, "hipEventSynchronize")?;
        Ok(unsafe { function(event) })
    }
    pub unsafe fn hipEventQuery(
        &self,
        event: hipEvent_t,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipEventQuery, "hipEventQuery")?;
        Ok(unsafe { function(event) })
    }
    pub unsafe fn hipPointerGetAttributes(
        &self,
        attributes: *mut hipPointerAttribute_t,
        ptr: *const ::std::os::raw::c_void,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipPointerGetAttributes, "hipPointerGetAttributes")?;
        Ok(unsafe { function(attributes, ptr) })
    }
    pub unsafe fn hipMalloc(
        &self,
        ptr: *mut *mut ::std::os::raw::c_void,
        size: usize,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<Self, _>(&self.hipMalloc, "hipMalloc")?;
        Ok(unsafe { function(ptr, size) })
    }
    pub unsafe fn hipExtMallocWithFlags(
        &self,
        ptr: *mut *mut ::std::os::raw::c_void,
        sizeBytes: usize,
        flags: ::std::os::raw::c_uint,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipExtMallocWithFlags, "hipExtMallocWithFlags")?;
        Ok(unsafe { function(ptr, sizeBytes, flags) })
    }
    pub unsafe fn hipHostMalloc(
        &self,
        ptr: *mut *mut ::std::os::raw::c_void,
        size: usize,
        flags: ::std::os::raw::c_uint,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipHostMalloc, "hipHostMalloc")?;
        Ok(unsafe { function(ptr, size, flags) })
    }
    pub unsafe fn hipHostRegister(
        &self,
        hostPtr: *mut ::std::os::raw::c_void,
        sizeBytes: usize,
        flags: ::std::os::raw::c_uint,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipHostRegister, "hipHostRegister")?;
        Ok(unsafe { function(hostPtr, sizeBytes, flags) })
    }
    pub unsafe fn hipHostUnregister(
        &self,
        hostPtr: *mut ::std::os::raw::c_void,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipHostUnregister, "hipHostUnregister")?;
        Ok(unsafe { function(hostPtr) })
    }
    pub unsafe fn hipFree(
        &self,
        ptr: *mut ::std::os::raw::c_void,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<Self, _>(&self.hipFree, "hipFree")?;
        Ok(unsafe { function(ptr) })
    }
    pub unsafe fn hipHostFree(
        &self,
        ptr: *mut ::std::os::raw::c_void,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipHostFree, "hipHostFree")?;
        Ok(unsafe { function(ptr) })
    }
    pub unsafe fn hipMemcpyAsync(
        &self,
        dst: *mut ::std::os::raw::c_void,
        src: *const ::std::os::raw::c_void,
        sizeBytes: usize,
        kind: hipMemcpyKind,
        stream: hipStream_t,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipMemcpyAsync, "hipMemcpyAsync")?;
        Ok(unsafe { function(dst, src, sizeBytes, kind, stream) })
    }
    pub unsafe fn hipMemGetAddressRange(
        &self,
        pbase: *mut hipDeviceptr_t,
        psize: *mut usize,
        dptr: hipDeviceptr_t,
    ) -> Result<hipError_t, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipMemGetAddressRange, "hipMemGetAddressRange")?;
        Ok(unsafe { function(pbase, psize, dptr) })
    }
    pub unsafe fn hipGetStreamDeviceId(
        &self,
        stream: hipStream_t,
    ) -> Result<::std::os::raw::c_int, crate::LoadError> {
        let function = crate::loader::symbol::<
            Self,
            _,
        >(&self.hipGetStreamDeviceId, "hipGetStreamDeviceId")?;
        Ok(unsafe { function(stream) })
    }
    pub fn missing(&self) -> Vec<&'static str> {
        let symbols = [
            ("hipRuntimeGetVersion", self.hipRuntimeGetVersion.is_ok()),
            ("hipDeviceGetName", self.hipDeviceGetName.is_ok()),
            ("hipDeviceGetUuid", self.hipDeviceGetUuid.is_ok()),
            ("hipDeviceGetPCIBusId", self.hipDeviceGetPCIBusId.is_ok()),
            ("hipDeviceTotalMem", self.hipDeviceTotalMem.is_ok()),
            ("hipSetDevice", self.hipSetDevice.is_ok()),
            ("hipGetDevice", self.hipGetDevice.is_ok()),
            ("hipGetDeviceCount", self.hipGetDeviceCount.is_ok()),
            ("hipDeviceGetAttribute", self.hipDeviceGetAttribute.is_ok()),
            ("hipIpcGetMemHandle", self.hipIpcGetMemHandle.is_ok()),
            ("hipIpcOpenMemHandle", self.hipIpcOpenMemHandle.is_ok()),
            ("hipIpcCloseMemHandle", self.hipIpcCloseMemHandle.is_ok()),
            ("hipGetLastError", self.hipGetLastError.is_ok()),
            ("hipGetErrorName", self.hipGetErrorName.is_ok()),
            ("hipStreamCreateWithFlags", self.hipStreamCreateWithFlags.is_ok()),
            ("hipStreamDestroy", self.hipStreamDestroy.is_ok()),
            ("hipStreamSynchronize", self.hipStreamSynchronize.is_ok()),
            ("hipStreamWaitEvent", self.hipStreamWaitEvent.is_ok()),
            ("hipStreamWaitValue64", self.hipStreamWaitValue64.is_ok()),
            ("hipStreamWriteValue64", self.hipStreamWriteValue64.is_ok()),
            ("hipEventCreateWithFlags", self.hipEventCreateWithFlags.is_ok()),
            ("hipEventRecord", self.hipEventRecord.is_ok()),
            ("hipEventDestroy", self.hipEventDestroy.is_ok()),
            ("hipEventSynchronize", self.hipEventSynchronize.is_ok()),
            ("hipEventQuery", self.hipEventQuery.is_ok()),
            ("hipPointerGetAttributes", self.hipPointerGetAttributes.is_ok()),
            ("hipMalloc", self.hipMalloc.is_ok()),
            ("hipExtMallocWithFlags", self.hipExtMallocWithFlags.is_ok()),
            ("hipHostMalloc", self.hipHostMalloc.is_ok()),
            ("hipHostRegister", self.hipHostRegister.is_ok()),
            ("hipHostUnregister", self.hipHostUnregister.is_ok()),
            ("hipFree", self.hipFree.is_ok()),
            ("hipHostFree", self.hipHostFree.is_ok()),
            ("hipMemcpyAsync", self.hipMemcpyAsync.is_ok()),
            ("hipMemGetAddressRange", self.hipMemGetAddressRange.is_ok()),
            ("hipGetStreamDeviceId", self.hipGetStreamDeviceId.is_ok()),
        ];
        symbols
            .into_iter()
            .filter(|(_, present)| !present)
            .map(|(symbol, _)| symbol)
            .collect()
    }
}
