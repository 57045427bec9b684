//! The demo's prefill process: holds the full cache, answers pulls by doing nothing, pushes when asked.
#![allow(unsafe_code)] // fills the cache before anybody knows of it

use std::sync::{Arc, Mutex, OnceLock, mpsc};

use clap::Args;
use kv_api::{
    engine::{Application, Engine},
    planner::{BlockMap, Selection},
};
use pmd_core::sync::{AtomicUsize, Ordering};
use pmd_host::{control::Refusal, endpoint::Peer};

use super::{
    content::{Source, digests},
    protocol::{Ask, Contents, DECODE_CACHE, Landed, PREFILL_CACHE, PrefillSays, encode},
};
use crate::{
    Outcome, child,
    failure::Failure,
    memory::{MemoryOption, OwnedCache},
    options::{Common, PATIENCE},
};

/// `kv role prefill`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    common: Common,
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
    let content = arguments.source.measure()?;
    let (jobs, todo) = mpsc::channel();
    let stop = jobs.clone();
    child::watch_lifeline(move || {
        // Fails only when the main thread has ended already.
        let _ = stop.send(Job::Stop);
    });
    let contents = Arc::new(OnceLock::new());
    let pending = Arc::new(AtomicUsize::new(0));
    let desk =
        Desk { jobs: Mutex::new(jobs), pending: Arc::clone(&pending), contents: Arc::clone(&contents) };
    let engine = Engine::open_with(arguments.common.endpoint("prefill", true), Some(Box::new(desk)))?;
    let mut owned = OwnedCache::new(&engine, PREFILL_CACHE, content.layout(), MemoryOption::Arena)?;
    // SAFETY: no peer has been told the address yet.
    let bytes = unsafe { owned.bytes_mut() };
    content.fill(bytes)?;
    let known = Contents { digests: digests(bytes, content.layout().layers()), length: content.length() };
    contents.get_or_init(|| encode(&known));
    if let Some(address) = engine.local_address() {
        child::say(&PrefillSays { address });
    }
    for job in todo {
        match job {
            Job::Push { peer, by_layers } => push(&engine, &owned, &peer, by_layers)?,
            Job::Stop => break,
        }
        pending.fetch_sub(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Pushes the whole cache in one transfer, or each layer as soon as it is "computed" (at once, here).
fn push(engine: &Engine, owned: &OwnedCache, peer: &Peer, by_layers: bool) -> Result<(), Failure> {
    let remote = engine.remote_cache(peer, DECODE_CACHE, PATIENCE)?;
    let all = owned.cache().layout().layers();
    let step = if by_layers { 1 } else { all };
    let mut transfers = Vec::new();
    for layer in (0..all).step_by(step as usize) {
        let selection = Selection { layers: layer..layer + step, blocks: BlockMap::Identity };
        let prepared = remote.push(owned.cache(), selection)?;
        let landed = Landed { layer, layers: step, work_requests: prepared.work_requests() as u64 };
        transfers.push(prepared.notifying(encode(&landed)).post(None)?);
    }
    transfers.into_iter().try_for_each(|mut transfer| transfer.wait(None).map(drop))?;
    Ok(())
}
