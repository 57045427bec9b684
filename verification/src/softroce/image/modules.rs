//! Which kernel modules the guest loads, and in which order. Called by `image` with an unpacked kernel package.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// What the guest needs of its kernel, dependencies aside: checksums that soft-RoCE asks for by name, links, soft-RoCE
/// and its user interfaces, faults, and the host's files.
pub(super) const WANTED: &[&str] = &[
    "crc32_generic",
    "crc32c_generic",
    "veth",
    "virtio_net",
    "ib_uverbs",
    "rdma_rxe",
    "rdma_ucm",
    "sch_netem",
    "virtio_pci",
    "9p",
    "9pnet_virtio",
    "overlay",
];

/// A name that is neither a module nor built in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernel has no module {0}")]
pub(crate) struct NoSuchModule(pub(crate) String);

/// The modules of a kernel, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Modules {
    files: BTreeMap<String, PathBuf>,
    builtin: BTreeSet<String>,
}

impl Modules {
    /// Finds the modules below `lib/modules/RELEASE`.
    pub(super) fn find(folder: &Path) -> io::Result<Self> {
        let builtin = fs::read_to_string(folder.join("modules.builtin"))?;
        let builtin = builtin.lines().filter_map(|line| name_of(Path::new(line))).collect();
        let mut files = BTreeMap::new();
        collect(&folder.join("kernel"), &mut files)?;
        Ok(Self { files, builtin })
    }

    /// The wanted modules and all that they depend on, each after its dependencies.
    ///
    /// `dependencies` says what a file depends on.
    pub(super) fn order<Failure: From<NoSuchModule>>(
        &self,
        wanted: &[&str],
        dependencies: &mut dyn FnMut(&Path) -> Result<Vec<String>, Failure>,
    ) -> Result<Vec<(String, PathBuf)>, Failure> {
        let mut order = Order { modules: self, dependencies, seen: BTreeSet::new(), sorted: Vec::new() };
        wanted.iter().try_for_each(|name| order.visit(name))?;
        Ok(order.sorted)
    }
}

struct Order<'a, Failure> {
    modules: &'a Modules,
    dependencies: &'a mut dyn FnMut(&Path) -> Result<Vec<String>, Failure>,
    seen: BTreeSet<String>,
    sorted: Vec<(String, PathBuf)>,
}

impl<Failure: From<NoSuchModule>> Order<'_, Failure> {
    fn visit(&mut self, name: &str) -> Result<(), Failure> {
        if self.modules.builtin.contains(name) || !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let file = self.modules.files.get(name).ok_or_else(|| NoSuchModule(name.to_owned()))?;
        for dependency in (self.dependencies)(file)? {
            self.visit(&dependency)?;
        }
        self.sorted.push((name.to_owned(), file.clone()));
        Ok(())
    }
}

/// What a module's own description says that it depends on.
pub(super) fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"depends=";
    let starts = module.windows(KEY.len()).enumerate();
    let start = starts
        .filter(|(at, window)| *window == KEY && (*at == 0 || module[at - 1] == 0))
        .map(|(at, _)| at + KEY.len())
        .next();
    let value = start.and_then(|start| module[start..].split(|byte| *byte == 0).next()).unwrap_or_default();
    let names = value.split(|byte| *byte == b',').filter(|name| !name.is_empty());
    names.map(|name| String::from_utf8_lossy(name).replace('-', "_")).collect()
}

fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else if let Some(name) = name_of(&entry.path()) {
            files.insert(name, entry.path());
        }
    }
    Ok(())
}

/// `drivers/net/virtio-net.ko.xz` is `virtio_net`: the kernel knows no hyphens.
fn name_of(path: &Path) -> Option<String> {
    let (name, rest) = path.file_name().and_then(OsStr::to_str)?.split_once(".ko")?;
    matches!(rest, "" | ".xz" | ".zst").then(|| name.replace('-', "_"))
}
