//! What there is to run on. The only place that knows the accelerators' crates.
#![allow(unsafe_code)] // launches graphs

use std::sync::Arc;

use clap::ValueEnum;
use gpu_direct::{CudaAccelerator, CudaOptions, graph::Executable};
use pmd_core::accelerator::{Accelerator, AcceleratorKind, Stream};
use pmd_host::accelerator::{CpuAccelerator, CpuOptions};

use crate::selected::Manner;

/// Names of accelerators on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// Ordinary memory and threads, which nobody may touch directly.
    Cpu,
    /// NVIDIA's, through the CUDA driver.
    Cuda,
    /// The same, whose allocations are mapped (`cuMemCreate`).
    CudaMapped,
    /// AMD's, through HIP.
    Rocm,
    /// Huawei's, through ACL.
    Ascend,
}

impl Name {
    /// As the command line has it.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::CudaMapped => "cuda-mapped",
            Self::Rocm => "rocm",
            Self::Ascend => "ascend",
        }
    }

    /// Whose runtime it is.
    pub(crate) const fn kind(self) -> AcceleratorKind {
        match self {
            Self::Cpu => AcceleratorKind::Cpu,
            Self::Cuda | Self::CudaMapped => AcceleratorKind::Cuda,
            Self::Rocm => AcceleratorKind::Rocm,
            Self::Ascend => AcceleratorKind::Ascend,
        }
    }

    /// The name of a text.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        Self::value_variants().iter().copied().find(|name| name.text() == text)
    }

    /// Opens a device; the reason if there is none.
    pub(crate) fn open(self, ordinal: u32) -> Result<Arc<dyn Accelerator>, String> {
        match self {
            Self::Cpu if ordinal > 0 => Err("devices of the stand-in know nothing of each other".to_owned()),
            Self::Cpu => {
                let options = CpuOptions { ordinal, shielded: true, capacity: 4 << 30 };
                Ok(Arc::new(CpuAccelerator::new(options)))
            }
            Self::Cuda => opened(CudaAccelerator::open(ordinal)),
            Self::CudaMapped => opened(CudaAccelerator::open_with(ordinal, CudaOptions::default().mapped())),
            Self::Rocm => opened(accel_rocm::RocmAccelerator::open(ordinal)),
            Self::Ascend => opened(accel_ascend::AscendAccelerator::open(ordinal)),
        }
    }

    /// Captures what the function puts into a stream of device 0; `None` where streams are not captured.
    pub(crate) fn capture(self, stream: &Arc<dyn Stream>, put: &dyn Fn(&dyn Stream)) -> Option<Graph> {
        let (Self::Cuda | Self::CudaMapped) = self else { return None };
        let accelerator = CudaAccelerator::open(0).expect("it was opened before");
        let capture = accelerator.begin_capture(stream).expect("a capture");
        put(&**stream);
        let graph = capture.end().and_then(|graph| graph.instantiate());
        Some(Graph(graph.expect("a graph")))
    }

    /// What the runtime's library is called, of which a stand-in has one function more.
    pub(crate) const fn libraries(self) -> &'static [&'static str] {
        match self {
            Self::Cpu => &[],
            Self::Cuda | Self::CudaMapped => &["libcuda.so.1"],
            // In the order in which they are looked for.
            Self::Rocm => &["libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so"],
            Self::Ascend => &["libascendcl.so"],
        }
    }

    /// How the runtime is asked for the thread's device.
    pub(crate) const fn manner(self) -> Option<Manner> {
        match self {
            Self::Cpu => None,
            Self::Cuda | Self::CudaMapped => Some(Manner::Context),
            Self::Rocm => Some(Manner::Device { set: "hipSetDevice", get: "hipGetDevice" }),
            Self::Ascend => Some(Manner::Device { set: "aclrtSetDevice", get: "aclrtGetDevice" }),
        }
    }

    /// A code with which work in a stream fails.
    pub(crate) const fn stream_fault(self) -> i64 {
        match self {
            Self::Cpu => 0,
            // CUDA_ERROR_LAUNCH_FAILED
            Self::Cuda | Self::CudaMapped => 719,
            // hipErrorLaunchFailure
            Self::Rocm => 719,
            // ACL_ERROR_RT_AICORE_EXCEPTION
            Self::Ascend => 507_015,
        }
    }
}

impl Name {
    /// The first allocations of pinned memory fail for want of room, as `FAKE_DEVICE_FAULTS` says it: one for each size of
    /// piece that `pmd-host`'s mover tries.
    pub(crate) const fn pinned_fault(self) -> &'static str {
        match self {
            Self::Cpu => "",
            Self::Cuda | Self::CudaMapped => {
                "cuMemHostAlloc@1=2,cuMemHostAlloc@2=2,cuMemHostAlloc@3=2,cuMemHostAlloc@4=2,cuMemHostAlloc@5=2"
            }
            Self::Rocm => {
                "hipHostMalloc@1=2,hipHostMalloc@2=2,hipHostMalloc@3=2,hipHostMalloc@4=2,hipHostMalloc@5=2"
            }
            Self::Ascend => {
                "aclrtMallocHost@1=207001,aclrtMallocHost@2=207001,aclrtMallocHost@3=207001,aclrtMallocHost@4=207001,aclrtMallocHost@5=207001"
            }
        }
    }
}

/// What was captured of a stream. The case keeps what is in it until its launches are done.
#[derive(Debug)]
pub(crate) struct Graph(Executable);

impl Graph {
    pub(crate) fn launch(&self, stream: &Arc<dyn Stream>) {
        // SAFETY: the case's promise, as said above.
        unsafe { self.0.launch(stream) }.expect("a launch");
    }
}

fn opened<A: Accelerator + 'static, E: std::fmt::Display>(
    opened: Result<A, E>,
) -> Result<Arc<dyn Accelerator>, String> {
    opened.map(|accelerator| Arc::new(accelerator) as Arc<dyn Accelerator>).map_err(|error| error.to_string())
}
