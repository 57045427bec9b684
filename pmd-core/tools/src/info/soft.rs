//! What the soft HCA may use on this host: shared memory, huge pages, the kernel's copy between processes, cores.

use std::{fs, io::IoSliceMut, path::Path};

use nix::{
    sched::{CpuSet, sched_getaffinity},
    sys::{
        memfd::{MFdFlags, memfd_create},
        uio::{RemoteIoVec, process_vm_readv},
    },
    unistd::Pid,
};
use serde::Serialize;

/// The soft HCA's means.
#[derive(Debug, Serialize)]
pub(super) struct Soft {
    pub(super) memfd: Finding,
    pub(super) process_vm: ProcessVm,
    pub(super) huge_pages: Vec<HugePages>,
    /// Cores that this process may run on.
    pub(super) cores: Vec<usize>,
}

/// Whether something works.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) works: bool,
    /// What the system said.
    pub(super) reason: Option<String>,
}

/// `process_vm_readv` and `process_vm_writev`: how memory outside of arenas is reached.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct ProcessVm {
    /// Whether two processes of this user may copy from each other.
    pub(super) permitted: bool,
    /// `kernel.yama.ptrace_scope`; none where the module is not there.
    pub(super) yama_ptrace_scope: Option<u32>,
    /// Why not, or on which condition.
    pub(super) reason: Option<String>,
}

/// Huge pages of one size.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct HugePages {
    pub(super) size_kib: u64,
    pub(super) configured: u64,
    pub(super) free: u64,
}

/// Looks.
pub(super) fn probe() -> Soft {
    Soft {
        memfd: memfd(),
        process_vm: process_vm(),
        huge_pages: huge_pages(Path::new("/sys/kernel/mm/hugepages")),
        cores: cores(),
    }
}

fn memfd() -> Finding {
    let made = memfd_create(c"pmd-info", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING);
    Finding { works: made.is_ok(), reason: made.err().map(|error| error.to_string()) }
}

/// Reads a byte of this process: a sandbox that forbids the call forbids that too. Between processes Yama decides.
fn process_vm() -> ProcessVm {
    let source = [0x5a_u8];
    let mut target = [0_u8];
    let remote = RemoteIoVec { base: source.as_ptr().addr(), len: 1 };
    let read = process_vm_readv(Pid::this(), &mut [IoSliceMut::new(&mut target)], &[remote]);
    let scope = number(Path::new("/proc/sys/kernel/yama/ptrace_scope"));
    let refused = match read {
        Ok(1) if target == source => None,
        Ok(_) => Some("the call read something else".to_owned()),
        Err(error) => Some(format!("process_vm_readv: {error}")),
    };
    judge(refused, scope.and_then(|scope| u32::try_from(scope).ok()))
}

/// Puts the two findings together (Linux Documentation/admin-guide/LSM/Yama.rst).
fn judge(refused: Option<String>, yama_ptrace_scope: Option<u32>) -> ProcessVm {
    let (permitted, reason) = match (refused, yama_ptrace_scope) {
        (Some(reason), _) => (false, Some(reason)),
        (None, None | Some(0)) => (true, None),
        (None, Some(1)) => (true, Some("the soft HCA lifts ptrace_scope 1 for its process".to_owned())),
        (None, Some(2)) => (false, Some("ptrace_scope 2 asks for CAP_SYS_PTRACE".to_owned())),
        (None, Some(_)) => (false, Some("ptrace_scope 3 forbids it".to_owned())),
    };
    ProcessVm { permitted, yama_ptrace_scope, reason }
}

fn huge_pages(folder: &Path) -> Vec<HugePages> {
    let mut found: Vec<_> = names(folder)
        .filter_map(|name| {
            let size_kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let count = |file| number(&folder.join(&name).join(file)).unwrap_or(0);
            Some(HugePages { size_kib, configured: count("nr_hugepages"), free: count("free_hugepages") })
        })
        .collect();
    found.sort_by_key(|pages| pages.size_kib);
    found
}

fn cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Vec::new() };
    (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
}

fn names(folder: &Path) -> impl Iterator<Item = String> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
