use std::{fs, path::Path};

use super::{Gid, Port, ports};

fn write(folder: &Path, name: &str, text: &str) {
    let file = folder.join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

#[test]
fn ports_are_read_from_sysfs() {
    let folder = tempfile::tempdir().unwrap();
    let port = folder.path().join("ports/2");
    write(&port, "state", "4: ACTIVE\n");
    write(&port, "phys_state", "5: LinkUp\n");
    write(&port, "link_layer", "Ethernet\n");
    write(&port, "rate", "100 Gb/sec (4X EDR)\n");
    write(&port, "gids/0", "fe80:0000:0000:0000:0000:00ff:fe00:0001\n");
    write(&port, "gids/1", "0000:0000:0000:0000:0000:0000:0000:0000\n");
    write(&port, "gids/10", "0000:0000:0000:0000:0000:ffff:0a00:0001\n");
    write(&port, "gid_attrs/types/10", "RoCE v2\n");
    write(&port, "gid_attrs/ndevs/10", "eth0\n");
    let expected = Port {
        number: 2,
        state: Some("ACTIVE".into()),
        physical_state: Some("LinkUp".into()),
        link_layer: Some("Ethernet".into()),
        rate: Some("100 Gb/sec (4X EDR)".into()),
        lid: None,
        gids: vec![
            Gid { index: 0, gid: "fe80::ff:fe00:1".parse().unwrap(), kind: None, interface: None },
            Gid {
                index: 10,
                gid: "::ffff:10.0.0.1".parse().unwrap(),
                kind: Some("RoCE v2".into()),
                interface: Some("eth0".into()),
            },
        ],
    };
    assert_eq!(ports(folder.path()), [expected]);
}

#[test]
fn a_device_without_folder_has_no_ports() {
    assert_eq!(ports(Path::new("/nonexistent")), []);
}
