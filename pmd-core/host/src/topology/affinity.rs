//! Which NICs are nearest to memory. The endpoint asks when it registers memory with several of them.
#![allow(unsafe_code)] // asks the kernel for a page's node, which neither nix nor std has a name for

use pmd_core::accelerator::PciAddress;

use super::Topology;

/// Where memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemoryPlace {
    /// On an accelerator.
    Device(PciAddress),
    /// On a NUMA node of the host.
    Node(u32),
}

impl MemoryPlace {
    /// The node of the page that has this address. `None` where no page is there yet, where the kernel has no NUMA, and where the
    /// process may not ask (containers without `CAP_SYS_NICE`).
    pub(crate) fn of_page(address: u64) -> Option<Self> {
        let page = usize::try_from(address).ok()?;
        let (pages, mut found): ([usize; 1], [libc::c_int; 1]) = ([page], [-1]);
        let (this_process, flags): (libc::c_int, libc::c_int) = (0, 0);
        // SAFETY: one address is read and one number written, for a page each. Nothing is read at the address, and no page is
        // moved, since no nodes are named to move it to.
        let answer = unsafe {
            libc::syscall(
                libc::SYS_move_pages,
                this_process,
                pages.len() as libc::c_ulong,
                pages.as_ptr(),
                std::ptr::null::<libc::c_int>(),
                found.as_mut_ptr(),
                flags,
            )
        };
        // An error of the page is a negative number.
        let node = (answer == 0).then_some(found[0])?;
        u32::try_from(node).ok().map(Self::Node)
    }
}

impl Topology {
    /// Those of some NICs that are nearest to memory, by their places among them; those without a name are none. Empty where
    /// nothing is known of any.
    pub(crate) fn nearest_to(&self, memory: MemoryPlace, nics: &[Option<&str>]) -> Vec<usize> {
        let far = |nic: &str| match memory {
            MemoryPlace::Device(device) => self.nic_distance(device, nic).map(|distance| distance as u32),
            MemoryPlace::Node(node) => self.node_distance(node, nic),
        };
        let far = |(place, nic): (usize, &Option<&str>)| Some((place, far((*nic)?)?));
        let known: Vec<(usize, u32)> = nics.iter().enumerate().filter_map(far).collect();
        let least = known.iter().map(|(_, far)| *far).min();
        known.into_iter().filter(|(_, far)| Some(*far) == least).map(|(place, _)| place).collect()
    }

    /// What access to the memory of a node costs a NIC; `None` where the NIC's node is not known.
    fn node_distance(&self, memory: u32, nic: &str) -> Option<u32> {
        let own = self.rdma_device(nic)?.numa_node?;
        Some(if own == memory { 0 } else { self.cost(Some(own), memory) })
    }
}
