//! rdma-core's static inline functions, which no shared library exports: `pmd-host`'s verbs back end posts and polls
//! through them, both back ends create queues through the extended ones.
//!
//! Each keeps the name, the argument order and the answer of its original in rdma-core 44.0 (`infiniband/verbs.h`,
//! `infiniband/mlx5dv.h`, `rdma/rdma_cma.h`), with three differences, so that nothing here panics or jumps to address
//! zero:
//! - an operation that the provider has not filled in answers like one that it does not support: `EOPNOTSUPP` from a
//!   function that returns an `errno`, null and `errno` from one that returns a pointer;
//! - the calls on extended queues (`ibv_wr_*`, `ibv_wc_*`, `mlx5dv_wr_*`) answer `Result<_, OperationMissing>`;
//! - where the original falls back on a function of the library, the table is an argument and a missing symbol is
//!   [`LoadError`](crate::LoadError).
//!
//! Left out, because no transfer uses them: packet steering, RSS work queues and indirection tables, counters,
//! extended connection domains, tag-matching setters and multi-packet crypto.
// Every function here calls through a pointer that C handed out.
#![allow(unsafe_code)]

mod connection;
mod context;
mod extended;
mod mlx5;
mod poll_extended;
mod post;
mod work_request;

#[cfg(test)]
mod tests;

pub use connection::*;
pub use context::*;
pub use extended::*;
pub use mlx5::*;
pub use poll_extended::*;
pub use post::*;
pub use work_request::*;

/// The provider has not filled in this operation of a queue pair or completion queue.
///
/// Providers fill in what was asked for at creation: `send_ops_flags` of a queue pair (`IBV_QP_EX_WITH_...`),
/// `wc_flags` of a completion queue (`IBV_WC_EX_WITH_...`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the provider offers no {0}: ask for it when the queue is created, or the device does not support it"
)]
pub struct OperationMissing(
    /// Name of the member in rdma-core's struct.
    pub &'static str,
);

/// Declares functions that forward to a function pointer of their first argument.
///
/// `name(arguments) -> answer = member;`
macro_rules! forwards {
    ($object:ty: $($(#[$documentation:meta])* $name:ident($($argument:ident: $kind:ty),*) $(-> $answer:ty)? = $member:ident;)*) => {
        $(
            $(#[$documentation])*
            ///
            /// # Errors
            /// [`OperationMissing`](crate::inline::OperationMissing): nothing was done.
            ///
            /// # Safety
            /// The object and what the other arguments point to are live and used by no other thread during the call;
            /// what the operation makes the device read or write stays valid until it completes.
            #[inline]
            pub unsafe fn $name(
                object: *mut $object,
                $($argument: $kind),*
            ) -> Result<forwards!(@answer $($answer)?), $crate::inline::OperationMissing> {
                // SAFETY: the caller's object is live and its provider's function expects these arguments.
                unsafe {
                    match (*object).$member {
                        Some(operation) => Ok(operation(object, $($argument),*)),
                        None => Err($crate::inline::OperationMissing(stringify!($member))),
                    }
                }
            }
        )*
    };
    (@answer) => { () };
    (@answer $answer:ty) => { $answer };
}
pub(crate) use forwards;
