//! Providers over the device, ready to post.

use pmd_core::{
    memory::{LocalKey, RemoteAddress, RemoteKey, Sge},
    provider::{
        Completion, Operation, Provider, QueuePairHandle, ReceiveRequest, SendFlags, SendRequest,
        SharedReceiveHandle,
    },
    queue::{QueuePairLimits, QueuePairState, QueueProvider, ReceiveSource},
};

use super::{Block, Device, Region, number};

/// A provider with its queue pairs and one registered buffer.
pub(crate) struct Setup {
    pub(crate) provider: QueueProvider<Device>,
    pub(crate) handles: Vec<QueuePairHandle>,
    pub(crate) shared: Option<SharedReceiveHandle>,
    pub(crate) buffer: Block,
    pub(crate) region: Region,
}

/// What to build.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) queue_pairs: usize,
    pub(crate) send_slots: u32,
    pub(crate) receive_slots: u32,
    pub(crate) stride_shift: u32,
    pub(crate) shared: bool,
    pub(crate) cqe_count: u32,
    pub(crate) cqe_size: u32,
    pub(crate) blue_flame: u32,
    pub(crate) inline: u32,
    pub(crate) scatter_to_completion: bool,
    pub(crate) buffer: usize,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            queue_pairs: 2,
            send_slots: 64,
            receive_slots: 16,
            stride_shift: 6,
            shared: false,
            cqe_count: 256,
            cqe_size: 64,
            blue_flame: 0,
            inline: 220,
            scatter_to_completion: false,
            buffer: 1 << 16,
        }
    }
}

impl Plan {
    /// Builds it: queue pairs in couples (0 with 1, 2 with 3, a last odd one with itself), all ready to send.
    pub(crate) fn build(self) -> Setup {
        let mut device = Device::new(self.cqe_count, self.cqe_size);
        let buffer = Block::new(self.buffer);
        let region = device.register(&buffer);
        let shared = self.shared.then(|| device.create_receives(self.receive_slots, self.stride_shift, true));
        for index in 0..self.queue_pairs {
            let peer = if index ^ 1 < self.queue_pairs { index ^ 1 } else { index };
            let created = device.create(number(index).0, self.send_slots, peer);
            let own = || device.create_receives(self.receive_slots, self.stride_shift, false);
            let receives = shared.unwrap_or_else(own);
            let queue_pair = &mut device.queue_pairs[created];
            queue_pair.receives = Some(receives);
            queue_pair.blue_flame = self.blue_flame;
            queue_pair.scatter_to_completion = self.scatter_to_completion;
        }
        let memory = device.completion_memory();
        // SAFETY: the device owns the memory, and is owned by the provider.
        let mut provider = unsafe { QueueProvider::new(device, memory) }.expect("a completion queue");
        let shared = shared.map(|index| {
            let memory = provider.hardware().shared_memory(index);
            // SAFETY: as above; results go to the buffer, which the setup owns.
            unsafe { provider.attach_shared_receive(memory, 30, self.scatter_to_completion) }
                .expect("a queue")
        });
        let mut setup = Setup { provider, handles: Vec::new(), shared, buffer, region };
        for index in 0..self.queue_pairs {
            let handle = setup.attach(index, self.limits());
            setup.connect(handle);
            setup.handles.push(handle);
        }
        setup
    }

    pub(crate) fn limits(self) -> QueuePairLimits {
        QueuePairLimits {
            send_sges: 30,
            receive_sges: 30,
            inline: self.inline,
            message: 1 << 30,
            scatter_to_completion: self.scatter_to_completion,
        }
    }
}

impl Setup {
    /// Attaches the device's queue pair with an index.
    pub(crate) fn attach(&mut self, index: usize, limits: QueuePairLimits) -> QueuePairHandle {
        let device = self.provider.hardware();
        let send = device.send_memory(index);
        let receives = device.queue_pairs[index].receives.expect("receives");
        let receive = match self.shared {
            Some(handle) => ReceiveSource::Shared(handle),
            None => ReceiveSource::Own(device.receive_memory(receives)),
        };
        // SAFETY: the device owns the memory, and is owned by the provider.
        unsafe { self.provider.attach(number(index), send, receive, limits) }.expect("a queue pair")
    }

    /// Moves a queue pair from Reset to ReadyToSend.
    pub(crate) fn connect(&mut self, handle: QueuePairHandle) {
        for state in [QueuePairState::Init, QueuePairState::ReadyToReceive, QueuePairState::ReadyToSend] {
            self.provider.set_state(handle, state).expect("an allowed transition");
        }
    }

    pub(crate) fn sge(&self, offset: usize, length: u32) -> Sge {
        Sge { address: self.region.address + offset as u64, length, key: LocalKey(self.region.key) }
    }

    pub(crate) fn remote(&self, offset: usize) -> RemoteAddress {
        RemoteAddress { address: self.region.address + offset as u64, key: RemoteKey(self.region.key) }
    }

    /// Posts to queue pair 0 and rings.
    pub(crate) fn send(&mut self, id: u64, operation: Operation<'_>, flags: SendFlags) {
        let handle = self.handles[0];
        self.provider.post_send(handle, &SendRequest { id, operation, flags }).expect("room");
        self.provider.ring_send(handle);
    }

    /// Posts a receive to queue pair 1, or to the shared queue, and rings.
    pub(crate) fn receive(&mut self, id: u64, scatter: &[Sge]) {
        let request = ReceiveRequest { id, scatter };
        if let Some(shared) = self.shared {
            self.provider.post_shared_receive(shared, &request).expect("room");
            self.provider.ring_shared_receive(shared);
        } else {
            self.provider.post_receive(self.handles[1], &request).expect("room");
            self.provider.ring_receive(self.handles[1]);
        }
    }

    /// All completions that are there, in order.
    pub(crate) fn poll(&mut self) -> Vec<Completion> {
        let mut all = Vec::new();
        let mut some = [Completion::EMPTY; 16];
        loop {
            let count = self.provider.poll(&mut some).expect("a working completion queue");
            all.extend_from_slice(&some[..count]);
            if count == 0 {
                return all;
            }
        }
    }

    /// The ids of all completions that are there, each of which is good.
    pub(crate) fn ids(&mut self) -> Vec<u64> {
        let all = self.poll();
        assert!(all.iter().all(|completion| completion.result.is_ok()), "{all:?}");
        all.iter().map(|completion| completion.id).collect()
    }
}
