//! A server made of an endpoint alone, which keeps what it is sent and answers what a test tells it to.

use std::sync::{Arc, Mutex, mpsc};

use pmd_core::memory::Access;
use pmd_host::{
    control::Refusal,
    endpoint::{Endpoint, EndpointConfig, Peer, PeerService, Registered},
    lane::Message,
    soft::{Arena, ArenaOptions},
};

use super::support::{PATIENCE, node};
use crate::{
    wire::{AgreeArea, AreaAgreed, CancelAnswer, Introduction, VERSION, kind},
    worker::MESSAGE_BYTES,
};

pub(super) struct FakeServer {
    pub(super) endpoint: Endpoint,
    messages: mpsc::Receiver<Vec<u8>>,
    shared: Arc<Shared>,
    arena: Arena,
}

struct Shared {
    messages: Mutex<mpsc::Sender<Vec<u8>>>,
    /// Where every area is.
    room: Mutex<Option<Registered>>,
    cancels: Mutex<Vec<CancelAnswer>>,
}

impl PeerService for Shared {
    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let refused = || Refusal { code: 1, detail: "as the test wants it".to_owned() };
        let answer = match kind {
            kind::INTRODUCE => {
                let message_bytes = MESSAGE_BYTES as u32;
                postcard::to_allocvec(&Introduction { version: VERSION, node: node(0), message_bytes })
            }
            kind::AGREE_AREA => {
                let AgreeArea { capacity, depth, .. } = postcard::from_bytes(body).map_err(|_| refused())?;
                let room = self.room.lock().unwrap();
                let room = room.as_ref().ok_or_else(refused)?;
                let remote_key = room.remote_key(peer.transport()).ok_or_else(refused)?.0;
                let address = room.address();
                let (stride, first_slot, write_only) = (capacity, 0, false);
                let agreed =
                    AreaAgreed { address, remote_key, capacity, stride, first_slot, depth, write_only };
                postcard::to_allocvec(&agreed)
            }
            kind::CANCEL => postcard::to_allocvec(&self.cancels.lock().unwrap().pop().ok_or_else(refused)?),
            _ => return Err(refused()),
        };
        answer.map_err(|_| refused())
    }

    fn message(&self, _: &Peer, message: Message<'_>) {
        let _ = self.messages.lock().unwrap().send(message.bytes.to_vec());
    }
}

impl FakeServer {
    pub(super) fn open() -> Self {
        let (sender, messages) = mpsc::channel();
        let messages_in = Mutex::new(sender);
        let shared =
            Arc::new(Shared { messages: messages_in, room: Mutex::default(), cancels: Mutex::default() });
        let listen = Some(([127, 0, 0, 1], 0).into());
        let config = EndpointConfig { listen, message_bytes: MESSAGE_BYTES, ..EndpointConfig::default() };
        let endpoint = Endpoint::open(config, Arc::clone(&shared) as Arc<dyn PeerService>).unwrap();
        let arena = endpoint.allocate(4 << 20, ArenaOptions::default()).unwrap();
        *shared.room.lock().unwrap() = Some(endpoint.register(&arena, Access::READ_WRITE).unwrap());
        Self { endpoint, messages, shared, arena }
    }

    /// The next message of a worker.
    pub(super) fn message(&self) -> Vec<u8> {
        self.messages.recv_timeout(PATIENCE).unwrap()
    }

    /// Sends a worker a message.
    pub(super) fn send(&self, bytes: &[u8], immediate: u32) {
        self.endpoint.peers()[0].route().send(bytes, Some(immediate)).unwrap();
    }

    /// What the next cancels are answered, the last first.
    pub(super) fn answer_cancels(&self, answers: Vec<CancelAnswer>) {
        *self.shared.cancels.lock().unwrap() = answers;
    }

    /// Takes the room away from under the worker's writes.
    pub(super) fn forget_room(&self) {
        *self.shared.room.lock().unwrap() = None;
    }

    pub(super) fn room(&self) -> &Arena {
        &self.arena
    }
}
