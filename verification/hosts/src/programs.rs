//! The commands that the cases run, with the options that all of them take, and what they say when all was right.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use interoperation::process::{Ended, Process};
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::network::Host;

/// Where `kv serve` listens.
const KV_PORT: u16 = 7700;
/// Where `af scheduler` listens.
const AF_PORT: u16 = 7800;
/// Ways in which `kv fetch` gets the cache.
const WAYS: usize = 5;

/// What a case is given.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The commands.
    pub(crate) programs: Programs,
    /// How the soak goes.
    pub(crate) soak: Soak,
    /// Decides which packets meet faults.
    pub(crate) seed: u64,
}

/// How the soak goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Soak {
    /// For how long at least.
    pub(crate) lasts: Duration,
    /// From the beginning of a round to that of the next one, at least.
    pub(crate) round_every: Duration,
}

/// The commands.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    kv: PathBuf,
    af: PathBuf,
    /// Options of every process that moves data.
    common: Vec<&'static str>,
    /// The file of the key that every process is told of.
    key: Option<String>,
}

/// A pre-shared key in a file of this user alone, which goes with this.
#[derive(Debug)]
pub(crate) struct Key(NamedTempFile);

/// The sizes of a demo of `af`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) layers: u32,
    pub(crate) rows: u32,
    pub(crate) columns: u32,
}

/// Hosts on which the processes of a demo of `af` run.
pub(crate) struct Places<'a> {
    pub(crate) scheduler: &'a Host,
    pub(crate) servers: &'a [Host],
    pub(crate) workers: &'a [Host],
}

/// A running demo of `af`.
pub(crate) struct Demo {
    pub(crate) scheduler: Process,
    pub(crate) servers: Vec<Process>,
    pub(crate) workers: Vec<Process>,
    /// Values that each worker compares.
    compared: u64,
}

impl Programs {
    /// In the folder of this program.
    pub(crate) fn beside_this() -> Self {
        let this = env::current_exe().unwrap_or_default();
        Self::of(this.parent().unwrap_or(Path::new(".")))
    }

    /// In this folder.
    pub(crate) fn of(folder: &Path) -> Self {
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        let common = vec!["--transport", "tcp", "--idle", "park"];
        Self { kv: folder.join("kv"), af: folder.join("af"), common, key: None }
    }

    /// The same commands, which choose the transport themselves.
    pub(crate) fn choosing(&self) -> Self {
        Self { common: vec!["--transport", "auto", "--idle", "park"], ..self.clone() }
    }

    /// The same commands, all of which have this key.
    pub(crate) fn keyed(&self, key: &Key) -> Self {
        Self { key: Some(key.0.path().display().to_string()), ..self.clone() }
    }

    /// Starts `kv serve` with a cache of so many tokens; it listens when this returns.
    pub(crate) fn serve(&self, host: &Host, tokens: u32) -> Process {
        self.serve_with(host, tokens, &[])
    }

    /// The same, with more options.
    pub(crate) fn serve_with(&self, host: &Host, tokens: u32, options: &[&str]) -> Process {
        let (listen, tokens) = (format!("{}:{KV_PORT}", host.address()), tokens.to_string());
        let arguments = ["serve", "--listen", &listen, "--tokens", &tokens];
        let mut process = self.start(host, &self.kv, &[&arguments, &self.common[..], options].concat());
        let (_cache, listening) = (process.line(), process.line());
        assert_eq!(listening, format!("listening on {listen}"));
        process
    }

    /// Starts `kv fetch` from a server on another host.
    pub(crate) fn fetch(&self, host: &Host, server: &Host) -> Process {
        self.fetch_with(host, server, &[])
    }

    /// The same, with more options.
    pub(crate) fn fetch_with(&self, host: &Host, server: &Host, options: &[&str]) -> Process {
        let address = format!("{}:{KV_PORT}", server.address());
        self.start(host, &self.kv, &[&["fetch", &address, "--json"], &self.common[..], options].concat())
    }

    /// Starts the processes of a demo.
    pub(crate) fn demo(&self, places: &Places<'_>, shape: Shape) -> Demo {
        let mut demo = self.stage(places, shape);
        demo.workers = self.workers(places, shape);
        demo
    }

    /// Starts the scheduler and the servers of a demo.
    pub(crate) fn stage(&self, places: &Places<'_>, shape: Shape) -> Demo {
        let address = places.meeting();
        let size = places.size();
        let arguments = [&["scheduler", "--listen", &address], &size.each_ref().map(String::as_str)[..]];
        let mut scheduler = self.start(places.scheduler, &self.af, &arguments.concat());
        assert_eq!(scheduler.line(), format!("listening on {address}"));
        let server = |(rank, host): (usize, &Host)| {
            let listen = format!("{}:0", host.address());
            self.member((places, shape), (rank, host), &["server", "--listen", &listen])
        };
        Demo {
            scheduler,
            servers: places.servers.iter().enumerate().map(server).collect(),
            workers: Vec::new(),
            // Three stages in each layer.
            compared: u64::from(shape.layers * 3 * shape.rows * shape.columns) * places.servers.len() as u64,
        }
    }

