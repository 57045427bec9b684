//! Our driver against software that is not ours: does the other side understand it, and is it bit for bit what others
//! would have written?
//!
//! ```text
//!   interop (command)                                                bytes (command)
//!     pingpong   pmd pingpong  <=====>  Debian's ibv_rc_pingpong       our WQEs against those of libmlx5
//!     exchange   our back end  <=====>  peer.c, verbs only             our CQE decoding against ibv_poll_cq
//!        mlx5 or verbs                  any RDMA device                   libmlx5 on the simulated ConnectX
//! ```
//! A third command, `cost`, measures what both sides of `bytes` take to post and to poll. The other two answer like a
//! test program of Rust, line by line, through [`harness`]. They need an RDMA device: the suites run them on the simulated
//! ConnectX, and `interop` in a guest with soft-RoCE as well. Checks fail by panicking, as tests do.

pub mod bytes;
pub mod exchange;
pub mod harness;
pub mod peer;
pub mod pingpong;
pub mod process;
pub mod side;
