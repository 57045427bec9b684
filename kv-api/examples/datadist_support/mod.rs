//! What the LLM-DataDist examples have in common: arguments, a cache of four tensors, links, and a control socket over
//! which the two processes tell each other that they are done.
#![allow(unsafe_code)] // registers memory, and looks at what devices write
#![allow(dead_code, unreachable_pub)] // each example uses a part

use std::{
    error::Error,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use clap::{Parser, ValueEnum};
use kv_api::datadist::*;

pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// Number of the prompt cluster.
pub const PROMPT: u64 = 0;
/// Number of the decoder cluster.
pub const DECODER: u64 = 1;
/// Tensors of the cache.
pub const TENSORS: usize = 4;
const ROWS: usize = 8;
const COLUMNS: usize = 16;
const TIMEOUT: i32 = 10_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Which process this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    Prompt,
    Decoder,
}

/// Run it twice, on one host or two: as prompt and as decoder.
#[derive(Parser)]
pub struct Arguments {
    /// Which process this is.
    #[arg(value_enum)]
    pub role: Role,
    /// Address of this process.
    #[arg(long, default_value = "127.0.0.1")]
    pub local: IpAddr,
    /// Address of the other one.
    #[arg(long, default_value = "127.0.0.1")]
    pub remote: IpAddr,
    /// Port of the prompt cluster.
    #[arg(long, default_value_t = 26000)]
    pub prompt_port: u16,
    /// Port of the decoder cluster.
    #[arg(long, default_value_t = 26001)]
    pub decoder_port: u16,
    /// Port at which the two processes tell each other how far they are.
    #[arg(long, default_value_t = 26002)]
    pub control_port: u16,
}

impl Arguments {
    fn port(&self, cluster: u64) -> u16 {
        if cluster == PROMPT { self.prompt_port } else { self.decoder_port }
    }

    /// Options with which this process listens, as cluster `cluster`.
    pub fn listening(&self, cluster: u64) -> Options {
        let listen = SocketAddr::new(self.local, self.port(cluster)).to_string();
        Options::from([(OPTION_LISTEN_IP_INFO.to_owned(), listen)])
    }

    /// A process that listens or does not, with a cache whose rows count from 0 in every tensor, or are all 0.
    pub fn start(&self, cluster: u64, role: LlmRole, listens: bool, counts: bool) -> Outcome<Process> {
        let datadist = LlmDataDist::new(cluster, role);
        let mut options = if listens { self.listening(cluster) } else { Options::new() };
        options.insert(OPTION_DEVICE_ID.to_owned(), "0".to_owned());
        options.insert(OPTION_SYNC_CACHE_WAIT_TIME.to_owned(), TIMEOUT.to_string());
        datadist.initialize(&options)?;
        let value = |place: usize| if counts { place as i32 } else { 0 };
        let tensors: Vec<Vec<i32>> = vec![(0..ROWS * COLUMNS).map(value).collect(); TENSORS];
        let addresses: Vec<u64> = tensors.iter().map(|tensor| tensor.as_ptr() as u64).collect();
        let shape = [ROWS as i64, COLUMNS as i64];
        let desc = CacheDesc::new(CachePlacement::Device, TENSORS as u32, DataType::Int32, &shape);
        // SAFETY: the tensors outlive the process: see the order of `Process`; they are looked at when nothing moves.
        let cache_id = unsafe { datadist.register_kv_cache(&desc, &addresses, &CacheKeys::None)? };
        println!("cluster {cluster}: registered cache {cache_id}");
        Ok(Process { datadist, cache_id, tensors })
    }

    fn cluster(&self, cluster: u64) -> ClusterInfo {
        ClusterInfo {
            remote_cluster_id: cluster,
            remote_ip_infos: vec![IpInfo { ip: self.remote, port: self.port(cluster) }],
            ..ClusterInfo::default()
        }
    }

