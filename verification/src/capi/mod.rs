//! Programs in C and C++ against `libpmd_kv` and `libpmd_af`, as a user installs them: compiled with every warning an error, and run as
//! pairs of processes. Run by the `capi` suite; `softroce` takes the programs into its guest.
//!
//! That the committed C header is what the sources give is a test of `kv-api-capi`, in the `unit` suite.

pub(crate) mod attention;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use crate::accelerators::{self, Runtime};
use crate::count::Tally;
use crate::examples::{self, Device, EXAMPLES, Example, Language, Runnable};
use crate::process::{Ended, Task};
use crate::suite::{Journal, Workspace};

/// Compilers and what finds libraries for them, and the libraries that the simulated ConnectX needs.
pub(crate) const PACKAGES: &[&str] =
    &["cmake", "g++", "gcc", "libc6-dev", "make", "pkg-config", "ibverbs-providers", "libibverbs1"];

/// Every warning is an error.
const STRICT: &[&str] = &["-O1", "-Wall", "-Wextra", "-Werror"];

/// The languages of the examples here.
pub(crate) const LANGUAGES: &[Language] = &[Language::C, Language::Cpp, Language::CppAscend];

/// Builds, installs, compiles and runs.
pub(crate) fn check(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    let installed = Installed::of(workspace);
    let mut bench =
        Bench { workspace, journal, deadline: Instant::now() + limit, installed, tally: Tally::default() };
    if bench.install() {
        bench.programs();
        bench.interfaces();
        bench.devices();
        bench.cmake();
        bench.attention();
    }
    bench.tally
}

/// Where ours is installed, and where programs are: below the target folder, so that they can be run later.
#[derive(Debug, Clone)]
pub(crate) struct Installed {
    root: PathBuf,
    target: PathBuf,
    folder: PathBuf,
}

impl Installed {
    /// The place of a workspace; nothing is there yet.
    pub(crate) fn of(workspace: &Workspace) -> Self {
        let (root, target) = (workspace.root.clone(), workspace.target.clone());
        let folder = target.join("capi");
        Self { root, target, folder }
    }

    /// What builds both libraries and installs ours as a user does, and the stand-ins for runtimes of accelerators.
    pub(crate) fn install(&self, workspace: &Workspace) -> [(&'static str, Task); 3] {
        let build = workspace.cargo().args(["build", "--workspace", "--lib"]);
        let install = Task::new("kv-api/capi/install.sh", &self.root)
            .args([self.prefix()])
            .args(["--from"])
            .args([self.target.join("debug")]);
        let stand_ins = accelerators::install_all(workspace);
        [("the libraries build", build), ("install.sh installs", install), ("stand-ins install", stand_ins)]
    }

    /// What compiles an example with the flags that pkg-config gives.
    pub(crate) fn compile_example(&self, example: &Example) -> Task {
        self.compile(&example.source(), example.language, &self.program(example))
    }

    /// An example that has been compiled.
    pub(crate) fn runnable(&self, example: &'static Example) -> Runnable {
        Runnable::new(example, &format!("'{}'", self.program(example).display()))
    }

    /// Whether an example has been compiled since anything that it is made of has changed.
    pub(crate) fn is_current(&self, example: &Example) -> bool {
        let capi = self.root.join("kv-api/capi");
        let sources = ["include", "examples"].map(|folder| newest(&capi.join(folder)));
        let library = changed(&self.target.join("debug/libpmd_kv.so"));
        let parts = sources.into_iter().chain([library]).collect::<io::Result<Vec<_>>>();
        let compiled = changed(&self.program(example));
        matches!((compiled, parts), (Ok(compiled), Ok(parts)) if parts.iter().all(|part| *part < compiled))
    }

    fn program(&self, example: &Example) -> PathBuf {
        self.folder.join(example.program)
    }

    fn prefix(&self) -> PathBuf {
        self.folder.join("prefix")
    }

    /// One line for a shell, as the README says it. `source` is below the root.
    fn compile(&self, source: &Path, language: Language, program: &Path) -> Task {
        let compiler = if language == Language::C { "gcc -std=c11 -pedantic" } else { "g++ -std=c++17" };
        let ascend = match language {
            Language::CppAscend => {
                let headers = self.root.join("accel-ascend/acl-sys/include");
                let target = self.target.join("debug");
                let target = target.display();
                format!("-I{} -L{target} -Wl,-rpath,{target} -l:libfake_ascend.so", headers.display())
            }
            _ => String::new(),
        };
        let line = format!(
            "{compiler} {} \"$@\" {} $(pkg-config --cflags --libs pmd_kv) {ascend} -o {}",
            STRICT.join(" "),
            self.root.join(source).display(),
            program.display()
        );
        // What is added to the task's arguments comes as "$@".
        Task::new("sh", &self.folder)
            .args(["-c", &line, "compile"])
            .env("PKG_CONFIG_PATH", self.prefix().join("lib/pkgconfig"))
    }
}

struct Bench<'a, 'b> {
    workspace: &'a Workspace,
    journal: &'a mut Journal<'b>,
    deadline: Instant,
    installed: Installed,
    tally: Tally,
}

impl Bench<'_, '_> {
    fn install(&mut self) -> bool {
        // Nothing of an earlier run may pass for this one's.
        let folder = &self.installed.folder;
        if let Err(error) =
            fs::remove_dir_all(folder).or_else(absent).and_then(|()| fs::create_dir_all(folder))
        {
            self.expect(false, &format!("there is a place for programs: {error}"));
            return false;
        }
        let installed =
            self.installed.install(self.workspace).iter().all(|(what, task)| self.succeeds(what, task));
        let library = self.installed.prefix().join("lib/libpmd_kv.so");
        installed && self.has_a_name(&library, "libpmd_kv.so")
    }

