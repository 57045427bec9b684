//! Programs against `libpmd_af`: in C, and in the classes of StepMesh. Run by the suites `capi` and `softroce`.
//!
//! That the committed C header is what the sources give is a test of `af-api-capi`, in the `unit` suite.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Bench, Installed, STRICT};
use crate::accelerators::Runtime;
use crate::connectx::{Settings, Simulated};
use crate::examples::{self, Device};
use crate::process::Task;

/// How long the processes of one program may take.
const CLUSTER: Duration = Duration::from_secs(60);

/// A program that is scheduler, server and worker, as its environment and its arguments say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Its name.
    pub(crate) name: &'static str,
    /// Below `af-api/capi`.
    source: &'static str,
    compiler: &'static str,
    /// Servers, and workers.
    each: u32,
    /// Roles of the processes of each rank; joint processes are servers and workers.
    roles: &'static str,
    writes: &'static [&'static str],
}

/// The programs, by the time that they take.
pub(crate) const PROGRAMS: &[Program] = &[
    Program {
        name: "push_pull",
        source: "examples/push_pull.c",
        compiler: "gcc -std=c11 -pedantic",
        each: 1,
        roles: "server worker",
        writes: &["16 answers of 1024 numbers are right"],
    },
    Program {
        name: "sum",
        source: "examples/sum.cpp",
        compiler: "g++ -std=c++17",
        each: 2,
        roles: "joint",
        writes: &["worker 0: 32 of 32 sums are right", "worker 1: 32 of 32 sums are right"],
    },
    Program {
        name: "key_values",
        source: "examples/key_values.cpp",
        compiler: "g++ -std=c++17",
        each: 2,
        roles: "server worker",
        writes: &["worker 0: 64 of 64 keys are right", "worker 1: 64 of 64 keys are right"],
    },
    Program {
        name: "classes",
        source: "tests/classes.cpp",
        compiler: "g++ -std=c++17",
        each: 1,
        roles: "server worker",
        writes: &["every method does what it says"],
    },
];

/// The classes with streams of a device.
const STREAMS: Program = Program {
    name: "streams",
    source: "tests/streams.cpp",
    compiler: "g++ -std=c++17",
    each: 1,
    roles: "server worker",
    writes: &["20 rounds were in the turn of streams"],
};

impl Installed {
    /// What installs the library, once it has been built.
    pub(crate) fn install_attention(&self) -> Task {
        Task::new("af-api/capi/install.sh", &self.root)
            .args([self.attention_prefix()])
            .args(["--from"])
            .args([self.target.join("debug")])
    }

    /// What compiles a program with the flags that pkg-config gives: one line for a shell, as the README says it.
    pub(crate) fn compile_attention(&self, program: &Program) -> Task {
        let line = format!(
            "{} {} {} $(pkg-config --cflags --libs pmd_af) -o {}",
            program.compiler,
            STRICT.join(" "),
            self.root.join("af-api/capi").join(program.source).display(),
            self.attention_program(program).display()
        );
        Task::new("sh", &self.folder)
            .args(["-c", &line])
            .env("PKG_CONFIG_PATH", self.attention_prefix().join("lib/pkgconfig"))
    }

    /// A program that has been compiled.
    pub(crate) fn attention_program(&self, program: &Program) -> PathBuf {
        self.folder.join(program.name)
    }

    fn attention_prefix(&self) -> PathBuf {
        self.folder.join("attention")
    }
}

impl Bench<'_, '_> {
    /// Installs the library, compiles each program with one line, and runs it on each device.
    pub(super) fn attention(&mut self) {
        let install = self.installed.install_attention();
        if !self.succeeds("libpmd_af's install.sh installs", &install) {
            return;
        }
        let simulated = match Simulated::new(self.workspace, &Settings::default(), self.journal.watch()) {
            Ok(simulated) => simulated,
            Err(error) => return self.expect(false, &error.to_string()),
        };
        let library = self.installed.attention_prefix().join("lib/libpmd_af.so");
        self.has_a_name(&library, "libpmd_af.so");
        for program in PROGRAMS {
            let path = self.installed.attention_program(program);
            let compile = self.installed.compile_attention(program);
            if self.succeeds(&format!("{} compiles", program.name), &compile) {
                self.cluster(program, &path, Device::SharedMemory, &[]);
                self.cluster(program, &path, Device::Mlx5, &simulated.environment());
            }
        }
        self.tally += examples::inspect(&simulated, self.journal);
        self.streams();
        if let Some(path) = self.attention_cmake() {
            self.cluster(&PROGRAMS[0], &path, Device::SharedMemory, &[]);
        }
    }

