//! The fake device as a back end: the driver's queue pairs over [`FakeHardware`].

use std::{io, os::fd::AsFd, time::Duration};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pmd_core::{
    provider::{
        Completion, CompletionQueueError, PostError, Provider, QueuePairHandle, QueuePairNumber,
        ReceiveRequest, SendRequest, SharedReceiveHandle,
    },
    queue::{HandleError, QueuePairLimits, QueuePairState, QueueProvider, ReceiveSource},
};
use pmd_host::{
    backend::{
        Backend, ConnectOptions, QueuePairAddress, QueuePairConfig, SetupError, SoftAddress, Transport, Waker,
    },
    identity::{DeviceId, HostId},
};

use super::{
    Manner,
    hardware::FakeHardware,
    net::Net,
    queue_pair::{Phase, QueuePair, Source},
    queues::Receives,
};

/// Queue pairs of a fake device and the completion queue that they share.
#[derive(Debug)]
pub(super) struct FakeBackend {
    // The driver's half goes first: it points into the device's memory.
    provider: QueueProvider<FakeHardware>,
    waker: Waker,
    host: HostId,
}

impl FakeBackend {
    pub(super) fn new(net: Net, domain: u32, manner: Manner, completions: u32) -> Result<Self, SetupError> {
        let waker = Waker::new().map_err(|error| system("eventfd", error))?;
        let host = HostId::current().map_err(|source| system("reading this host's identity", source))?;
        let hardware = FakeHardware::new(net, domain, manner, completions, waker.clone());
        let memory = hardware.completion_memory();
        // SAFETY: the memory is the device's, which lives in the provider.
        let provider = unsafe { QueueProvider::new(hardware, memory) };
        Ok(Self { provider: provider.map_err(attaching)?, waker, host })
    }

    fn advance(&mut self, queue_pair: QueuePairHandle, to: QueuePairState) -> Result<(), SetupError> {
        self.provider.set_state(queue_pair, to).map_err(|error| refused(queue_pair, &error))
    }

    fn device<T>(
        &mut self,
        queue_pair: QueuePairHandle,
        work: impl FnOnce(&mut QueuePair, &mut super::queue_pair::Means<'_>) -> T,
    ) -> Result<T, SetupError> {
        let known = self.provider.hardware_mut().with(queue_pair, work);
        known.ok_or(SetupError::UnknownQueuePair(queue_pair))
    }
}

impl Backend for FakeBackend {
    fn create_queue_pair(&mut self, config: &QueuePairConfig) -> Result<QueuePairHandle, SetupError> {
        let (source, receive) = match config.shared_receive {
            Some(handle) => (Source::Shared(handle.0 as usize), ReceiveSource::Shared(handle)),
            None => {
                let receives = Receives::new(config.receives, config.sges, false);
                let memory = receives.memory();
                (Source::Own(receives), ReceiveSource::Own(memory))
            }
        };
        let hardware = self.provider.hardware();
        let number = hardware.net.lock().number(self.waker.clone());
        let scatter_to_completion = hardware.manner.scatter_to_completion;
        let new = QueuePair::new(number, config.send_slots, source);
        let limits = QueuePairLimits {
            send_sges: config.sges,
            receive_sges: config.sges,
            inline: config.inline_bytes,
            scatter_to_completion,
            ..QueuePairLimits::default()
        };
        // SAFETY: the memory is fresh and belongs to the device's queue pair, which is installed under this handle.
        let attached =
            unsafe { self.provider.attach(QueuePairNumber(number), new.send_memory(), receive, limits) };
        let handle = attached.map_err(attaching)?;
        self.provider.hardware_mut().install(handle, new);
        Ok(handle)
    }

    fn create_shared_receive_queue(
        &mut self,
        receives: u32,
        sges: u32,
    ) -> Result<SharedReceiveHandle, SetupError> {
        let new = Receives::new(receives, sges, true);
        let scatter = self.provider.hardware().manner.scatter_to_completion;
        // SAFETY: as for a queue pair's memory; a shared queue stays until the back end is dropped.
        let attached = unsafe { self.provider.attach_shared_receive(new.shared_memory(), sges, scatter) };
        let handle = attached.map_err(attaching)?;
        self.provider.hardware_mut().install_shared(handle, new);
        Ok(handle)
    }