    /// The library's own name, by which programs find the release that they were linked with.
    fn has_a_name(&mut self, library: &Path, file: &str) -> bool {
        let task = Task::new("readelf", &self.installed.folder).args(["-d"]).args([library]);
        let dynamic = self.run(&task).map(|ended| ended.stdout).unwrap_or_default();
        let name = dynamic.lines().find_map(|line| line.split_once("soname: [")?.1.strip_suffix(']'));
        let release = concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));
        let wanted = format!("{file}.{release}");
        self.expect(name == Some(&wanted), &format!("the library is {wanted}, not {name:?}"));
        let there = library.with_file_name(&wanted).exists();
        self.expect(there, &format!("{wanted} is installed"));
        there
    }

    /// Compiles every example, and runs it over shared memory, and over a ConnectX that is simulated under Debian's
    /// libmlx5.
    fn programs(&mut self) {
        let mut runnables = Vec::new();
        for example in examples::of(LANGUAGES) {
            let compile = self.installed.compile_example(example);
            if self.succeeds(&format!("{} compiles", example.program), &compile) {
                runnables.push(self.installed.runnable(example));
            }
        }
        self.run_examples(&[Device::SharedMemory, Device::Mlx5, Device::Verbs], &runnables);
        // Headers hold everything that C++ is in, so that the standard library's ABI does not matter.
        let old = self.installed.folder.join("old_abi");
        let old = self.installed.compile(&pull().source(), Language::Cpp, &old);
        self.succeeds("the C++ ABI of before 2015 links", &old.args(["-D_GLIBCXX_USE_CXX11_ABI=0"]));
    }

    fn run_examples(&mut self, devices: &[Device], runnables: &[Runnable]) {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.tally += examples::run(self.workspace, self.journal, devices, runnables, left);
    }

    /// A program that calls what the examples do not.
    fn interfaces(&mut self) {
        let program = self.installed.folder.join("interfaces");
        let source = Path::new("kv-api/capi/tests/interfaces.cpp");
        let compile = self.installed.compile(source, Language::Cpp, &program);
        match examples::free_ports(1) {
            Ok(port) if self.succeeds("interfaces compiles", &compile) => {
                let run = Task::new(program, &self.installed.folder).args([format!("127.0.0.1:{port}")]);
                self.succeeds("every method of both C++ interfaces does what it says", &run);
            }
            Ok(_) => {}
            Err(error) => self.expect(false, &format!("there are free ports: {error}")),
        }
    }

    /// A program whose caches and messages lie on a stand-in's device.
    fn devices(&mut self) {
        let program = self.installed.folder.join("devices");
        let source = Path::new("kv-api/capi/tests/devices.cpp");
        let compile = self.installed.compile(source, Language::CppAscend, &program);
        if self.succeeds("devices compiles", &compile) {
            let run = Task::new(program, &self.installed.folder)
                .env("PMD_ACCELERATORS", "fake-ascend:0")
                .env("LD_LIBRARY_PATH", Runtime::Ascend.folder(self.workspace));
            self.succeeds("caches and messages of C programs lie on a device", &run);
        }
    }

    /// A project that finds the package, with a shared and a static program, which talk to each other.
    fn cmake(&mut self) {
        let source = self.installed.folder.join("project");
        let build = source.join("build");
        if let Err(error) = self.write_project(&source) {
            self.expect(false, &format!("a CMake project can be written: {error}"));
            return;
        }
        let prefix = format!("-DCMAKE_PREFIX_PATH={}", self.installed.prefix().display());
        let configure = Task::new("cmake", &source).args(["-S", ".", "-B", "build", &prefix]);
        let make = Task::new("cmake", &source).args(["--build", "build"]);
        if self.succeeds("CMake finds the package", &configure) && self.succeeds("CMake builds", &make) {
            let commands = ["shared", "static"].map(|name| format!("'{}'", build.join(name).display()));
            let runnable = Runnable { example: pull(), commands: commands.to_vec() };
            self.run_examples(&[Device::SharedMemory], &[runnable]);
        }
    }

    fn write_project(&self, source: &Path) -> io::Result<()> {
        fs::create_dir_all(source)?;
        let example = self.workspace.root.join(pull().source());
        let text = format!(
            "cmake_minimum_required(VERSION 3.16)\n\
             project(example CXX)\n\
             set(CMAKE_CXX_STANDARD 17)\n\
             find_package(pmd_kv 0.1 CONFIG REQUIRED)\n\
             add_executable(shared {example})\n\
             target_link_libraries(shared PRIVATE pmd_kv::pmd_kv)\n\
             add_executable(static {example})\n\
             target_link_libraries(static PRIVATE pmd_kv::pmd_kv_static)\n",
            example = example.display()
        );
        fs::write(source.join("CMakeLists.txt"), text)
    }

    /// Counts a command as one check.
    fn succeeds(&mut self, what: &str, task: &Task) -> bool {
        let left = self.deadline.saturating_duration_since(Instant::now());
        let done = self.run(&task.clone().limit(left)).is_some_and(|ended| ended.succeeded());
        self.expect(done, what);
        done
    }

    fn run(&mut self, task: &Task) -> Option<Ended> {
        self.journal.line(format!("$ {}", task.line()));
        match task.run(self.journal.watch()) {
            Ok(ended) => {
                self.journal.output(&ended.output);
                Some(ended)
            }
            Err(error) => {
                self.journal.fail(format!("{} does not start: {error}", task.line()));
                None
            }
        }
    }

    fn expect(&mut self, holds: bool, what: &str) {
        self.tally += Tally { passed: usize::from(holds), failed: usize::from(!holds), ignored: 0 };
        if !holds {
            self.journal.fail(format!("does not hold: {what}"));
        }
    }
}

