//! Programs in C and C++ against `libpmd_kv`, as a user installs it: compiled with every warning an error, and run as
//! pairs of processes. Run by the `capi` suite.
//!
//! That the committed C header is what the sources give is a test of `kv-api-capi`, in the `unit` suite.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::catalogue::on_connectx;
use crate::count::Tally;
use crate::process::{Ended, Task};
use crate::suite::{Journal, Workspace};

/// Compilers and what finds libraries for them, and the libraries that the simulated ConnectX needs.
pub(crate) const PACKAGES: &[&str] =
    &["cmake", "g++", "gcc", "libc6-dev", "make", "pkg-config", "ibverbs-providers", "libibverbs1"];

/// How long a pair of processes may take.
const PAIR: Duration = Duration::from_secs(60);

/// Every warning is an error.
const STRICT: &[&str] = &["-O1", "-Wall", "-Wextra", "-Werror"];

/// A pair of processes that are one program.
struct Pair {
    program: &'static str,
    /// Standard, and libraries beside ours.
    language: Language,
    /// How the first is called, with ports as `{0}`, `{1}`, `{2}`.
    first: &'static str,
    /// How the second is called.
    second: &'static str,
    /// What the two write between them.
    writes: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Language {
    C,
    Cpp,
    /// C++ with the fake Ascend runtime.
    CppAscend,
}

/// The clusters of LLM-DataDist are called alike.
const fn clusters(program: &'static str, writes: &'static [&'static str]) -> Pair {
    let (first, second) = ("prompt 127.0.0.1 {0} {1} {2}", "decoder 127.0.0.1 {0} {1} {2}");
    Pair { program, language: Language::Cpp, first, second, writes }
}

impl Pair {
    /// Below `kv-api/capi`.
    fn source(&self) -> String {
        let suffix = if self.language == Language::C { "c" } else { "cpp" };
        format!("examples/{}.{suffix}", self.program)
    }
}

const PAIRS: &[Pair] = &[
    clusters("pull_cache_and_blocks", &["rows 0 to 3 of 4 tensors are right"]),
    clusters("push_cache_and_blocks", &["rows 4 to 7 of 4 tensors are right"]),
    clusters("switch_roles", &["rows 0 to 3 of 4 tensors are right", "rows 0 to 7 of 4 tensors are right"]),
    Pair {
        program: "client_server_h2d",
        language: Language::CppAscend,
        first: "server 127.0.0.1:{0} {1}",
        second: "client 127.0.0.1:{0} {1}",
        writes: &["read 1\n", "the device holds 2\n"],
    },
    Pair {
        program: "server_server_d2d",
        language: Language::CppAscend,
        first: "127.0.0.1:{0} 127.0.0.1:{1} {2}",
        second: "127.0.0.1:{1} 127.0.0.1:{0} {2}",
        writes: &["wrote its name, and its second buffer reads "],
    },
    Pair {
        program: "push_blocks",
        language: Language::C,
        first: "decode 127.0.0.1:{0}",
        second: "prefill 127.0.0.1:{0}",
        writes: &["layer 3 is in place\n", "24 blocks verified\n", "pushed 4 layers over "],
    },
];

/// Builds, installs, compiles and runs.
pub(crate) fn check(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    let folder = match tempfile::tempdir() {
        Ok(folder) => folder,
        Err(error) => {
            journal.fail(format!("there is no place for programs: {error}"));
            return Tally::default();
        }
    };
    let deadline = Instant::now() + limit;
    let mut bench = Bench { workspace, journal, deadline, folder: folder.path(), tally: Tally::default() };
    if bench.install() {
        bench.programs();
        bench.interfaces();
        bench.cmake();
        bench.on_a_nic();
    }
    bench.tally
}

struct Bench<'a, 'b> {
    workspace: &'a Workspace,
    journal: &'a mut Journal<'b>,
    deadline: Instant,
    /// Installed things in `prefix`, programs beside it.
    folder: &'a Path,
    tally: Tally,
}

impl Bench<'_, '_> {
    /// Builds both libraries and installs ours as a user does.
    fn install(&mut self) -> bool {
        let build = self.workspace.cargo().args(["build", "--workspace", "--lib"]);
        if !self.succeeds("the libraries build", &build) {
            return false;
        }
        let install = Task::new("kv-api/capi/install.sh", &self.workspace.root)
            .args([self.prefix()])
            .args(["--from"])
            .args([self.workspace.target.join("debug")]);
        self.succeeds("install.sh installs", &install) && self.has_a_name()
    }

    /// The library's own name, by which programs find the release that they were linked with.
    fn has_a_name(&mut self) -> bool {
        let library = self.prefix().join("lib/libpmd_kv.so");
        let task = Task::new("readelf", self.folder).args(["-d"]).args([&library]);
        let dynamic = self.run(&task).map(|ended| ended.stdout).unwrap_or_default();
        let name = dynamic.lines().find_map(|line| line.split_once("soname: [")?.1.strip_suffix(']'));
        let release = concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));
        let wanted = format!("libpmd_kv.so.{release}");
        self.expect(name == Some(&wanted), &format!("the library is {wanted}, not {name:?}"));
        let there = self.prefix().join("lib").join(&wanted).exists();
        self.expect(there, &format!("{wanted} is installed"));
        there
    }

