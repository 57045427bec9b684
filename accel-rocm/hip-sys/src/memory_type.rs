//! Where the runtime says that memory is, in the numbers of its version. Called by `accel-rocm`.

use crate::hip::hipMemoryType;

/// `hipMemoryType` by meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryType {
    /// Ordinary memory that the runtime knows nothing of.
    Unregistered,
    /// Page-locked memory of the host.
    Host,
    /// Memory of a device, arrays included.
    Device,
    /// Memory that migrates.
    Managed,
    /// A number that no version up to 7 has.
    Unknown,
}

impl MemoryType {
    /// Reads `hipPointerAttribute_t::memoryType` (`type` since 6.0) of a runtime of this major version.
    #[must_use]
    pub const fn of(number: hipMemoryType, major: u32) -> Self {
        match (number, major) {
            (0, ..6) | (1, 6..) => Self::Host,
            (0, 6..) => Self::Unregistered,
            (1 | 2, ..6) | (2 | 10, 6..) => Self::Device,
            (3, _) | (11, 6..) => Self::Managed,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryType::{self, Device, Host, Managed, Unknown, Unregistered};

    #[test]
    fn each_version_has_its_own_numbers() {
        let read = |major, numbers: &[u32]| {
            numbers.iter().map(|number| MemoryType::of(*number, major)).collect::<Vec<_>>()
        };
        assert_eq!(read(5, &[0, 1, 2, 3, 10]), [Host, Device, Device, Managed, Unknown]);
        for major in [6, 7] {
            assert_eq!(
                read(major, &[0, 1, 2, 3, 10, 11, 12]),
                [Unregistered, Host, Device, Managed, Device, Managed, Unknown]
            );
        }
    }
}
