//! One suite that every back end passes.
//!
//! Cases are written once, against [`Backend`](pmd_host::backend::Backend), lanes and endpoints; a
//! [`Bed`](bed::Bed) puts them on a device. The command `conformance` runs them:
//!
//! ```text
//!   main       options -> beds x cases -> tests, each under a deadline
//!     cases    what must hold
//!       stage  two places, queue pairs between them, completions sorted by queue pair
//!         bed  fake | soft (five paths) | verbs | mlx5: devices, back ends, memory, and what is not possible there
//! ```
//! What a bed cannot do is a stated limit: the case is reported as ignored, with the reason. Nothing is skipped
//! silently. A case that takes longer than its patience allows is reported as hanging, which is a failure; nothing else
//! depends on time.
//!
//! # What the cases expect of a device
//! Reliable connections as the InfiniBand architecture defines them, and of a ConnectX in particular:
//!
//! | of | expected |
//! |---|---|
//! | errors | local keys, bounds and rights: `LocalProtection`; remote ones: `RemoteAccess`; misaligned atomics: `RemoteInvalidRequest`; a receive that is too short: `LocalLength` there, `RemoteInvalidRequest` here; one that may not be written: `LocalProtection` there, `RemoteOperation` here |
//! | protection domains | keys of another domain are refused, local and remote ones |
//! | the error state | a failed request flushes all later ones and the own receives, signalled or not, in order; a request refused by the peer takes the peer's queue pair to the error state too, receives included; receives of a shared queue are not flushed |
//! | receivers that are not ready | the request waits and is repeated up to `rnr_retry` times, 7 for ever; then `ReceiverNotReadyExceeded`; requests behind it wait too |
//! | peers that are not there | repeated up to `retry_count` times: a peer that connects within seconds gets everything, one that is gone gives `RetryExceeded`, a killed process too; a read from it never succeeds |
//! | fences | wait until earlier reads and atomics have put their results into memory |
//! | reset | silent: nothing of before completes, no packet of before is taken |
//! | deregistration | when it returns, the memory is neither read nor written any more |
//! | memory of an accelerator | written and read as memory of the host is, in order with it, by WRITE, WRITE with immediate and READ; nobody else touches it; atomics give `RemoteInvalidRequest`, SEND from it `LocalProtection`, a receive in it `RemoteOperation` to its sender |
//! | events | an armed completion queue wakes its owner for every completion, of errors and of receives too |
//! | threads | back ends of one device are used by several threads at once |
//!
//! Beds that fall short of that say so: [`Ability`](bed::Ability).
#![allow(unreachable_pub)] // the command is the only user

pub mod any;
pub mod bed;
pub mod cases;
pub mod context;
pub mod memory;
pub mod stage;