    /// Starts the workers of a demo, whose scheduler listens.
    pub(crate) fn workers(&self, places: &Places<'_>, shape: Shape) -> Vec<Process> {
        let worker = |place| self.member((places, shape), place, &["worker", "--json"]);
        places.workers.iter().enumerate().map(worker).collect()
    }

    fn member(
        &self,
        (places, shape): (&Places<'_>, Shape),
        (rank, host): (usize, &Host),
        role: &[&str],
    ) -> Process {
        let (address, rank) = (places.meeting(), rank.to_string());
        let place = ["--scheduler", &address, "--rank", &rank];
        let sizes = [shape.layers, shape.rows, shape.columns].map(|size| size.to_string());
        let shapes = ["--layers", &sizes[0], "--rows", &sizes[1], "--columns", &sizes[2]];
        let size = places.size();
        let size = size.each_ref().map(String::as_str);
        self.start(host, &self.af, &[role, &place, &size, &shapes, &self.common[..]].concat())
    }

    fn start(&self, host: &Host, program: &Path, arguments: &[&str]) -> Process {
        let key: Vec<&str> = self.key.iter().flat_map(|file| ["--key-file", file]).collect();
        host.start(program, &[arguments, &key].concat())
    }
}

impl Places<'_> {
    /// Where everybody meets.
    fn meeting(&self) -> String {
        format!("{}:{AF_PORT}", self.scheduler.address())
    }

    /// How many there are, as options.
    fn size(&self) -> [String; 4] {
        let (workers, servers) = (self.workers.len().to_string(), self.servers.len().to_string());
        ["--workers".into(), workers, "--servers".into(), servers]
    }
}

impl Key {
    /// A key that is made of this byte.
    pub(crate) fn of(byte: u8) -> Self {
        // Nobody else may read such a file: the commands would refuse it.
        let mut file = NamedTempFile::new().expect("a temporary file");
        let digits = format!("{byte:02x}").repeat(32);
        file.write_all(digits.as_bytes()).expect("a file that takes a key");
        Self(file)
    }
}

impl Demo {
    /// Waits until everybody is there.
    pub(crate) fn form(&mut self) {
        assert_eq!(self.scheduler.line(), "everybody is here");
    }

    /// Waits for every process to end well; each worker must have found every value right.
    pub(crate) fn finish(self, patience: Duration) {
        for (rank, worker) in self.workers.into_iter().enumerate() {
            let summary = object(&worker.finish_within(patience));
            assert_eq!(
                (&summary["verified"], &summary["transport"]),
                (&true.into(), &"tcp".into()),
                "{summary}"
            );
            let compared = &summary["rows_of_workers"][0]["compared"];
            assert_eq!(compared.as_u64(), Some(self.compared), "worker {rank}: {summary}");
        }
        for process in self.servers.into_iter().chain([self.scheduler]) {
            let ended = process.finish_within(patience);
            assert_eq!(ended.status.code(), Some(0), "{}", ended.errors);
        }
    }
}

/// Bytes that a `kv fetch` has moved, which must have found every byte right in every way, over TCP.
pub(crate) fn fetched(ended: &Ended) -> u64 {
    let summary = object(ended);
    assert_eq!((&summary["verified"], &summary["transport"]), (&true.into(), &"tcp".into()), "{summary}");
    let rows = summary["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), WAYS, "{summary}");
    assert!(rows.iter().all(|row| row["verified"] == true && row["bytes"].as_u64() > Some(0)), "{summary}");
    summary["bytes"].as_u64().expect("bytes")
}

/// What a `kv fetch` that has ended well says of its rails: the state of each, and the chunks pulled over it.
pub(crate) fn rails(ended: &Ended) -> Vec<(String, u64)> {
    let summary = object(ended);
    let rails = summary["rails"].as_array().expect("rails").iter();
    let told = |rail: &Value| Some((rail["state"].as_str()?.to_owned(), rail["chunks"].as_u64()?));
    rails.map(|rail| told(rail).unwrap_or_else(|| panic!("{summary}"))).collect()
}

/// The object in the last line of a command that has ended well.
fn object(ended: &Ended) -> Value {
    assert_eq!(ended.status.code(), Some(0), "{}", ended.errors);
    let line = ended.output.last().expect("a line");
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}
