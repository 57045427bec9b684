//! What lives from `initialize` to `finalize`: the fabric, the caches, the links, and how links are made and taken down.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use pmd_host::{
    control::RequestError,
    endpoint::{EndpointConfig, Peer},
};

use super::{
    ArgumentError, CachePlacement, ClusterInfo, DataDistError, IpInfo,
    error::LinkFault,
    links::Token,
    options::Settings,
    pool::Pool,
    protocol::{LINK, Link, PROCESSING, UNLINK, WRONG_CLUSTER, encode},
    service::Service,
    transfer::Patience,
};
use crate::fabric::{Fabric, FabricError, Handler};

/// Clusters that one call links or unlinks at once; more wait for their turn.
const AT_ONCE: usize = 16;

/// An initialised process.
pub(super) struct Running {
    pub(super) settings: Settings,
    pub(super) service: Arc<Service>,
    pub(super) fabric: Fabric,
    device_pool: Pool,
    host_pool: Pool,
}

/// What became of one cluster.
pub(super) type ClusterResult = Result<(), DataDistError>;

impl Running {
    pub(super) fn open(
        cluster_id: u64,
        settings: Settings,
        endpoint: EndpointConfig,
    ) -> Result<Self, DataDistError> {
        let service = Service::new(cluster_id);
        let name = format!("datadist-{cluster_id}");
        let config = EndpointConfig { name, listen: settings.listen, ..endpoint };
        let fabric = Fabric::open(config, Arc::clone(&service) as Arc<dyn Handler>)?;
        let device_pool = Pool::new(CachePlacement::Device, settings.device_pool);
        let host_pool = Pool::new(CachePlacement::Host, settings.host_pool);
        Ok(Self { settings, service, fabric, device_pool, host_pool })
    }

    /// Takes down all links and ends all caches. When this returns nothing reaches the caller's memory.
    pub(super) fn close(&self) {
        for link in self.service.links.take() {
            link.close();
        }
        for cache_id in self.service.caches.ids() {
            self.remove_cache(cache_id);
        }
    }

    pub(super) const fn pool(&self, placement: CachePlacement) -> &Pool {
        match placement {
            CachePlacement::Device => &self.device_pool,
            CachePlacement::Host => &self.host_pool,
        }
    }

    /// Checks a call to link or unlink; its time-out.
    pub(super) fn check_clusters(
        &self,
        clusters: &[ClusterInfo],
        timeout_in_millis: i32,
    ) -> Result<Duration, DataDistError> {
        let millis = u64::try_from(timeout_in_millis).ok().filter(|millis| *millis > 0);
        let millis = millis.ok_or(ArgumentError::Timeout { millis: timeout_in_millis })?;
        match self.settings.cluster_limit {
            _ if clusters.is_empty() => Err(ArgumentError::NoClusters.into()),
            Some(limit) if clusters.len() > limit => {
                Err(DataDistError::TooManyClusters { given: clusters.len(), limit })
            }
            _ => Ok(Duration::from_millis(millis)),
        }
    }

    /// Ends a cache, if it is there. When this returns nothing reaches its memory.
    pub(super) fn remove_cache(&self, cache_id: i64) {
        if let Some(cache) = self.service.caches.remove(cache_id) {
            self.service.end_cache(cache);
        }
    }

    /// Does something for every cluster, several at once; results are in the order of the clusters.
    pub(super) fn for_each(
        clusters: &[ClusterInfo],
        work: impl Fn(&ClusterInfo) -> ClusterResult + Sync,
    ) -> Vec<ClusterResult> {
        let next = Mutex::new(clusters.iter().enumerate());
        let done: Mutex<Vec<Option<ClusterResult>>> = Mutex::new(clusters.iter().map(|_| None).collect());
        let take = || next.lock().unwrap_or_else(PoisonError::into_inner).next();
        let run = || {
            while let Some((index, cluster)) = take() {
                let result = work(cluster);
                done.lock().unwrap_or_else(PoisonError::into_inner)[index] = Some(result);
            }
        };
        thread::scope(|scope| {
            for _ in 1..clusters.len().min(AT_ONCE) {
                // Without a thread the others do its part.
                let _ = thread::Builder::new().name("datadist-link".into()).spawn_scoped(scope, run);
            }
            run();
        });
        done.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
    }

