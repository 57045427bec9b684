//! What an image is made of, without a package or a kernel at hand.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cpio::Archive;
use super::modules::{Modules, NoSuchModule, dependencies};
use super::packages::{file_of, first_dependency};
use super::vmlinux::{Compression, VmlinuxError, check_elf, payload};

/// A member of an archive, as the kernel reads it.
#[derive(Debug, PartialEq, Eq)]
struct Member {
    name: String,
    mode: u32,
    content: Vec<u8>,
}

/// Reads an archive to its end, by the rules of the kernel's documentation.
fn read(archive: &[u8]) -> Vec<Member> {
    let mut members = Vec::new();
    let mut at = 0;
    loop {
        assert_eq!((&archive[at..at + 6], at % 4), (b"070701".as_slice(), 0));
        let field = |number: usize| {
            let from = at + 6 + 8 * number;
            u32::from_str_radix(std::str::from_utf8(&archive[from..from + 8]).expect("digits"), 16)
                .expect("hex")
        };
        let (mode, length, name_length) = (field(1), field(6) as usize, field(11) as usize);
        let name = &archive[at + 110..at + 110 + name_length];
        let from = (at + 110 + name_length).next_multiple_of(4);
        let name = String::from_utf8(name[..name_length - 1].to_vec()).expect("a name");
        at = (from + length).next_multiple_of(4);
        if name == "TRAILER!!!" {
            assert_eq!(at, archive.len());
            return members;
        }
        members.push(Member { name, mode, content: archive[from..from + length].to_vec() });
    }
}

#[test]
fn an_archive_holds_what_was_added() {
    let mut archive = Archive::default();
    archive.folder("bin");
    archive.program("bin/tool", b"12345");
    archive.link("bin/other", "tool");
    archive.file("empty", b"");
    let member =
        |name: &str, mode, content: &[u8]| Member { name: name.to_owned(), mode, content: content.to_vec() };
    assert_eq!(
        read(&archive.finish()),
        [
            member("bin", 0o040_755, b""),
            member("bin/tool", 0o100_755, b"12345"),
            member("bin/other", 0o120_777, b"tool"),
            member("empty", 0o100_644, b""),
        ]
    );
}

#[test]
fn an_empty_archive_has_an_end() {
    assert_eq!(read(&Archive::default().finish()), []);
}

/// A folder of modules; each file is named by a path and holds `depends=` with what follows.
fn folder(modules: &[(&str, &str)], builtin: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("modules.builtin"), builtin).expect("a file");
    for (path, depends) in modules {
        let path = folder.path().join("kernel").join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, format!("\x7fELF\0name=x\0depends={depends}\0vermagic=6.1\0")).expect("a file");
    }
    folder
}

fn order(folder: &Path, wanted: &[&str]) -> Result<Vec<String>, NoSuchModule> {
    let modules = Modules::find(folder).expect("modules");
    let read = |file: &Path| Ok::<_, NoSuchModule>(dependencies(&std::fs::read(file).expect("a module")));
    let order: Vec<(String, PathBuf)> = modules.order(wanted, &mut { read })?;
    Ok(order.into_iter().map(|(name, _)| name).collect())
}

#[test]
fn modules_come_after_what_they_depend_on() {
    let folder = folder(
        &[
            ("drivers/rdma_rxe.ko", "ib_core,ib-uverbs,udp_tunnel"),
            ("drivers/ib_uverbs.ko.xz", "ib_core"),
            ("drivers/core/ib_core.ko", ""),
            ("net/udp_tunnel.ko", ""),
            ("net/veth.ko", ""),
        ],
        "kernel/net/core/failover.ko\n",
    );
    let sorted = order(folder.path(), &["veth", "rdma_rxe", "ib_uverbs", "failover"]);
    assert_eq!(
        sorted.as_deref(),
        Ok(["veth", "ib_core", "ib_uverbs", "udp_tunnel", "rdma_rxe"].map(str::to_owned).as_slice())
    );
}

#[test]
fn modules_that_depend_on_each_other_end() {
    let folder = folder(&[("a.ko", "b"), ("b.ko", "a")], "");
    assert_eq!(order(folder.path(), &["a"]).as_deref(), Ok(["b", "a"].map(str::to_owned).as_slice()));
}

#[test]
fn a_missing_module_is_named() {
    let folder = folder(&[("a.ko", "rdma_rxe")], "");
    assert_eq!(order(folder.path(), &["a"]), Err(NoSuchModule("rdma_rxe".to_owned())));
}

