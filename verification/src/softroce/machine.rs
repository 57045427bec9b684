//! Boots a guest under QEMU's emulation and brings back what it wrote and how it ended. Called by `softroce` and `two`.
//!
//! The machine has one processor, no screen, a serial line that is this process's input, and this machine's files,
//! read-only. It ends by itself, or is ended when its time is over.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use super::error::SoftroceError;
use super::image::{Archive, Image};
use super::transcript::is_told;
use crate::process::{Ended, Task};

const EMULATOR: &str = "qemu-system-x86_64";

/// No screen, no default devices, a port that ends the machine with an exit code.
const MACHINE: &[&str] = &[
    "-machine",
    "pc,usb=off,vmport=off",
    "-accel",
    "tcg",
    "-cpu",
    "max",
    "-smp",
    "1",
    "-m",
    "1024",
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-serial",
    "stdio",
    "-monitor",
    "none",
    "-no-reboot",
    "-nic",
    "none",
    "-device",
    "isa-debug-exit,iobase=0xf4,iosize=1",
];

/// For the kernel: only what ends it is worth a line among those of `main`, a panic ends the machine, and nothing waits
/// for entropy or guards against other tenants. The clock keeps its watchdog: a busy host can make the guest take its
/// processor for three times slower than it is.
const KERNEL_COMMAND_LINE: &str =
    "console=ttyS0 loglevel=2 panic=-1 mitigations=off nokaslr random.trust_cpu=1";

/// How long a machine may take beyond its work: the slowest boot on a busy machine, and the way down.
const BOOT: Duration = Duration::from_secs(60);

/// How many lines of a guest's output tell why it failed.
const TAIL: usize = 40;

/// A guest to boot.
#[derive(Debug, Clone)]
pub(super) struct Machine<'a> {
    /// Its kernel and first file system.
    pub(super) image: &'a Image,
    /// What it is to do, by file name.
    pub(super) errand: Vec<(String, String)>,
    /// Its network card, if it has one.
    pub(super) card: Option<Card>,
    /// How long its work may take.
    pub(super) limit: Duration,
}

/// A network card whose cable is a socket, and a folder that both of its ends share.
#[derive(Debug, Clone)]
pub(super) struct Card {
    /// The socket.
    pub(super) socket: PathBuf,
    /// Whether this end makes the socket; the other one waits for it.
    pub(super) listens: bool,
    /// The folder.
    pub(super) shared: PathBuf,
}

/// A guest that has ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Boot {
    /// What it wrote.
    pub(super) output: String,
    /// The exit code of its work, at most 126.
    pub(super) code: u8,
}

impl Machine<'_> {
    /// Boots the guest and waits for its end; `watch` hears its lines.
    pub(super) fn boot(&self, watch: &mut dyn FnMut(Option<&str>)) -> Result<Boot, SoftroceError> {
        let scratch = tempfile::tempdir().map_err(SoftroceError::file(&std::env::temp_dir()))?;
        let files = scratch.path().join("files.cpio");
        self.write_files(&files)?;
        let task = Task::new(EMULATOR, scratch.path())
            .args(self.arguments(&files))
            .limit(self.limit.saturating_add(BOOT));
        let package = "qemu-system-x86";
        let failed = |source| SoftroceError::NoProgram { program: EMULATOR.to_owned(), package, source };
        judge(task.run(watch).map_err(failed)?)
    }

    /// The first file system with this guest's errand.
    fn write_files(&self, place: &Path) -> Result<(), SoftroceError> {
        let mut archive = Archive::default();
        archive.folder("guest/steps");
        for (name, content) in &self.errand {
            archive.file(&format!("guest/{name}"), content.as_bytes());
        }
        let mut bytes = std::fs::read(&self.image.first).map_err(SoftroceError::file(&self.image.first))?;
        bytes.extend(archive.finish());
        std::fs::write(place, bytes).map_err(SoftroceError::file(place))
    }

    fn arguments(&self, files: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = MACHINE.iter().map(OsString::from).collect();
        arguments.extend(
            ["-virtfs", "local,path=/,mount_tag=host,security_model=none,multidevs=remap,readonly=on"]
                .map(OsString::from),
        );
        arguments.extend(["-append", KERNEL_COMMAND_LINE].map(OsString::from));
        arguments.extend([
            "-kernel".into(),
            self.image.kernel.clone().into(),
            "-initrd".into(),
            files.into(),
        ]);
        arguments.extend(self.card.iter().flat_map(Card::arguments));
        arguments
    }
}

