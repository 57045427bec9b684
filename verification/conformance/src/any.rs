//! One type for the back ends of all beds, so that a case is written and compiled once.

use std::{fmt, time::Duration};

use pmd_core::{
    provider::{
        Completion, CompletionQueueError, PostError, Provider, QueuePairHandle, ReceiveRequest, SendRequest,
        SharedReceiveHandle,
    },
    queue::QueuePairState,
};
use pmd_host::{
    backend::{Backend, ConnectOptions, QueuePairAddress, QueuePairConfig, SetupError, Transport, Waker},
    transfer::DeviceFault,
};

/// Any back end. A lane can be run on it too.
pub struct AnyBackend(Box<dyn Backend>);

impl AnyBackend {
    /// Takes a back end.
    pub fn new(backend: impl Backend + 'static) -> Self {
        Self(Box::new(backend))
    }
}

impl fmt::Debug for AnyBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AnyBackend({})", self.transport().name())
    }
}

impl Provider for AnyBackend {
    fn post_send(&mut self, queue_pair: QueuePairHandle, request: &SendRequest<'_>) -> Result<(), PostError> {
        self.0.post_send(queue_pair, request)
    }

    fn ring_send(&mut self, queue_pair: QueuePairHandle) {
        self.0.ring_send(queue_pair);
    }

    fn post_receive(
        &mut self,
        queue_pair: QueuePairHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        self.0.post_receive(queue_pair, request)
    }

    fn ring_receive(&mut self, queue_pair: QueuePairHandle) {
        self.0.ring_receive(queue_pair);
    }

    fn post_shared_receive(
        &mut self,
        queue: SharedReceiveHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        self.0.post_shared_receive(queue, request)
    }

    fn ring_shared_receive(&mut self, queue: SharedReceiveHandle) {
        self.0.ring_shared_receive(queue);
    }

    fn poll(&mut self, completions: &mut [Completion]) -> Result<usize, CompletionQueueError> {
        self.0.poll(completions)
    }

    fn state(&self, queue_pair: QueuePairHandle) -> QueuePairState {
        self.0.state(queue_pair)
    }

    fn send_room(&self, queue_pair: QueuePairHandle) -> u32 {
        self.0.send_room(queue_pair)
    }
}

impl Backend for AnyBackend {
    fn create_queue_pair(&mut self, config: &QueuePairConfig) -> Result<QueuePairHandle, SetupError> {
        self.0.create_queue_pair(config)
    }

    fn create_shared_receive_queue(
        &mut self,
        receives: u32,
        sges: u32,
    ) -> Result<SharedReceiveHandle, SetupError> {
        self.0.create_shared_receive_queue(receives, sges)
    }

    fn address(&self, queue_pair: QueuePairHandle) -> Result<QueuePairAddress, SetupError> {
        self.0.address(queue_pair)
    }

    fn connect(
        &mut self,
        queue_pair: QueuePairHandle,
        remote: &QueuePairAddress,
        options: &ConnectOptions,
    ) -> Result<(), SetupError> {
        self.0.connect(queue_pair, remote, options)
    }

    fn fail(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        self.0.fail(queue_pair)
    }

    fn quiesce(&mut self, queue_pair: QueuePairHandle) -> bool {
        self.0.quiesce(queue_pair)
    }

    fn reset(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        self.0.reset(queue_pair)
    }

    fn destroy_queue_pair(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        self.0.destroy_queue_pair(queue_pair)
    }

    fn device_fault(&self, completion: &Completion) -> Option<DeviceFault> {
        self.0.device_fault(completion)
    }

    fn is_unfinished(&self) -> bool {
        self.0.is_unfinished()
    }

    fn settle(&mut self) {
        self.0.settle();
    }

    fn park(&mut self, timeout: Duration) {
        self.0.park(timeout);
    }

    fn waker(&self) -> Waker {
        self.0.waker()
    }

    fn transport(&self) -> Transport {
        self.0.transport()
    }
}
