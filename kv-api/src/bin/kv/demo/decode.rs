//! The demo's decode process: gets the cache in every way there is and verifies each.
#![allow(unsafe_code)] // hashes and clears the cache between transfers

use std::{
    fs::File,
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use kv_api::{
    engine::{Engine, EngineError, Prepared, RemoteCache},
    planner::{BlockMap, Selection},
};
use pmd_host::{
    backend::Transport,
    control::RequestError,
    endpoint::{EndpointConfig, Peer, RailReport, RailsConfig},
    metadata::Metadata,
    rail::RailState,
    region::RegionPath,
};

use super::{
    content::digests,
    file_failure,
    protocol::{Ask, Contents, DECODE_CACHE, DecodeSays, Landed, PREFILL_CACHE, Rail, Row, encode},
};
use crate::{
    Outcome, child,
    failure::Failure,
    memory::{MemoryOption, OwnedCache},
    options::{Common, PATIENCE, Place, tell_metrics},
    pattern::Pattern,
};

/// What the cache holds before each way across, so that a byte that did not arrive is seen.
const NOTHING: u8 = 0xee;

/// How long rails may take to come up.
const RAILS_PATIENCE: Duration = Duration::from_secs(20);

/// `kv role decode`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Control address of the prefill process.
    #[arg(long)]
    connect: SocketAddr,
    /// Where to write what arrived.
    #[arg(long)]
    output: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    place: Place,
}

/// The process and what it knows of the prefill process.
struct Decode {
    engine: Engine,
    peer: Peer,
    remote: RemoteCache,
    owned: OwnedCache,
    contents: Contents,
    say: Box<dyn Fn(DecodeSays)>,
}

/// Runs the decode process.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    // A parent that is gone ends this process whatever it is doing; nothing of it outlives it.
    child::watch_lifeline(|| std::process::exit(1));
    let config = arguments.common.endpoint("decode", None);
    let say = Box::new(|said| child::say(&said));
    fetch(&Whence::Address(arguments.connect), config, arguments.place, arguments.output.as_deref(), say)?;
    child::say(&DecodeSays::Done);
    Ok(())
}

/// Where the prefill process is.
pub(super) enum Whence {
    Address(SocketAddr),
    /// What it is called in a directory.
    Name {
        directory: Arc<dyn Metadata>,
        name: String,
    },
}

/// Gets the cache of the prefill process in every way there is, which is without pushes where only this end reaches its
/// own. Every step and row is told to `say`.
pub(super) fn fetch(
    whence: &Whence,
    config: EndpointConfig,
    place: Place,
    output: Option<&Path>,
    say: Box<dyn Fn(DecodeSays)>,
) -> Outcome {
    let mut decode = Decode::connect(whence, config, place, say)?;
    let moved = decode.every_way();
    // What became of rails is worth telling above all when not everything went well.
    decode.tell_rails();
    moved?;
    output.map_or(Ok(()), |path| decode.write(path))
}

impl Decode {
    fn every_way(&mut self) -> Outcome {
        self.pull()?;
        self.pull_shuffled_blocks()?;
        self.pull_layers()?;
        if self.is_reached() {
            self.push()?;
            self.push_layers()?;
        }
        self.settle()
    }

    fn connect(
        whence: &Whence,
        mut config: EndpointConfig,
        place: Place,
        say: Box<dyn Fn(DecodeSays)>,
    ) -> Result<Self, Failure> {
        let accelerator = place.open(&mut config)?;
        let rails = config.rails.clone();
        let engine = Engine::open(config)?;
        tell_metrics(engine.endpoint());
        let peer = match whence {
            Whence::Address(address) => engine.connect(*address)?,
            Whence::Name { directory, name } => engine.connect_to(directory.as_ref(), name, PATIENCE)?,
        };
        wait_for_rails(&peer, &rails)?;
        let remote = engine.remote_cache(&peer, PREFILL_CACHE, PATIENCE)?;
        let contents = engine.ask(&peer, encode(&Ask::Contents), PATIENCE)?;
        let contents = decode_answer(&contents)?;
        let layout = remote.descriptor().layout;
        let owned = OwnedCache::at(&engine, DECODE_CACHE, layout, accelerator.as_ref(), MemoryOption::Arena)?;
        Ok(Self { engine, peer, remote, owned, contents, say })
    }

