//! A queue pair of a NIC as the control plane sees it: connecting, failing, resetting, destroying.
//!
//! Both back ends hold one beside the memory (mlx5) or the request arrays (verbs) of its queues.
#![allow(unsafe_code)] // calls libibverbs

use std::ptr::NonNull;

use pmd_core::{
    provider::QueuePairNumber,
    queue::QueuePairState::{self, Error, Init, ReadyToReceive, ReadyToSend, Reset},
};
use pmd_sys::verbs::*;

use super::{
    Device,
    attributes::{self, Local, Transition},
    status,
};
use crate::backend::{ConnectOptions, FabricAddress, QueuePairAddress, SetupError, Transport};

/// A queue pair, destroyed when dropped.
#[derive(Debug)]
pub(crate) struct QueuePair {
    device: Device,
    queue_pair: NonNull<ibv_qp>,
    number: QueuePairNumber,
    /// First sequence number of what this side sends; drawn anew by every reset.
    packet_sequence: u32,
    state: QueuePairState,
}

// SAFETY: control calls on a queue pair may come from any thread, one at a time, which `&mut self` ensures.
unsafe impl Send for QueuePair {}

impl QueuePair {
    /// Takes over a queue pair that was just created.
    ///
    /// # Errors
    /// [`SetupError::System`] when the system has no random numbers; the queue pair is destroyed.
    ///
    /// # Safety
    /// `queue_pair` is a live queue pair of `device` in state RESET, and nobody else destroys it.
    pub(crate) unsafe fn new(device: Device, queue_pair: NonNull<ibv_qp>) -> Result<Self, SetupError> {
        // SAFETY: the caller's promise.
        let number = QueuePairNumber(unsafe { queue_pair.as_ref() }.qp_num);
        let mut created = Self { device, queue_pair, number, packet_sequence: 0, state: Reset };
        created.packet_sequence = random_sequence()?;
        Ok(created)
    }

    pub(crate) fn as_ptr(&self) -> *mut ibv_qp {
        self.queue_pair.as_ptr()
    }

    pub(crate) fn number(&self) -> QueuePairNumber {
        self.number
    }

    /// State that the control plane has put it into; completions may know better.
    pub(crate) fn state(&self) -> QueuePairState {
        self.state
    }

    /// What the peer connects to.
    pub(crate) fn address(&self) -> QueuePairAddress {
        let port = self.device.port();
        QueuePairAddress::Fabric(FabricAddress {
            queue_pair: self.number.0,
            packet_sequence: self.packet_sequence,
            lid: port.lid,
            gid: self.device.gid().gid,
            mtu: port.mtu,
        })
    }

    /// Reset to ReadyToSend.
    ///
    /// # Errors
    /// [`SetupError`]; the queue pair is in Reset again.
    pub(crate) fn connect(
        &mut self,
        remote: &QueuePairAddress,
        options: &ConnectOptions,
        mine: Transport,
    ) -> Result<(), SetupError> {
        let QueuePairAddress::Fabric(remote) = remote else {
            return Err(SetupError::OtherTransport { mine });
        };
        if self.state != Reset {
            return Err(SetupError::Transition { from: self.state, to: ReadyToSend });
        }
        let device = self.device.clone();
        device.check_port()?;
        let local = Local {
            port: device.port(),
            gid: device.gid(),
            device: device.name(),
            limits: device.limits(),
            packet_sequence: self.packet_sequence,
        };
        let init = attributes::init(local.port.number);
        let receive = attributes::ready_to_receive(&local, remote, options)?;
        let send = attributes::ready_to_send(&local, options)?;
        let steps = [(Init, init), (ReadyToReceive, receive), (ReadyToSend, send)];
        let connected = steps.into_iter().try_for_each(|(state, step)| self.modify(state, step));
        if connected.is_err() {
            // The first reason counts.
            let _ = self.modify(Reset, attributes::bare(IBV_QPS_RESET));
        }
        connected
    }

    /// To Error. Nothing happens in Reset, where nothing is outstanding.
    ///
    /// # Errors
    /// What ibv_modify_qp says.
    pub(crate) fn fail(&mut self) -> Result<(), SetupError> {
        match self.state {
            Reset => Ok(()),
            _ => self.modify(Error, attributes::bare(IBV_QPS_ERR)),
        }
    }

    /// Whether the device has it in an error state. An asynchronous event may be older than a reset, so it alone does
    /// not tell. A device that does not answer counts as one that failed.
    pub(crate) fn has_failed(&self) -> bool {
        let (mut attributes, mut initial) = (ibv_qp_attr::default(), ibv_qp_init_attr::default());
        let queue_pair = self.queue_pair.as_ptr();
        // SAFETY: the queue pair is live; both structures are filled in.
        let answer = unsafe {
            let verbs = self.device.verbs();
            verbs.ibv_query_qp(queue_pair, &mut attributes, IBV_QP_STATE as i32, &mut initial)
        };
        status("ibv_query_qp", answer).is_err() || [IBV_QPS_ERR, IBV_QPS_SQE].contains(&attributes.qp_state)
    }

    /// To Reset, with another first sequence number, so that packets of the old connection are not taken for new
    /// ones.
    ///
    /// # Errors
    /// What ibv_modify_qp says.
    pub(crate) fn reset(&mut self) -> Result<(), SetupError> {
        self.modify(Reset, attributes::bare(IBV_QPS_RESET))?;
        self.packet_sequence = random_sequence()?;
        Ok(())
    }

    fn modify(&mut self, state: QueuePairState, step: Transition) -> Result<(), SetupError> {
        let (mut attributes, mask) = step;
        // SAFETY: the queue pair is live; the attributes name what the mask says.
        let answer = unsafe {
            self.device.verbs().ibv_modify_qp(self.queue_pair.as_ptr(), &mut attributes, mask as i32)
        };
        status("ibv_modify_qp", answer)?;
        self.state = state;
        Ok(())
    }
}

impl Drop for QueuePair {
    fn drop(&mut self) {
        // SAFETY: the queue pair is live and this is its only owner. A failure leaks it.
        let _ = unsafe { self.device.verbs().ibv_destroy_qp(self.queue_pair.as_ptr()) };
    }
}

fn random_sequence() -> Result<u32, SetupError> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes)
        .map_err(|error| SetupError::System { call: "getrandom", source: std::io::Error::other(error) })?;
    Ok(u32::from_ne_bytes(bytes) & 0x00ff_ffff)
}
