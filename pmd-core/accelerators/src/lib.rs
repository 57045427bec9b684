//! Opens the accelerator that an option names.
//!
//! # Place in the flow
//! Commands and bindings take a device by name ([`DeviceName`]: `cuda:0`, `rocm:1`, `ascend`, `cpu`) and hand what
//! [`open`] gives to `kv-api` or `af-api`, which know no runtime. No runtime is needed to build this or to start a program
//! with it: one that is not there is an [`OpenError`] when it is asked for.
//!
//! ```text
//!  --device cuda:0 ---> DeviceName ---> open ---> Arc<dyn Accelerator> ---> EndpointConfig::soft, tensors
//!                                        |
//!                    gpu-direct, accel-rocm, accel-ascend; pmd-host's ordinary memory
//! ```
//! | name | is |
//! |---|---|
//! | `cuda`, `cuda:1` | a GPU of the CUDA driver, by its number after `CUDA_VISIBLE_DEVICES` |
//! | `rocm:0` | a GPU of HIP |
//! | `ascend:0` | an NPU of ACL |
//! | `cpu` | ordinary memory that only streams touch |
//! | `fake-cuda:0`, `fake-rocm`, `fake-ascend` | as without `fake-`, but refused unless the runtime that is found is the stand-in of this project's tests: no device is used by accident |
//!
//! ```
//! use pmd_accelerators::{DeviceName, OpenError};
//!
//! let name: DeviceName = "cuda:0".parse()?;
//! match pmd_accelerators::open(name) {
//!     Ok(accelerator) => println!("{name}: {}", accelerator.identity().name),
//!     Err(OpenError::Cuda(reason)) => println!("{name}: {reason}"),
//!     Err(other) => return Err(other.into()),
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr, sync::Arc};

use accel_ascend::AscendAccelerator;
use accel_rocm::RocmAccelerator;
use gpu_direct::CudaAccelerator;
use pmd_core::accelerator::{Accelerator, AcceleratorKind};
use pmd_host::accelerator::{CpuAccelerator, CpuOptions};
use thiserror::Error;

/// A runtime and the number of a device of it, as options write them: `cuda:1`; `cuda` is `cuda:0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceName {
    /// Whose runtime.
    pub kind: AcceleratorKind,
    /// Which of its devices, as this process numbers them.
    pub ordinal: u32,
    /// Whether the runtime must be the tests' stand-in for it.
    pub stand_in: bool,
}

/// What stands before the name of a runtime that must be a stand-in.
const FAKE: &str = "fake-";

impl FromStr for DeviceName {
    type Err = NotADevice;

    fn from_str(text: &str) -> Result<Self, NotADevice> {
        const KINDS: [AcceleratorKind; 4] =
            [AcceleratorKind::Cpu, AcceleratorKind::Cuda, AcceleratorKind::Rocm, AcceleratorKind::Ascend];
        let refused = || NotADevice { text: text.to_owned() };
        let (name, ordinal) = text.split_once(':').unwrap_or((text, "0"));
        let (name, stand_in) = name.strip_prefix(FAKE).map_or((name, false), |name| (name, true));
        let kind = KINDS.into_iter().find(|known| known.name() == name).ok_or_else(refused)?;
        // A sign would be taken as well.
        let digits = ordinal.bytes().all(|byte| byte.is_ascii_digit());
        let ordinal = ordinal.parse().ok().filter(|_| digits).ok_or_else(refused)?;
        if stand_in && kind == AcceleratorKind::Cpu {
            Err(refused())
        } else {
            Ok(Self { kind, ordinal, stand_in })
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fake = if self.stand_in { FAKE } else { "" };
        write!(formatter, "{fake}{}:{}", self.kind, self.ordinal)
    }
}

/// A text that names no device.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{text:?} names no device: write cuda, rocm, ascend or cpu, and a number behind a colon, as in cuda:1"
)]
pub struct NotADevice {
    /// What was given.
    pub text: String,
}

/// Opens a device. `cpu` is ordinary memory that only its streams may touch, as if it were a device's.
///
/// Whoever uses the same device twice in one process opens it once and shares the value.
///
/// # Errors
/// [`OpenError`], by runtime: it is not installed, is not the stand-in that it must be, has no such device, or fails.
pub fn open(name: DeviceName) -> Result<Arc<dyn Accelerator>, OpenError> {
    let DeviceName { kind, ordinal, stand_in } = name;
    if stand_in && !is_stand_in(kind)? {
        return Err(OpenError::NotAStandIn { kind });
    }
    Ok(match kind {
        AcceleratorKind::Cpu => {
            Arc::new(CpuAccelerator::new(CpuOptions { ordinal, shielded: true, ..CpuOptions::default() }))
        }
        AcceleratorKind::Cuda => Arc::new(CudaAccelerator::open(ordinal)?),
        AcceleratorKind::Rocm => Arc::new(RocmAccelerator::open(ordinal)?),
        AcceleratorKind::Ascend => Arc::new(AscendAccelerator::open(ordinal)?),
        kind => return Err(OpenError::Unknown { kind }),
    })
}

/// Whether the runtime that this process finds is a stand-in. No device is touched.
fn is_stand_in(kind: AcceleratorKind) -> Result<bool, OpenError> {
    Ok(match kind {
        AcceleratorKind::Cuda => gpu_direct::is_stand_in()?,
        AcceleratorKind::Rocm => accel_rocm::is_stand_in()?,
        AcceleratorKind::Ascend => accel_ascend::is_stand_in()?,
        _ => false,
    })
}

/// Why a device was not opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// CUDA's reason.
    #[error(transparent)]
    Cuda(#[from] gpu_direct::OpenError),
    /// HIP's reason.
    #[error(transparent)]
    Rocm(#[from] accel_rocm::Unavailable),
    /// ACL's reason.
    #[error(transparent)]
    Ascend(#[from] accel_ascend::Unavailable),
    /// A stand-in was asked for, and what is here may drive a device.
    #[error(
        "the runtime of {kind} here is no stand-in, so that fake-{kind} is refused: put a stand-in's folder first into LD_LIBRARY_PATH, or ask for {kind}"
    )]
    NotAStandIn {
        /// Whose runtime.
        kind: AcceleratorKind,
    },
    /// A runtime that this release does not drive.
    #[error("this release does not drive {kind}")]
    Unknown {
        /// Whose runtime.
        kind: AcceleratorKind,
    },
}

impl From<gpu_direct::Unavailable> for OpenError {
    fn from(reason: gpu_direct::Unavailable) -> Self {
        Self::Cuda(reason.into())
    }
}
