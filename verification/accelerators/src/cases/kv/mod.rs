//! Caches of `kv-api` in memory of the accelerator: whatever tables move between devices and hosts is what a copy block by
//! block would, and what fails is told while everything else goes on.

mod faults;
mod moves;
mod peers;
pub(super) mod stage;

pub(super) use peers::nothing_left;

use super::Case;
use crate::context::Context;

/// All groups of cases here.
pub(super) const CASES: [&[Case]; 3] = [moves::CASES, peers::CASES, faults::CASES];

/// What the process of a case does.
pub(crate) fn play(context: &Context, part: &str) {
    match part {
        "kv-puller" => peers::pull(context),
        "kv-owner" => peers::own(context),
        part => faults::play(context, part),
    }
}
