//! The verbs back end on a device: `PMD_TEST_DEVICE=NAME cargo test -p pmd-host --test nic_verbs -- --ignored`.
#![allow(missing_docs)]

#[macro_use]
mod nic;

use nic::{Pair, device, faults, operations, parking, shared};
use pmd_host::{
    nic::{Device, NicBackendOptions},
    verbs::VerbsBackend,
};

suite!(VerbsBackend, exact: false);