/// The example that is built in every way.
fn pull() -> &'static Example {
    let is_it = |example: &&Example| example.program == "pull_cache_and_blocks";
    examples::of(&[Language::Cpp]).find(is_it).unwrap_or(&EXAMPLES[0])
}

/// When the last file of a folder and of those below it was written.
fn newest(folder: &Path) -> io::Result<SystemTime> {
    fs::read_dir(folder)?.try_fold(SystemTime::UNIX_EPOCH, |newest, entry| {
        let path = entry?.path();
        let time = if path.is_dir() { self::newest(&path) } else { changed(&path) };
        time.map(|time| time.max(newest))
    })
}

fn changed(path: &Path) -> io::Result<SystemTime> {
    fs::metadata(path)?.modified()
}

/// A folder that is not there is as good as one that was removed.
fn absent(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_current_until_a_part_of_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let (root, target) = (folder.path().join("root"), folder.path().join("target"));
        let installed =
            Installed::of(&Workspace { root: root.clone(), target: target.clone(), incremental: true });
        let header = root.join("kv-api/capi/include/hixl/hixl.h");
        let (library, program) =
            (target.join("debug/libpmd_kv.so"), target.join("capi").join(pull().program));
        let files = [header.clone(), root.join(pull().source()), library, program];
        for (age, file) in files.iter().enumerate() {
            assert!(!installed.is_current(pull()), "{} is not there", file.display());
            fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
            fs::write(file, "").expect("a file");
            set_time(file, age as u64);
        }
        assert!(installed.is_current(pull()));
        set_time(&header, 10);
        assert!(!installed.is_current(pull()));
    }

    fn set_time(file: &Path, seconds: u64) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds);
        fs::File::options().write(true).open(file).expect("a file").set_modified(time).expect("set");
    }
}
