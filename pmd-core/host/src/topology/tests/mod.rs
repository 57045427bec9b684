//! Made-up machines.

mod affinity;
mod pinning;
mod tree;

use pmd_core::accelerator::AcceleratorKind;

use self::tree::{CONNECTX, GPU, Tree, address, two_sockets};
use super::{Distance, PciPath, Topology, cores};

fn names(topology: &Topology, device: &str) -> Vec<(String, Option<&'static str>)> {
    let neighbours = topology.nearest_nics(address(device));
    neighbours.into_iter().map(|found| (found.nic.name.clone(), found.distance.map(Distance::name))).collect()
}

fn named(wanted: &[(&str, Option<&'static str>)]) -> Vec<(String, Option<&'static str>)> {
    wanted.iter().map(|(name, distance)| ((*name).to_owned(), *distance)).collect()
}

#[test]
fn a_device_is_found_with_its_way_its_node_and_its_cores() {
    let topology = two_sockets().read();
    assert_eq!(topology.pci_devices().count(), 19);
    let nic = topology.pci_device(address("0000:3e:00.1")).unwrap();
    assert_eq!((nic.class, nic.vendor, nic.product), (0x02_0700, 0x15b3, 0x1021));
    assert_eq!((nic.numa_node, &nic.local_cores[..]), (Some(0), &[0, 1, 4, 5][..]));
    assert_eq!(nic.physical_function, Some(address("0000:3e:00.0")));
    assert_eq!((nic.is_bridge(), nic.accelerator()), (false, None));
    let bridges = ["0000:3a:00.0", "0000:3b:00.0", "0000:3c:01.0"].map(address).to_vec();
    assert_eq!(nic.path, Some(PciPath { host_bridge: "pci0000:3a".to_owned(), bridges }));
    assert!(topology.pci_device(address("0000:3c:01.0")).unwrap().is_bridge());
    let gpus: Vec<_> = topology.accelerators().map(|gpu| gpu.address.to_string()).collect();
    assert_eq!(gpus, ["0000:3d:00.0", "0000:41:00.0", "0000:cb:00.0"]);
    let rdma = topology.rdma_device("mlx5_10").unwrap();
    assert_eq!((rdma.pci, rdma.numa_node), (Some(address("0000:bb:00.0")), Some(1)));
    assert_eq!(rdma.local_cores, [2, 3, 6, 7]);
}

#[test]
fn distances_have_the_classes_of_the_field() {
    let topology = two_sockets().read();
    for (one, other, distance) in [
        ("0000:3d:00.0", "0000:3d:00.0", Distance::Itself),
        ("0000:3d:00.0", "0000:3e:00.0", Distance::OneBridge),
        ("0000:3e:00.0", "0000:3e:00.1", Distance::OneBridge),
        ("0000:41:00.0", "0000:3e:00.0", Distance::Bridges),
        ("0000:50:00.0", "0000:3e:00.0", Distance::HostBridge),
        ("0000:61:00.0", "0000:3e:00.0", Distance::Node),
        ("0000:bb:00.0", "0000:cb:00.0", Distance::Node),
        ("0000:bb:00.0", "0000:3d:00.0", Distance::System),
    ] {
        assert_eq!(topology.distance(address(one), address(other)), Some(distance), "{one} {other}");
        assert_eq!(topology.distance(address(other), address(one)), Some(distance), "{other} {one}");
    }
    assert_eq!(topology.distance(address("0000:bb:00.0"), address("0000:ff:00.0")), None);
    assert_eq!(format!("{:>4}|{:<4}|", Distance::OneBridge, Distance::System), " PIX|SYS |");
    assert!(Distance::Itself < Distance::OneBridge && Distance::Node < Distance::System);
}

#[test]
fn the_nearest_nics_come_first() {
    let topology = two_sockets().read();
    let from_switch = [
        ("mlx5_0", Some("PIX")),
        ("mlx5_1", Some("PIX")),
        ("mlx5_2", Some("PHB")),
        ("mlx5_3", Some("NODE")),
        ("mlx5_10", Some("SYS")),
    ];
    assert_eq!(names(&topology, "0000:3d:00.0"), named(&from_switch));
    assert_eq!(names(&topology, "0000:cb:00.0")[0], ("mlx5_10".to_owned(), Some("NODE")));
    for (nic, distance) in from_switch {
        assert_eq!(topology.nic_distance(address("0000:3d:00.0"), nic).map(Distance::name), distance);
    }
    assert_eq!(topology.nic_distance(address("0000:3d:00.0"), "mlx5_7"), None);
    // An accelerator that sysfs does not have, as in a container.
    let unknown = ["mlx5_0", "mlx5_1", "mlx5_2", "mlx5_3", "mlx5_10"].map(|name| (name, None));
    assert_eq!(names(&topology, "0000:ff:00.0"), named(&unknown));
}

#[test]
fn the_nearest_cores_come_first_and_one_thread_of_each() {
    let topology = two_sockets().read();
    assert_eq!(topology.nearest_cores("mlx5_0"), [0, 1, 4, 5, 2, 3, 6, 7]);
    assert_eq!(topology.nearest_cores("mlx5_10"), [2, 3, 6, 7, 0, 1, 4, 5]);
    assert_eq!(topology.local_cores("mlx5_10"), [2, 3, 6, 7]);
    assert_eq!(topology.local_cores("no such"), []);
    assert_eq!(topology.nearest_cores("no such"), [0, 1, 4, 5, 2, 3, 6, 7]);
}

#[test]
fn the_order_of_far_nodes_is_that_of_their_distance() {
    let tree = Tree::new();
    // Four nodes; from node 2 the nearest others are 3, then 0 and 1.
    for (node, distances) in ["10 12 32 32", "12 10 32 32", "32 32 10 12", "32 32 12 10"].iter().enumerate() {
        tree.node(node as u32, &node.to_string(), distances);
    }
    // Core 3 does not run.
    tree.cores("0-2,4", &[]);
    tree.node(3, "3-4", "32 32 12 10");
    tree.pci("pci0000:00/0000:00:01.0", CONNECTX, 2, "");
    tree.rdma("mlx5_0", "pci0000:00/0000:00:01.0");
    let topology = tree.read();
    assert_eq!(topology.local_cores("mlx5_0"), [2]);
    assert_eq!(topology.nearest_cores("mlx5_0"), [2, 4, 0, 1]);
    assert_eq!(topology.cores(), [0, 1, 2, 4]);
}

#[test]
fn a_nic_without_a_node_is_known_and_its_distances_are_careful() {
    let tree = two_sockets();
    tree.pci("pci0000:d0/0000:d0:00.0", CONNECTX, -1, "0-7");
    tree.rdma("mlx5_4", "pci0000:d0/0000:d0:00.0");
    let topology = tree.read();
    assert_eq!(topology.rdma_device("mlx5_4").unwrap().numa_node, None);
    let distance = |other| topology.distance(address("0000:d0:00.0"), address(other));
    assert_eq!(distance("0000:3d:00.0"), Some(Distance::System));
    assert_eq!(topology.local_cores("mlx5_4").len(), 8);

    // With one node there is no interconnect to cross.
    let tree = Tree::new();
    tree.pci("pci0000:00/0000:00:05.0", CONNECTX, -1, "0-1");
    tree.pci("pci0000:00/0000:00:06.0", GPU, -1, "0-1");
    tree.pci("pci0000:10/0000:10:00.0", GPU, -1, "0-1");
    let topology = tree.read();
    let distance = |other| topology.distance(address("0000:00:05.0"), address(other));
    assert_eq!(distance("0000:00:06.0"), Some(Distance::HostBridge));
    assert_eq!(distance("0000:10:00.0"), Some(Distance::Node));
}

#[test]
fn a_link_that_leads_nowhere_leaves_a_device_without_a_way() {
    let tree = two_sockets();
    tree.link("bus/pci/devices/0000:f0:00.0", "../../../devices/pci0000:f0/0000:f0:00.0");
    tree.link("bus/pci/devices/0000:f1:00.0", "/usr");
    tree.link("devices/elsewhere/mlx5_9/device", "../../../0000:f0:00.0");
    tree.link("class/infiniband/mlx5_9", "/devices/elsewhere/mlx5_9");
    tree.file("bus/pci/devices/new_id", "not a device");
    let topology = tree.read();
    assert_eq!(topology.pci_devices().count(), 21);
    for lost in ["0000:f0:00.0", "0000:f1:00.0"] {
        let device = topology.pci_device(address(lost)).unwrap();
        assert_eq!((&device.path, device.numa_node, device.class), (&None, None, 0), "{lost}");
        assert_eq!(topology.distance(address(lost), address("0000:3d:00.0")), None);
        assert_eq!(topology.distance(address(lost), address(lost)), Some(Distance::Itself));
    }
    assert_eq!(topology.rdma_device("mlx5_9").unwrap().pci, Some(address("0000:f0:00.0")));
    let neighbours = names(&topology, "0000:3d:00.0");
    assert_eq!((neighbours.len(), &neighbours[5]), (6, &("mlx5_9".to_owned(), None)));
}

#[test]
fn software_devices_are_where_their_interface_is() {
    let tree = two_sockets();
    let device = |name: &str, interface: &str| {
        tree.file(&format!("devices/virtual/infiniband/{name}/parent"), interface);
        tree.link(&format!("class/infiniband/{name}"), &format!("/devices/virtual/infiniband/{name}"));
    };
    device("rxe0", "lo");
    device("rxe1", "eth0");
    device("rxe2", "bond0.7");
    device("rxe3", "loop0");
    tree.file("class/net/lo/mtu", "65536");
    tree.link("class/net/eth0/device", "/devices/pci0000:3a/0000:3a:01.0/0000:50:00.0");
    tree.file("class/net/bond0.7/lower_bond0/mtu", "1500");
    tree.file("class/net/bond0/lower_eth1/mtu", "1500");
    tree.file("class/net/bond0/lower_eth0/mtu", "1500");
    // Interfaces that are below each other.
    tree.file("class/net/loop0/lower_loop0/mtu", "1500");
    let topology = tree.read();
    for name in ["rxe0", "rxe3"] {
        let device = topology.rdma_device(name).unwrap();
        assert_eq!((device.pci, device.numa_node, &device.local_cores[..]), (None, None, &[][..]));
        assert_eq!(topology.nearest_cores(name).len(), 8);
    }
    for name in ["rxe1", "rxe2"] {
        let device = topology.rdma_device(name).unwrap();
        assert_eq!((device.pci, device.numa_node), (Some(address("0000:50:00.0")), Some(0)), "{name}");
        assert_eq!(device.local_cores, [0, 1, 4, 5]);
    }
    let near = names(&topology, "0000:3d:00.0");
    assert_eq!(near[3], ("rxe1".to_owned(), Some("PHB")));
    assert_eq!(near[8], ("rxe3".to_owned(), None));
}

#[test]
fn devices_above_pcie_and_controllers_below_others_are_found() {
    let tree = Tree::new();
    let way = "platform/40000000.pcie/pci0004:00/0004:00:00.0";
    tree.pci(way, CONNECTX, -1, "");
    tree.rdma("mlx5_0", &format!("{way}/mlx5_core.rdma.0"));
    let topology = tree.read();
    assert_eq!(topology.rdma_device("mlx5_0").unwrap().pci, Some(address("0004:00:00.0")));
    let path = topology.pci_device(address("0004:00:00.0")).unwrap().path.clone().unwrap();
    assert_eq!(path, PciPath { host_bridge: "pci0004:00".to_owned(), bridges: Vec::new() });
}

#[test]
fn nothing_is_known_of_an_empty_root() {
    for root in [Tree::new().root(), std::path::Path::new("/nonexistent")] {
        let topology = Topology::read(root);
        assert_eq!(topology, Topology::default());
        assert_eq!(topology.nearest_nics(address("0000:00:00.0")), []);
        assert_eq!(topology.nearest_cores("mlx5_0"), []);
    }
}

#[test]
fn this_host_is_read_without_a_complaint() {
    let topology = Topology::of_host();
    for core in topology.nearest_cores("mlx5_0") {
        assert!(topology.cores().contains(&core));
    }
}

#[test]
fn accelerators_are_told_by_maker_and_class() {
    let tree = Tree::new();
    let devices = [
        ("030200 10de", Some(AcceleratorKind::Cuda)),
        ("030000 10de", Some(AcceleratorKind::Cuda)),
        ("040300 10de", None),
        ("038000 1002", Some(AcceleratorKind::Rocm)),
        ("120000 1002", Some(AcceleratorKind::Rocm)),
        ("120000 19e5", Some(AcceleratorKind::Ascend)),
        ("030000 19e5", None),
        ("030000 1a03", None),
    ];
    for (bus, (kind, _)) in devices.iter().enumerate() {
        tree.pci(&format!("pci0000:00/0000:{bus:02x}:00.0"), kind, 0, "");
    }
    let topology = tree.read();
    let kinds: Vec<_> = topology.pci_devices().map(|device| device.accelerator()).collect();
    assert_eq!(kinds, devices.map(|(_, kind)| kind));
}

#[test]
fn lists_of_cores_are_read_as_the_kernel_writes_them() {
    assert_eq!(cores::parse("0-3,8\n"), [0, 1, 2, 3, 8]);
    assert_eq!(cores::parse("5,4-4,5"), [4, 5]);
    for nothing in ["", "\n", "x", "3-1", "0-4294967295", "1-", "-1"] {
        assert_eq!(cores::parse(nothing), [], "{nothing}");
    }
    assert_eq!(cores::parse("x,7"), [7]);
}