    fn pull(&mut self) -> Outcome {
        self.prepare("pull")?;
        let prepared = self.remote.pull(self.owned.cache(), self.whole())?;
        let took = carry_out(&prepared)?;
        let found = self.digests()?;
        self.report("pull", "read", took, prepared.work_requests() as u64, &found)
    }

    /// Each block of the prefill's cache into a random block of this one.
    fn pull_shuffled_blocks(&mut self) -> Outcome {
        self.prepare("pull of shuffled blocks")?;
        let layout = *self.owned.cache().layout();
        let source: Vec<u32> = (0..layout.blocks()).collect();
        let destination = Pattern::new(4096).permutation(layout.blocks());
        let blocks = BlockMap::Table { source: &source, destination: &destination };
        let prepared = self.remote.pull(self.owned.cache(), Selection::new(0..layout.layers(), blocks))?;
        let took = carry_out(&prepared)?;
        let found = self.unshuffled_digests(&destination)?;
        self.report("pull blocks", "read", took, prepared.work_requests() as u64, &found)
    }

    /// Layer after layer, as a decode that starts before the whole cache is here would.
    fn pull_layers(&mut self) -> Outcome {
        self.prepare("pull layer by layer")?;
        let begun = Instant::now();
        let mut work_requests = 0;
        let mut transfers = Vec::new();
        for layer in 0..self.owned.cache().layout().layers() {
            let selection = Selection::new(layer..layer + 1, BlockMap::Identity);
            let prepared = self.remote.pull(self.owned.cache(), selection)?;
            work_requests += prepared.work_requests() as u64;
            transfers.push(prepared.post(None)?);
        }
        transfers.into_iter().try_for_each(|mut transfer| transfer.wait(None).map(drop))?;
        let took = begun.elapsed();
        let found = self.digests()?;
        self.report("pull layers", "read", took, work_requests, &found)
    }

    /// Whether the prefill process can write into this cache; says why it cannot.
    fn is_reached(&self) -> bool {
        let (cache, transport) = (self.owned.cache(), self.peer.transport());
        if cache.path(transport) != Some(RegionPath::Staged) {
            return true;
        }
        let reasons: Vec<String> = cache.refusals(transport).iter().map(ToString::to_string).collect();
        eprintln!(
            "kv: no push, for no peer reaches this cache over {}: {}",
            transport.name(),
            reasons.join("; ")
        );
        false
    }

    fn push(&mut self) -> Outcome {
        self.prepare("push")?;
        let begun = Instant::now();
        self.engine.ask(&self.peer, encode(&Ask::Push), PATIENCE)?;
        let landed = landed(&self.engine, &self.peer)?;
        let took = begun.elapsed();
        let found = self.digests()?;
        self.report("push", "write", took, landed.work_requests, &found)
    }

