//! Runs a case in a process of its own, with the fake runtime on its library path.

use std::{
    env, fs,
    io::Read,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

/// Set in the process of a case, to its name.
const CASE: &str = "FAKE_ROCM_CASE";

/// No case takes that long, on a loaded machine either.
const PATIENCE: Duration = Duration::from_secs(100);

/// A test that is a case: its environment, and what runs in it.
macro_rules! case {
    ($(#[$attribute:meta])* $name:ident, $stage:expr, $body:expr) => {
        #[test]
        $(#[$attribute])*
        fn $name() {
            let path = concat!(module_path!(), "::", stringify!($name));
            let name = path.split_once("::").map_or(path, |(_, name)| name);
            crate::stage::run(name, &$stage, $body);
        }
    };
}

/// What the process of a case finds.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    environment: Vec<(&'static str, String)>,
    without: Vec<&'static str>,
}

impl Stage {
    /// Two devices of 4 GiB, version 7, nothing fails.
    pub(crate) fn normal() -> Self {
        Self::default()
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.environment.push((name, value.to_string()));
        self
    }

    /// Calls that fail.
    pub(crate) fn faults(self, faults: &str) -> Self {
        self.with("FAKE_DEVICE_FAULTS", faults)
    }

    /// What the fake calls misuse is what the case is about.
    pub(crate) fn misused(self) -> Self {
        self.with("FAKE_DEVICE_MISUSE", "allow")
    }

    /// A runtime that has not this function.
    pub(crate) fn without(mut self, symbol: &'static str) -> Self {
        self.without.push(symbol);
        self
    }

    /// A folder with the runtime in it.
    fn install(&self, folder: &Path) {
        let (library, place) = (built(), folder.join("libamdhip64.so.7"));
        if self.without.is_empty() {
            symlink(library, place).expect("a link");
            return;
        }
        let mut bytes = fs::read(library).expect("the library");
        for symbol in &self.without {
            rename(&mut bytes, symbol);
        }
        fs::write(place, bytes).expect("the folder is ours");
    }
}

/// Changes the last letter of a name where the dynamic linker finds it.
fn rename(library: &mut [u8], symbol: &str) {
    let wanted = format!("\0{symbol}\0");
    let places: Vec<usize> = (0..library.len().saturating_sub(wanted.len()))
        .filter(|place| library[*place..].starts_with(wanted.as_bytes()))
        .collect();
    assert!(!places.is_empty(), "{symbol} is no name in the library");
    for place in places {
        library[place + wanted.len() - 2] = b'_';
    }
}

/// The library of this package, beside the tests or one folder above.
fn built() -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    let folders = test.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("libfake_rocm.so")).find(|path| path.exists());
    found.expect("the package's library is built with its tests")
}

/// Runs a case: in this process if it is the case's, else in a new one, of which it expects success.
pub(crate) fn run(name: &str, stage: &Stage, body: impl FnOnce()) {
    if env::var(CASE).as_deref() == Ok(name) {
        return body();
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    stage.install(folder.path());
    let mut command = Command::new(env::current_exe().expect("the path of this test"));
    command
        .args([name, "--exact", "--nocapture", "--include-ignored"])
        .env(CASE, name)
        .env("LD_LIBRARY_PATH", folder.path())
        .envs(stage.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = finish(command.spawn().expect("this test runs again"));
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}\n{text}\n{errors}", output.status);
    assert!(text.contains("1 passed"), "{text}");
}

/// A process of this test that does what another one tells it, on the same library path.
pub(crate) fn peer(name: &str) -> Child {
    Command::new(env::current_exe().expect("the path of this test"))
        .args([name, "--exact", "--nocapture", "--ignored"])
        .env(CASE, name)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test runs again")
}

/// Waits for a process, and ends it if it takes too long.
fn finish(mut child: Child) -> Output {
    let (stdout, stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let readers = [thread::spawn(|| read(stdout)), thread::spawn(|| read(stderr))];
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().expect("it is our child");
        }
        thread::sleep(Duration::from_millis(2));
    };
    let [stdout, stderr] = readers.map(|reader| reader.join().expect("it only reads"));
    Output { status, stdout, stderr }
}

fn read(mut pipe: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).expect("a pipe");
    bytes
}
