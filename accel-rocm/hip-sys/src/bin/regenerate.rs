//! Writes `src/bindings` from Debian's HIP headers, or checks them: see the package `sys-generator`.

use std::process::ExitCode;

use sys_generator::Plan;

fn main() -> ExitCode {
    sys_generator::main(env!("CARGO_MANIFEST_DIR"), &[HIP])
}

/// What `accel-rocm` calls. No struct of device properties: they changed their layout between ROCm 5 and 6.
const HIP: Plan = Plan {
    file: "hip.rs",
    header: "hip/hip_runtime_api.h",
    source: "libamdhip64-dev 5.2.3",
    packages: "libamdhip64-dev",
    arguments: &["-D__HIP_PLATFORM_AMD__"],
    table: "Hip",
    functions: "hip(RuntimeGetVersion|GetDeviceCount|GetDevice|SetDevice|DeviceGetName|DeviceGetUuid\
        |DeviceGetPCIBusId|DeviceTotalMem|DeviceGetAttribute|GetErrorName|GetLastError|Malloc|ExtMallocWithFlags|Free|HostMalloc\
        |HostFree|HostRegister|HostUnregister|PointerGetAttributes|MemGetAddressRange|IpcGetMemHandle\
        |IpcOpenMemHandle|IpcCloseMemHandle|StreamCreateWithFlags|StreamDestroy|StreamSynchronize|StreamWaitEvent\
        |StreamWaitValue64|StreamWriteValue64|GetStreamDeviceId|EventCreateWithFlags|EventRecord|EventQuery\
        |EventSynchronize|EventDestroy|MemcpyAsync)",
    constants: "HIP_IPC_HANDLE_SIZE|hip(HostMallocPortable|HostRegisterPortable|MallocSignalMemory|StreamNonBlocking\
        |EventDisableTiming|IpcMemLazyEnablePeerAccess|StreamWaitValueGte)",
    ..Plan::NOTHING
};
