//! What a push-pull asks for, and its plan: what goes to which server.

use std::{collections::BTreeMap, sync::Arc, thread};

use pmd_core::accelerator::{Event, Flag};

use super::{PushPullError, batches::Owner};
use crate::tensor::{Layout, Tensor};

/// A push-pull to be submitted. It can be submitted any number of times; tensors are handles.
///
/// Items without a server go to all [`servers`](PushPull::servers): pushes to each of them, pulls shared out among them.
#[derive(Clone, Debug, Default)]
pub struct PushPull {
    servers: Option<Vec<u32>>,
    pushes: Vec<Push>,
    pulls: Vec<Pull>,
    pub(super) tag: u32,
    pub(super) up_to: bool,
    pub(super) part: Part,
    batch: Option<u64>,
    pub(super) after: Option<Arc<dyn Event>>,
    pub(super) then: Option<(Arc<dyn Flag>, u64)>,
}

/// Which part of a batch a push-pull is. A server hands out the parts of a batch together, in one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Part {
    /// A batch of its own.
    #[default]
    Single,
    /// The first of several.
    Start,
    /// Neither the first nor the last.
    Middle,
    /// The last.
    End,
}

#[derive(Clone, Debug)]
struct Push {
    server: Option<u32>,
    pushed: Pushed,
}

/// What is pushed: a tensor, or some rows of one.
#[derive(Clone, Debug)]
pub(super) struct Pushed {
    pub(super) key: u64,
    pub(super) tensor: Tensor,
    /// Rows in the order in which they go, one after the other.
    pub(super) rows: Option<Vec<u64>>,
    pub(super) layout: Layout,
}

#[derive(Clone, Debug)]
struct Pull {
    server: Option<u32>,
    key: u64,
    tensor: Tensor,
}

/// What is pulled, and its place among all pulls of the request.
#[derive(Clone, Debug)]
pub(super) struct Pulled {
    pub(super) key: u64,
    pub(super) tensor: Tensor,
    pub(super) place: usize,
}

/// One server's share.
#[derive(Clone, Debug, Default)]
pub(super) struct Share {
    pub(super) server: u32,
    pub(super) pushes: Vec<Pushed>,
    pub(super) pulls: Vec<Pulled>,
}

impl PushPull {
    /// An empty request: to be filled, or sent as it is.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The servers that items without a server go to, in the order in which pulls are shared out. Without this, all
    /// connected ones in the order of their ranks. A server that gets no item still gets an empty request.
    #[must_use]
    pub fn servers(mut self, ranks: impl IntoIterator<Item = u32>) -> Self {
        self.servers = Some(ranks.into_iter().collect());
        self
    }

    /// Pushes the tensor to each of the servers.
    #[must_use]
    pub fn push(mut self, key: u64, tensor: &Tensor) -> Self {
        self.pushes.push(Push { server: None, pushed: Pushed::whole(key, tensor) });
        self
    }

    /// Pushes the tensor to one server: its slice of something larger, say.
    #[must_use]
    pub fn push_to(mut self, server: u32, key: u64, tensor: &Tensor) -> Self {
        self.pushes.push(Push { server: Some(server), pushed: Pushed::whole(key, tensor) });
        self
    }

    /// Pushes those rows of the tensor (entries of its first dimension) to one server, in this order and without copying
    /// them together first. No row at all makes an empty tensor; a row may be named twice.
    ///
    /// # Errors
    /// [`PushPullError::Tensor`] for a row that the tensor does not have, or too many of them.
    pub fn push_rows(
        mut self,
        server: u32,
        key: u64,
        tensor: &Tensor,
        rows: impl IntoIterator<Item = u64>,
    ) -> Result<Self, PushPullError> {
        let (rows, known) = (rows.into_iter().collect::<Vec<_>>(), tensor.layout().rows());
        if let Some(&first) = rows.iter().find(|row| **row >= known) {
            return Err(crate::tensor::TensorError::Rows { first, count: 1, rows: known }.into());
        }
        let layout = tensor.layout().with_rows(rows.len() as u64)?;
        let pushed = Pushed { key, tensor: tensor.clone(), rows: Some(rows), layout };
        self.pushes.push(Push { server: Some(server), pushed });
        Ok(self)
    }

    /// Pulls into the tensor. Tensors given so are shared out among the servers, server-major: with `n` for each server,
    /// the first `n` are pulled from the first.
    #[must_use]
    pub fn pull(mut self, key: u64, tensor: &Tensor) -> Self {
        self.pulls.push(Pull { server: None, key, tensor: tensor.clone() });
        self
    }

    /// Pulls from one server into the tensor.
    #[must_use]
    pub fn pull_from(mut self, server: u32, key: u64, tensor: &Tensor) -> Self {
        self.pulls.push(Pull { server: Some(server), key, tensor: tensor.clone() });
        self
    }

