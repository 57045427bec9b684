//! The guest's kernel and first file system, made from Debian packages and kept for the next run.
//!
//! ```text
//! kernel package -> vmlinux (ELF), modules in order --+
//! busybox-static -> the first process's shell --------+-> target/softroce/KERNEL-FINGERPRINT/{vmlinux,first.cpio}
//! softroce/init -> the first process -----------------+
//! ```
//! Called by `softroce` before it boots anything. Everything else that a guest runs is this machine's own files.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::unistd::Uid;

use super::error::SoftroceError;

pub(super) use cpio::Archive;
pub(crate) use modules::NoSuchModule;
pub(crate) use vmlinux::VmlinuxError;

use modules::Modules;
use packages::Sources;
use vmlinux::Compression;

mod cpio;
mod modules;
mod packages;
#[cfg(test)]
mod tests;
mod vmlinux;

/// The guest's first process.
const INIT: &str = include_str!("../../../softroce/init");

/// What the first process runs; busybox is all of them.
const TOOLS: &[&str] =
    &["sh", "mount", "mkdir", "cp", "cat", "insmod", "chroot", "printf", "dd", "stty", "poweroff"];

/// Folders of the first file system beside those of its files.
const FOLDERS: &[&str] = &["bin", "dev", "proc", "sys", "modules", "guest", "root"];

/// A kernel and a first file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Image {
    /// The kernel, as an ELF file.
    pub(super) kernel: PathBuf,
    /// An archive of the first file system.
    pub(super) first: PathBuf,
}

impl Image {
    fn at(folder: &Path) -> Self {
        Self { kernel: folder.join("vmlinux"), first: folder.join("first.cpio") }
    }

    fn exists(&self) -> bool {
        self.kernel.exists() && self.first.exists()
    }
}

/// The image for the present kernel package: the kept one, or else a new one.
///
/// Where the packages cannot be had the newest kept image serves; without one root brings apt's lists up to date and
/// tries again.
pub(super) fn prepare(cache: &Path, say: &mut dyn FnMut(&str)) -> Result<Image, SoftroceError> {
    let recipe = fingerprint();
    match present(cache, &recipe, say) {
        Err(error) if error.is_missing_here() => match kept(cache, &recipe) {
            Some(image) => Ok(image),
            None if Uid::effective().is_root() => {
                packages::update(say)?;
                present(cache, &recipe, say)
            }
            None => Err(error),
        },
        image => image,
    }
}

fn present(cache: &Path, recipe: &str, say: &mut dyn FnMut(&str)) -> Result<Image, SoftroceError> {
    let sources = Sources::find()?;
    let name = format!("{}-{recipe}", sources.kernel.trim_end_matches(".deb"));
    let image = Image::at(&cache.join(&name));
    if !image.exists() {
        say(&format!("making the guest of {} and {}", sources.kernel, sources.shell));
        let packages = cache.join("packages");
        fs::create_dir_all(&packages).map_err(SoftroceError::file(&packages))?;
        sources.download(&packages)?;
        make(&packages, &sources, &cache.join(&name))?;
        forget_others(cache, &[&name, "packages"]);
    }
    Ok(image)
}

/// Removes what was made of other packages or in other ways; what cannot be removed is only in the way.
fn forget_others(cache: &Path, kept: &[&str]) {
    let entries = fs::read_dir(cache).into_iter().flatten().flatten();
    let others = entries.filter(|entry| kept.iter().all(|name| entry.file_name() != *name));
    others.for_each(|entry| drop(fs::remove_dir_all(entry.path())));
}

