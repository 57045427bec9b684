//! The server's half: a batch that a stream waits for, and the responses that it gives.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use pmd_core::{
    accelerator::{Accelerator, AcceleratorError, Flag, Stream},
    ring::toggle::{Asked, Toggle},
};

use super::{
    CaptureError, CloseError, Launches, ServiceCause,
    exchange::Wanted,
    flush::Flushes,
    proxy::{Proxy, Shared, Site, lock},
};
use crate::{
    server::{CapturedBatch, Inbox, Request, Response, Server},
    tensor::Tensor,
};

/// What a captured batch takes from one worker, and what it is answered with.
#[derive(Clone, Debug)]
pub struct Answering {
    worker: u32,
    pushes: Vec<(u64, Tensor)>,
    answers: Vec<Tensor>,
}

/// Batches that streams take and answer by themselves. Made by [`Server::capture`].
///
/// Dropping it refuses the batch that is being served, and waits until responses have ended; see the [module](super) for what
/// becomes of later launches.
pub struct CapturedService {
    toggle: Toggle,
    respond: Arc<dyn Flag>,
    site: Shared<ServiceSite>,
    launches: Arc<Launches<ServiceCause>>,
    proxy: Proxy,
}

impl Answering {
    /// Requests of the worker of this rank.
    #[must_use]
    pub const fn new(worker: u32) -> Self {
        Self { worker, pushes: Vec::new(), answers: Vec::new() }
    }

    /// A push under the key lands in the tensor: that is a buffer which was [offered](Server::offer) with one slot, or a part
    /// of one ([`Server::offer_evenly`]), as what the worker pushes. Pushes in the order in which the worker names them.
    #[must_use]
    pub fn pushed(mut self, key: u64, tensor: &Tensor) -> Self {
        self.pushes.push((key, tensor.clone()));
        self
    }

    /// The worker's next pull is answered from the tensor.
    #[must_use]
    pub fn answer(mut self, tensor: &Tensor) -> Self {
        self.answers.push(tensor.clone());
        self
    }
}

impl Server {
    /// Captures a service: from now on requests of these workers that push under exactly these keys are taken by streams of
    /// the accelerator, wherever the returned object was put, and no longer given to [`Server::batch`]. A batch is one request
    /// of each of the workers. Where the stream does not respond within `patience`, the workers are refused. So is a push that
    /// was sent to where the key's pushes went before its buffer was offered: offer buffers before workers capture.
    ///
    /// # Errors
    /// [`CaptureError`].
    pub fn capture(
        &self,
        accelerator: &dyn Accelerator,
        workers: &[Answering],
        patience: Option<Duration>,
    ) -> Result<CapturedService, CaptureError> {
        if workers.is_empty() {
            return Err(CaptureError::NoWorkers);
        }
        for Answering { worker, pushes, .. } in workers {
            let misplaced = pushes.iter().find(|(key, tensor)| !self.has_offered(*worker, *key, tensor));
            if let Some(&(key, _)) = misplaced {
                return Err(CaptureError::NotOffered { worker: *worker, key });
            }
        }
        let toggle = Toggle::new(accelerator.flag()?, accelerator.flag()?);
        let (respond, launches) = (accelerator.flag()?, Arc::new(Launches::new()));
        let inbox = Arc::clone(self.inbox());
        let keys = |answering: &Answering| {
            (answering.worker, answering.pushes.iter().map(|(key, _)| *key).collect())
        };
        let route = inbox.capture(workers.iter().map(keys).collect());
        let route = route.map_err(|worker| CaptureError::Taken { worker })?;
        let work = Work { inbox, route, workers: workers.to_vec(), patience };
        let site = ServiceSite {
            toggle: toggle.clone(),
            respond: Arc::clone(&respond),
            launches: Arc::clone(&launches),
            work: Some(work),
            state: State::Idle,
            wanted: Wanted::Served,
        };
        let (site, proxy) = (Arc::new(Mutex::new(site)), self.proxy().clone());
        proxy.add(Arc::clone(&site) as Arc<Mutex<dyn Site>>).map_err(CaptureError::Thread)?;
        Ok(CapturedService { toggle, respond, site, launches, proxy })
    }
}

