//! Instructions, counted: what posting, polling, planning and the soft HCA cost, in figures that repeat.
//!
//! ```text
//!   counts check | bless          this program again, under valgrind
//!     command   starts it  ------------------>  subjects   each sets up, then does its work in spans
//!     profile   reads what callgrind wrote <--  meter      names a subject's spans
//!     baseline  compares, or writes anew
//! ```
//! Times waver with the machine and its other tenants; the instructions that a program executes do not, so a small
//! regression shows. Called by the suite `counts`; [`callgrind`] and [`device`] serve `interop`'s comparison with libmlx5
//! as well.
//!
//! What is counted are instructions of user mode, of this program and the libraries that it calls. What they wait for is
//! not seen: `verification perf` measures time.

pub mod baseline;
pub mod callgrind;
pub mod command;
pub mod device;
pub mod meter;
pub mod profile;
pub mod subjects;
