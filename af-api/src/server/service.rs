//! What a server does with what its workers ask and say.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use pmd_core::accelerator::Accelerator;
use pmd_host::{
    control::{DownReason, Refusal},
    endpoint::{Endpoint, Peer, PeerService},
    lane::Message,
    transfer::RouteFault,
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    ServerConfig,
    areas::{Offers, Place, Pool},
    inbox::Inbox,
    link::{Arrival, Link},
    lock,
    request::Part,
    respond,
};
use crate::wire::{
    self, AgreeArea, AreaGone, Introduction, NodeIdentity, Refused, RequestView, VERSION, kind,
};
use crate::{rendezvous::MemberId, simple::Apps, trace::MessageError};

/// What the endpoint's threads reach.
pub(super) struct Shared {
    pub(super) inbox: Arc<Inbox>,
    pub(super) identity: Mutex<NodeIdentity>,
    pub(super) offers: Mutex<Offers>,
    /// By the number of the control connection.
    links: Mutex<HashMap<u64, Arc<Link>>>,
    /// For memory of areas. Taken out when the server goes: the endpoint holds this value.
    memory: Mutex<Option<(Endpoint, Pool)>>,
    most_depth: u16,
    pub(super) apps: Apps,
}

impl Shared {
    pub(super) fn new(config: &ServerConfig) -> Arc<Self> {
        Arc::new(Self {
            inbox: Inbox::new(config),
            identity: Mutex::new(config.identity),
            offers: Mutex::default(),
            links: Mutex::default(),
            memory: Mutex::default(),
            apps: Apps::default(),
            most_depth: config.most_depth.clamp(1, wire::LARGEST_SLOT),
        })
    }

    /// From now on there is memory for areas: the accelerator's, or the host's.
    pub(super) fn start(&self, endpoint: &Endpoint, accelerator: Option<Arc<dyn Accelerator>>) {
        self.inbox.belongs_to(endpoint.identity().incarnation);
        let pool = Pool::of(accelerator);
        *lock(&self.memory) = Some((endpoint.clone(), pool));
    }

    pub(super) fn stop(&self) {
        self.inbox.close();
        let memory = lock(&self.memory).take();
        drop(memory);
    }

    fn link(&self, peer: &Peer) -> Option<Arc<Link>> {
        lock(&self.links).get(&peer.connection().number()).cloned()
    }

    fn introduce(&self, peer: &Peer, theirs: &Introduction) -> Result<Introduction, Refusal> {
        if theirs.version != VERSION {
            let detail = format!("wire version {}, this server speaks {VERSION}", theirs.version);
            return Err(Refused::Version.because(detail));
        }
        let ours = peer.route().message_limit() as u32;
        let message_bytes = ours.min(theirs.message_bytes);
        let trace = self.inbox.recorder().add_peer(&format!("worker {}", theirs.node.rank));
        let link = Link::new(peer.clone(), theirs.node, message_bytes as usize, trace);
        let earlier = self.inbox.join(&link).map_err(|later| {
            Refused::Stale.because(format!("epoch {} of worker {} is connected", later.epoch, later.rank))
        })?;
        lock(&self.links).insert(peer.connection().number(), link);
        if let Some(earlier) = earlier {
            earlier.peer.close();
        }
        Ok(Introduction { version: VERSION, node: *lock(&self.identity), message_bytes: ours })
    }

    fn agree_area(&self, link: &Link, wanted: &AgreeArea) -> Result<wire::AreaAgreed, Refusal> {
        if wanted.capacity == 0 || wanted.capacity > u64::from(u32::MAX) || wanted.depth == 0 {
            return Err(Refused::Malformed.because("an area of that size cannot be"));
        }
        // Held until the area is known to the link: a buffer that is offered meanwhile finds it there.
        let offers = lock(&self.offers);
        let place = self.place(&offers, link, wanted)?;
        if place.capacity < wanted.capacity {
            let Place { capacity, stride, depth, .. } = place;
            return Ok(wire::AreaAgreed {
                address: 0,
                remote_key: 0,
                capacity,
                stride,
                first_slot: 0,
                depth,
                write_only: false,
            });
        }
        let transport = link.peer.transport();
        let no_key =
            || Refused::NoMemory.because(format!("the memory is not reached over {}", transport.name()));
        let remote_key = place.memory.remote_key(transport).ok_or_else(no_key)?.0;
        let no_slots = || Refused::NoSlots.because(format!("key {} has no slots left", wanted.key));
        link.add_area(wanted.key, place, remote_key).ok_or_else(no_slots)
    }

