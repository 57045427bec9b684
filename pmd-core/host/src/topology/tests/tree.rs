//! Makes up a sysfs in a temporary folder, with the links that the kernel makes.

use std::{fs, os::unix::fs::symlink, path::Path};

use pmd_core::accelerator::PciAddress;
use tempfile::TempDir;

use crate::topology::Topology;

/// A sysfs that exists for as long as the value does.
pub(super) struct Tree(TempDir);

impl Tree {
    pub(super) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(super) fn root(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn read(&self) -> Topology {
        Topology::read(self.root())
    }

    /// Writes a file, with its folders.
    pub(super) fn file(&self, path: &str, content: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{content}\n")).unwrap();
    }

    /// Makes a link; a target that begins with `/` counts from the root of the tree.
    pub(super) fn link(&self, path: &str, target: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let target = target.strip_prefix('/').map_or(target.into(), |inside| self.root().join(inside));
        symlink(target, path).unwrap();
    }

    /// A PCIe function at the end of a way below `devices`, its class and maker (`020000 15b3`), its node.
    pub(super) fn pci(&self, way: &str, kind: &str, node: i32, cores: &str) {
        let address = way.rsplit('/').next().unwrap();
        let (class, vendor) = kind.split_once(' ').unwrap();
        let device = format!("devices/{way}");
        self.file(&format!("{device}/class"), &format!("0x{class}"));
        self.file(&format!("{device}/vendor"), &format!("0x{vendor}"));
        self.file(&format!("{device}/device"), "0x1021");
        self.file(&format!("{device}/numa_node"), &node.to_string());
        self.file(&format!("{device}/local_cpulist"), cores);
        self.link(&format!("bus/pci/devices/{address}"), &format!("/{device}"));
    }

    /// An RDMA device on a PCIe function.
    pub(super) fn rdma(&self, name: &str, way: &str) {
        self.file(&format!("devices/{way}/infiniband/{name}/fw_ver"), "28.39.1002");
        self.link(&format!("devices/{way}/infiniband/{name}/device"), &format!("/devices/{way}"));
        self.link(&format!("class/infiniband/{name}"), &format!("/devices/{way}/infiniband/{name}"));
    }

    pub(super) fn node(&self, number: u32, cores: &str, distances: &str) {
        self.file(&format!("devices/system/node/node{number}/cpulist"), cores);
        self.file(&format!("devices/system/node/node{number}/distance"), distances);
    }

    /// Cores that run, and for each the hardware threads of its physical core.
    pub(super) fn cores(&self, online: &str, siblings: &[(usize, &str)]) {
        self.file("devices/system/cpu/online", online);
        for (core, threads) in siblings {
            let file = format!("devices/system/cpu/cpu{core}/topology/thread_siblings_list");
            self.file(&file, threads);
        }
    }
}

pub(super) fn address(text: &str) -> PciAddress {
    PciAddress::parse(text).unwrap()
}

pub(super) const BRIDGE: &str = "060400 8086";
pub(super) const CONNECTX: &str = "020700 15b3";
pub(super) const GPU: &str = "030200 10de";

/// The ways to what [`two_sockets`] has.
pub(super) const SWITCH: &str = "pci0000:3a/0000:3a:00.0/0000:3b:00.0";
pub(super) const FAR_ROOT: &str = "pci0000:ba/0000:ba:00.0";

/// Two nodes of four hardware threads on two cores. In node 0 one host bridge has a switch with a GPU, a NIC of two functions
/// (one of them virtual) and a second switch with another GPU, and a NIC on a root port of its own; another host bridge has a
/// NIC. In node 1 there are a NIC and a GPU.
pub(super) fn two_sockets() -> Tree {
    let tree = Tree::new();
    tree.node(0, "0-1,4-5", "10 21");
    tree.node(1, "2-3,6-7", "21 10");
    let threads = ["0,4", "1,5", "2,6", "3,7", "0,4", "1,5", "2,6", "3,7"];
    tree.cores("0-7", &threads.into_iter().enumerate().collect::<Vec<_>>());
    let near = |way: &str, kind| tree.pci(way, kind, 0, "0-1,4-5");
    let below = |rest: &str| format!("{SWITCH}/{rest}");
    near("pci0000:3a/0000:3a:00.0", BRIDGE);
    near(SWITCH, BRIDGE);
    near(&below("0000:3c:00.0"), BRIDGE);
    near(&below("0000:3c:00.0/0000:3d:00.0"), GPU);
    near(&below("0000:3c:01.0"), BRIDGE);
    near(&below("0000:3c:01.0/0000:3e:00.0"), CONNECTX);
    near(&below("0000:3c:01.0/0000:3e:00.1"), CONNECTX);
    tree.link(
        "devices/pci0000:3a/0000:3a:00.0/0000:3b:00.0/0000:3c:01.0/0000:3e:00.1/physfn",
        "../0000:3e:00.0",
    );
    near(&below("0000:3c:02.0"), BRIDGE);
    near(&below("0000:3c:02.0/0000:3f:00.0"), BRIDGE);
    near(&below("0000:3c:02.0/0000:3f:00.0/0000:40:00.0"), BRIDGE);
    near(&below("0000:3c:02.0/0000:3f:00.0/0000:40:00.0/0000:41:00.0"), GPU);
    near("pci0000:3a/0000:3a:01.0", BRIDGE);
    near("pci0000:3a/0000:3a:01.0/0000:50:00.0", CONNECTX);
    near("pci0000:60/0000:60:00.0", BRIDGE);
    near("pci0000:60/0000:60:00.0/0000:61:00.0", CONNECTX);
    let far = |way: &str, kind| tree.pci(way, kind, 1, "2-3,6-7");
    far(FAR_ROOT, BRIDGE);
    far(&format!("{FAR_ROOT}/0000:bb:00.0"), CONNECTX);
    far("pci0000:ca/0000:ca:00.0", BRIDGE);
    far("pci0000:ca/0000:ca:00.0/0000:cb:00.0", GPU);
    tree.rdma("mlx5_10", &format!("{FAR_ROOT}/0000:bb:00.0"));
    tree.rdma("mlx5_0", &below("0000:3c:01.0/0000:3e:00.0"));
    tree.rdma("mlx5_1", &below("0000:3c:01.0/0000:3e:00.1"));
    tree.rdma("mlx5_2", "pci0000:3a/0000:3a:01.0/0000:50:00.0");
    tree.rdma("mlx5_3", "pci0000:60/0000:60:00.0/0000:61:00.0");
    tree
}
