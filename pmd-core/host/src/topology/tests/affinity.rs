//! Which NICs are nearest to memory.

use super::tree::{CONNECTX, Tree, address, two_sockets};
use crate::topology::{MemoryPlace, Topology};

const NICS: [Option<&str>; 5] =
    [Some("mlx5_0"), Some("mlx5_1"), Some("mlx5_2"), Some("mlx5_3"), Some("mlx5_10")];

fn nearest_to_gpu(topology: &Topology, gpu: &str, nics: &[Option<&str>]) -> Vec<usize> {
    topology.nearest_to(MemoryPlace::Device(address(gpu)), nics)
}

#[test]
fn memory_of_an_accelerator_is_nearest_to_the_nics_on_its_switch() {
    let topology = two_sockets().read();
    assert_eq!(nearest_to_gpu(&topology, "0000:3d:00.0", &NICS), [0, 1]);
    assert_eq!(nearest_to_gpu(&topology, "0000:cb:00.0", &NICS), [4]);
    // Without those on the switch: through the host bridge, then within the node.
    assert_eq!(nearest_to_gpu(&topology, "0000:3d:00.0", &NICS[2..]), [0]);
    assert_eq!(nearest_to_gpu(&topology, "0000:3d:00.0", &NICS[3..]), [0]);
    assert_eq!(nearest_to_gpu(&topology, "0000:3d:00.0", &NICS[4..]), [0], "however far it is");
}

#[test]
fn memory_of_the_host_is_nearest_to_the_nics_of_its_node() {
    let topology = two_sockets().read();
    let nearest = |node| topology.nearest_to(MemoryPlace::Node(node), &NICS);
    assert_eq!(nearest(0), [0, 1, 2, 3]);
    assert_eq!(nearest(1), [4]);
    // Of nodes without NICs (memory of accelerators, persistent memory) the firmware tells which others are near.
    let tree = Tree::new();
    tree.node(0, "0", "10 20 17");
    tree.node(1, "1", "20 10 28");
    tree.node(2, "", "17 28 10");
    for (name, node) in [(0, 0), (1, 1)] {
        let way = format!("pci0000:{name}0/0000:{name}0:00.0");
        tree.pci(&way, CONNECTX, node, "");
        tree.rdma(&format!("mlx5_{name}"), &way);
    }
    assert_eq!(tree.read().nearest_to(MemoryPlace::Node(2), &NICS), [0]);
}

#[test]
fn where_nothing_is_known_none_is_nearest() {
    let topology = two_sockets().read();
    assert_eq!(nearest_to_gpu(&topology, "0000:ff:00.0", &NICS), []);
    assert_eq!(nearest_to_gpu(&topology, "0000:3d:00.0", &[None, Some("mlx5_7")]), []);
    assert_eq!(nearest_to_gpu(&topology, "0000:3d:00.0", &[None, Some("mlx5_3")]), [1]);
    assert_eq!(Topology::default().nearest_to(MemoryPlace::Node(0), &NICS), []);
}

#[test]
fn a_page_that_is_there_is_on_a_node_of_this_host_or_the_kernel_does_not_tell() {
    let page = vec![1_u8; 4096];
    let host = Topology::of_host();
    let (nodes, found) = (host.numa_nodes(), MemoryPlace::of_page(page.as_ptr() as u64));
    let is_here = |node: &u32| nodes.is_empty() || nodes.iter().any(|known| known.number == *node);
    assert!(
        match &found {
            None => true,
            Some(MemoryPlace::Node(node)) => is_here(node),
            Some(MemoryPlace::Device(_)) => false,
        },
        "{found:?} of {nodes:?}"
    );
    assert_eq!(MemoryPlace::of_page(0), None, "nothing is mapped there");
}
