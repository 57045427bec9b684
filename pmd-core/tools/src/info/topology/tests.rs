use std::{fs, os::unix::fs::symlink, path::Path};

use super::*;

/// A PCIe function at the end of a way, its class and maker.
fn pci(root: &Path, way: &str, class: &str, vendor: &str, node: i32) {
    let folder = root.join("devices").join(way);
    fs::create_dir_all(&folder).unwrap();
    for (file, content) in
        [("class", class), ("vendor", vendor), ("numa_node", &node.to_string()), ("local_cpulist", "0-3,8")]
    {
        fs::write(folder.join(file), content).unwrap();
    }
    let links = root.join("bus/pci/devices");
    fs::create_dir_all(&links).unwrap();
    symlink(&folder, links.join(way.rsplit('/').next().unwrap())).unwrap();
}

fn rdma(root: &Path, name: &str, way: &str) {
    let folder = root.join("class/infiniband").join(name);
    fs::create_dir_all(&folder).unwrap();
    symlink(root.join("devices").join(way), folder.join("device")).unwrap();
}

/// A switch with a NIC of two functions and an accelerator, a NIC without a node, a software device.
fn machine(root: &Path) {
    let node = root.join("devices/system/node/node0");
    fs::create_dir_all(&node).unwrap();
    fs::write(node.join("cpulist"), "0-3,8\n").unwrap();
    fs::write(node.join("distance"), "10\n").unwrap();
    let bridge = |way: &str| pci(root, way, "0x060400", "0x1000", 0);
    let switch = "pci0000:3a/0000:3a:00.0/0000:3b:00.0";
    bridge("pci0000:3a/0000:3a:00.0");
    bridge(switch);
    bridge(&format!("{switch}/0000:3c:00.0"));
    bridge(&format!("{switch}/0000:3c:01.0"));
    let nic = format!("{switch}/0000:3c:00.0/0000:3d:00.0");
    pci(root, &nic, "0x020700", "0x15b3", 0);
    let function = format!("{switch}/0000:3c:00.0/0000:3d:00.1");
    pci(root, &function, "0x020700", "0x15b3", 0);
    symlink("../0000:3d:00.0", root.join("devices").join(&function).join("physfn")).unwrap();
    pci(root, &format!("{switch}/0000:3c:01.0/0000:3e:00.0"), "0x030200", "0x10de", 0);
    pci(root, "pci0000:f0/0000:f0:00.0", "0x020000", "0x15b3", -1);
    rdma(root, "mlx5_0", &nic);
    rdma(root, "mlx5_1", &function);
    rdma(root, "mlx5_2", "pci0000:f0/0000:f0:00.0");
    fs::create_dir_all(root.join("class/infiniband/rxe0")).unwrap();
}

fn accelerator(places: &[Option<&str>]) -> Accelerator {
    Accelerator {
        kind: "cuda",
        library: "libcuda.so.1",
        library_found: true,
        package: "NVIDIA driver",
        version: None,
        devices: Vec::new(),
        places: places.iter().map(|place| place.and_then(PciAddress::parse)).collect(),
        missing: None,
    }
}

#[test]
fn the_tree_is_drawn_with_its_nodes_bridges_nics_and_accelerators() {
    let folder = tempfile::tempdir().unwrap();
    machine(folder.path());
    let cuda = accelerator(&[Some("0000:3e:00.0"), Some("0000:ee:00.0"), None]);
    let report = describe(&Topology::read(folder.path()), &[cuda]);
    let wanted = "\
NUMA node 0  cores 0-3,8
└─ pci0000:3a  host bridge
   └─ 0000:3a:00.0  bridge
      └─ 0000:3b:00.0  bridge
         ├─ 0000:3c:00.0  bridge
         │  ├─ 0000:3d:00.0  mlx5_0
         │  └─ 0000:3d:00.1  mlx5_1  virtual function of 0000:3d:00.0
         └─ 0000:3c:01.0  bridge
            └─ 0000:3e:00.0  cuda:0
NUMA node unknown
└─ pci0000:f0  host bridge
   └─ 0000:f0:00.0  mlx5_2
place unknown: cuda:1, rxe0, cuda:2
NICs near cuda:0 (0000:3e:00.0): mlx5_0 PIX, mlx5_1 PIX, mlx5_2 NODE, rxe0 unknown
NICs near cuda:1 (0000:ee:00.0): mlx5_0 unknown, mlx5_1 unknown, mlx5_2 unknown, rxe0 unknown
cores near mlx5_0: 0-3,8
cores near mlx5_1: 0-3,8
cores near mlx5_2: 0-3,8";
    assert_eq!(draw(&report).join("\n"), wanted);
}

#[test]
fn the_object_holds_the_tree_and_the_distances() {
    let folder = tempfile::tempdir().unwrap();
    machine(folder.path());
    let report = describe(&Topology::read(folder.path()), &[]);
    let object = serde_json::to_value(&report).unwrap();
    let node = &object["numa_nodes"][0];
    assert_eq!((&node["number"], &node["cores"]), (&0.into(), &"0-3,8".into()));
    let switch = &node["host_bridges"][0]["devices"][0]["devices"][0];
    assert_eq!(switch["pci"], "0000:3b:00.0");
    // No runtime numbers it.
    assert_eq!(switch["devices"][1]["devices"][0]["names"], serde_json::json!(["cuda"]));
    assert_eq!(object["accelerators"][0]["accelerator"], "cuda");
    let nearest = serde_json::json!({ "nic": "mlx5_0", "distance": "PIX" });
    assert_eq!(object["accelerators"][0]["nics"][0], nearest);
    assert_eq!(object["nics"][2]["numa_node"], serde_json::Value::Null);
    assert_eq!(object["nics"][0]["nearest_cores"], serde_json::json!([0, 1, 2, 3, 8]));
    assert_eq!(object["elsewhere"], serde_json::json!(["rxe0"]));
}

#[test]
fn nothing_is_no_failure() {
    let report = describe(&Topology::default(), &[]);
    assert_eq!(draw(&report), ["unknown: sysfs tells nothing"]);
    // An accelerator in a container without sysfs.
    let report = describe(&Topology::default(), &[accelerator(&[Some("0000:3e:00.0")])]);
    assert_eq!(draw(&report), ["place unknown: cuda:0"]);
}

#[test]
fn cores_are_listed_as_the_kernel_does() {
    assert_eq!(ranges(&[]), "");
    assert_eq!(ranges(&[4]), "4");
    assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
}
