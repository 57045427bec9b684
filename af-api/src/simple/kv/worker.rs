//! The asking side: pushes and pulls of keys that several servers share.

use std::{
    fmt,
    marker::PhantomData,
    ops::{Range, RangeInclusive},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    FRONT, LENGTHS, VALUES,
    buffers::{Buffer, Buffers, contents, tensor_of},
    completer::Completer,
};
use crate::{
    simple::{
        KvError, KvPairs, Value,
        message::Front,
        ranges,
        tracker::{Timestamp, Tracker},
        value::{check, emit_values, parse_values, spans},
    },
    tensor::Tensor,
    worker::{Failure, PushPull, Results, Worker},
};

/// What a push or a pull brought: the pulled pairs, empty for a push.
pub type KvOutcome<V> = Result<KvPairs<V>, KvError>;

/// Called with the outcome, on the thread of the [`KvWorker`]; then no result is kept for a wait. It may push and pull, but
/// must not wait there.
pub type KvCallback<V> = Box<dyn FnOnce(KvOutcome<V>) + Send>;

/// Pushes and pulls key-values (ps-lite's `KVWorker`). May be used from any thread.
///
/// Keys are shared out among the servers by range. Each call goes to those servers that have some of the keys, and is done
/// when all of them have answered.
pub struct KvWorker<V> {
    inner: Arc<Inner<V>>,
    completer: Completer,
}

struct Inner<V> {
    worker: Worker,
    ranges: Vec<RangeInclusive<u64>>,
    buffers: Buffers,
    requests: Tracker<KvOutcome<V>>,
    values: PhantomData<V>,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Question<'a> {
    keys: &'a [u64],
    /// Of each key, where they differ.
    lengths: Option<&'a [u32]>,
    command: i32,
    push: bool,
    /// Values of each key that there is room for.
    pull: Option<u32>,
}

/// Memory of a request, and what is pulled into it.
struct Pending {
    buffers: Vec<Buffer>,
    /// For each server that is pulled from: its keys, and where their lengths and values come.
    pulls: Vec<(Range<usize>, Tensor, Tensor)>,
    keys: Vec<u64>,
    /// What becomes of pulled values.
    bound_for: BoundFor,
}

enum BoundFor {
    /// Nothing is pulled.
    Nowhere,
    /// They are given to the caller.
    Caller,
    /// They are in the caller's tensor, so many of each key.
    Tensor(Vec<u32>),
}

impl<V: Value> KvWorker<V> {
    /// Over a worker that is connected to servers of the ranks 0 to `servers` - 1.
    ///
    /// # Errors
    /// [`KvError::Thread`], [`KvError::NoServers`].
    pub fn new(worker: Worker, servers: u32) -> Result<Self, KvError> {
        if servers == 0 {
            return Err(KvError::NoServers);
        }
        let completer = Completer::start().map_err(|error| KvError::Thread { kind: error.kind() })?;
        let inner = Inner {
            worker,
            ranges: ranges::of_servers(servers),
            buffers: Buffers::default(),
            requests: Tracker::default(),
            values: PhantomData,
        };
        Ok(Self { inner: Arc::new(inner), completer })
    }

    /// The worker below, for registering memory.
    #[must_use]
    pub fn worker(&self) -> &Worker {
        &self.inner.worker
    }

    /// Pushes pairs; they are copied, so the caller may go on with its own at once (`Push`).
    ///
    /// # Errors
    /// [`KvError`]; nothing was sent.
    pub fn push(
        &self,
        pairs: &KvPairs<V>,
        command: i32,
        callback: Option<KvCallback<V>>,
    ) -> Result<Timestamp, KvError> {
        pairs.check()?;
        self.push_or_push_pull(pairs, (command, None), callback)
    }

    /// Pulls the values of keys, at most `most` of each (`Pull`). [`KvWorker::wait`] or the callback tells them.
    ///
    /// # Errors
    /// [`KvError`]; nothing was sent.
    pub fn pull(
        &self,
        keys: &[u64],
        most: u32,
        command: i32,
        callback: Option<KvCallback<V>>,
    ) -> Result<Timestamp, KvError> {
        check(keys, None, 0)?;
        let question = Question { keys, command, pull: Some(most), ..Question::default() };
        self.ask(&question, |_, _| Ok(None), None, callback)
    }

