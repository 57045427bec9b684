//! What is known of each device and NUMA node.

use pmd_core::accelerator::{AcceleratorKind, PciAddress};

/// A PCIe function, as sysfs describes it (Linux Documentation/ABI/testing/sysfs-bus-pci). What sysfs does not tell is
/// `None`, zero or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciDevice {
    /// Where it is plugged in.
    pub address: PciAddress,
    /// Base class, subclass and programming interface: `0x020000` is an Ethernet controller.
    pub class: u32,
    /// Its maker's number.
    pub vendor: u16,
    /// The maker's number for the product.
    pub product: u16,
    /// NUMA node; `None` where the firmware does not tell.
    pub numa_node: Option<u32>,
    /// Cores that the kernel calls local to it, ascending.
    pub local_cores: Vec<usize>,
    /// The physical function whose virtual function it is.
    pub physical_function: Option<PciAddress>,
    /// The way to it; `None` where its link in sysfs leads nowhere.
    pub path: Option<PciPath>,
}

/// The way from the host to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciPath {
    /// As the kernel calls it: `pci0000:3a`.
    pub host_bridge: String,
    /// Root port first, then the upstream and downstream ports of switches; empty for what sits in the host bridge.
    pub bridges: Vec<PciAddress>,
}

impl PciDevice {
    /// Whose accelerator it is, by maker and class; `None` for anything else. It tells without a driver, so a GPU that is
    /// given to a virtual machine counts too.
    #[must_use]
    pub const fn accelerator(&self) -> Option<AcceleratorKind> {
        match (self.vendor, self.class >> 8) {
            // VGA and 3D controllers.
            (0x10de, 0x0300 | 0x0302) => Some(AcceleratorKind::Cuda),
            // Instinct cards are "other display controllers" or processing accelerators.
            (0x1002, 0x0300 | 0x0302 | 0x0380 | 0x1200) => Some(AcceleratorKind::Rocm),
            // Huawei's VGA controllers are those of servers' management.
            (0x19e5, 0x1200) => Some(AcceleratorKind::Ascend),
            _ => None,
        }
    }

    /// Whether it is a bridge to further PCIe devices: a root port or a port of a switch.
    #[must_use]
    pub const fn is_bridge(&self) -> bool {
        self.class >> 8 == 0x0604
    }
}

/// A device of the kernel's RDMA subsystem (`/sys/class/infiniband`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdmaDevice {
    /// As libibverbs calls it: `mlx5_0`.
    pub name: String,
    /// Its PCIe function; of a software device (rxe, siw) that of the network interface that it speaks through; `None` where
    /// there is none, as under a bridge or the loopback interface.
    pub pci: Option<PciAddress>,
    /// NUMA node; `None` where the kernel does not tell.
    pub numa_node: Option<u32>,
    /// Cores that the kernel calls local to it, ascending; empty where it does not tell.
    pub local_cores: Vec<usize>,
}

/// A NUMA node of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NumaNode {
    /// Its number.
    pub number: u32,
    /// Its cores, ascending; none where it has memory only.
    pub cores: Vec<usize>,
    /// What access to each node costs from here, in the order of the nodes' numbers; 10 is the node itself (ACPI's SLIT).
    pub distances: Vec<u32>,
}

/// A NIC as seen from another device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour<'a> {
    /// The NIC.
    pub nic: &'a RdmaDevice,
    /// How far it is; `None` where it is not a PCIe device, or sysfs does not tell where one of the two is.
    pub distance: Option<super::Distance>,
}