    /// Memory that the application gave, or the server's own.
    fn place(&self, offers: &Offers, link: &Link, wanted: &AgreeArea) -> Result<Place, Refusal> {
        if let Some(place) = offers.find(link.worker.rank, wanted.key) {
            return Ok(place);
        }
        let wanted = AgreeArea { depth: wanted.depth.min(self.most_depth), ..*wanted };
        let mut memory = lock(&self.memory);
        let (endpoint, pool) =
            memory.as_mut().ok_or_else(|| Refused::NoMemory.because("the server is closing"))?;
        pool.place(endpoint, link.peer.transport(), &wanted)
            .map_err(|error| Refused::NoMemory.because(error.to_string()))
    }
}

impl PeerService for Shared {
    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        if kind == kind::INTRODUCE {
            return encode(&self.introduce(peer, &decode(body)?)?);
        }
        let link =
            self.link(peer).ok_or_else(|| Refused::NotIntroduced.because("introduce yourself first"))?;
        match kind {
            kind::AGREE_AREA => encode(&self.agree_area(&link, &decode(body)?)?),
            kind::TRACE => {
                let malformed = |error: MessageError| Refused::Malformed.because(error.to_string());
                self.inbox.recorder().answer(link.trace, body).map_err(malformed)
            }
            kind::CANCEL => encode(&link.cancel(decode(body)?)),
            kind => {
                Err(Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("no request of kind {kind}") })
            }
        }
    }

    fn event(&self, peer: &Peer, kind: u16, body: &[u8]) {
        let Some(link) = self.link(peer) else { return };
        match kind {
            kind::APP => self.apps.deliver(MemberId::worker(link.worker.rank), body),
            kind::RELEASE_AREA => {
                decode::<AreaGone>(body).into_iter().for_each(|gone| link.release_area(gone))
            }
            kind::GIVE_UP_BATCH => {
                decode(body).into_iter().for_each(|batch| abandon(&link, &link.batch_given_up(batch)));
            }
            _ => {}
        }
    }

    fn message(&self, peer: &Peer, message: Message<'_>) {
        let Some(link) = self.link(peer) else { return };
        match RequestView::parse(message.bytes).map(|view| link.arrived(&view)) {
            Ok(Arrival::Complete(parts)) => self.inbox.arrived(&link, parts),
            Ok(Arrival::Nothing) => {}
            Ok(Arrival::GivenUp(parts)) => abandon(&link, &parts),
            Ok(Arrival::Wrong(immediate)) => {
                respond::refuse_message(&link, immediate, wire::Refusal::Malformed);
            }
            // Whatever it is, its sender waits for an answer that cannot be addressed.
            Err(_) => peer.close(),
        }
    }

    fn route_down(&self, peer: &Peer, _: RouteFault) {
        peer.close();
    }

    fn down(&self, peer: &Peer, reason: &DownReason) {
        let link = lock(&self.links).remove(&peer.connection().number());
        if let Some(link) = link {
            link.down();
            self.inbox.leave(&link, reason);
            self.apps.member_down(MemberId::worker(link.worker.rank));
        }
    }
}

/// Refuses parts of a batch that will never be complete.
fn abandon(link: &Arc<Link>, parts: &[Part]) {
    for part in parts {
        link.forget(part.immediate);
        respond::refuse_message(link, part.immediate, wire::Refusal::Abandoned);
    }
}

fn encode(answer: &impl Serialize) -> Result<Vec<u8>, Refusal> {
    postcard::to_allocvec(answer).map_err(|_| Refused::NoMemory.because("no memory for the answer"))
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    postcard::from_bytes(body).map_err(|_| Refused::Malformed.because("it does not parse"))
}