impl Card {
    /// A card that carries packets of 4,096 bytes of payload whole; each end has an address of its own.
    fn arguments(&self) -> Vec<OsString> {
        let server = if self.listens { "on" } else { "off" };
        let address = format!("52:54:00:00:07:{:02x}", u8::from(self.listens));
        let path = option_value(&self.socket);
        let shared = option_value(&self.shared);
        [
            "-netdev".to_owned(),
            format!("stream,id=cable,server={server},addr.type=unix,addr.path={path}"),
            "-device".to_owned(),
            format!("virtio-net-pci,netdev=cable,mac={address},host_mtu=4200,romfile="),
            "-virtfs".to_owned(),
            format!("local,path={shared},mount_tag=shared,security_model=none,multidevs=remap"),
        ]
        .map(OsString::from)
        .to_vec()
    }
}

/// A path inside of an option, where a comma would end it.
fn option_value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

fn judge(ended: Ended) -> Result<Boot, SoftroceError> {
    let output = ended.output;
    let Some(status) = ended.status else {
        return Err(SoftroceError::Overdue { seconds: ended.limit.as_secs(), tail: tail(&output) });
    };
    match exit_code(status) {
        Verdict::Code(code) => Ok(Boot { output, code }),
        Verdict::Emulator => Err(SoftroceError::Emulator { output: tail(&output) }),
        Verdict::Nothing => Err(SoftroceError::NoVerdict { tail: tail(&output) }),
    }
}

/// What QEMU's exit status says of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The guest's work ended with this exit code.
    Code(u8),
    /// QEMU itself failed.
    Emulator,
    /// The guest went down, or QEMU was killed.
    Nothing,
}

/// The port gives QEMU the exit status 2 * (code + 1) + 1.
fn exit_code(status: ExitStatus) -> Verdict {
    match status.code() {
        Some(1) => Verdict::Emulator,
        Some(odd) if odd > 1 && odd % 2 == 1 => {
            u8::try_from(odd / 2 - 1).map_or(Verdict::Nothing, Verdict::Code)
        }
        _ => Verdict::Nothing,
    }
}

/// The last lines of an output, those left out that are told to `transcript`.
pub(super) fn tail(output: &str) -> String {
    let for_people = |line: &&str| !line.trim().is_empty() && !is_told(line);
    let lines: Vec<&str> = output.lines().filter(for_people).collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    fn exited(code: i32) -> ExitStatus {
        ExitStatus::from_raw(code << 8)
    }

    fn ended(status: Option<ExitStatus>) -> Ended {
        let (stdout, stderr, limit) = (String::new(), String::new(), Duration::from_secs(7));
        Ended { status, stdout, stderr, output: "panic\n".to_owned(), limit, left_behind: Vec::new() }
    }

    #[test]
    fn only_the_port_gives_an_exit_code() {
        assert_eq!(exit_code(exited(3)), Verdict::Code(0));
        assert_eq!(exit_code(exited(5)), Verdict::Code(1));
        assert_eq!(exit_code(exited(255)), Verdict::Code(126));
        assert_eq!(exit_code(exited(1)), Verdict::Emulator);
        assert_eq!(exit_code(exited(0)), Verdict::Nothing);
        assert_eq!(exit_code(exited(4)), Verdict::Nothing);
        assert_eq!(exit_code(ExitStatus::from_raw(9)), Verdict::Nothing);
    }

    #[test]
    fn a_guest_that_hangs_or_dies_is_a_failure_with_its_last_lines() {
        assert!(
            matches!(judge(ended(None)), Err(SoftroceError::Overdue { seconds: 7, tail }) if tail == "panic")
        );
        assert!(
            matches!(judge(ended(Some(exited(0)))), Err(SoftroceError::NoVerdict { tail }) if tail == "panic")
        );
        assert!(matches!(judge(ended(Some(exited(1)))), Err(SoftroceError::Emulator { .. })));
    }

    #[test]
    fn the_tail_is_short() {
        let output: String = (0..100).map(|line| format!("line {line}\n\n")).collect();
        let tail = tail(&output);
        assert_eq!((tail.lines().count(), tail.lines().next()), (TAIL, Some("line 60")));
    }

    #[test]
    fn commas_in_paths_do_not_end_options() {
        assert_eq!(option_value(Path::new("/a,b")), "/a,,b");
    }
}
