//! The mlx5 back end on a device: `PMD_TEST_DEVICE=NAME cargo test -p pmd-host --test nic_mlx5 -- --ignored`.
#![allow(missing_docs)]

#[macro_use]
mod nic;

use nic::{Pair, device, faults, operations, parking, shared};
use pmd_host::{
    mlx5::Mlx5Backend,
    nic::{Device, NicBackendOptions},
};

suite!(Mlx5Backend, exact: true);

#[test]
#[ignore = "needs an RDMA device"]
fn a_nop_completes() {
    let kind = pmd_core::provider::CompletionKind::Nop;
    pair().done(1, pmd_core::provider::Operation::Nop, kind);
}