impl CapturedService {
    /// Puts the wait for a batch into a stream: what comes behind finds what the workers pushed in the captured tensors.
    ///
    /// # Errors
    /// Those of [`Stream::signal`]; a stream of another accelerator is [`AcceleratorError::Foreign`].
    pub fn put_batch(&self, stream: &dyn Stream) -> Result<(), AcceleratorError> {
        self.toggle.put(stream)
    }

    /// Puts the responses into a stream, behind [`CapturedService::put_batch`] and what computes the answers. The stream does
    /// not wait for them; the next batch is given to it when they have ended.
    ///
    /// # Errors
    /// As [`CapturedService::put_batch`].
    pub fn put_responses(&self, stream: &dyn Stream) -> Result<(), AcceleratorError> {
        stream.signal(&self.respond, 1)
    }

    /// What became of the launches. A launch ends when its responses have.
    #[must_use]
    pub fn launches(&self) -> &Launches<ServiceCause> {
        &self.launches
    }

    /// Serves no launch any more: those that come, or wait for a batch, are answered with [`ServiceCause::Closed`], and
    /// requests of the workers go to [`Server::batch`]. Waits for the launch that has a batch, until `deadline` if there is
    /// one.
    ///
    /// # Errors
    /// [`CloseError::InFlight`]: it closes once that launch has ended.
    pub fn close(&self, deadline: Option<Instant>) -> Result<(), CloseError> {
        self.end(Wanted::Closed, deadline)
    }

    fn end(&self, wanted: Wanted, deadline: Option<Instant>) -> Result<(), CloseError> {
        lock(&self.site).wanted = wanted;
        self.proxy.wake();
        if self.launches.wait_closed(deadline) {
            return Ok(());
        }
        Err(CloseError::InFlight { launch: self.launches.ended() + 1 })
    }
}

impl Drop for CapturedService {
    fn drop(&mut self) {
        // Without a deadline it ends.
        let _ = self.end(Wanted::GivenUp, None);
    }
}

impl fmt::Debug for CapturedService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ended, failed) = (self.launches.ended(), self.launches.failed());
        let mut debug = formatter.debug_struct("CapturedService");
        debug.field("ended", &ended).field("failed", &failed).finish_non_exhaustive()
    }
}

/// Whose requests launches take.
struct Work {
    inbox: Arc<Inbox>,
    /// Its number at the inbox.
    route: u64,
    workers: Vec<Answering>,
    patience: Option<Duration>,
}

/// What the proxy looks after.
pub(super) struct ServiceSite {
    toggle: Toggle,
    respond: Arc<dyn Flag>,
    launches: Arc<Launches<ServiceCause>>,
    /// None once it is closed.
    work: Option<Work>,
    state: State,
    wanted: Wanted,
}

/// The first failure of a launch, if there was one.
type Outcome = Result<(), ServiceCause>;

enum State {
    /// Nothing is asked.
    Idle,
    /// A launch waits for a batch.
    Waiting,
    /// It has it, and computes.
    Computing { requests: Vec<(usize, Request)>, outcome: Outcome, since: Instant },
    /// Responses are on their way.
    Responding { responses: Vec<Response>, outcome: Outcome },
}

impl Site for ServiceSite {
    fn turn(&mut self) -> bool {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => self.look(),
            State::Waiting => self.gather(),
            State::Computing { requests, outcome, since } => self.compute(requests, outcome, since),
            State::Responding { responses, outcome } => self.finish(responses, outcome),
        }
    }
}

impl ServiceSite {
    fn look(&mut self) -> bool {
        match self.toggle.take() {
            Some(Asked::Launch) => {
                // Left over by a launch that was refused.
                self.respond.store(0);
                self.gather();
            }
            Some(Asked::Overlap) => self.launches.note(Err(ServiceCause::Overlap)),
            None if self.wanted == Wanted::Served || self.launches.is_closed() => return false,
            None => self.close(),
        }
        true
    }

    /// The requests go before anybody is told that there will be no more.
    fn close(&mut self) {
        let work = self.work.take();
        work.into_iter().for_each(|work| work.inbox.release(work.route));
        self.launches.note_closed();
    }

