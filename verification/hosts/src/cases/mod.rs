//! What must hold between hosts.

mod af;
mod choice;
mod keys;
mod kv;
mod partition;
mod rails;
mod soak;

use crate::programs::Context;

/// One case.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// Group and name.
    pub(crate) name: &'static str,
    /// What it does; a failure is a panic.
    pub(crate) run: fn(&Context),
}

const fn case(name: &'static str, run: fn(&Context)) -> Case {
    Case { name, run }
}

/// All of them.
pub(crate) fn all() -> impl Iterator<Item = Case> {
    let groups =
        [choice::CASES, partition::CASES, kv::CASES, rails::CASES, af::CASES, keys::CASES, soak::CASES];
    groups.into_iter().flatten().copied()
}
