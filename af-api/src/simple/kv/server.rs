//! The answering side: a thread that hands requests to a handler.

use std::{
    collections::HashMap,
    fmt,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pmd_core::sync::{AtomicBool, Ordering};

use super::{
    FRONT, LENGTHS, VALUES,
    buffers::{Buffer, Buffers, pushed},
};
use crate::{
    server::{BatchError, Gather, Request, Response, Server},
    simple::{
        KvError, KvPairs, Value,
        message::{Front, FrontError},
        value::{emit_values, parse_values},
    },
    tensor::Stager,
    wire::NodeIdentity,
};

/// How soon the thread notices that it is to end.
const LOOK: Duration = Duration::from_millis(50);

/// The code with which a request is refused that is not a key-value request, or not one of the server's type of values.
pub const NOT_KEY_VALUES: u64 = u64::MAX;

/// What a worker wants (ps-lite's `KVMeta` and `KVPairs`).
#[derive(Clone, Debug, PartialEq)]
pub struct KvRequest<V> {
    /// The worker.
    pub from: NodeIdentity,
    /// The number that the worker's application gave.
    pub command: i32,
    /// Whether it pushes: then the pairs have values.
    pub push: bool,
    /// Whether it wants values back.
    pub pull: bool,
    /// The keys, and what is pushed.
    pub pairs: KvPairs<V>,
}

/// Answers one request, from the handler or later, from any thread. One that is dropped refuses the request.
#[derive(Debug)]
pub struct KvAnswer<V> {
    request: Request,
    shared: Arc<Shared>,
    values: PhantomData<V>,
}

/// Hands the key-value requests of a [`Server`] to a handler, one after the other (ps-lite's `KVServer`). It takes every
/// request of that server. Dropping it ends its thread after the call that runs.
pub struct KvServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    server: Server,
    closed: AtomicBool,
    buffers: Buffers,
    /// Answers that are on their way, with the memory that they are read from.
    sending: Mutex<Vec<(Response, Vec<Buffer>)>>,
}

impl KvServer {
    /// Serves with a handler. A panic in it refuses the request.
    ///
    /// # Errors
    /// [`KvError::Thread`].
    pub fn start<V: Value>(
        server: Server,
        handler: impl FnMut(KvRequest<V>, KvAnswer<V>) + Send + 'static,
    ) -> Result<Self, KvError> {
        let (closed, buffers, sending) = (AtomicBool::new(false), Buffers::default(), Mutex::default());
        let shared = Arc::new(Shared { server, closed, buffers, sending });
        let run = {
            let shared = Arc::clone(&shared);
            move || shared.run(handler)
        };
        let spawned = thread::Builder::new().name("pmd-af-kv-server".into()).spawn(run);
        let thread = spawned.map_err(|error| KvError::Thread { kind: error.kind() })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Serves the sums of what was pushed under each key, value by value; a longer push makes the sum longer. A key that was
    /// never pushed has no values (ps-lite's default handle).
    ///
    /// # Errors
    /// [`KvError::Thread`].
    pub fn sum<V: Value>(server: Server) -> Result<Self, KvError> {
        let mut sums: HashMap<u64, Vec<V>> = HashMap::new();
        Self::start(server, move |request: KvRequest<V>, answer| {
            if request.push {
                request.pairs.iter().for_each(|(key, values)| add(sums.entry(key).or_default(), values));
            }
            let outcome =
                if request.pull { answer.respond(&stored(request.pairs.keys, &sums)) } else { answer.done() };
            // The worker has been told, or is gone.
            drop(outcome);
        })
    }

    /// The server below.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.shared.server
    }
}

fn add<V: Value>(sum: &mut Vec<V>, values: &[V]) {
    if sum.len() < values.len() {
        sum.resize(values.len(), V::default());
    }
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum = sum.plus(*value));
}

fn stored<V: Value>(keys: Vec<u64>, sums: &HashMap<u64, Vec<V>>) -> KvPairs<V> {
    let of_key = |key| sums.get(key).map_or(&[][..], Vec::as_slice);
    let lengths = keys.iter().map(|key| of_key(key).len() as u32).collect();
    let values = keys.iter().flat_map(|key| of_key(key).iter().copied()).collect();
    KvPairs { keys, values, lengths: Some(lengths) }
}

impl Drop for KvServer {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        if let Some(thread) =
            self.thread.take().filter(|thread| thread.thread().id() != thread::current().id())
        {
            drop(thread.join());
        }
    }
}

