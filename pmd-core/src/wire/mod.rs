//! Work-queue and completion-queue entry formats of mlx5: the one vocabulary that driver and device share.
//!
//! A send queue ([`crate::queue`]) emits segments with this module and rings a [`doorbell`]; the software HCA
//! and the simulated ConnectX parse the same bytes with it and emit the completion-queue entries that the
//! completion queue then parses. Nothing here touches a device, allocates or panics on bad input: it is bytes
//! in, plain structs out, and back.
//!
//! Each segment has its named field ranges (`field`), a plain struct that holds host-order values, `emit`
//! (a few stores into a fixed-size array) and `parse`; `parse` after `emit` gives the same struct. Everything
//! on the wire is big-endian. Layouts are those of the ConnectX PRM (section "Work Request (WQE) Formats" and
//! "CQE Format") as rdma-core spells them in `providers/mlx5/mlx5dv.h`.
//!
//! ```
//! use pmd_core::wire::{ControlFlags, ControlSegment, DataSegment, Opcode, RemoteSegment, SendWqe, Service};
//!
//! let mut queue = [0u8; 64];
//! let (units, _) = queue.as_chunks_mut::<16>();
//! ControlSegment {
//!     opcode: Opcode::RdmaWrite,
//!     opmod: 0,
//!     index: 0,
//!     queue_pair: 0x12,
//!     units: 3,
//!     flags: ControlFlags::CQ_UPDATE,
//!     immediate: 0,
//! }
//! .emit(&mut units[0]);
//! RemoteSegment { address: 0x1000, rkey: 7 }.emit(&mut units[1]);
//! DataSegment { length: 64, lkey: 9, address: 0x2000 }.emit(&mut units[2]);
//!
//! let request = SendWqe::parse(&queue, 0, Service::Connected)?;
//! assert_eq!(request.data_length(), 64);
//! # Ok::<(), pmd_core::wire::WireError>(())
//! ```

pub mod address_vector;
pub mod atomic;
mod bytes;
pub mod control;
pub mod cqe;
pub mod cqe_error;
pub mod data;
pub mod doorbell;
pub mod dump;
mod error;
pub mod inline;
pub mod opcode;
pub mod receive;
pub mod remote;
pub mod scatter;
pub mod shared_receive;
pub mod wqe;

pub use address_vector::AddressVector;
pub use atomic::AtomicSegment;
pub use control::{ControlFlags, ControlSegment};
pub use cqe::{Cqe, CqeView, ReceivePath, Received, RequesterCompletion, ResponderCompletion, ownership};
pub use cqe_error::{ErrorCompletion, Side, Syndrome};
pub use data::DataSegment;
pub use doorbell::Arm;
pub use dump::{Cqe128Dump, CqeDump, SendDump};
pub use error::WireError;
pub use opcode::{CqeOpcode, Opcode};
pub use receive::ReceiveSegments;
pub use remote::RemoteSegment;
pub use scatter::Scatter;
pub use shared_receive::NextSegment;
pub use wqe::{DataItem, DataItems, Operation, SendExtra, SendWqe, Service};

/// Bytes of one unit: segments are counted (`ds`) and wrap in units of 16 bytes.
pub const UNIT: usize = 16;

/// Bytes of one send-queue slot, a WQE basic block (`MLX5_SEND_WQE_BB`); producer indexes count these.
pub const BASIC_BLOCK: usize = 64;

/// Units of one basic block.
pub const UNITS_PER_BLOCK: usize = BASIC_BLOCK / UNIT;

/// The largest `ds`, control segment included: the field has six usable bits.
pub const MAX_UNITS: u8 = 63;

/// The bytes of one unit.
pub type Unit = [u8; UNIT];

/// The bytes of one 64-byte completion-queue entry.
pub type Cqe64 = [u8; 64];

/// The bytes of one 128-byte completion-queue entry: 64 bytes that may carry payload, then the 64-byte form.
pub type Cqe128 = [Cqe64; 2];

/// The basic blocks that a WQE of `units` occupies, and so what it adds to the producer index.
#[inline]
#[must_use]
pub const fn basic_blocks(units: u8) -> u16 {
    (units as u16).div_ceil(UNITS_PER_BLOCK as u16)
}
