//! The control connections to servers, for applications beside the data path.

use std::sync::Arc;

use super::{Shared, Worker};
use crate::{
    rendezvous::{MemberId, Role},
    simple::{Apps, Link, LinkDown, WeakLink},
    wire::kind,
};

impl Worker {
    pub(crate) fn app_link(&self) -> Arc<dyn Link> {
        Arc::new(WeakLink(Arc::downgrade(&self.0.shared)))
    }

    pub(crate) fn apps(&self) -> &Apps {
        &self.0.shared.apps
    }
}

impl Link for Shared {
    fn members(&self) -> Vec<MemberId> {
        let servers = self.servers();
        let live = servers.by_rank.iter().filter(|(_, connection)| connection.fault().is_none());
        live.map(|(rank, _)| MemberId::server(*rank)).collect()
    }

    fn send(&self, to: MemberId, bytes: Vec<u8>) -> Result<(), LinkDown> {
        let down = LinkDown { member: to };
        let found = self.servers().by_rank.get(&to.rank).cloned().filter(|_| to.role == Role::Server);
        let connection = found.filter(|connection| connection.fault().is_none()).ok_or(down)?;
        connection.peer.connection().event(kind::APP, bytes).map_err(|_| down)
    }
}