    /// A number for the server's application.
    #[must_use]
    pub const fn tag(mut self, tag: u32) -> Self {
        self.tag = tag;
        self
    }

    /// Lets servers answer with less than the pulled tensors hold; [`Pulled`](super::Results) tells how much came.
    /// Without this an answer of another size is an error at both ends.
    #[must_use]
    pub const fn up_to(mut self) -> Self {
        self.up_to = true;
        self
    }

    /// Sends nothing before the event is done: the kernels in front of it have computed what is pushed. If it fails, so does
    /// the request. Room is taken at once; the wait for the event has no deadline of its own:
    /// [`Handle::cancel`](super::Handle::cancel) ends it.
    #[must_use]
    pub fn after(mut self, event: &Arc<dyn Event>) -> Self {
        self.after = Some(Arc::clone(event));
        self
    }

    /// Sets a flag once everything that is pulled has arrived, for kernels that wait for it; to
    /// [`FAILED`](crate::gate::FAILED), which values are below, where the request fails.
    #[must_use]
    pub fn then_set(mut self, flag: &Arc<dyn Flag>, value: u64) -> Self {
        self.then = Some((Arc::clone(flag), value));
        self
    }

    /// Makes it a part of a batch: the one that this thread has begun and not ended, or with [`Part::Start`] a new one. A new
    /// one takes the place of what the thread had begun; cancel the parts of that, which would wait for ever.
    #[must_use]
    pub const fn part(mut self, part: Part) -> Self {
        self.part = part;
        self
    }

    /// As [`PushPull::part`], of the batch with this number, whichever thread has begun it: for tasks that change their thread,
    /// and several threads that submit one batch together. The application sees to it that the first part is submitted first
    /// and the last one last.
    #[must_use]
    pub const fn part_of(mut self, batch: u64, part: Part) -> Self {
        (self.batch, self.part) = (Some(batch), part);
        self
    }

    /// Whose batch it belongs to, and which part of it this is.
    pub(super) fn batch(&self) -> (Owner, Part) {
        let this_thread = || Owner::Thread(thread::current().id());
        (self.batch.map_or_else(this_thread, Owner::Named), self.part)
    }

    /// Whether something beside its place in a stream says when it happens.
    pub(crate) fn is_ordered(&self) -> bool {
        self.after.is_some() || self.then.is_some() || self.part != Part::Single
    }

    /// Tensors pulled.
    pub(super) fn pull_count(&self) -> usize {
        self.pulls.len()
    }

    /// What goes to which server. `connected` are the ranks that a request without servers goes to.
    pub(super) fn plan(&self, connected: impl FnOnce() -> Vec<u32>) -> Result<Vec<Share>, PushPullError> {
        let shared = self.pulls.iter().filter(|pull| pull.server.is_none()).count();
        let named = self.pushes.iter().any(|push| push.server.is_some())
            || self.pulls.iter().any(|pull| pull.server.is_some());
        let to_all = shared > 0 || self.pushes.iter().any(|push| push.server.is_none());
        let servers = match &self.servers {
            Some(servers) => servers.clone(),
            None if to_all || !named => connected(),
            None => Vec::new(),
        };
        if shared > 0 && (servers.is_empty() || shared % servers.len() != 0) {
            return Err(PushPullError::PullCount { given: shared, servers: servers.len() });
        }
        let mut plan = Plan::new(&servers);
        for Push { server, pushed } in &self.pushes {
            match server {
                Some(server) => plan.share(*server).pushes.push(pushed.clone()),
                None => servers.iter().for_each(|server| plan.share(*server).pushes.push(pushed.clone())),
            }
        }
        let each = shared.checked_div(servers.len()).unwrap_or_default().max(1);
        let mut taken = 0;
        for (place, Pull { server, key, tensor }) in self.pulls.iter().enumerate() {
            let server = server.unwrap_or_else(|| {
                taken += 1;
                servers[(taken - 1) / each]
            });
            plan.share(server).pulls.push(Pulled { key: *key, tensor: tensor.clone(), place });
        }
        if plan.shares.is_empty() { Err(PushPullError::NoServers) } else { Ok(plan.shares) }
    }
}

/// Shares in the order in which their servers were named.
struct Plan {
    shares: Vec<Share>,
    index: BTreeMap<u32, usize>,
}

impl Plan {
    fn new(servers: &[u32]) -> Self {
        let mut plan = Self { shares: Vec::new(), index: BTreeMap::new() };
        servers.iter().for_each(|server| {
            plan.share(*server);
        });
        plan
    }

    fn share(&mut self, server: u32) -> &mut Share {
        let Self { shares, index } = self;
        let at = *index.entry(server).or_insert_with(|| {
            shares.push(Share { server, ..Share::default() });
            shares.len() - 1
        });
        &mut shares[at]
    }
}

impl Pushed {
    fn whole(key: u64, tensor: &Tensor) -> Self {
        Self { key, tensor: tensor.clone(), rows: None, layout: *tensor.layout() }
    }
}