#[test]
fn dependencies_are_a_string_of_their_own() {
    assert_eq!(dependencies(b"depends=a,b-c\0softdepends=d\0"), ["a", "b_c"]);
    assert_eq!(dependencies(b"\0softdepends=d\0depends=\0"), [""; 0]);
    assert_eq!(dependencies(b"\0depends=a"), ["a"]);
    assert_eq!(dependencies(b""), [""; 0]);
}

/// A compressed kernel whose payload is at 0x40 after one setup sector.
fn kernel(payload: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 2 * 512 + 0x40];
    file[0x1f1] = 1;
    file[0x202..0x206].copy_from_slice(b"HdrS");
    file[0x206..0x208].copy_from_slice(&[0x0f, 0x02]);
    file[0x248] = 0x40;
    file[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).expect("small").to_le_bytes());
    file.extend(payload);
    file
}

#[test]
fn the_payload_is_cut_out_without_its_length() {
    let xz = b"\xfd7zXZ\0stream\x10\x20\0\0";
    let file = kernel(xz);
    assert_eq!(payload(&file), Ok((Compression::Xz, &xz[..xz.len() - 4])));
    let zstandard = b"\x28\xb5\x2f\xfdstream\x10\x20\0\0";
    assert_eq!(payload(&kernel(zstandard)).map(|(compression, _)| compression), Ok(Compression::Zstandard));
}

#[test]
fn without_a_number_of_setup_sectors_there_are_four() {
    let mut file = kernel(b"");
    file[0x1f1] = 0;
    file.resize(5 * 512 + 0x40, 0);
    file.extend(b"\xfd7zXZ\0\0\0\0\0");
    file[0x24c] = 10;
    assert_eq!(payload(&file), Ok((Compression::Xz, b"\xfd7zXZ\0".as_slice())));
}

#[test]
fn every_cut_of_a_kernel_is_refused() {
    let file = kernel(b"\xfd7zXZ\0stream\0\0\0\0");
    for length in 0..file.len() - 4 {
        let refused = payload(&file[..length]).expect_err("a cut kernel");
        assert!(
            matches!(refused, VmlinuxError::NoHeader | VmlinuxError::Truncated { .. }),
            "{length}: {refused}"
        );
    }
}

#[test]
fn other_files_are_not_kernels() {
    assert_eq!(payload(&[0; 4096]), Err(VmlinuxError::NoHeader));
    assert_eq!(
        payload(&kernel(b"\x1f\x8b\x08\0....")),
        Err(VmlinuxError::UnknownCompression([0x1f, 0x8b, 8, 0]))
    );
    assert_eq!(
        payload(&kernel(b"")).err(),
        Some(VmlinuxError::Truncated { from: 1088, to: 1088, length: 1088 })
    );
    let mut old = kernel(b"");
    old[0x206] = 7;
    assert_eq!(payload(&old), Err(VmlinuxError::OldProtocol { version: 0x207 }));
    assert_eq!((check_elf(b"\x7fELF\x02"), check_elf(b"")), (Ok(()), Err(VmlinuxError::NotElf)));
}

#[test]
fn a_payload_beyond_the_file_is_refused() {
    let mut file = kernel(b"\xfd7zXZ\0stream\0\0\0\0");
    file[0x24c..0x250].copy_from_slice(&u32::MAX.to_le_bytes());
    file[0x248..0x24c].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(payload(&file), Err(VmlinuxError::Truncated { .. })));
}

#[test]
fn apt_names_the_kernel_and_the_files() {
    let depends = "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n  Conflicts: x\n";
    assert_eq!(first_dependency(depends), Some("linux-image-6.1.0-56-amd64"));
    assert_eq!(first_dependency(""), None);
    let uris = "'http://m/b%2bb1_amd64.deb' busybox-static_1%3a1.35.0-4+b1_amd64.deb 928188 SHA256:3d\n\
        'http://m/l.deb' linux-image-6.1.0-56-amd64_6.1.192-2_amd64.deb 70550672 SHA256:a8\n";
    let expected = BTreeMap::from([
        ("busybox-static", Some("busybox-static_1%3a1.35.0-4+b1_amd64.deb".to_owned())),
        ("linux-image-6.1.0-56-amd64", Some("linux-image-6.1.0-56-amd64_6.1.192-2_amd64.deb".to_owned())),
        ("linux-image", None),
    ]);
    for (package, file) in expected {
        assert_eq!(file_of(uris, package), file);
    }
}
