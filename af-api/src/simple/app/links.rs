//! How applications reach the control connections: a worker's to its servers, a server's to its workers.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{AppHandler, Link, LinkDown, Shared, SimpleApp};
use crate::{rendezvous::MemberId, server::Server, worker::Worker};

/// The applications of one worker or server, for its control thread.
#[derive(Default)]
pub(crate) struct Apps(Mutex<Vec<Weak<Shared>>>);

impl Apps {
    fn add(&self, app: &SimpleApp) {
        let mut apps = self.lock();
        apps.retain(|app| app.strong_count() > 0);
        apps.push(Arc::downgrade(app.shared()));
    }

    /// Bytes have come from a member.
    pub(crate) fn deliver(&self, from: MemberId, bytes: &[u8]) {
        let _ = self.living().iter().any(|app| app.deliver(from, bytes));
    }

    /// A member is down.
    pub(crate) fn member_down(&self, member: MemberId) {
        self.living().iter().for_each(|app| app.member_down(member));
    }

    fn living(&self) -> Vec<Arc<Shared>> {
        self.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Shared>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SimpleApp {
    /// An application between a worker and its servers. It does not keep the worker: when that goes, requests are
    /// [`AppError::Down`](super::AppError::Down).
    ///
    /// # Errors
    /// Where its thread does not start.
    pub fn on_worker(worker: &Worker, number: u32, handler: Arc<dyn AppHandler>) -> io::Result<Self> {
        let app = Self::start(number, worker.app_link(), handler)?;
        worker.apps().add(&app);
        Ok(app)
    }

    /// An application between a server and its workers. It does not keep the server.
    ///
    /// # Errors
    /// Where its thread does not start.
    pub fn on_server(server: &Server, number: u32, handler: Arc<dyn AppHandler>) -> io::Result<Self> {
        let app = Self::start(number, server.app_link(), handler)?;
        server.apps().add(&app);
        Ok(app)
    }
}

/// A link of something that may go.
pub(crate) struct WeakLink<T: ?Sized>(pub(crate) Weak<T>);

impl<T: Link> Link for WeakLink<T> {
    fn members(&self) -> Vec<MemberId> {
        self.0.upgrade().map_or_else(Vec::new, |link| link.members())
    }

    fn send(&self, to: MemberId, bytes: Vec<u8>) -> Result<(), LinkDown> {
        self.0.upgrade().ok_or(LinkDown { member: to })?.send(to, bytes)
    }
}