impl fmt::Debug for KvServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("KvServer").field("server", self.server()).finish_non_exhaustive()
    }
}

impl<V: Value> KvAnswer<V> {
    /// Answers a request that wants nothing back.
    ///
    /// # Errors
    /// [`KvError::Respond`].
    pub fn done(self) -> Result<(), KvError> {
        self.request.respond(&[])?;
        Ok(())
    }

    /// Answers a request that pulls, with values for each of its keys. More values than the worker has room for, or fewer
    /// where it wants exactly so many, are an error at both ends.
    ///
    /// # Errors
    /// [`KvError`].
    pub fn respond(self, pairs: &KvPairs<V>) -> Result<(), KvError> {
        pairs.check()?;
        let (mut lengths, mut values) = (Vec::new(), Vec::new());
        emit_values(&pairs.iter().map(|(_, values)| values.len() as u32).collect::<Vec<_>>(), &mut lengths);
        emit_values(&pairs.values, &mut values);
        let Self { request, shared, .. } = self;
        let mut buffers = Vec::new();
        let mut tensors = Vec::new();
        for wanted in request.pulls() {
            let bytes = if wanted.key == LENGTHS { &lengths } else { &values };
            let buffer = shared.buffers.take(shared.server.endpoint(), bytes.len())?;
            tensors.push(buffer.fill(0, bytes)?);
            buffers.push(buffer);
        }
        let response = request.respond(&tensors)?;
        shared.sending().push((response, buffers));
        Ok(())
    }

    /// Refuses the request with a code of the application's; the worker sees it in the failure.
    ///
    /// # Errors
    /// [`KvError::Respond`].
    pub fn refuse(self, code: u64) -> Result<(), KvError> {
        self.request.refuse(code)?;
        Ok(())
    }
}

impl Shared {
    /// The thread.
    fn run<V: Value>(self: &Arc<Self>, mut handler: impl FnMut(KvRequest<V>, KvAnswer<V>)) {
        let mut stager = Stager::new();
        while !self.closed.load(Ordering::Acquire) {
            match self.server.batch(Gather::Any, Some(Instant::now() + LOOK)) {
                Ok(batch) => {
                    batch.into_iter().for_each(|request| self.handle(request, &mut stager, &mut handler));
                }
                Err(BatchError::Closed) => return,
                // Nobody asks, or somebody is gone; the others ask on.
                Err(_) => {}
            }
            self.collect();
        }
    }

    fn handle<V: Value>(
        self: &Arc<Self>,
        request: Request,
        stager: &mut Stager,
        handler: &mut impl FnMut(KvRequest<V>, KvAnswer<V>),
    ) {
        match parse::<V>(&request, stager) {
            Ok(wanted) => {
                let answer = KvAnswer { request, shared: Arc::clone(self), values: PhantomData };
                // What it panics with has been printed; the answer was dropped with it, and the worker is told.
                drop(catch_unwind(AssertUnwindSafe(|| handler(wanted, answer))));
            }
            // Not its fault: it is told that it was let go of.
            Err(KvError::Copy(_)) => drop(request),
            Err(_) => drop(request.refuse(NOT_KEY_VALUES)),
        }
    }

    /// Takes back the memory of answers that have gone.
    fn collect(&self) {
        let gone: Vec<_> = self.sending().extract_if(.., |(response, _)| response.poll().is_some()).collect();
        gone.into_iter().flat_map(|(_, buffers)| buffers).for_each(|buffer| self.buffers.give(buffer));
    }

    fn sending(&self) -> MutexGuard<'_, Vec<(Response, Vec<Buffer>)>> {
        self.sending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request says, if it is made of such values.
fn parse<V: Value>(request: &Request, stager: &mut Stager) -> Result<KvRequest<V>, KvError> {
    let mut bytes = |key| {
        let tensor = request.pushes().find(|pushed| pushed.key() == key).and_then(|pushed| pushed.tensor());
        tensor.map_or(Ok(Vec::new()), |tensor| pushed(tensor, stager))
    };
    let front = Front::parse(&bytes(FRONT)?)?;
    let wanted = V::BYTES as u8;
    if front.value_bytes != wanted {
        return Err(FrontError::Values { found: front.value_bytes, wanted }.into());
    }
    let values = parse_values(&bytes(VALUES)?);
    let pairs = KvPairs { keys: front.keys, values, lengths: front.lengths };
    if front.push {
        pairs.check()?;
    }
    Ok(KvRequest {
        from: request.worker(),
        command: front.command,
        push: front.push,
        pull: front.pull,
        pairs,
    })
}