    /// Pushes pairs and pulls what the servers answer for the same keys, at most `most` values of each (`PushPull`).
    ///
    /// # Errors
    /// [`KvError`]; nothing was sent.
    pub fn push_pull(
        &self,
        pairs: &KvPairs<V>,
        most: u32,
        command: i32,
        callback: Option<KvCallback<V>>,
    ) -> Result<Timestamp, KvError> {
        pairs.check()?;
        self.push_or_push_pull(pairs, (command, Some(most)), callback)
    }

    fn push_or_push_pull(
        &self,
        pairs: &KvPairs<V>,
        (command, pull): (i32, Option<u32>),
        callback: Option<KvCallback<V>>,
    ) -> Result<Timestamp, KvError> {
        let (keys, lengths) = (pairs.keys.as_slice(), pairs.lengths.as_deref());
        let question = Question { keys, lengths, command, push: true, pull };
        let values = |span: Range<usize>, buffers: &mut Vec<Buffer>| {
            let mut bytes = Vec::new();
            emit_values(&pairs.values[span], &mut bytes);
            let buffer = self.inner.buffers.take(self.inner.worker.endpoint(), bytes.len())?;
            let tensor = buffer.fill(0, &bytes)?;
            buffers.push(buffer);
            Ok(Some(tensor))
        };
        self.ask(&question, values, Some(pairs.values.len()), callback)
    }

    /// Pushes the values of a tensor of this worker's memory, without a copy (`ZPush`): little-endian, one key's after the
    /// other's, `lengths` of each or the same number. The caller leaves the tensor alone until the request is done.
    ///
    /// # Errors
    /// [`KvError`]; nothing was sent.
    pub fn push_tensor(
        &self,
        keys: &[u64],
        values: &Tensor,
        lengths: Option<&[u32]>,
        command: i32,
        callback: Option<KvCallback<V>>,
    ) -> Result<Timestamp, KvError> {
        let count = values_in::<V>(values)?;
        check(keys, lengths, count)?;
        let question = Question { keys, lengths, command, push: true, pull: None };
        self.ask(&question, |span, _| part::<V>(values, span).map(Some), Some(count), callback)
    }

    /// Pulls the values of keys into a tensor of this worker's memory, without a copy (`ZPull`). The server must answer with
    /// exactly `lengths` values of each key, or the same number that fills the tensor. The outcome has no pairs.
    ///
    /// # Errors
    /// [`KvError`]; nothing was sent.
    pub fn pull_tensor(
        &self,
        keys: &[u64],
        into: &Tensor,
        lengths: Option<&[u32]>,
        command: i32,
        callback: Option<KvCallback<V>>,
    ) -> Result<Timestamp, KvError> {
        let count = values_in::<V>(into)?;
        check(keys, lengths, count)?;
        let question = Question { keys, lengths, command, push: false, pull: None };
        self.pull_in_place(&question, into, count, callback)
    }

    /// Waits for a request and takes what it brought. Can be asked once, and not where a callback was given.
    ///
    /// # Errors
    /// [`KvError::Track`] where it is not done yet, or its result is gone; otherwise why it failed.
    pub fn wait(&self, timestamp: Timestamp, timeout: Duration) -> KvOutcome<V> {
        self.inner.requests.take(timestamp, timeout)?
    }

    /// Whether a request is done.
    #[must_use]
    pub fn is_done(&self, timestamp: Timestamp) -> bool {
        self.inner.requests.is_done(timestamp)
    }
}

