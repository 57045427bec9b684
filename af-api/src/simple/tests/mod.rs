//! Tests of the simple API.

mod app;
mod app_links;
mod key_values;
mod lists;
mod postoffice;
mod tracker;

use std::time::Duration;

/// No wait in these tests takes this long unless something is broken.
const PATIENCE: Duration = Duration::from_secs(20);