    /// Compiles every example with the flags that pkg-config gives, and runs it.
    fn programs(&mut self) {
        for pair in PAIRS {
            let program = self.folder.join(pair.program);
            let compile = self.compile(&pair.source(), pair.language, &program);
            if self.succeeds(&format!("{} compiles", pair.program), &compile) {
                self.run_pair(pair, &program, &program);
            }
        }
        // Headers hold everything that C++ is in, so that the standard library's ABI does not matter.
        let old = self.compile(&PAIRS[0].source(), Language::Cpp, &self.folder.join("old_abi"));
        let old = old.args(["-D_GLIBCXX_USE_CXX11_ABI=0"]);
        self.succeeds("the C++ ABI of before 2015 links", &old);
    }

    /// A program that calls what the examples do not.
    fn interfaces(&mut self) {
        let program = self.folder.join("interfaces");
        let compile = self.compile("tests/interfaces.cpp", Language::Cpp, &program);
        match free_ports() {
            Ok([port, ..]) if self.succeeds("interfaces compiles", &compile) => {
                let run = Task::new(program, self.folder).args([format!("127.0.0.1:{port}")]);
                self.succeeds("every method of both C++ interfaces does what it says", &run);
            }
            Ok(_) => {}
            Err(error) => self.expect(false, &format!("there are free ports: {error}")),
        }
    }

    /// One line for a shell, as the README says it. `source` is below `kv-api/capi`.
    fn compile(&self, source: &str, language: Language, program: &Path) -> Task {
        let compiler = match language {
            Language::C => "gcc -std=c11 -pedantic",
            Language::Cpp | Language::CppAscend => "g++ -std=c++17",
        };
        let (ascend, target) = (
            self.workspace.root.join("verification/fake-ascend/include"),
            self.workspace.target.join("debug"),
        );
        let ascend = match language {
            Language::CppAscend => {
                let (ascend, target) = (ascend.display(), target.display());
                format!("-I{ascend} -L{target} -Wl,-rpath,{target} -lascendcl")
            }
            _ => String::new(),
        };
        let line = format!(
            "{compiler} {} \"$@\" {} $(pkg-config --cflags --libs pmd_kv) {ascend} -o {}",
            STRICT.join(" "),
            self.workspace.root.join("kv-api/capi").join(source).display(),
            program.display()
        );
        // What is added to the task's arguments comes as "$@".
        Task::new("sh", self.folder)
            .args(["-c", &line, "compile"])
            .env("PKG_CONFIG_PATH", self.prefix().join("lib/pkgconfig"))
    }

    /// A project that finds the package, with a shared and a static program, which talk to each other.
    fn cmake(&mut self) {
        let (source, build) = (self.folder.join("project"), self.folder.join("project/build"));
        if let Err(error) = self.write_project(&source) {
            self.expect(false, &format!("a CMake project can be written: {error}"));
            return;
        }
        let prefix = format!("-DCMAKE_PREFIX_PATH={}", self.prefix().display());
        let configure = Task::new("cmake", &source).args(["-S", ".", "-B", "build", &prefix]);
        let make = Task::new("cmake", &source).args(["--build", "build"]);
        if self.succeeds("CMake finds the package", &configure) && self.succeeds("CMake builds", &make) {
            self.run_pair(&PAIRS[0], &build.join("shared"), &build.join("static"));
        }
    }