    /// All layers are on their way at once, and each is hashed as soon as its notification is here. Another thread looks
    /// at the clock when they land, so that the time of hashing is not counted.
    fn push_layers(&mut self) -> Outcome {
        self.prepare("push layer by layer")?;
        let layers = self.owned.cache().layout().layers();
        let begun = Instant::now();
        self.engine.ask(&self.peer, encode(&Ask::PushLayers), PATIENCE)?;
        let mut found = vec![[0; 32]; layers as usize];
        let (mut took, mut work_requests) = (Duration::ZERO, 0);
        let (engine, peer) = (&self.engine, &self.peer);
        thread::scope(|scope| {
            let (stamped, arrivals) = mpsc::channel();
            scope.spawn(move || {
                // Nobody hears the rest after a failure.
                (0..layers).try_for_each(|_| {
                    let landed = landed(engine, peer).map(|landed| (landed, begun.elapsed()));
                    let goes_on = landed.is_ok();
                    (stamped.send(landed).is_ok() && goes_on).then_some(())
                })
            });
            for arrival in arrivals {
                let (landed, at) = arrival?;
                (took, work_requests) = (at, work_requests + landed.work_requests);
                let digest = layer_digest(&self.owned, landed.layer)?;
                if let Some(slot) = found.get_mut(landed.layer as usize) {
                    *slot = digest;
                }
            }
            Ok::<_, Failure>(())
        })?;
        self.report("push layers", "write", took, work_requests, &found)
    }

