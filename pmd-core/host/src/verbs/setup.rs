//! Creating, connecting and destroying queue pairs of any NIC, and sleeping: what a lane calls outside of its loop.
#![allow(unsafe_code)] // calls libibverbs

use std::{
    ptr::{NonNull, null_mut},
    time::Duration,
};

use pmd_core::{
    provider::{QueuePairHandle, SharedReceiveHandle},
    queue::QueuePairState,
};
use pmd_sys::{inline::ibv_req_notify_cq, verbs::*};

use super::{
    Control, VerbsBackend,
    identity::{MAX_HANDLES, Queue},
    objects::{Queues, Receives},
    receive::ReceiveChain,
    send::{SendChain, SendLimits},
};
use crate::{
    backend::{Backend, ConnectOptions, QueuePairAddress, QueuePairConfig, SetupError, Transport, Waker},
    nic::{QueuePair, SharedReceiveQueue, pointer, within},
};

impl Backend for VerbsBackend {
    fn create_queue_pair(&mut self, config: &QueuePairConfig) -> Result<QueuePairHandle, SetupError> {
        let config = rounded(config);
        let limits = *self.device.limits();
        within("send slots", config.send_slots, limits.work_requests)?;
        within("receives", config.receives, limits.work_requests)?;
        within("scatter-gather entries", config.sges, limits.sges)?;
        let completions = config.send_slots + config.receives;
        self.room.promise(completions)?;
        let created =
            self.create(&config).and_then(|queue_pair| self.insert(&config, queue_pair, completions));
        if created.is_err() {
            self.room.release(completions);
        }
        created
    }

    fn create_shared_receive_queue(
        &mut self,
        receives: u32,
        sges: u32,
    ) -> Result<SharedReceiveHandle, SetupError> {
        let handle = self.shared.len();
        let Ok(index) = u16::try_from(handle) else { return Err(too_many("shared receive queues")) };
        let queue = SharedReceiveQueue::create(&self.device, receives, sges)?;
        self.room.promise(receives)?;
        let chain = ReceiveChain::new(receives.min(queue.receives()), sges, Queue::SharedReceive, index, 0);
        self.objects.shared.push(chain);
        self.shared.push(queue);
        Ok(SharedReceiveHandle(handle as u32))
    }

    fn address(&self, queue_pair: QueuePairHandle) -> Result<QueuePairAddress, SetupError> {
        let control = self.controls.get(queue_pair.0 as usize).and_then(Option::as_ref);
        control.map(|control| control.queue_pair.address()).ok_or(SetupError::UnknownQueuePair(queue_pair))
    }

    fn connect(
        &mut self,
        queue_pair: QueuePairHandle,
        remote: &QueuePairAddress,
        options: &ConnectOptions,
    ) -> Result<(), SetupError> {
        self.control(queue_pair)?.connect(remote, options, Transport::Verbs)?;
        self.note(queue_pair, QueuePairState::ReadyToSend);
        Ok(())
    }

    fn fail(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        let control = self.control(queue_pair)?;
        control.fail()?;
        let state = control.state();
        self.note(queue_pair, state);
        Ok(())
    }

    fn reset(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        // Receives of a shared queue that this queue pair has consumed must be heard of: they are flushed and kept
        // before the library forgets the queue pair's completions.
        self.control(queue_pair)?.fail()?;
        self.keep_completions();
        self.control(queue_pair)?.reset()?;
        self.objects.reset(queue_pair);
        Ok(())
    }

    fn destroy_queue_pair(&mut self, queue_pair: QueuePairHandle) -> Result<(), SetupError> {
        // As in `reset`. A queue pair that cannot be failed is destroyed all the same.
        let _ = self.control(queue_pair)?.fail();
        self.keep_completions();
        let place = self.controls.get_mut(queue_pair.0 as usize).and_then(Option::take);
        let control = place.ok_or(SetupError::UnknownQueuePair(queue_pair))?;
        self.room.release(control.completions);
        drop(control);
        self.objects.remove(queue_pair);
        Ok(())
    }

    fn park(&mut self, timeout: Duration) {
        if self.is_ready() {
            return;
        }
        if !self.armed {
            // SAFETY: the queue is live and has a channel.
            let refused = unsafe { ibv_req_notify_cq(self.completion_queue.as_ptr(), false) };
            self.armed = refused == 0;
        }
        // What came before the queue was armed raises no event.
        if self.keep_completions() {
            return;
        }
        let timeout = if self.armed { timeout } else { timeout.min(Duration::from_millis(1)) };
        if self.completion_queue.sleep(&self.waker, timeout).completion_events != 0 {
            self.armed = false;
        }
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn transport(&self) -> Transport {
        Transport::Verbs
    }
}

impl VerbsBackend {
    /// Whether there is something to report without sleeping.
    fn is_ready(&self) -> bool {
        !self.backlog.is_empty()
            || self.objects.has_refusals
            || self.broken.is_some()
            || self.completion_queue.sink().is_pending()
    }

