//! Attention-FFN disaggregation over the poll-mode driver.
//!
//! # Place in the flow
//!
//! The top of the stack, beside `kv-api`: an engine that keeps attention and feed-forward layers on different nodes
//! links this crate to push activations to FFN nodes and to pull their results back, layer after layer. Below it,
//! `pmd-host` owns devices, lanes and peers, and `pmd-core` turns work requests into queue entries.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | role, rank and shape of the cluster, where the scheduler is |
//! | [`environment`] | the same from the variables that StepMesh's users export |
//! | [`gate`] | holds pushes and responses back until the events of an accelerator's streams are done |
//! | [`graph`] | push-pulls in captured graphs, which streams make by themselves |
//! | [`rendezvous`] | scheduler and nodes: places, barriers, who comes and goes |
//! | [`server`] | the FFN side: takes batches of requests and responds |
//! | [`session`] | all of it for one process: its place, its worker and its server, connected |
//! | [`simple`] | ps-lite's simple API |
//! | [`tensor`] | tensors in registered memory |
//! | [`trace`] | stamps of each request, figures for each peer, stragglers, Chrome traces |
//! | [`wire`] | what travels beside the data |
//! | [`worker`] | the attention side: pushes tensors to servers and pulls their answers |

pub mod config;
pub mod environment;
pub mod gate;
pub mod graph;
pub mod rendezvous;
pub mod server;
pub mod session;
pub mod simple;
pub mod tensor;
pub mod trace;
mod waiting;
pub mod wire;
pub mod worker;
