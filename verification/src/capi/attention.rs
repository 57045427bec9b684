//! Programs against `libpmd_af`: in C, and in the classes of StepMesh. Run by the `capi` suite.
//!
//! That the committed C header is what the sources give is a test of `af-api-capi`, in the `unit` suite.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Bench, STRICT};
use crate::examples;
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
    /// Installs the library, compiles each program with one line, and runs it.
    pub(super) fn attention(&mut self) {
        let build = self.workspace.cargo().args(["build", "-p", "af-api-capi"]);
        let install = Task::new("af-api/capi/install.sh", &self.workspace.root)
            .args([self.attention_prefix()])
            .args(["--from"])
            .args([self.workspace.target.join("debug")]);
        if !self.succeeds("libpmd_af builds", &build) || !self.succeeds("its install.sh installs", &install) {
            return;
        }
        let library = self.attention_prefix().join("lib/libpmd_af.so");
        self.has_a_name(&library, "libpmd_af.so");
        for program in PROGRAMS {
            let path = self.installed.folder.join(program.name);
            let compile = self.attention_compile(program, &path);
            if self.succeeds(&format!("{} compiles", program.name), &compile) {
                self.cluster(program, &path);
            }
        }
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

    /// Runs a program as scheduler, servers and workers, over shared memory.
    fn cluster(&mut self, program: &Program, path: &Path) {
        let port = match examples::free_ports(1) {
            Ok(port) => port,
            Err(error) => return self.expect(false, &format!("there are free ports: {error}")),
        };
        let script = script(path, program.each);
        let task = Task::new("sh", &self.installed.folder)
            .env("PMD_TRANSPORT", "shm")
            .args(["-c", &script])
            .env("DMLC_NUM_WORKER", program.each.to_string())
            .env("DMLC_NUM_SERVER", program.each.to_string())
            .env("DMLC_PS_ROOT_URI", "127.0.0.1")
            .env("DMLC_PS_ROOT_PORT", port.to_string())
            .limit(CLUSTER);
        if let Some(ended) = self.run(&task) {
            let writes = program.writes.iter().all(|line| ended.stdout.contains(line));
            let what = format!("{}: {}", program.name, ended.describe());
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
