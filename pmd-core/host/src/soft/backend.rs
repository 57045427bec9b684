//! The soft HCA as a back end: the driver's queue pairs over the engine.
//!
//! Lanes own one and drive it through [`Provider`] and [`Backend`]; several can share a [`Device`], each with its own
//! completion queue.
#![allow(unsafe_code)] // hands the engine's queue memory to the driver

use std::time::Duration;

use pmd_core::{
    provider::{
        Completion, CompletionQueueError, PostError, Provider, QueuePairHandle, QueuePairNumber,
        ReceiveRequest, SendRequest, SharedReceiveHandle,
    },
    queue::{self, HandleError, QueuePairLimits, QueuePairState, QueueProvider},
    wire::Syndrome,
};

use super::{
    Device, Joining, ProtectionDomain,
    engine::{SoftHardware, Tuning},
    tcp::Pending,
};
use crate::{
    backend::{
        Backend, ConnectOptions, QueuePairAddress, QueuePairConfig, SetupError, SoftAddress, TcpAddress,
        Transport, Waker,
    },
    retries::RetryCounter,
    security::KeyMismatch,
    transfer::DeviceFault,
};

/// Queue pairs of a soft HCA and the completion queue they share.
///
/// Dropping it closes the connections; peers find their requests failed.
#[derive(Debug)]
pub struct SoftBackend {
    // The driver's half goes first: it points into the engine's memory.
    provider: QueueProvider<SoftHardware>,
    waker: Waker,
    transport: Transport,
}

impl SoftBackend {
    /// A back end whose queue pairs use regions of `domain`.
    ///
    /// # Errors
    /// [`SetupError`] when the device or the system is short of something.
    pub fn new(device: &Device, domain: ProtectionDomain, tuning: Tuning) -> Result<Self, SetupError> {
        let hardware = SoftHardware::new(device, domain, tuning)?;
        let (memory, waker) = (hardware.completion_queue(), hardware.waker());
        // SAFETY: the memory is the engine's, which lives in the provider and never moves or frees it before it is
        // dropped; nobody else accesses it.
        let provider = unsafe { QueueProvider::new(hardware, memory) }.map_err(setup)?;
        Ok(Self { provider, waker, transport: Transport::SharedMemory })
    }

    /// The same, whose queue pairs are connected over TCP.
    ///
    /// # Errors
    /// [`SetupError::NotListening`] for a device that does not listen, by [`DeviceConfig::tcp`](super::DeviceConfig::tcp);
    /// else as [`SoftBackend::new`].
    pub fn over_tcp(device: &Device, domain: ProtectionDomain, tuning: Tuning) -> Result<Self, SetupError> {
        if device.hub().is_none() {
            return Err(SetupError::NotListening);
        }
        Ok(Self { transport: Transport::Tcp, ..Self::new(device, domain, tuning)? })
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.provider.hardware().device()
    }

    /// Number of a queue pair, as completions name it.
    #[must_use]
    pub fn number(&self, queue_pair: QueuePairHandle) -> Option<QueuePairNumber> {
        self.provider.number(queue_pair)
    }

    fn attach(&mut self, config: &QueuePairConfig) -> Result<QueuePairHandle, SetupError> {
        let new = self.provider.hardware().build(config)?;
        let receive = match (new.receive_queue(), config.shared_receive) {
            (Some(memory), _) => queue::ReceiveSource::Own(memory),
            (None, Some(handle)) => queue::ReceiveSource::Shared(handle),
            (None, None) => queue::ReceiveSource::None,
        };
        let limits = QueuePairLimits {
            send_sges: config.sges,
            receive_sges: config.sges,
            inline: config.inline_bytes,
            ..QueuePairLimits::default()
        };
        let number = QueuePairNumber(new.number());
        // SAFETY: the memory is fresh and belongs to the engine's queue pair, which is installed under this handle
        // and dropped only after it was detached; it completes into this provider's queue.
        let handle =
            unsafe { self.provider.attach(number, new.send_queue(), receive, limits) }.map_err(setup)?;
        self.provider.hardware_mut().install(handle, new);
        Ok(handle)
    }

    fn advance(&mut self, queue_pair: QueuePairHandle, to: QueuePairState) -> Result<(), SetupError> {
        self.provider.set_state(queue_pair, to).map_err(|error| refused(queue_pair, &error))
    }
}

impl Backend for SoftBackend {
    fn create_queue_pair(&mut self, config: &QueuePairConfig) -> Result<QueuePairHandle, SetupError> {
        self.attach(config)
    }

    fn create_shared_receive_queue(
        &mut self,
        receives: u32,
        sges: u32,
    ) -> Result<SharedReceiveHandle, SetupError> {
        let new = SoftHardware::build_shared(receives, sges)?;
        // SAFETY: as for a queue pair's memory; a shared queue stays until the back end is dropped.
        let handle =
            unsafe { self.provider.attach_shared_receive(new.memory(), sges, false) }.map_err(setup)?;
        self.provider.hardware_mut().install_shared(handle, new);
        Ok(handle)
    }

    fn address(&self, queue_pair: QueuePairHandle) -> Result<QueuePairAddress, SetupError> {
        let number = self.provider.number(queue_pair).ok_or(SetupError::UnknownQueuePair(queue_pair))?;
        let device = self.device();
        if let (Transport::Tcp, Some(hub)) = (self.transport, device.hub()) {
            let (socket, device) = (hub.address(), device.id());
            return Ok(QueuePairAddress::Tcp(TcpAddress { socket, device, queue_pair: number.0 }));
        }
        Ok(QueuePairAddress::Soft(SoftAddress {
            host: device.host(),
            device: device.id(),
            queue_pair: number.0,
        }))
    }

