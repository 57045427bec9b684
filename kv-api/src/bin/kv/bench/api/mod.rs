//! The APIs as the benchmark uses them: an end in this process that moves blocks, and one in the peer's that holds
//! memory. Each API is one module with a [`Client`] and a [`Server`].
//!
//! Both ends hold `blocks` blocks behind each other. In each iteration block `i` of the source becomes block
//! `destination[i]` of the destination; which end is the source, [`Operation`] says.

mod agent;
mod datadist;
mod engine;
mod hixl;
mod kvtrans;

use std::ptr::NonNull;

use clap::ValueEnum;

use super::{Operation, Shape};
use crate::{
    failure::Failure,
    memory::Mirror,
    options::{Common, Place},
};

/// `--api`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Api {
    /// The native engine.
    #[default]
    Engine,
    /// KVTrans.
    Kvtrans,
    /// HIXL.
    Hixl,
    /// NIXL's agent semantics.
    Agent,
    /// LLM-DataDist.
    Datadist,
}

/// What both ends are made from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Setup {
    pub(super) shape: Shape,
    pub(super) operation: Operation,
    pub(super) common: Common,
    pub(super) place: Place,
}

/// This process's end: the one that is measured.
pub(super) trait Client {
    /// Name of what carries the bytes.
    fn transport(&self) -> &'static str;

    /// How the blocks are reached, where the API tells.
    fn path(&self) -> Option<&'static str> {
        None
    }

    /// All blocks, or the copy here of what a device has. Nobody borrows them while a transfer runs.
    fn memory(&self) -> NonNull<[u8]>;

    /// The device's side of the blocks, where a device has them.
    fn mirror(&self) -> Option<&Mirror> {
        None
    }

    /// Whether the peer has a part in each iteration ([`Server::serve`]), as in two-sided APIs.
    fn is_two_sided(&self) -> bool {
        false
    }

    /// From block numbers to something that can be posted.
    fn plan(&mut self, destination: &[u32]) -> Result<Box<dyn Planned + '_>, Failure>;
}

/// An iteration's work.
pub(super) trait Planned {
    /// Starts it.
    fn post(&mut self) -> Result<(), Failure>;

    /// Waits until every byte is in place.
    fn wait(&mut self) -> Result<(), Failure>;

    /// Work requests that the blocks became; operations, where the API does not tell.
    fn work_requests(&self) -> usize;
}

/// The peer's end.
pub(super) trait Server {
    /// What the client connects to, in words of the API's own module.
    fn address(&self) -> String;

    /// As [`Client::memory`].
    fn memory(&self) -> NonNull<[u8]>;

    /// As [`Client::mirror`].
    fn mirror(&self) -> Option<&Mirror> {
        None
    }

    /// The peer's part in an iteration. Not called where there is none.
    fn serve(&mut self, destination: &[u32]) -> Result<(), Failure> {
        let _ = destination;
        Ok(())
    }
}

impl Api {
    /// Connects to the server of the same API.
    pub(super) fn connect(self, setup: &Setup, address: &str) -> Result<Box<dyn Client>, Failure> {
        match self {
            Self::Engine => engine::connect(setup, address),
            Self::Kvtrans => kvtrans::connect(setup, address),
            Self::Hixl => hixl::connect(setup, address),
            Self::Agent => agent::connect(setup, address),
            Self::Datadist => datadist::connect(setup, address),
        }
    }

    /// Opens the peer's end.
    pub(super) fn serve(self, setup: &Setup) -> Result<Box<dyn Server>, Failure> {
        match self {
            Self::Engine => engine::serve(setup),
            Self::Kvtrans => kvtrans::serve(setup),
            Self::Hixl => hixl::serve(setup),
            Self::Agent => agent::serve(setup),
            Self::Datadist => datadist::serve(setup),
        }
    }

    /// As an option.
    pub(super) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}