    fn write_project(&self, source: &Path) -> io::Result<()> {
        fs::create_dir_all(source)?;
        let example = self.workspace.root.join("kv-api/capi/examples/pull_cache_and_blocks.cpp");
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

    /// The same programs over a ConnectX, simulated under Debian's libmlx5.
    fn on_a_nic(&mut self) {
        for pair in PAIRS.iter().filter(|pair| self.folder.join(pair.program).exists()) {
            let Some([first, second]) = self.calls(pair) else { return };
            let program = self.folder.join(pair.program);
            let program = program.display();
            let script = format!("{program} {first} & {program} {second} && wait $!");
            let task = on_connectx(self.workspace, &[])
                .args(["sh", "-c", &script])
                .env("PMD_TRANSPORT", "mlx5")
                .limit(PAIR);
            if let Some(ended) = self.run(&task) {
                let writes = pair.writes.iter().all(|line| ended.stdout.contains(line));
                let name = format!("{} on a simulated ConnectX", pair.program);
                self.expect(ended.succeeded() && writes, &format!("{name}: {}", ended.describe()));
            }
        }
    }

    /// Runs a pair of processes, and looks at how they end and what they write.
    fn run_pair(&mut self, pair: &Pair, first: &Path, second: &Path) {
        let Some(calls) = self.calls(pair) else { return };
        let [first, second] = [(first, &calls[0]), (second, &calls[1])]
            .map(|(program, call)| Task::new(program, self.folder).args(call.split(' ')).limit(PAIR));
        self.journal.line(format!("$ {} & {}", first.line(), second.line()));
        let (other, ended) = thread::scope(|scope| {
            let other = scope.spawn(|| first.run(&mut |_| {}));
            let ended = second.run(self.journal.watch());
            (other.join(), ended)
        });
        let ended: Vec<Ended> = other.into_iter().chain([ended]).flatten().collect();
        let mut written = String::new();
        for one in &ended {
            self.journal.output(&one.output);
            written.push_str(&one.stdout);
        }
        let both = ended.len() == 2 && ended.iter().all(Ended::succeeded);
        let how: Vec<String> = ended.iter().map(Ended::describe).collect();
        self.expect(both, &format!("{} ends: {}", pair.program, how.join(", ")));
        for line in pair.writes {
            self.expect(written.contains(line), &format!("{} writes {line:?}", pair.program));
        }
    }

    /// Both command lines, with ports that are free.
    fn calls(&mut self, pair: &Pair) -> Option<[String; 2]> {
        match free_ports() {
            Ok(ports) => Some([pair.first, pair.second].map(|call| fill(call, &ports))),
            Err(error) => {
                self.expect(false, &format!("there are free ports: {error}"));
                None
            }
        }
    }

    fn prefix(&self) -> PathBuf {
        self.folder.join("prefix")
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

/// Three ports that nobody listened on a moment ago.
fn free_ports() -> io::Result<[u16; 3]> {
    let listeners = [(); 3].map(|()| TcpListener::bind(("127.0.0.1", 0)));
    let mut ports = [0; 3];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}

fn fill(call: &str, ports: &[u16; 3]) -> String {
    let numbered = ports.iter().enumerate();
    numbered
        .fold(call.to_owned(), |call, (index, port)| call.replace(&format!("{{{index}}}"), &port.to_string()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ports_are_filled_in_and_no_two_are_the_same() {
        assert_eq!(fill("a {0} b:{1} {2} {0}", &[1, 20, 300]), "a 1 b:20 300 1");
        let ports = free_ports().expect("free ports");
        assert_eq!(ports.iter().collect::<BTreeSet<_>>().len(), 3);
        assert!(!ports.contains(&0));
    }

    #[test]
    fn every_example_is_run() {
        let examples = Workspace::of_this_command().root.join("kv-api/capi/examples");
        let programs: BTreeSet<String> = fs::read_dir(examples)
            .expect("the examples")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| Some(name.strip_suffix(".cpp").or(name.strip_suffix(".c"))?.to_owned()))
            .collect();
        let run: BTreeSet<String> = PAIRS.iter().map(|pair| pair.program.to_owned()).collect();
        assert_eq!(programs, run);
    }
}