    /// Gives the stream its batch, or waits on.
    fn gather(&mut self) -> bool {
        let Some(work) = self.work.as_ref().filter(|_| self.wanted == Wanted::Served) else {
            return self.go_on_without(ServiceCause::Closed);
        };
        let batch = match work.inbox.look_captured(work.route) {
            CapturedBatch::Waiting => {
                self.state = State::Waiting;
                return false;
            }
            CapturedBatch::Closed => return self.go_on_without(ServiceCause::ServerClosed),
            CapturedBatch::Ready(batch) => batch,
        };
        let (mut requests, mut outcome) = (Vec::with_capacity(batch.len()), Ok(()));
        let mut flushes = Flushes::default();
        for (index, (request, answering)) in batch.into_iter().zip(&work.workers).enumerate() {
            let worker = answering.worker;
            let taken = request.map_err(|reason| ServiceCause::WorkerDown { worker, reason });
            let checked = taken.and_then(|request| answering.check(request));
            match checked.and_then(|request| answering.flush(request, &mut flushes)) {
                Ok(request) => requests.push((index, request)),
                Err(cause) => outcome = outcome.and(Err(cause)),
            }
        }
        self.state = State::Computing { requests, outcome, since: Instant::now() };
        let launches = &self.launches;
        self.toggle.answer(|overlap| {
            if overlap.is_some() {
                launches.note(Err(ServiceCause::Overlap));
            }
        });
        true
    }

    /// Lets a stream go on that has no batch.
    fn go_on_without(&mut self, cause: ServiceCause) -> bool {
        let launches = &self.launches;
        self.toggle.answer(|overlap| {
            launches.note(Err(cause));
            if overlap.is_some() {
                launches.note(Err(ServiceCause::Overlap));
            }
        });
        true
    }

    fn compute(&mut self, requests: Vec<(usize, Request)>, outcome: Outcome, since: Instant) -> bool {
        let Some(work) = self.work.as_ref().filter(|_| self.wanted != Wanted::GivenUp) else {
            // Requests that are dropped are refused.
            drop(requests);
            self.launches.note(outcome.and(Err(ServiceCause::Closed)));
            return true;
        };
        if self.respond.load() == 0 {
            if let Some(patience) = work.patience.filter(|patience| since.elapsed() >= *patience) {
                drop(requests);
                self.launches.note(outcome.and(Err(ServiceCause::Timeout { patience })));
                return true;
            }
            self.state = State::Computing { requests, outcome, since };
            return false;
        }
        self.respond.store(0);
        let (mut responses, mut outcome) = (Vec::with_capacity(requests.len()), outcome);
        for (index, request) in requests {
            let Answering { worker, answers, .. } = &work.workers[index];
            match request.respond(answers) {
                Ok(response) => responses.push(response),
                Err(error) => {
                    let cause = ServiceCause::Respond { worker: *worker, error: Arc::new(error) };
                    outcome = outcome.and(Err(cause));
                }
            }
        }
        self.finish(responses, outcome);
        true
    }

    /// Ends the launch once all responses have.
    fn finish(&mut self, mut responses: Vec<Response>, mut outcome: Outcome) -> bool {
        responses.retain(|response| match response.poll() {
            None => true,
            Some(ended) => {
                let ended = ended.map_err(ServiceCause::from);
                outcome = std::mem::replace(&mut outcome, Ok(())).and(ended);
                false
            }
        });
        if !responses.is_empty() {
            self.state = State::Responding { responses, outcome };
            return false;
        }
        self.launches.note(outcome);
        true
    }
}

impl Answering {
    /// Refuses a request that pushes something else than was captured.
    fn check(&self, request: Request) -> Result<Request, ServiceCause> {
        let other = request.pushes().zip(&self.pushes).find(|(pushed, (_, tensor))| {
            let same = |found: &Tensor| {
                found.address() == tensor.address() && found.layout().bytes() == tensor.layout().bytes()
            };
            !pushed.tensor().is_some_and(same)
        });
        match other.map(|(pushed, _)| pushed.key()) {
            // Dropped, and so refused.
            Some(key) => Err(ServiceCause::Pushed { worker: self.worker, key }),
            None => Ok(request),
        }
    }

    /// Makes what was pushed visible to the device, or refuses the request.
    fn flush(&self, request: Request, flushes: &mut Flushes) -> Result<Request, ServiceCause> {
        let flushed = flushes.of(request.written_by_nics());
        flushed.map_err(|error| ServiceCause::Flush { worker: self.worker, error })?;
        Ok(request)
    }
}