/// Asking.
impl<V: Value> KvWorker<V> {
    /// Sends each server its keys. `values` makes the tensor of a server's values.
    fn ask(
        &self,
        question: &Question<'_>,
        mut values: impl FnMut(Range<usize>, &mut Vec<Buffer>) -> Result<Option<Tensor>, KvError>,
        count: Option<usize>,
        callback: Option<KvCallback<V>>,
    ) -> Result<Timestamp, KvError> {
        let bound_for = if question.pull.is_some() { BoundFor::Caller } else { BoundFor::Nowhere };
        let mut pending = Pending::new(question.keys, bound_for);
        let mut request = PushPull::new().up_to();
        for (server, keys) in self.shares(question.keys) {
            request = self.push_front(request, server, question, keys.clone(), &mut pending)?;
            if question.push {
                let span = span_of(question, &keys, count.unwrap_or_default());
                if let Some(tensor) = values(span, &mut pending.buffers)? {
                    request = request.push_to(server, VALUES, &tensor);
                }
            }
            if let Some(most) = question.pull {
                let bytes = keys.len() * most as usize * V::BYTES;
                let buffer = self.buffer(bytes)?;
                let tensor = buffer.tensor(0, bytes)?;
                pending.buffers.push(buffer);
                request = self.pull_from(request, server, keys, tensor, &mut pending)?;
            }
        }
        self.submit(&request, pending, callback)
    }

    fn pull_in_place(
        &self,
        question: &Question<'_>,
        into: &Tensor,
        count: usize,
        callback: Option<KvCallback<V>>,
    ) -> Result<Timestamp, KvError> {
        let each = spans(question.keys.len(), question.lengths, count).map(|span| span.len() as u32);
        let mut pending = Pending::new(question.keys, BoundFor::Tensor(each.collect()));
        let mut request = PushPull::new();
        for (server, keys) in self.shares(question.keys) {
            let tensor = part::<V>(into, span_of(question, &keys, count))?;
            let pulling = Question { pull: Some(0), lengths: None, ..*question };
            request = self.push_front(request, server, &pulling, keys.clone(), &mut pending)?;
            request = self.pull_from(request, server, keys, tensor, &mut pending)?;
        }
        self.submit(&request, pending, callback)
    }

    /// Those servers that have some of the keys, and which.
    fn shares(&self, keys: &[u64]) -> impl Iterator<Item = (u32, Range<usize>)> {
        let slices = ranges::slices(keys, &self.inner.ranges).into_iter();
        (0u32..).zip(slices).filter(|(_, keys)| !keys.is_empty())
    }

    fn push_front(
        &self,
        request: PushPull,
        server: u32,
        question: &Question<'_>,
        keys: Range<usize>,
        pending: &mut Pending,
    ) -> Result<PushPull, KvError> {
        let front = Front {
            push: question.push,
            pull: question.pull.is_some(),
            value_bytes: V::BYTES as u8,
            command: question.command,
            keys: question.keys[keys.clone()].to_vec(),
            lengths: question.lengths.map(|lengths| lengths[keys].to_vec()),
        };
        let bytes = front.emit();
        let buffer = self.buffer(bytes.len())?;
        let tensor = buffer.fill(0, &bytes)?;
        pending.buffers.push(buffer);
        Ok(request.push_to(server, FRONT, &tensor))
    }

    /// Pulls the lengths of keys, and their values into a tensor.
    fn pull_from(
        &self,
        request: PushPull,
        server: u32,
        keys: Range<usize>,
        values: Tensor,
        pending: &mut Pending,
    ) -> Result<PushPull, KvError> {
        let bytes = 4 * keys.len();
        let buffer = self.buffer(bytes)?;
        let lengths = buffer.tensor(0, bytes)?;
        pending.buffers.push(buffer);
        let request = request.pull_from(server, LENGTHS, &lengths).pull_from(server, VALUES, &values);
        pending.pulls.push((keys, lengths, values));
        Ok(request)
    }

    fn buffer(&self, bytes: usize) -> Result<Buffer, KvError> {
        Ok(self.inner.buffers.take(self.inner.worker.endpoint(), bytes)?)
    }

    fn submit(
        &self,
        request: &PushPull,
        pending: Pending,
        callback: Option<KvCallback<V>>,
    ) -> Result<Timestamp, KvError> {
        let timestamp = self.inner.requests.begin();
        if pending.keys.is_empty() {
            self.inner.ended(timestamp, Ok(KvPairs::default()), callback);
            return Ok(timestamp);
        }
        let deadline = Instant::now() + super::PATIENCE;
        let submitted = self.inner.worker.push_pull(request, Some(deadline));
        let handle = submitted.inspect_err(|_| self.inner.requests.forget(timestamp))?;
        let inner = Arc::clone(&self.inner);
        let then = move |outcome| {
            let outcome = inner.collect(pending, outcome);
            inner.ended(timestamp, outcome, callback);
        };
        self.completer.add(handle, Box::new(then));
        Ok(timestamp)
    }
}

