//! Which cores lanes get.

use super::tree::{CONNECTX, Tree, address, two_sockets};
use crate::topology::{LanePinning, Near, UnknownPinning};

/// Two nodes of 16 cores each, a NIC in the second and one without a node.
fn large() -> Tree {
    let tree = Tree::new();
    tree.node(0, "0-15", "10 20");
    tree.node(1, "16-31", "20 10");
    tree.cores("0-31", &[]);
    tree.pci("pci0000:80/0000:80:00.0", CONNECTX, 1, "16-31");
    tree.rdma("mlx5_0", "pci0000:80/0000:80:00.0");
    tree.pci("pci0000:90/0000:90:00.0", CONNECTX, -1, "0-31");
    tree.rdma("mlx5_1", "pci0000:90/0000:90:00.0");
    tree
}

fn range(first: usize, last: usize) -> Vec<usize> {
    (first..=last).collect()
}

#[test]
fn by_default_lanes_of_large_machines_keep_to_the_node_of_their_nic() {
    let topology = large().read();
    let cores = |allowed: &[usize]| LanePinning::default().cores(&topology, "mlx5_0", 0, allowed);
    assert_eq!(cores(&range(0, 31)), range(16, 31));
    assert_eq!(cores(&range(4, 19)), range(16, 19));
    // Few cores; none of the node; no more than the node; nothing known of what is allowed.
    for allowed in [range(4, 18), range(0, 15), range(16, 31), Vec::new()] {
        assert_eq!(cores(&allowed), [], "{allowed:?}");
    }
    assert_eq!(LanePinning::Auto.cores(&topology, "mlx5_1", 0, &range(0, 31)), []);
    assert_eq!(LanePinning::Auto.cores(&topology, "no such", 0, &range(0, 31)), []);
    assert_eq!(LanePinning::Off.cores(&topology, "mlx5_0", 0, &range(0, 31)), []);
}

#[test]
fn by_default_nothing_is_pinned_where_there_is_one_node() {
    let tree = Tree::new();
    tree.node(0, "0-31", "10");
    tree.cores("0-63", &[]);
    tree.pci("pci0000:80/0000:80:00.0", CONNECTX, 0, "0-31");
    tree.rdma("mlx5_0", "pci0000:80/0000:80:00.0");
    let topology = tree.read();
    assert_eq!(LanePinning::Auto.cores(&topology, "mlx5_0", 0, &range(0, 63)), []);
    assert_eq!(LanePinning::Local.cores(&topology, "mlx5_0", 0, &range(0, 63)), range(0, 31));
}

#[test]
fn who_asks_is_pinned_on_few_cores_too() {
    let topology = two_sockets().read();
    let allowed = range(0, 7);
    assert_eq!(LanePinning::Local.cores(&topology, "mlx5_10", 3, &allowed), [2, 3, 6, 7]);
    assert_eq!(LanePinning::Local.cores(&topology, "mlx5_10", 3, &[0, 1]), []);
    // One core each, those of the NIC's node first, and from the front again when all are taken.
    let nearest = |lane| LanePinning::Nearest.cores(&topology, "mlx5_10", lane, &[0, 2, 3, 6]);
    assert_eq!([0, 1, 2, 3, 4].map(nearest), [[2], [3], [6], [0], [2]]);
    assert_eq!(LanePinning::Nearest.cores(&topology, "no such", 0, &allowed), []);
    assert_eq!(LanePinning::Nearest.cores(&topology, "mlx5_10", 0, &[]), []);
}

#[test]
fn a_host_without_the_nic_pins_nothing() {
    for pinning in [LanePinning::Auto, LanePinning::Off, LanePinning::Local, LanePinning::Nearest] {
        assert_eq!(pinning.cores_here(Near::Nic("no such NIC"), 0), [], "{pinning:?}");
        assert_eq!(pinning.cores_here(Near::Device(address("ffff:ff:1f.7")), 0), [], "{pinning:?}");
        assert_eq!(pinning.to_string().parse(), Ok(pinning));
    }
    assert_eq!("near".parse::<LanePinning>(), Err(UnknownPinning("near".to_owned())));
}

#[test]
fn lanes_keep_near_an_accelerator_too() {
    let topology = two_sockets().read();
    let (allowed, gpu) = (range(0, 7), address("0000:cb:00.0"));
    assert_eq!(LanePinning::Local.cores_of_device(&topology, gpu, 0, &allowed), [2, 3, 6, 7]);
    let nearest = |lane| LanePinning::Nearest.cores_of_device(&topology, gpu, lane, &[0, 2, 3]);
    assert_eq!([0, 1, 2, 3].map(nearest), [[2], [3], [0], [2]]);
    assert_eq!(LanePinning::Off.cores_of_device(&topology, gpu, 0, &allowed), []);
    let unknown = address("0000:ff:00.0");
    assert_eq!(LanePinning::Nearest.cores_of_device(&topology, unknown, 0, &allowed), []);
}
