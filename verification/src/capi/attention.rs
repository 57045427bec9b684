//! Programs against `libpmd_af`: in C, and in the classes of StepMesh. Run by the `capi` suite.
//!
//! That the committed C header is what the sources give is a test of `af-api-capi`, in the `unit` suite.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Bench, STRICT};
use crate::connectx::{Settings, Simulated};
use crate::examples::{self, Device};
use crate::process::Task;

/// How long the processes of one program may take.
const CLUSTER: Duration = Duration::from_secs(60);

/// A program that is scheduler, server and worker, as its environment and its arguments say.
struct Program {
    name: &'static str,
    /// Below `af-api/capi`.
    source: &'static str,
    compiler: &'static str,
    /// Servers, and workers.
    each: u32,
    writes: &'static [&'static str],
}

const PROGRAMS: &[Program] = &[
    Program {
        name: "push_pull",
        source: "examples/push_pull.c",
        compiler: "gcc -std=c11 -pedantic",
        each: 1,
        writes: &["16 answers of 1024 numbers are right"],
    },
    Program {
        name: "sum",
        source: "examples/sum.cpp",
        compiler: "g++ -std=c++17",
        each: 2,
        writes: &["worker 0: 128 of 128 sums are right", "worker 1: 128 of 128 sums are right"],
    },
    Program {
        name: "classes",
        source: "tests/classes.cpp",
        compiler: "g++ -std=c++17",
        each: 1,
        writes: &["every method does what it says"],
    },
];

impl Bench<'_, '_> {
    /// Installs the library, compiles each program with one line, and runs it on each device.
    pub(super) fn attention(&mut self) {
        let install = Task::new("af-api/capi/install.sh", &self.workspace.root)
            .args([self.attention_prefix()])
            .args(["--from"])
            .args([self.workspace.target.join("debug")]);
        if !self.succeeds("libpmd_af's install.sh installs", &install) {
            return;
        }
        let simulated = match Simulated::new(self.workspace, &Settings::default(), self.journal.watch()) {
            Ok(simulated) => simulated,
            Err(error) => return self.expect(false, &error.to_string()),
        };
        let library = self.attention_prefix().join("lib/libpmd_af.so");
        self.has_a_name(&library, "libpmd_af.so");
        for program in PROGRAMS {
            let path = self.installed.folder.join(program.name);
            let compile = self.attention_compile(program, &path);
            if self.succeeds(&format!("{} compiles", program.name), &compile) {
                self.cluster(program, &path, Device::SharedMemory, &[]);
                self.cluster(program, &path, Device::Mlx5, &simulated.environment());
            }
        }
        self.tally += examples::inspect(&simulated, self.journal);
        if let Some(path) = self.attention_cmake() {
            self.cluster(&PROGRAMS[0], &path, Device::SharedMemory, &[]);
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
        let prefix = format!("-DCMAKE_PREFIX_PATH={}", self.attention_prefix().display());
        let configure = Task::new("cmake", &folder).args(["-S", ".", "-B", "build", &prefix]);
        let make = Task::new("cmake", &folder).args(["--build", "build"]);
        let built =
            self.succeeds("CMake finds pmd_af", &configure) && self.succeeds("CMake builds with it", &make);
        built.then(|| folder.join("build/static"))
    }

    fn attention_prefix(&self) -> PathBuf {
        self.installed.folder.join("attention")
    }

    fn attention_compile(&self, program: &Program, path: &Path) -> Task {
        let line = format!(
            "{} {} {} $(pkg-config --cflags --libs pmd_af) -o {}",
            program.compiler,
            STRICT.join(" "),
            self.workspace.root.join("af-api/capi").join(program.source).display(),
            path.display()
        );
        Task::new("sh", &self.installed.folder)
            .args(["-c", &line])
            .env("PKG_CONFIG_PATH", self.attention_prefix().join("lib/pkgconfig"))
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
        let script = script(path, program.each);
        let task = Task::new("sh", &self.installed.folder).args(["-c", &script]);
        let task = simulation.iter().fold(task, |task, (name, value)| task.env(name, value));
        let chosen = device.environment().iter();
        let task = chosen
            .fold(task, |task, (name, value)| task.env(*name, *value))
            .env("DMLC_NUM_WORKER", program.each.to_string())
            .env("DMLC_NUM_SERVER", program.each.to_string())
            .env("DMLC_PS_ROOT_URI", "127.0.0.1")
            .env("DMLC_PS_ROOT_PORT", port.to_string())
            .limit(CLUSTER);
        if let Some(ended) = self.run(&task) {
            let writes = program.writes.iter().all(|line| ended.stdout.contains(line));
            let what = format!("{} on {}: {}", program.name, device.name(), ended.describe());
            self.expect(ended.succeeded() && writes, &what);
        }
    }
}

/// All processes of a cluster; fails where one of them does.
fn script(program: &Path, each: u32) -> String {
    let program = program.display();
    let last = each.saturating_sub(1);
    format!(
        "DMLC_ROLE=scheduler {program} & all=$!; \
         for rank in $(seq 0 {last}); do for role in server worker; do \
         DMLC_NODE_RANK=$rank DMLC_ROLE=$role {program} & all=\"$all $!\"; done; done; \
         failed=0; for one in $all; do wait $one || failed=1; done; exit $failed"
    )
}