    /// Tensors and streams of a device, over the stand-in for the CUDA driver.
    fn streams(&mut self) {
        if self.succeeds("streams compiles", &self.installed.compile_attention(&STREAMS)) {
            let path = self.installed.attention_program(&STREAMS);
            let folder = Runtime::Cuda.folder(self.workspace).into_os_string();
            let device =
                [("PMD_ACCELERATORS".into(), "fake-cuda:0".into()), ("LD_LIBRARY_PATH".into(), folder)];
            self.cluster(&STREAMS, &path, Device::SharedMemory, &device);
        }
    }

    /// A project that finds the package and links the first program with the static library.
    fn attention_cmake(&mut self) -> Option<PathBuf> {
        let folder = self.installed.folder.join("attention-project");
        let source = self.workspace.root.join("af-api/capi").join(PROGRAMS[0].source);
        let text = format!(
            "cmake_minimum_required(VERSION 3.16)\n\
             project(example C)\n\
             find_package(pmd_af 0.1 CONFIG REQUIRED)\n\
             add_executable(static {})\n\
             target_link_libraries(static PRIVATE pmd_af::pmd_af_static)\n",
            source.display()
        );
        let written =
            fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join("CMakeLists.txt"), text));
        if let Err(error) = written {
            self.expect(false, &format!("a CMake project can be written: {error}"));
            return None;
        }
        let prefix = format!("-DCMAKE_PREFIX_PATH={}", self.installed.attention_prefix().display());
        let configure = Task::new("cmake", &folder).args(["-S", ".", "-B", "build", &prefix]);
        let make = Task::new("cmake", &folder).args(["--build", "build"]);
        let built =
            self.succeeds("CMake finds pmd_af", &configure) && self.succeeds("CMake builds with it", &make);
        built.then(|| folder.join("build/static"))
    }

    /// Runs a program as scheduler, servers and workers.
    fn cluster(
        &mut self,
        program: &Program,
        path: &Path,
        device: Device,
        simulation: &[(OsString, OsString)],
    ) {
        let port = match examples::free_ports(1) {
            Ok(port) => port,
            Err(error) => return self.expect(false, &format!("there are free ports: {error}")),
        };
        let command = format!("'{}'", path.display());
        let task =
            Task::new("sh", &self.installed.folder).args(["-c", &script(program, &command, device, port)]);
        let task = simulation.iter().fold(task, |task, (name, value)| task.env(name, value)).limit(CLUSTER);
        self.succeeds(&format!("{} runs on {}", program.name, device.name()), &task);
    }
}

/// All processes of a cluster, for the shell: fails where one of them does, or does not write what it should.
/// `command` is the program in words for the shell.
pub(crate) fn script(program: &Program, command: &str, device: Device, port: u16) -> String {
    let (each, last, roles) = (program.each, program.each.saturating_sub(1), program.roles);
    let chosen: String =
        device.environment().iter().map(|(name, value)| format!("export {name}={value}\n")).collect();
    let said: String = program
        .writes
        .iter()
        .map(|text| {
            format!("grep -qF '{text}' \"$written\" || {{ echo 'nothing says: {text}'; failed=1; }}\n")
        })
        .collect();
    format!(
        "{chosen}export DMLC_NUM_WORKER={each} DMLC_NUM_SERVER={each}\n\
         export DMLC_PS_ROOT_URI=127.0.0.1 DMLC_PS_ROOT_PORT={port}\n\
         written=$(mktemp)\n\
         trap 'rm \"$written\"' EXIT\n\
         start() {{ {command} >>\"$written\" 2>&1 & all=\"$all $!\"; }}\n\
         all= failed=0\n\
         export DMLC_ROLE=scheduler; start\n\
         for DMLC_NODE_RANK in $(seq 0 {last}); do for DMLC_ROLE in {roles}; do\n\
         export DMLC_NODE_RANK DMLC_ROLE; start; done; done\n\
         for one in $all; do wait $one || failed=1; done\n\
         cat \"$written\"\n\
         {said}exit $failed\n"
    )
}
