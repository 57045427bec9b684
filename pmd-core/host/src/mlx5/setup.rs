//! Creating, connecting and destroying queue pairs of a ConnectX: what a lane calls outside of its loop.
#![allow(unsafe_code)] // hands queue memory over to the queue provider

use std::time::Duration;

use pmd_core::{
    provider::{QueuePairHandle, SharedReceiveHandle},
    queue::{HandleError, QueuePairState, ReceiveSource},
};

use super::{Created, Mlx5Backend, objects};
use crate::{
    backend::{Backend, ConnectOptions, QueuePairAddress, QueuePairConfig, SetupError, Transport, Waker},
    nic::{SharedReceiveQueue, within},
};

impl Backend for Mlx5Backend {
    fn create_queue_pair(&mut self, config: &QueuePairConfig) -> Result<QueuePairHandle, SetupError> {
        let limits = self.device.limits();
        within("scatter-gather entries", config.sges, limits.sges)?;
        within("send slots", config.send_slots, limits.work_requests)?;
        within("receives", config.receives, limits.work_requests)?;
        let shared = match config.shared_receive {
            None => None,
            Some(handle) => Some(self.shared.get(handle.0 as usize).ok_or_else(|| unknown_shared(handle))?),
        };
        let created = objects::queue_pair(
            self.mlx5.0,
            &self.device,
            &self.domain,
            &self.completion_queue,
            config,
            shared,
        )?;
        let receives = created.receive.map_or(0, |memory| memory.wqe_count);
        let completions = created.send.wqe_count + receives;
        self.room.promise(completions)?;
        let attached = self.attach(created, config.shared_receive, completions);
        if attached.is_err() {
            self.room.release(completions);
        }
        attached
    }

    fn create_shared_receive_queue(
        &mut self,
        receives: u32,
        sges: u32,
    ) -> Result<SharedReceiveHandle, SetupError> {
        let queue = SharedReceiveQueue::create(&self.device, receives, sges)?;
        let memory = objects::shared_receive_memory(self.mlx5.0, &queue)?;
        self.room.promise(memory.wqe_count)?;
        // SAFETY: libmlx5 keeps the memory mapped until the queue is destroyed, with this back end, and leaves the
        // posting to its owner.
        let handle = unsafe { self.provider.attach_shared_receive(memory, sges, false) }
            .map_err(|error| not_taken("attaching a shared receive queue", error))?;
        debug_assert!(handle.0 as usize == self.shared.len());
        self.shared.push(queue);
        Ok(handle)
    }

    fn address(&self, queue_pair: QueuePairHandle) -> Result<QueuePairAddress, SetupError> {
        let created = self.queue_pairs.get(queue_pair.0 as usize).and_then(Option::as_ref);
        created.map(|created| created.control.address()).ok_or(SetupError::UnknownQueuePair(queue_pair))
    }

    fn connect(
        &mut self,
        queue_pair: QueuePairHandle,
        remote: &QueuePairAddress,
        options: &ConnectOptions,
    ) -> Result<(), SetupError> {
        self.created(queue_pair)?.control.connect(remote, options, Transport::Mlx5)?;
        for state in [QueuePairState::Init, QueuePairState::ReadyToReceive, QueuePairState::ReadyToSend] {
            self.provider.set_state(queue_pair, state).map_err(|error| refused(queue_pair, error))?;
        }
        Ok(())
    }

    fn fail(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        let control = &mut self.created(queue_pair)?.control;
        control.fail()?;
        if control.state() == QueuePairState::Reset {
            return Ok(());
        }
        let noted = self.provider.set_state(queue_pair, QueuePairState::Error);
        noted.map_err(|error| refused(queue_pair, error))
    }

    fn reset(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        let created = self.created(queue_pair)?;
        let (number, shares_receives) = (created.control.number(), created.shares_receives);
        created.control.reset()?;
        let discarded = self.provider.reset(queue_pair).map_err(|error| refused(queue_pair, error))?;
        self.forget_kept(number, shares_receives);
        self.report_discarded(discarded, number);
        Ok(())
    }

    fn destroy_queue_pair(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        let place = self.queue_pairs.get_mut(queue_pair.0 as usize).and_then(Option::take);
        let created = place.ok_or(SetupError::UnknownQueuePair(queue_pair))?;
        let (number, shares_receives) = (created.control.number(), created.shares_receives);
        self.room.release(created.completions);
        // First the device lets go of the queues, then the driver.
        drop(created);
        let discarded = self.provider.detach(queue_pair).map_err(|error| refused(queue_pair, error))?;
        self.provider.hardware_mut().forget(queue_pair);
        self.forget_kept(number, shares_receives);
        self.report_discarded(discarded, number);
        Ok(())
    }

    fn park(&mut self, timeout: Duration) {
        self.sleep(timeout);
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn transport(&self) -> Transport {
        Transport::Mlx5
    }
}

impl Mlx5Backend {
    /// Hands a created queue pair to the queue provider.
    fn attach(
        &mut self,
        created: objects::CreatedQueuePair,
        shared: Option<SharedReceiveHandle>,
        completions: u32,
    ) -> Result<QueuePairHandle, SetupError> {
        let receive = match (shared, created.receive) {
            (Some(handle), _) => ReceiveSource::Shared(handle),
            (None, Some(memory)) => ReceiveSource::Own(memory),
            (None, None) => ReceiveSource::None,
        };
        let number = created.control.number();
        // SAFETY: the queue pair is fresh and completes into this back end's queue; libmlx5 keeps its memory mapped
        // until it is destroyed, which happens directly before it is detached, and leaves posting to its owner.
        let attached = unsafe { self.provider.attach(number, created.send, receive, created.limits) };
        let handle = attached.map_err(|error| not_taken("attaching a queue pair", error))?;
        // SAFETY: libmlx5 keeps the register mapped; `half` is above 0 for a thread domain's only.
        unsafe { self.provider.hardware_mut().assign(handle, created.register, created.half) };
        let index = handle.0 as usize;
        if self.queue_pairs.len() <= index {
            self.queue_pairs.resize_with(index + 1, || None);
        }
        self.queue_pairs[index] =
            Some(Created { control: created.control, completions, shares_receives: shared.is_some() });
        Ok(handle)
    }

    fn created(&mut self, queue_pair: QueuePairHandle) -> Result<&mut Created, SetupError> {
        let place = self.queue_pairs.get_mut(queue_pair.0 as usize).and_then(Option::as_mut);
        place.ok_or(SetupError::UnknownQueuePair(queue_pair))
    }
}

fn unknown_shared(handle: SharedReceiveHandle) -> SetupError {
    refused(QueuePairHandle(0), HandleError::UnknownSharedQueue { handle: handle.0 })
}

/// What the queue provider objects to, as an error of the control plane.
fn refused(queue_pair: QueuePairHandle, error: HandleError) -> SetupError {
    match error {
        HandleError::UnknownQueuePair { .. } => SetupError::UnknownQueuePair(queue_pair),
        HandleError::Transition(refused) => SetupError::Transition { from: refused.from, to: refused.to },
        other => not_taken("changing a queue pair", other),
    }
}

fn not_taken(call: &'static str, error: impl std::error::Error + Send + Sync + 'static) -> SetupError {
    SetupError::System { call, source: std::io::Error::new(std::io::ErrorKind::InvalidData, error) }
}