    /// Stays until the prefill process has seen its pushes end: a peer that goes while its acknowledgement of a
    /// notification is on the way makes the sender's transfer fail.
    fn settle(&self) -> Outcome {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.engine.ask(&self.peer, encode(&Ask::Settled), PATIENCE)?;
            if decode_answer(&answer)? {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(EngineError::Timeout { what: "pushes to end", patience: PATIENCE }.into());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn tell_rails(&self) {
        let rail = |report: RailReport| {
            let RailReport { number, state, lives, bytes, chunks, .. } = report;
            Rail { rail: number, state: state.name().to_owned(), lives, bytes, chunks }
        };
        (self.say)(DecodeSays::Rails(self.peer.rail_reports().into_iter().map(rail).collect()));
    }

    fn whole(&self) -> Selection<'static> {
        Selection::whole(self.owned.cache().layout())
    }

    /// Says what comes and clears the cache.
    fn prepare(&mut self, step: &str) -> Outcome {
        (self.say)(DecodeSays::Step(step.to_owned()));
        // SAFETY: every earlier transfer has ended and the next has not begun.
        unsafe { self.owned.bytes_mut() }.fill(NOTHING);
        self.owned.upload()
    }

    /// All that has arrived.
    fn bytes(&self) -> Result<&[u8], Failure> {
        // SAFETY: no slice of it is held: whoever takes one lets go of it before it asks again.
        unsafe { self.owned.download(0, usize::MAX)? };
        // SAFETY: the transfer that wrote the cache has ended.
        Ok(unsafe { self.owned.bytes() })
    }

    fn digests(&self) -> Result<Vec<[u8; 32]>, Failure> {
        Ok(digests(self.bytes()?, self.owned.cache().layout().layers()))
    }

    /// Digests in the order of the blocks' origin: block `destination[i]` came from block `i`.
    fn unshuffled_digests(&self, destination: &[u32]) -> Result<Vec<[u8; 32]>, Failure> {
        let layout = self.owned.cache().layout();
        let (tensor, block) = (layout.tensor_bytes() as usize, layout.block_bytes() as usize);
        let bytes = self.bytes()?;
        let layer_digest = |layer: &[u8]| {
            let mut hasher = blake3::Hasher::new();
            for tensor in layer.chunks_exact(tensor) {
                for at in destination {
                    let start = *at as usize * block;
                    hasher.update(&tensor[start..start + block]);
                }
            }
            *hasher.finalize().as_bytes()
        };
        Ok(bytes.chunks_exact(tensor * layout.tensors_per_layer() as usize).map(layer_digest).collect())
    }

    /// Tells the parent, and fails if a byte is wrong.
    fn report(
        &self,
        mode: &str,
        operation: &str,
        took: Duration,
        work_requests: u64,
        found: &[[u8; 32]],
    ) -> Outcome {
        let layout = self.owned.cache().layout();
        let wrong = found.iter().zip(&self.contents.digests).position(|(found, sent)| found != sent);
        let verified = wrong.is_none() && found.len() == self.contents.digests.len();
        (self.say)(DecodeSays::Row(Row {
            mode: mode.to_owned(),
            operation: operation.to_owned(),
            layers: layout.layers(),
            blocks: u64::from(layout.tensors()) * u64::from(layout.blocks()),
            block_size: layout.block_bytes(),
            work_requests,
            bytes: layout.total_bytes(),
            seconds: took.as_secs_f64(),
            transport: self.peer.transport().name().to_owned(),
            device: self.peer.transport().name().to_owned(),
            paths: self.paths(),
            verified,
        }));
        if verified {
            return Ok(());
        }
        Err(Failure::NotVerified { mode: mode.to_owned(), layer: wrong.unwrap_or_default() as u32 })
    }

    /// How the prefill's cache and this one are reached.
    fn paths(&self) -> (String, String) {
        let transport = self.peer.transport();
        let theirs = self.contents.paths.iter().find(|(name, _)| name == transport.name());
        let ours = self.owned.cache().path(transport);
        let named = |path: Option<&str>| path.unwrap_or("unknown").to_owned();
        (named(theirs.map(|(_, path)| path.as_str())), named(ours.map(RegionPath::name)))
    }

    fn write(&self, path: &Path) -> Outcome {
        let bytes = self.bytes()?;
        let meaningful = &bytes[..self.contents.length.min(bytes.len() as u64) as usize];
        let written = File::create(path).and_then(|mut file| file.write_all(meaningful));
        written.map_err(file_failure("output file", path))
    }
}

/// Waits until all rails are up; goes on without those that are not in time, and says so.
fn wait_for_rails(peer: &Peer, rails: &RailsConfig) -> Outcome {
    if rails.count == 0 {
        return Ok(());
    }
    let transport = peer.transport();
    if rails.ports.is_empty() && transport != Transport::Tcp {
        return Err(Failure::NoRailsOver { transport: transport.name() });
    }
    // Between devices there are as many as pairs of these, and all of them have been begun.
    let wanted = if rails.ports.is_empty() { rails.count } else { peer.rail_reports().len() };
    let deadline = Instant::now() + RAILS_PATIENCE;
    loop {
        let reports = peer.rail_reports();
        let up = reports.iter().filter(|report| report.state == RailState::Up).count();
        if up >= wanted {
            return Ok(());
        }
        if Instant::now() > deadline {
            eprintln!(
                "kv: {up} of {wanted} rails are up by now: going on with those, and with others once they are"
            );
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// The next layers that have landed.
fn landed(engine: &Engine, peer: &Peer) -> Result<Landed, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match engine.wait_notification(Duration::from_millis(200)) {
            Ok(notification) => return decode_answer(&notification.bytes),
            Err(error) => match peer.down_reason() {
                Some(reason) => return Err(EngineError::from(RequestError::Down(reason)).into()),
                None if Instant::now() > deadline => return Err(error.into()),
                None => {}
            },
        }
    }
}

fn layer_digest(owned: &OwnedCache, layer: u32) -> Result<[u8; 32], Failure> {
    let layout = owned.cache().layout();
    let size = (u64::from(layout.tensors_per_layer()) * layout.tensor_bytes()) as usize;
    let start = (layer.min(layout.layers() - 1) as usize) * size;
    // SAFETY: nobody holds a slice of this layer.
    unsafe { owned.download(start, size)? };
    // SAFETY: this layer has landed, and what is still on its way is for other layers.
    let bytes = unsafe { owned.part(start, size) };
    Ok(*blake3::hash(bytes).as_bytes())
}

/// Posts a transfer and waits for it; the time from the one to the other.
fn carry_out(prepared: &Prepared) -> Result<Duration, Failure> {
    let begun = Instant::now();
    prepared.post(None)?.wait(None)?;
    Ok(begun.elapsed())
}

fn decode_answer<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Failure> {
    let malformed = |_| EngineError::Malformed { length: bytes.len() };
    Ok(postcard::from_bytes(bytes).map_err(malformed)?)
}