    /// Links with a cluster, which may have yet to start.
    pub fn link(&self, process: &Process, cluster: u64) -> Outcome<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let results = process.datadist.link_llm_clusters(&[self.cluster(cluster)], TIMEOUT)?;
            match results.status() {
                Status::Success => break,
                Status::LinkFailed if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
                status => {
                    return Err(format!("cannot link with cluster {cluster}: {status}, {results:?}").into());
                }
            }
        }
        println!("cluster {}: linked with cluster {cluster}", process.datadist.cluster_id());
        Ok(())
    }

    /// Takes the link with a cluster down, on both sides.
    pub fn unlink(&self, process: &Process, cluster: u64) -> Outcome<()> {
        let results = process.datadist.unlink_llm_clusters(&[self.cluster(cluster)], TIMEOUT, false)?;
        match results.status() {
            Status::Success => {
                println!("cluster {}: unlinked", process.datadist.cluster_id());
                Ok(())
            }
            status => Err(format!("cannot unlink cluster {cluster}: {status}, {results:?}").into()),
        }
    }

    /// Waits for the other process at the control port.
    pub fn await_control(&self) -> Outcome<Control> {
        let (stream, _) = TcpListener::bind((self.local, self.control_port))?.accept()?;
        Control::new(stream)
    }

    /// Connects with the other process, which may have yet to start.
    pub fn connect_control(&self) -> Outcome<Control> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match TcpStream::connect((self.remote, self.control_port)) {
                Ok(stream) => return Control::new(stream),
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// A process and its cache. Dropped in this order: then nothing reaches the tensors any more.
pub struct Process {
    pub datadist: LlmDataDist,
    pub cache_id: i64,
    tensors: Vec<Vec<i32>>,
}

impl Process {
    /// Checks that rows count from 0 in every tensor, as in the source.
    pub fn verify(&self, rows: std::ops::Range<usize>) -> Outcome<()> {
        for (tensor, numbers) in self.tensors.iter().enumerate() {
            let places = rows.start * COLUMNS..rows.end * COLUMNS;
            for (place, number) in places.clone().zip(&numbers[places]) {
                // SAFETY: the number is there, and no transfer runs; devices write it behind the compiler's back.
                let found = unsafe { std::ptr::from_ref(number).read_volatile() };
                if found != place as i32 {
                    return Err(format!("tensor {tensor} has {found} at place {place}").into());
                }
            }
        }
        println!("verified: rows {rows:?} of {TENSORS} tensors");
        Ok(())
    }

    /// Pushes as the examples do: blocks 5 to 7 layer by layer, row 4 at once.
    pub fn push_rows_4_to_7(&self, cluster_id: u64) -> Outcome<()> {
        // The other side's cache has number 1, as the first of every process.
        let to = CacheIndex { cluster_id, cache_id: 1, batch_index: 0 };
        for layer in 0..TENSORS as i32 {
            let range = (layer, layer);
            let one =
                KvCacheExtParam { src_layer_range: range, dst_layer_range: range, tensor_num_per_layer: 1 };
            self.datadist.push_kv_blocks(self.cache_id, to, &[5, 6, 7], &[5, 6, 7], &one)?;
        }
        let all = KvCacheExtParam {
            src_layer_range: (0, 0),
            dst_layer_range: (0, 0),
            tensor_num_per_layer: TENSORS as u32,
        };
        self.datadist.push_kv_cache(self.cache_id, CacheIndex { batch_index: 4, ..to }, 4, -1, &all)?;
        println!("pushed rows 4..8 to cluster {cluster_id}");
        Ok(())
    }

    /// Pulls as the examples do: blocks 1 to 3, and row 0.
    pub fn pull_rows_0_to_3(&self, cluster_id: u64) -> Outcome<()> {
        let from = CacheIndex { cluster_id, cache_id: 1, batch_index: 0 };
        let all = KvCacheExtParam::default();
        self.datadist.pull_kv_blocks(from, self.cache_id, &[1, 2, 3], &[1, 2, 3], &all)?;
        self.datadist.pull_kv_cache(from, self.cache_id, 0, -1, &all)?;
        println!("pulled rows 0..4 from cluster {cluster_id}");
        Ok(())
    }

    /// Ends the process in order.
    pub fn finish(self) -> Outcome<()> {
        self.datadist.unregister_kv_cache(self.cache_id)?;
        self.datadist.finalize();
        println!("cluster {}: done", self.datadist.cluster_id());
        Ok(())
    }
}

/// A connection between the two processes.
pub struct Control(TcpStream);

impl Control {
    fn new(stream: TcpStream) -> Outcome<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// Tells the other process to go on.
    pub fn tell(&mut self) -> Outcome<()> {
        Ok(self.0.write_all(b"1")?)
    }

    /// Waits until the other process says so.
    pub fn hear(&mut self) -> Outcome<()> {
        let mut byte = [0];
        self.0.read_exact(&mut byte)?;
        if byte == *b"1" { Ok(()) } else { Err(format!("heard {byte:?} instead of 1").into()) }
    }
}