    fn address(&self, queue_pair: QueuePairHandle) -> Result<QueuePairAddress, SetupError> {
        let number = self.provider.number(queue_pair).ok_or(SetupError::UnknownQueuePair(queue_pair))?;
        let device = DeviceId([0xfa; 16]);
        Ok(QueuePairAddress::Soft(SoftAddress { host: self.host, device, queue_pair: number.0 }))
    }

    fn connect(
        &mut self,
        queue_pair: QueuePairHandle,
        remote: &QueuePairAddress,
        options: &ConnectOptions,
    ) -> Result<(), SetupError> {
        let QueuePairAddress::Soft(remote) = remote else {
            return Err(SetupError::OtherTransport { mine: self.transport() });
        };
        let from = self.provider.state(queue_pair);
        if from != QueuePairState::Reset {
            return Err(SetupError::Transition { from, to: QueuePairState::ReadyToSend });
        }
        for state in [QueuePairState::Init, QueuePairState::ReadyToReceive, QueuePairState::ReadyToSend] {
            self.advance(queue_pair, state)?;
        }
        self.device(queue_pair, |queue_pair, _| {
            (queue_pair.peer, queue_pair.options) = (remote.queue_pair, *options);
            queue_pair.phase = Phase::Connected;
        })
    }

    fn fail(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        if self.provider.state(queue_pair) == QueuePairState::Reset {
            return self.device(queue_pair, |_, _| ());
        }
        self.device(queue_pair, |queue_pair, means| queue_pair.fail(means))?;
        self.advance(queue_pair, QueuePairState::Error)
    }

    fn reset(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        self.device(queue_pair, |queue_pair, means| queue_pair.reset(means.net))?;
        self.provider.reset(queue_pair).map_err(|error| refused(queue_pair, &error)).map(drop)
    }

    fn destroy_queue_pair(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        self.provider.detach(queue_pair).map_err(|error| refused(queue_pair, &error))?;
        self.provider.hardware_mut().remove(queue_pair);
        Ok(())
    }

    fn park(&mut self, timeout: Duration) {
        if self.provider.hardware().has_news() {
            return;
        }
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        let mut descriptors = [PollFd::new(self.waker.as_fd(), PollFlags::POLLIN)];
        if poll(&mut descriptors, timeout).is_ok_and(|ready| ready > 0) {
            let _ = nix::unistd::read(self.waker.as_fd(), &mut [0; 8]);
        }
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn transport(&self) -> Transport {
        Transport::SharedMemory
    }
}

impl Provider for FakeBackend {
    fn post_send(&mut self, queue_pair: QueuePairHandle, request: &SendRequest<'_>) -> Result<(), PostError> {
        self.provider.post_send(queue_pair, request)
    }

    fn ring_send(&mut self, queue_pair: QueuePairHandle) {
        self.provider.ring_send(queue_pair);
    }

    fn post_receive(
        &mut self,
        queue_pair: QueuePairHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        self.provider.post_receive(queue_pair, request)
    }

    fn ring_receive(&mut self, queue_pair: QueuePairHandle) {
        self.provider.ring_receive(queue_pair);
    }

    fn post_shared_receive(
        &mut self,
        queue: SharedReceiveHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        self.provider.post_shared_receive(queue, request)
    }

    fn ring_shared_receive(&mut self, queue: SharedReceiveHandle) {
        self.provider.ring_shared_receive(queue);
    }

    fn poll(&mut self, completions: &mut [Completion]) -> Result<usize, CompletionQueueError> {
        self.provider.poll(completions)
    }

    fn state(&self, queue_pair: QueuePairHandle) -> QueuePairState {
        self.provider.state(queue_pair)
    }

    fn send_room(&self, queue_pair: QueuePairHandle) -> u32 {
        self.provider.send_room(queue_pair)
    }
}

fn system(call: &'static str, source: impl Into<io::Error>) -> SetupError {
    SetupError::System { call, source: source.into() }
}

fn attaching(error: impl std::error::Error + Send + Sync + 'static) -> SetupError {
    system("attaching a queue", io::Error::other(error))
}

fn refused(queue_pair: QueuePairHandle, error: &HandleError) -> SetupError {
    match error {
        HandleError::Transition(transition) => {
            SetupError::Transition { from: transition.from, to: transition.to }
        }
        _ => SetupError::UnknownQueuePair(queue_pair),
    }
}
