//! Where arrays are, by the numbers that DLPack gives devices.
//!
//! | `DLDeviceType` | is | taken as |
//! |---|---|---|
//! | 1 `kDLCPU` | memory of the host | the host's |
//! | 3 `kDLCUDAHost`, 11 `kDLROCMHost` | pinned memory of the host | the host's |
//! | 2 `kDLCUDA` | CUDA | an accelerator's |
//! | 10 `kDLROCM` | HIP | an accelerator's |
//! | 12 `kDLExtDev` | a device of an extension: `torch_npu` gives it for Ascend's | an accelerator's |
//! | 13 `kDLCUDAManaged` | memory that migrates | refused |
//!
//! Numbers are those of `enum DLDeviceType` in DLPack's `dlpack.h` (1.0). That Ascend's tensors are `kDLExtDev` is what
//! PyTorch's converter does with devices of its kind `PrivateUse1`, under which `torch_npu` registers itself.

use pmd_core::accelerator::AcceleratorKind;

/// `kDLCPU`.
pub const CPU: i32 = 1;
/// `kDLCUDA`.
pub const CUDA: i32 = 2;
/// `kDLCUDAHost`.
pub const CUDA_HOST: i32 = 3;
/// `kDLROCM`.
pub const ROCM: i32 = 10;
/// `kDLROCMHost`.
pub const ROCM_HOST: i32 = 11;
/// `kDLExtDev`.
pub const EXTENSION: i32 = 12;
/// `kDLCUDAManaged`.
pub const CUDA_MANAGED: i32 = 13;

/// A device as DLPack names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// `DLDeviceType`.
    pub kind: i32,
    /// Its number.
    pub index: i32,
}

impl Device {
    /// The host.
    pub const HOST: Self = Self { kind: CPU, index: 0 };

    /// The device of an accelerator; `None` for one that DLPack has no number for: ordinary memory in a device's place.
    #[must_use]
    pub fn of(kind: AcceleratorKind, ordinal: u32) -> Option<Self> {
        let kind = match kind {
            AcceleratorKind::Cuda => CUDA,
            AcceleratorKind::Rocm => ROCM,
            AcceleratorKind::Ascend => EXTENSION,
            _ => return None,
        };
        Some(Self { kind, index: i32::try_from(ordinal).ok()? })
    }

    /// Whose runtime knows memory there; `None` for memory of the host.
    #[must_use]
    pub const fn accelerator(self) -> Option<AcceleratorKind> {
        match self.kind {
            CUDA => Some(AcceleratorKind::Cuda),
            ROCM => Some(AcceleratorKind::Rocm),
            EXTENSION => Some(AcceleratorKind::Ascend),
            _ => None,
        }
    }

    /// Whether the processor reaches memory there.
    #[must_use]
    pub const fn is_host(self) -> bool {
        matches!(self.kind, CPU | CUDA_HOST | ROCM_HOST)
    }

    /// Whether its memory can be registered at all.
    #[must_use]
    pub const fn is_known(self) -> bool {
        self.is_host() || self.accelerator().is_some()
    }
}

/// What the array API's `__dlpack__(stream=...)` is given: nothing is to be waited for.
pub const NO_WAIT: i64 = -1;
