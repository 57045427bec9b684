//! The progress thread: everything that a completion, a credit or a clock has to trigger. Sleeps while there is
//! nothing.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Wake, Waker},
    time::Instant,
};

use pmd_host::{
    control::{DownReason, Refusal},
    endpoint::Peer,
    lane::Message,
};

use super::{
    MessageError, MessageLimits, Receiver,
    channel::{Channel, Chores},
    payload::Offered,
};
use crate::fabric::{Fabric, Handler};

pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the progress thread, the messenger's handles and the fabric's threads share.
pub(super) struct Progress {
    limits: MessageLimits,
    receiver: Arc<dyn Receiver>,
    /// By the number of the control connection.
    channels: Mutex<HashMap<u64, Arc<Channel>>>,
    inbox: Mutex<Inbox>,
    woken: Condvar,
}

/// What the thread finds when it wakes.
#[derive(Default)]
struct Inbox {
    kicked: bool,
    stop: bool,
    tasks: Vec<Task>,
    offered: Vec<Offered>,
}

impl Progress {
    pub(super) fn new(limits: MessageLimits, receiver: Arc<dyn Receiver>) -> Self {
        Self { limits, receiver, channels: Mutex::default(), inbox: Mutex::default(), woken: Condvar::new() }
    }

    /// The body of the thread.
    pub(super) fn run(self: Arc<Self>, fabric: &Fabric) {
        let waker = Waker::from(Arc::clone(&self));
        let mut context = Context::from_waker(&waker);
        let mut tasks: Vec<Task> = Vec::new();
        let mut next = None;
        while let Some(Inbox { tasks: mut fresh, offered, .. }) = self.sleep(next) {
            // Deregisters.
            drop(offered);
            tasks.append(&mut fresh);
            tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
            let each = |channel: &Arc<Channel>| channel.progress(fabric, &*self.receiver, &mut context);
            next = self.all().iter().filter_map(each).min();
        }
    }

    /// Sleeps until there is something to do; `None` when the thread is to end.
    fn sleep(&self, until: Option<Instant>) -> Option<Inbox> {
        let mut inbox = self.inbox();
        loop {
            if inbox.stop {
                return None;
            }
            let left = until.map(|at| at.saturating_duration_since(Instant::now()));
            if inbox.kicked || left.is_some_and(|left| left.is_zero()) {
                return Some(std::mem::take(&mut *inbox));
            }
            inbox = match left {
                None => self.woken.wait(inbox).unwrap_or_else(PoisonError::into_inner),
                Some(left) => self.woken.wait_timeout(inbox, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }

    pub(super) fn kick(&self) {
        self.inbox().kicked = true;
        self.woken.notify_one();
    }

    pub(super) fn stop(&self) {
        self.inbox().stop = true;
        self.woken.notify_one();
        for channel in self.all() {
            channel.fail(&MessageError::Closed);
        }
    }

    pub(super) fn spawn(&self, task: Task) {
        self.inbox().tasks.push(task);
        self.kick();
    }

    pub(super) fn flush(&self, deadline: Instant) -> bool {
        let channels = self.all();
        channels.iter().for_each(|channel| channel.ask());
        self.kick();
        // Each is waited for, also after one that did not.
        channels.iter().filter(|channel| !channel.flush(deadline)).count() == 0
    }

    /// The channel to a peer. One that is down has a channel that has failed.
    pub(super) fn channel(&self, peer: &Peer) -> Arc<Channel> {
        let mut channels = self.channels();
        let number = peer.connection().number();
        if let Some(channel) = channels.get(&number) {
            return Arc::clone(channel);
        }
        let channel = Arc::new(Channel::new(peer.clone(), self.limits.clone()));
        channels.insert(number, Arc::clone(&channel));
        // It may have gone down while it was unknown here: then nobody would take it out.
        if peer.down_reason().is_some() {
            channels.remove(&number);
            drop(channels);
            channel.fail(&MessageError::PeerDown);
        }
        channel
    }

    fn all(&self) -> Vec<Arc<Channel>> {
        self.channels().values().map(Arc::clone).collect()
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<u64, Arc<Channel>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        self.kick();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.kick();
    }
}

impl Handler for Progress {
    fn connected(&self, peer: &Peer) {
        self.receiver.connected(peer);
    }

    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.receiver.request(peer, kind, body)
    }

    fn message(&self, peer: &Peer, message: Message<'_>) {
        match self.channel(peer).frame(&*self.receiver, message.bytes) {
            Ok(Chores { offered, look }) if look || !offered.is_empty() => {
                self.inbox().offered.extend(offered);
                self.kick();
            }
            Ok(_) => {}
            // Whoever sends this is no messenger, or broken.
            Err(_) => peer.close(),
        }
    }

    fn down(&self, peer: &Peer, reason: &DownReason) {
        let channel = self.channels().remove(&peer.connection().number());
        if let Some(channel) = channel {
            channel.fail(&MessageError::PeerDown);
        }
        self.receiver.down(peer, reason);
    }
}