    /// Links with one cluster.
    pub(super) fn link_cluster(&self, cluster: &ClusterInfo, timeout: Duration) -> ClusterResult {
        let cluster_id = cluster.remote_cluster_id;
        if cluster_id == self.service.cluster_id {
            return Err(ArgumentError::OwnCluster { cluster_id }.into());
        }
        let address = address_of(cluster)?;
        let token = self.service.links.begin_link(cluster_id)?;
        self.make_link(token, cluster_id, address, Patience::new(timeout)).or_else(|error| {
            // Two clusters that link each other at the same time make one link.
            if self.service.links.give_up(token, cluster_id) { Ok(()) } else { Err(error) }
        })
    }

    fn make_link(&self, token: Token, cluster_id: u64, at: IpInfo, patience: Patience) -> ClusterResult {
        let IpInfo { ip, port } = at;
        let peer = self.fabric.connect_within(SocketAddr::new(ip, port), patience.given);
        let peer =
            peer.map_err(|source| DataDistError::Connect { cluster_id, ip, port, source: Box::new(source) })?;
        let asked = peer.request(LINK, encode(&self.hello(cluster_id)), patience.left());
        if let Err(error) = asked {
            peer.close();
            return Err(refused(cluster_id, error));
        }
        if !self.service.links.finish_link(token, cluster_id, &peer) {
            peer.close();
        }
        Ok(())
    }

    /// Takes the link with one cluster down.
    pub(super) fn unlink_cluster(
        &self,
        cluster: &ClusterInfo,
        timeout: Duration,
        force: bool,
    ) -> ClusterResult {
        let cluster_id = cluster.remote_cluster_id;
        let address = if force { None } else { Some(address_of(cluster)?) };
        let (token, link) = self.service.links.begin_unlink(cluster_id)?;
        let patience = Patience::new(timeout);
        let outcome = match (&link, address) {
            (None, None) => Ok(()),
            (None, Some(at)) => self.disown(cluster_id, at, patience),
            (Some(_), None) => Ok(()),
            (Some(link), Some(_)) => self
                .ask_to_unlink(&link.peer, cluster_id, patience)
                .map_err(|reason| DataDistError::NotConfirmed { cluster_id, reason }),
        };
        if let Some(link) = link {
            link.close();
        }
        self.service.links.give_up(token, cluster_id);
        outcome
    }

    fn ask_to_unlink(&self, peer: &Peer, cluster_id: u64, patience: Patience) -> Result<(), LinkFault> {
        peer.request(UNLINK, encode(&self.hello(cluster_id)), patience.left())?;
        Ok(())
    }

    /// Tells a cluster with which there is no link here that there is none, since it may believe that there is.
    fn disown(&self, cluster_id: u64, at: IpInfo, patience: Patience) -> ClusterResult {
        let IpInfo { ip, port } = at;
        let unreachable = |source: FabricError| DataDistError::Unreachable {
            cluster_id,
            ip,
            port,
            source: Box::new(source),
        };
        let peer =
            self.fabric.connect_within(SocketAddr::new(ip, port), patience.given).map_err(unreachable)?;
        let told = peer.request(UNLINK, encode(&self.hello(cluster_id)), patience.left());
        peer.close();
        told.map(drop).map_err(|error| unreachable(error.into()))
    }

    fn hello(&self, to: u64) -> Link {
        Link { from: self.service.cluster_id, to }
    }
}

fn address_of(cluster: &ClusterInfo) -> Result<IpInfo, ArgumentError> {
    match cluster.remote_ip_infos[..] {
        [address] => Ok(address),
        _ => Err(ArgumentError::RemoteAddresses {
            cluster_id: cluster.remote_cluster_id,
            given: cluster.remote_ip_infos.len(),
        }),
    }
}

/// What a cluster's answer to a link means.
fn refused(cluster_id: u64, error: RequestError) -> DataDistError {
    match error {
        RequestError::Refused(refusal) if refusal.code == PROCESSING => DataDistError::Linking { cluster_id },
        RequestError::Refused(refusal) if refusal.code == WRONG_CLUSTER => match refusal.detail.parse() {
            Ok(found) => DataDistError::WrongCluster { wanted: cluster_id, found },
            Err(_) => DataDistError::Handshake { cluster_id, source: RequestError::Refused(refusal) },
        },
        source => DataDistError::Handshake { cluster_id, source },
    }
}