/// What an image depends on besides the packages.
fn fingerprint() -> String {
    let mut hasher = DefaultHasher::new();
    (INIT, TOOLS, FOLDERS, modules::WANTED).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The newest image that was made in the same way.
fn kept(cache: &Path, recipe: &str) -> Option<Image> {
    let folders = fs::read_dir(cache).ok()?.flatten().map(|entry| entry.path());
    let same = folders.filter(|folder| folder.to_string_lossy().ends_with(recipe));
    let made = |folder: &PathBuf| fs::metadata(folder).and_then(|metadata| metadata.modified()).ok();
    same.filter(|folder| Image::at(folder).exists()).max_by_key(made).map(|folder| Image::at(&folder))
}

/// Makes an image beside its place and moves it there whole.
fn make(packages: &Path, sources: &Sources, place: &Path) -> Result<(), SoftroceError> {
    let scratch = tempfile::tempdir_in(packages).map_err(SoftroceError::file(packages))?;
    let kernel = packages::unpack(&packages.join(&sources.kernel), scratch.path().join("kernel"))?;
    let shell = packages::unpack(&packages.join(&sources.shell), scratch.path().join("shell"))?;
    let made = scratch.path().join("image");
    fs::create_dir(&made).map_err(SoftroceError::file(&made))?;
    let image = Image::at(&made);
    take_kernel(&kernel, &image.kernel)?;
    write(&image.first, &first_file_system(&kernel, &read(&shell.join("bin/busybox"))?)?)?;
    match fs::rename(&made, place) {
        // Another run may have been quicker.
        Err(_) if Image::at(place).exists() => Ok(()),
        moved => moved.map_err(SoftroceError::file(place)),
    }
}

fn take_kernel(package: &Path, vmlinux: &Path) -> Result<(), SoftroceError> {
    let file = only_entry(&package.join("boot"), "vmlinuz-")?;
    let compressed = read(&file)?;
    let (compression, stream) = vmlinux::payload(&compressed)?;
    let kernel = decompress(compression, stream)?;
    vmlinux::check_elf(&kernel)?;
    write(vmlinux, &kernel)
}

fn first_file_system(kernel: &Path, busybox: &[u8]) -> Result<Vec<u8>, SoftroceError> {
    let folder = only_entry(&kernel.join("lib/modules"), "")?;
    let modules = Modules::find(&folder).map_err(SoftroceError::file(&folder))?;
    let order = modules
        .order(modules::WANTED, &mut |file| Ok::<_, SoftroceError>(modules::dependencies(&module(file)?)))?;
    let mut archive = Archive::default();
    FOLDERS.iter().for_each(|folder| archive.folder(folder));
    archive.program("bin/busybox", busybox);
    TOOLS.iter().for_each(|tool| archive.link(&format!("bin/{tool}"), "busybox"));
    for (name, file) in &order {
        archive.file(&format!("modules/{name}.ko"), &module(file)?);
    }
    let names: String = order.iter().flat_map(|(name, _)| [name, "\n"]).collect();
    archive.file("modules/order", names.as_bytes());
    archive.program("init", INIT.as_bytes());
    Ok(archive.finish())
}

/// A module as the kernel loads it.
fn module(file: &Path) -> Result<Vec<u8>, SoftroceError> {
    let content = read(file)?;
    match file.extension().and_then(OsStr::to_str) {
        Some("xz") => decompress(Compression::Xz, &content),
        Some("zst") => decompress(Compression::Zstandard, &content),
        _ => Ok(content),
    }
}

/// Runs the compression's command; a file carries the input, so that neither pipe can fill up.
fn decompress(compression: Compression, stream: &[u8]) -> Result<Vec<u8>, SoftroceError> {
    let [program, option] = compression.command();
    let failed = |source| SoftroceError::NoProgram {
        program: program.to_owned(),
        package: compression.package(),
        source,
    };
    let input = tempfile::NamedTempFile::new().map_err(SoftroceError::file(&std::env::temp_dir()))?;
    write(input.path(), stream)?;
    let reopened = File::open(input.path()).map_err(SoftroceError::file(input.path()))?;
    let ended =
        Command::new(program).arg(option).stdin(reopened).stderr(Stdio::piped()).output().map_err(failed)?;
    if ended.status.success() {
        return Ok(ended.stdout);
    }
    let output = String::from_utf8_lossy(&ended.stderr).into_owned();
    Err(SoftroceError::Command { line: format!("{program} {option}"), how: ended.status.to_string(), output })
}

/// The one entry of a folder whose name begins like this.
fn only_entry(folder: &Path, start: &'static str) -> Result<PathBuf, SoftroceError> {
    let entries = fs::read_dir(folder).map_err(SoftroceError::file(folder))?.flatten();
    let named = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with(start);
    let missing = || SoftroceError::NotInPackage { package: folder.display().to_string(), file: start };
    entries.filter(named).map(|entry| entry.path()).next().ok_or_else(missing)
}

fn read(path: &Path) -> Result<Vec<u8>, SoftroceError> {
    fs::read(path).map_err(SoftroceError::file(path))
}

fn write(path: &Path, content: &[u8]) -> Result<(), SoftroceError> {
    fs::write(path, content).map_err(SoftroceError::file(path))
}