impl<V: Value> Inner<V> {
    /// What a request brought; its buffers are free again.
    fn collect(&self, pending: Pending, outcome: Result<Results, Failure>) -> KvOutcome<V> {
        let Pending { buffers, pulls, keys, bound_for } = pending;
        let outcome = outcome.map_err(KvError::from).and_then(|results| match bound_for {
            BoundFor::Nowhere => Ok(KvPairs::default()),
            BoundFor::Caller => assemble(keys, &pulls, &results.lengths),
            BoundFor::Tensor(wanted) => compare(&keys, &pulls, &wanted).map(|()| KvPairs::default()),
        });
        drop(pulls);
        buffers.into_iter().for_each(|buffer| self.buffers.give(buffer));
        outcome
    }

    fn ended(&self, timestamp: Timestamp, outcome: KvOutcome<V>, callback: Option<KvCallback<V>>) {
        match callback {
            Some(callback) => {
                self.requests.forget(timestamp);
                callback(outcome);
            }
            None => self.requests.finish(timestamp, outcome),
        }
    }
}

/// Puts the servers' answers together, in the order of the keys.
fn assemble<V: Value>(
    keys: Vec<u64>,
    pulls: &[(Range<usize>, Tensor, Tensor)],
    came: &[u32],
) -> KvOutcome<V> {
    let (mut lengths, mut values): (Vec<u32>, Vec<V>) = (Vec::new(), Vec::new());
    for ((_, length_tensor, value_tensor), came) in pulls.iter().zip(came.chunks_exact(2)) {
        lengths.extend(parse_values::<u32>(&contents(length_tensor)[..came[0] as usize]));
        values.extend(parse_values::<V>(&contents(value_tensor)[..came[1] as usize]));
    }
    KvPairs::variable(keys, values, lengths)
}

/// Whether each key has as many values as were asked for.
fn compare(keys: &[u64], pulls: &[(Range<usize>, Tensor, Tensor)], wanted: &[u32]) -> Result<(), KvError> {
    for (of_server, length_tensor, _) in pulls {
        let came = parse_values::<u32>(&contents(length_tensor));
        let mut each = keys[of_server.clone()].iter().zip(came).zip(&wanted[of_server.clone()]);
        if let Some(((key, values), wanted)) = each.find(|((_, came), wanted)| came != *wanted) {
            return Err(KvError::Answered { key: *key, values, wanted: *wanted });
        }
    }
    Ok(())
}

impl Pending {
    fn new(keys: &[u64], bound_for: BoundFor) -> Self {
        Self { buffers: Vec::new(), pulls: Vec::new(), keys: keys.to_vec(), bound_for }
    }
}

/// Which values belong to some of the keys.
fn span_of(question: &Question<'_>, keys: &Range<usize>, values: usize) -> Range<usize> {
    let mut spans = spans(question.keys.len(), question.lengths, values);
    let first = spans.nth(keys.start).unwrap_or_default();
    let last = if keys.len() > 1 { spans.nth(keys.len() - 2).unwrap_or_default() } else { first.clone() };
    first.start..last.end
}

/// How many values a tensor holds.
fn values_in<V: Value>(tensor: &Tensor) -> Result<usize, KvError> {
    let bytes = tensor.bytes() as usize;
    if bytes.is_multiple_of(V::BYTES) {
        Ok(bytes / V::BYTES)
    } else {
        Err(KvError::Bytes { bytes, value: V::BYTES })
    }
}

/// Some values of a tensor.
fn part<V: Value>(tensor: &Tensor, span: Range<usize>) -> Result<Tensor, KvError> {
    let offset = tensor.offset() + (span.start * V::BYTES) as u64;
    Ok(tensor_of(tensor.memory(), offset, span.len() * V::BYTES)?)
}

impl<V> fmt::Debug for KvWorker<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = self.inner.ranges.len();
        formatter.debug_struct("KvWorker").field("servers", &servers).finish_non_exhaustive()
    }
}
