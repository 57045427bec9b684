//! The part of sysfs in which libibverbs looks for devices, and what tools read about them.

use std::fs;
use std::path::Path;

use connectx::config::Link;
use connectx::port::{self, Gid, Port};

use super::error::ConnectxError;

/// Version of the uverbs interface, and of mlx5's part of it.
const VERSIONS: (&str, &str) = ("6", "1");

/// Writes the tree below `root`; `SYSFS_PATH` is to name it.
///
/// # Errors
/// [`ConnectxError::File`].
pub(super) fn write(root: &Path, link: Link) -> Result<(), ConnectxError> {
    let files = [character_device(), device(), port(&Port::new(link))].concat();
    files.iter().try_for_each(|(name, content)| {
        let path = root.join(name);
        let folder = path.parent().unwrap_or(root);
        fs::create_dir_all(folder).map_err(ConnectxError::file(folder))?;
        fs::write(&path, format!("{content}\n")).map_err(ConnectxError::file(&path))
    })
}

/// Path and content, which ends with a newline in the file.
type File = (String, String);

fn character_device() -> Vec<File> {
    let (major, minor) = port::UVERBS_NUMBER;
    let folder = format!("class/infiniband_verbs/{}", port::UVERBS);
    vec![
        ("class/infiniband_verbs/abi_version".to_owned(), VERSIONS.0.to_owned()),
        (format!("{folder}/abi_version"), VERSIONS.1.to_owned()),
        (format!("{folder}/ibdev"), port::DEVICE.to_owned()),
        (format!("{folder}/dev"), format!("{major}:{minor}")),
    ]
}

fn device() -> Vec<File> {
    let (major, minor, sub_minor) = port::FIRMWARE;
    let modalias = format!("pci:v{:08X}d{:08X}sv{0:08X}sd00000008bc02sc00i00", port::VENDOR, port::PART);
    let files = [
        ("node_type", "1: CA".to_owned()),
        ("node_guid", groups(&port::NODE_GUID.to_be_bytes())),
        ("sys_image_guid", groups(&port::NODE_GUID.to_be_bytes())),
        ("node_desc", "simulated ConnectX".to_owned()),
        ("fw_ver", format!("{major}.{minor}.{sub_minor:04}")),
        ("board_id", port::BOARD.to_owned()),
        ("hca_type", format!("MT{}", port::PART)),
        ("device/modalias", modalias),
        ("device/vendor", format!("{:#06x}", port::VENDOR)),
        ("device/device", format!("{:#06x}", port::PART)),
        ("device/numa_node", "-1".to_owned()),
    ];
    files.map(|(name, content)| (format!("class/infiniband/{}/{name}", port::DEVICE), content)).into()
}

fn port(port: &Port) -> Vec<File> {
    let link_layer = if port.link == Link::Ethernet { "Ethernet" } else { "InfiniBand" };
    let mut files = vec![
        ("state".to_owned(), "4: ACTIVE".to_owned()),
        ("phys_state".to_owned(), "5: LinkUp".to_owned()),
        ("rate".to_owned(), "100 Gb/sec (4X EDR)".to_owned()),
        ("link_layer".to_owned(), link_layer.to_owned()),
        ("lid".to_owned(), format!("{:#x}", port.lid)),
        ("sm_lid".to_owned(), format!("{:#x}", port.manager_lid)),
    ];
    let keys = port.partition_keys.iter().enumerate();
    files.extend(keys.map(|(index, key)| (format!("pkeys/{index}"), format!("{key:#06x}"))));
    files.extend(port.gids.iter().enumerate().flat_map(|(index, gid)| gid_files(index, gid, port.link)));
    let name = |(name, content)| (format!("class/infiniband/{}/ports/1/{name}", port::DEVICE), content);
    files.into_iter().map(name).collect()
}

fn gid_files(index: usize, gid: &Gid, link: Link) -> Vec<File> {
    let mut files = vec![
        (format!("gids/{index}"), groups(&gid.raw)),
        (format!("gid_attrs/types/{index}"), gid.kind.to_owned()),
    ];
    if link == Link::Ethernet {
        // An interface that every machine has.
        files.push((format!("gid_attrs/ndevs/{index}"), "lo".to_owned()));
    }
    files
}

/// Pairs of bytes in hexadecimal digits, with colons.
fn groups(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.chunks(2).map(|pair| format!("{:02x}{:02x}", pair[0], pair[1])).collect();
    pairs.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(root: &Path, name: &str) -> String {
        fs::read_to_string(root.join("class").join(name)).expect("written").trim_end().to_owned()
    }

    #[test]
    fn libibverbs_finds_what_it_looks_for() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path(), Link::InfiniBand).expect("written");
        let root = folder.path();
        assert_eq!(read(root, "infiniband_verbs/abi_version"), "6");
        assert_eq!(read(root, "infiniband_verbs/uverbs0/ibdev"), "mlx5_0");
        assert_eq!(read(root, "infiniband_verbs/uverbs0/dev"), "231:192");
        assert_eq!(read(root, "infiniband/mlx5_0/node_guid"), "0c42:a103:00ab:cdef");
        let modalias = read(root, "infiniband/mlx5_0/device/modalias");
        assert!(modalias.starts_with("pci:v000015B3d00001019sv"), "{modalias}");
        let gid = read(root, "infiniband/mlx5_0/ports/1/gids/0");
        assert_eq!(gid, "fe80:0000:0000:0000:0c42:a103:00ab:cdef");
    }

    #[test]
    fn a_roce_port_has_versions_and_interfaces() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write(folder.path(), Link::Ethernet).expect("written");
        let kinds: Vec<String> = (0..4)
            .map(|index| read(folder.path(), &format!("infiniband/mlx5_0/ports/1/gid_attrs/types/{index}")))
            .collect();
        assert_eq!(kinds, ["IB/RoCE v1", "RoCE v2", "IB/RoCE v1", "RoCE v2"]);
        assert_eq!(read(folder.path(), "infiniband/mlx5_0/ports/1/gid_attrs/ndevs/3"), "lo");
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let error = write(Path::new("/proc/nowhere"), Link::InfiniBand).expect_err("not a place for files");
        assert!(error.to_string().starts_with("/proc/nowhere"), "{error}");
    }
}
