//! Which RDMA devices this machine has: `pmd info` prints them, and prints the error where there are none.
// The list is C's, and is given back to it.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_int};
use std::io;

use crate::verbs::*;
use crate::{LoadError, Verbs};

/// A device that libibverbs lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The kernel's name, `mlx5_0` for example.
    pub name: String,
    /// GUID of the node, in host order; 0 where the device has none.
    pub guid: u64,
    /// What the device speaks.
    pub transport: Transport,
    /// Folder of the device in sysfs, `/sys/class/infiniband/mlx5_0` for example.
    pub sysfs: String,
}

/// What a device speaks (`ibv_transport_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// InfiniBand or RoCE.
    InfiniBand,
    /// iWARP.
    Iwarp,
    /// Anything else, by rdma-core's number.
    Other(i32),
}

/// Why no device is listed.
#[derive(Debug, thiserror::Error)]
pub enum DevicesError {
    /// libibverbs is not installed, or too old.
    #[error(transparent)]
    Library(#[from] LoadError),
    /// The kernel's RDMA modules are not loaded (`ENOSYS`).
    #[error(
        "no RDMA device: libibverbs found, the kernel's RDMA modules are not loaded; load them, or use --transport shm"
    )]
    KernelModulesMissing,
    /// The modules are loaded and no device is registered.
    #[error("no RDMA device: libibverbs found, /sys/class/infiniband is empty; use --transport shm")]
    NoDevice,
    /// Listing failed.
    #[error("libibverbs cannot list devices: {0}")]
    System(#[source] io::Error),
}

/// The devices of this machine, in libibverbs' order, at least one.
///
/// # Errors
/// [`DevicesError`], by what is missing.
pub fn devices() -> Result<Vec<Device>, DevicesError> {
    list(Verbs::load()?)
}

fn list(verbs: &Verbs) -> Result<Vec<Device>, DevicesError> {
    let mut count: c_int = 0;
    // SAFETY: `count` can be written.
    let list = unsafe { verbs.ibv_get_device_list(&mut count) }?;
    if list.is_null() {
        return Err(refusal(io::Error::last_os_error()));
    }
    let list = DeviceList { verbs, list };
    let devices = (0..usize::try_from(count).unwrap_or(0))
        .map(|index| list.device(index))
        .collect::<Result<Vec<_>, _>>()?;
    if devices.is_empty() {
        return Err(DevicesError::NoDevice);
    }
    Ok(devices)
}

fn refusal(error: io::Error) -> DevicesError {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => DevicesError::KernelModulesMissing,
        _ => DevicesError::System(error),
    }
}

/// A list that libibverbs allocated; freed when dropped.
struct DeviceList<'a> {
    verbs: &'a Verbs,
    list: *mut *mut ibv_device,
}

impl DeviceList<'_> {
    /// Copies out one device; `index` is below the list's count.
    fn device(&self, index: usize) -> Result<Device, LoadError> {
        // SAFETY: the list holds `count` live devices until it is freed.
        let (device, guid) = unsafe {
            let device = *self.list.add(index);
            (&*device, self.verbs.ibv_get_device_guid(device)?)
        };
        Ok(Device {
            name: text(&device.name),
            guid: u64::from_be(guid),
            transport: transport(device.transport_type),
            sysfs: text(&device.ibdev_path),
        })
    }
}

impl Drop for DeviceList<'_> {
    fn drop(&mut self) {
        // SAFETY: the list came from ibv_get_device_list, and nothing that it holds is kept. A library with the one
        // function has the other.
        let _ = unsafe { self.verbs.ibv_free_device_list(self.list) };
    }
}

fn transport(number: ibv_transport_type) -> Transport {
    match number {
        IBV_TRANSPORT_IB => Transport::InfiniBand,
        IBV_TRANSPORT_IWARP => Transport::Iwarp,
        other => Transport::Other(other),
    }
}

/// The text in a fixed array, up to its zero.
fn text(array: &[std::ffi::c_char]) -> String {
    // SAFETY: c_char and u8 have the same size and no invalid values.
    let bytes = unsafe { std::slice::from_raw_parts(array.as_ptr().cast::<u8>(), array.len()) };
    CStr::from_bytes_until_nul(bytes).map_or_else(
        |_| String::from_utf8_lossy(bytes).into_owned(),
        |text| text.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_without_rdma_is_told_from_other_failures() {
        let error = refusal(io::Error::from_raw_os_error(libc::ENOSYS));
        assert!(matches!(error, DevicesError::KernelModulesMissing), "{error}");
        let error = refusal(io::Error::from_raw_os_error(libc::EPERM));
        assert!(matches!(&error, DevicesError::System(reason) if reason.raw_os_error() == Some(libc::EPERM)));
    }

    #[test]
    fn text_ends_at_the_zero_or_at_the_end() {
        assert_eq!(text(&[b'm' as _, b'0' as _, 0, b'x' as _]), "m0");
        assert_eq!(text(&[b'm' as _, b'1' as _]), "m1");
        assert_eq!(text(&[]), "");
    }

    #[test]
    fn transports_keep_numbers_that_are_not_known() {
        assert_eq!(transport(0), Transport::InfiniBand);
        assert_eq!(transport(1), Transport::Iwarp);
        assert_eq!(transport(-1), Transport::Other(-1));
    }
}
