//! The control connections to workers, for applications beside the data path.

use std::sync::Arc;

use super::{Server, service::Shared};
use crate::{
    rendezvous::{MemberId, Role},
    simple::{Apps, Link, LinkDown, WeakLink},
    wire::kind,
};

impl Server {
    pub(crate) fn app_link(&self) -> Arc<dyn Link> {
        Arc::new(WeakLink(Arc::downgrade(&self.0.shared)))
    }

    pub(crate) fn apps(&self) -> &Apps {
        &self.0.shared.apps
    }
}

impl Link for Shared {
    fn members(&self) -> Vec<MemberId> {
        self.inbox.workers().into_iter().map(|worker| MemberId::worker(worker.rank)).collect()
    }

    fn send(&self, to: MemberId, bytes: Vec<u8>) -> Result<(), LinkDown> {
        let down = LinkDown { member: to };
        let link = self.inbox.link(to.rank).filter(|_| to.role == Role::Worker).ok_or(down)?;
        link.peer.connection().event(kind::APP, bytes).map_err(|_| down)
    }
}
