//! Settings from the environment, for interfaces that have no options of their own.
//!
//! What concerns endpoints is `pmd_host`'s: see [`pmd_host::environment`]. Read once, when an engine is opened.
//!
//! | variable | says | default |
//! |---|---|---|
//! | `PMD_TRANSPORT` | `auto`, `shm`, `mlx5` or `verbs` | `auto` |
//! | `PMD_DEVICE` | name of the NIC (`mlx5_0`) | the first that can be used |
//! | `PMD_IDLE` | what an idle lane does: `spin`, `yield` or `park` | `park` |
//! | `PMD_QUEUE_PAIRS` | queue pairs to each peer, 1 to 64 | 1 |
//! | `PMD_INTERFACE` | where to listen, for interfaces that name no address: see [`Config::if_name`] | loopback |
//! | `PMD_HIXL_STAGE_FOR` | whom HIXL stages memory for that is not registered ([`STAGE_FOR_VARIABLE`]): `host`, `all` or `none` | `host` |
//!
//! [`STAGE_FOR_VARIABLE`]: crate::hixl::STAGE_FOR_VARIABLE
//! [`Config::if_name`]: crate::kvtrans::Config::if_name

use std::env;

pub use pmd_host::environment::{EnvironmentError, endpoint_config, endpoint_config_of};

/// Where to listen, as `PMD_INTERFACE` says; empty when it does not.
#[must_use]
pub fn interface() -> String {
    env::var_os("PMD_INTERFACE").map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