    fn create(&self, config: &QueuePairConfig) -> Result<QueuePair, SetupError> {
        let shared = match config.shared_receive {
            None => null_mut(),
            Some(handle) => match self.shared.get(handle.0 as usize) {
                Some(queue) => queue.as_ptr(),
                None => return Err(unknown_shared(handle)),
            },
        };
        let mut attributes = ibv_qp_init_attr {
            send_cq: self.completion_queue.as_ptr(),
            recv_cq: self.completion_queue.as_ptr(),
            srq: shared,
            cap: ibv_qp_cap {
                max_send_wr: config.send_slots,
                max_recv_wr: config.receives,
                max_send_sge: config.sges,
                max_recv_sge: if config.receives == 0 { 0 } else { config.sges },
                max_inline_data: config.inline_bytes,
            },
            qp_type: IBV_QPT_RC,
            ..Default::default()
        };
        let domain = self.device.protection_domain().as_ptr();
        // SAFETY: the protection domain and what the attributes name are live.
        let answer = unsafe { self.device.verbs().ibv_create_qp(domain, &mut attributes) };
        let queue_pair = pointer("ibv_create_qp", answer)?;
        // SAFETY: the queue pair was just created, in state RESET.
        unsafe { QueuePair::new(self.device.clone(), queue_pair) }
    }

    fn insert(
        &mut self,
        config: &QueuePairConfig,
        queue_pair: QueuePair,
        completions: u32,
    ) -> Result<QueuePairHandle, SetupError> {
        let (handle, generation) = self.objects.reserve().ok_or_else(|| too_many("queue pairs"))?;
        let limits = SendLimits {
            requests: config.send_slots,
            sges: config.sges,
            inline: config.inline_bytes,
            message: self.device.port().max_message,
        };
        let receives = || ReceiveChain::new(config.receives, config.sges, Queue::Receive, handle, generation);
        let raw = NonNull::new(queue_pair.as_ptr()).ok_or_else(|| too_many("queue pairs"))?;
        let queues = Queues {
            queue_pair: raw,
            number: queue_pair.number(),
            state: QueuePairState::Reset,
            send: SendChain::new(limits, handle, generation),
            receive: match config.shared_receive {
                Some(_) => Receives::Shared,
                None if config.receives == 0 => Receives::None,
                None => Receives::Own(receives()),
            },
        };
        let index = usize::from(handle);
        if self.controls.len() <= index {
            self.controls.resize_with(index + 1, || None);
        }
        self.controls[index] = Some(Control { queue_pair, completions });
        Ok(self.objects.insert(handle, queues))
    }

    fn control(&mut self, queue_pair: QueuePairHandle) -> Result<&mut QueuePair, SetupError> {
        let place = self.controls.get_mut(queue_pair.0 as usize).and_then(Option::as_mut);
        place.map(|control| &mut control.queue_pair).ok_or(SetupError::UnknownQueuePair(queue_pair))
    }

    fn note(&mut self, queue_pair: QueuePairHandle, state: QueuePairState) {
        if let Ok(queues) = self.objects.queues_mut(queue_pair) {
            queues.state = state;
        }
    }
}

/// Sizes as they are created: powers of two, receives only without a shared queue.
fn rounded(config: &QueuePairConfig) -> QueuePairConfig {
    let power = |count: u32| count.checked_next_power_of_two().unwrap_or(u32::MAX);
    let own_receives = config.shared_receive.is_none() && config.receives != 0;
    QueuePairConfig {
        send_slots: power(config.send_slots.max(1)),
        receives: if own_receives { power(config.receives) } else { 0 },
        sges: config.sges.max(1),
        ..*config
    }
}

fn too_many(what: &'static str) -> SetupError {
    let limit = MAX_HANDLES as u64;
    SetupError::Limit { what, wanted: limit + 1, limit }
}

fn unknown_shared(handle: SharedReceiveHandle) -> SetupError {
    let error = pmd_core::provider::PostError::UnknownSharedQueue { handle: handle.0 };
    SetupError::System {
        call: "creating a queue pair",
        source: std::io::Error::new(std::io::ErrorKind::InvalidInput, error),
    }
}