    fn connect(
        &mut self,
        queue_pair: QueuePairHandle,
        remote: &QueuePairAddress,
        options: &ConnectOptions,
    ) -> Result<(), SetupError> {
        let from = self.provider.state(queue_pair);
        let endpoint = self.provider.hardware().endpoint(queue_pair)?;
        if !self.provider.hardware().is_reset(queue_pair)? || from != QueuePairState::Reset {
            return Err(SetupError::Transition { from, to: QueuePairState::ReadyToSend });
        }
        let device = self.device().clone();
        let link = match (remote, self.transport) {
            (QueuePairAddress::Soft(remote), Transport::SharedMemory) => {
                Joining::Memory(device.connect(&endpoint, remote)?)
            }
            (QueuePairAddress::Tcp(remote), Transport::Tcp) => {
                let poller = self.provider.hardware_mut().poller()?;
                let streams = (poller, queue_pair.0, options.source);
                Joining::Tcp(Pending::connect(&device, endpoint.queue_pair, remote, streams))
            }
            _ => return Err(SetupError::OtherTransport { mine: self.transport }),
        };
        self.advance(queue_pair, QueuePairState::Init)?;
        self.advance(queue_pair, QueuePairState::ReadyToReceive)?;
        self.advance(queue_pair, QueuePairState::ReadyToSend)?;
        self.provider.hardware_mut().connect(queue_pair, link, options)
    }

    fn fail(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        if self.provider.state(queue_pair) == QueuePairState::Reset {
            return self.provider.hardware().is_reset(queue_pair).map(drop);
        }
        self.provider.hardware_mut().fail(queue_pair)?;
        self.advance(queue_pair, QueuePairState::Error)
    }

    fn quiesce(&mut self, queue_pair: QueuePairHandle) -> bool {
        // One that is unknown has nobody who moves bytes for it.
        let _ = self.fail(queue_pair);
        self.provider.hardware_mut().is_quiet(queue_pair)
    }

    fn reset(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        self.provider.hardware_mut().reset(queue_pair)?;
        self.provider.reset(queue_pair).map_err(|error| refused(queue_pair, &error)).map(drop)
    }

    fn destroy_queue_pair(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        self.provider.detach(queue_pair).map_err(|error| refused(queue_pair, &error))?;
        self.provider.hardware_mut().remove(queue_pair);
        Ok(())
    }

    fn device_fault(&self, completion: &Completion) -> Option<DeviceFault> {
        let error = completion.result.err().filter(|error| !error.is_receive)?;
        DeviceFault::from_vendor(error.vendor)
    }

    fn key_mismatch(&self, completion: &Completion) -> Option<KeyMismatch> {
        let error = completion.result.err().filter(|error| error.syndrome == Syndrome::RetryExceeded)?;
        KeyMismatch::from_vendor(error.vendor)
    }

    fn retries(&self) -> Option<RetryCounter> {
        Some(self.provider.hardware().retries())
    }

    #[inline]
    fn is_unfinished(&self) -> bool {
        self.provider.hardware().is_unfinished()
    }

    #[inline]
    fn settle(&mut self) {
        self.provider.hardware_mut().settle();
    }

    fn park(&mut self, timeout: Duration) {
        self.provider.hardware_mut().park(timeout);
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn transport(&self) -> Transport {
        self.transport
    }
}

impl Provider for SoftBackend {
    #[inline]
    fn post_send(&mut self, queue_pair: QueuePairHandle, request: &SendRequest<'_>) -> Result<(), PostError> {
        self.provider.post_send(queue_pair, request)
    }

    #[inline]
    fn ring_send(&mut self, queue_pair: QueuePairHandle) {
        self.provider.ring_send(queue_pair);
    }

    #[inline]
    fn post_receive(
        &mut self,
        queue_pair: QueuePairHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        self.provider.post_receive(queue_pair, request)
    }

    #[inline]
    fn ring_receive(&mut self, queue_pair: QueuePairHandle) {
        self.provider.ring_receive(queue_pair);
    }

    #[inline]
    fn post_shared_receive(
        &mut self,
        queue: SharedReceiveHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        self.provider.post_shared_receive(queue, request)
    }

    #[inline]
    fn ring_shared_receive(&mut self, queue: SharedReceiveHandle) {
        self.provider.ring_shared_receive(queue);
    }

    #[inline]
    fn poll(&mut self, completions: &mut [Completion]) -> Result<usize, CompletionQueueError> {
        self.provider.poll(completions)
    }

    fn state(&self, queue_pair: QueuePairHandle) -> QueuePairState {
        self.provider.state(queue_pair)
    }

    #[inline]
    fn send_room(&self, queue_pair: QueuePairHandle) -> u32 {
        self.provider.send_room(queue_pair)
    }
}

fn setup(error: impl std::error::Error + Send + Sync + 'static) -> SetupError {
    SetupError::System { call: "attaching a queue", source: std::io::Error::other(error) }
}

fn refused(queue_pair: QueuePairHandle, error: &HandleError) -> SetupError {
    match error {
        HandleError::Transition(transition) => {
            SetupError::Transition { from: transition.from, to: transition.to }
        }
        _ => SetupError::UnknownQueuePair(queue_pair),
    }
}
