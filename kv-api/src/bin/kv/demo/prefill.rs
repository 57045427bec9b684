//! The demo's prefill process: holds the full cache, answers pulls by doing nothing, pushes when asked.
#![allow(unsafe_code)] // fills the cache before anybody knows of it

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock, mpsc},
};

use clap::Args;
use kv_api::{
    engine::{Application, Engine},
    planner::{BlockMap, Selection},
};
use pmd_core::sync::{AtomicUsize, Ordering};
use pmd_host::{
    backend::Transport,
    control::Refusal,
    endpoint::{EndpointConfig, Peer},
};

use super::{
    content::{Source, digests},
    protocol::{Ask, Contents, DECODE_CACHE, Landed, PREFILL_CACHE, PrefillSays, encode},
};
use crate::{
    Outcome, child,
    failure::Failure,
    memory::{MemoryOption, OwnedCache},
    options::{Common, LOOPBACK, PATIENCE, Place, tell_metrics},
};

/// `kv role prefill`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    place: Place,
}

/// What the main thread is to do.
enum Job {
    Push { peer: Peer, by_layers: bool },
    Stop,
}

/// Answers the decode process on the control thread. Pushing needs answers from the decode process that this thread
/// receives, so it is the main thread's.
struct Desk {
    jobs: Mutex<mpsc::Sender<Job>>,
    /// Pushes that were asked for and have not ended.
    pending: Arc<AtomicUsize>,
    contents: Arc<OnceLock<Vec<u8>>>,
}

impl Application for Desk {
    fn request(&self, peer: &Peer, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let refuse = |detail: &str| Refusal { code: 1, detail: detail.into() };
        let ask: Ask = postcard::from_bytes(body).map_err(|_| refuse("not a request of the demo"))?;
        let by_layers = match ask {
            Ask::Contents => {
                return self.contents.get().cloned().ok_or_else(|| refuse("the cache is not full yet"));
            }
            Ask::Settled => return Ok(encode(&(self.pending.load(Ordering::Relaxed) == 0))),
            Ask::Push => false,
            Ask::PushLayers => true,
        };
        self.pending.fetch_add(1, Ordering::Relaxed);
        let job = Job::Push { peer: peer.clone(), by_layers };
        let taken = self.jobs.lock().is_ok_and(|jobs| jobs.send(job).is_ok());
        if taken { Ok(Vec::new()) } else { Err(refuse("the prefill process is ending")) }
    }
}

/// Runs the prefill process until its parent lets go.
pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let config = arguments.common.endpoint("prefill", Some(LOOPBACK));
    let prefill = Prefill::open(&arguments.source, config, arguments.place)?;
    let stop = prefill.stopper();
    child::watch_lifeline(stop);
    child::say(&PrefillSays { address: prefill.address() });
    prefill.run(Err)
}

/// A full cache, and what is to be done with it.
pub(super) struct Prefill {
    engine: Engine,
    owned: OwnedCache,
    summary: String,
    address: SocketAddr,
    jobs: mpsc::Sender<Job>,
    todo: mpsc::Receiver<Job>,
    pending: Arc<AtomicUsize>,
}

impl Prefill {
    /// Fills a cache and listens.
    pub(super) fn open(source: &Source, mut config: EndpointConfig, place: Place) -> Result<Self, Failure> {
        let content = source.measure()?;
        let accelerator = place.open(&mut config)?;
        let (jobs, todo) = mpsc::channel();
        let contents = Arc::new(OnceLock::new());
        let pending = Arc::new(AtomicUsize::new(0));
        let desk = Desk {
            jobs: Mutex::new(jobs.clone()),
            pending: Arc::clone(&pending),
            contents: Arc::clone(&contents),
        };
        let engine = Engine::open_with(config, Some(Box::new(desk)))?;
        tell_metrics(engine.endpoint());
        let mut owned = OwnedCache::at(
            &engine,
            PREFILL_CACHE,
            content.layout(),
            accelerator.as_ref(),
            MemoryOption::Arena,
        )?;
        // SAFETY: the cache cannot be asked for before `contents` are known.
        let bytes = unsafe { owned.bytes_mut() };
        content.fill(bytes)?;
        let digests = digests(bytes, content.layout().layers());
        owned.upload()?;
        let (length, paths) = (content.length(), paths(&owned));
        contents.get_or_init(|| encode(&Contents { digests, length, paths }));
        // It was told to listen.
        let address = engine.local_address().unwrap_or(LOOPBACK);
        Ok(Self { engine, owned, summary: content.summary(), address, jobs, todo, pending })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The cache, for people.
    pub(super) fn summary(&self) -> &str {
        &self.summary
    }

    pub(super) const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Makes [`Prefill::run`] return.
    pub(super) fn stopper(&self) -> impl FnOnce() + Send + use<> {
        let jobs = self.jobs.clone();
        move || {
            // Fails only when the main thread has ended already.
            let _ = jobs.send(Job::Stop);
        }
    }

    /// Pushes when asked, until it is stopped or `on_failure` makes an end of it.
    pub(super) fn run(&self, mut on_failure: impl FnMut(Failure) -> Outcome) -> Outcome {
        for job in &self.todo {
            match job {
                Job::Push { peer, by_layers } => {
                    let pushed = push(&self.engine, &self.owned, &peer, by_layers);
                    self.pending.fetch_sub(1, Ordering::Relaxed);
                    pushed.or_else(&mut on_failure)?;
                }
                Job::Stop => break,
            }
        }
        Ok(())
    }
}

/// How the cache's bytes are reached over each transport that there is.
fn paths(owned: &OwnedCache) -> Vec<(String, String)> {
    let named = |transport: Transport| {
        let path = owned.cache().path(transport)?;
        Some((transport.name().to_owned(), path.name().to_owned()))
    };
    Transport::ALL.into_iter().filter_map(named).collect()
}

/// Pushes the whole cache in one transfer, or each layer as soon as it is "computed" (at once, here).
fn push(engine: &Engine, owned: &OwnedCache, peer: &Peer, by_layers: bool) -> Result<(), Failure> {
    let remote = engine.remote_cache(peer, DECODE_CACHE, PATIENCE)?;
    let all = owned.cache().layout().layers();
    let step = if by_layers { 1 } else { all };
    let mut transfers = Vec::new();
    for layer in (0..all).step_by(step as usize) {
        let selection = Selection::new(layer..layer + step, BlockMap::Identity);
        let prepared = remote.push(owned.cache(), selection)?;
        let landed = Landed { layer, layers: step, work_requests: prepared.work_requests() as u64 };
        transfers.push(prepared.notifying(encode(&landed)).post(None)?);
    }
    transfers.into_iter().try_for_each(|mut transfer| transfer.wait(None).map(drop))?;
    Ok(())
}
