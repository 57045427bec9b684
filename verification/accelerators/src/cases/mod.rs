//! The cases: what every accelerator keeps to, whatever its runtime.

mod addresses;
pub(crate) mod af;
mod blocks;
mod copies;
mod events;
mod faults;
mod flags;
pub(crate) mod kv;
mod memory;
mod nic;
pub(crate) mod processes;
mod streams;

use crate::{
    context::{Context, Outcome},
    way::Way,
};

/// One case.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// Group and name.
    pub(crate) name: &'static str,
    /// What it does; a failure is a panic.
    pub(crate) run: fn(&Context) -> Outcome,
    /// Why it runs on a stand-in only.
    pub(crate) stand_in: Option<&'static str>,
}

const fn case(name: &'static str, run: fn(&Context) -> Outcome) -> Case {
    Case { name, run, stand_in: None }
}

impl Case {
    /// The same for stand-ins only, as this is what no device does.
    const fn on_stand_ins(mut self, why: &'static str) -> Self {
        self.stand_in = Some(why);
        self
    }
}

/// All of them, those first on which others build; over a NIC its own instead.
pub(crate) fn all(nic: Option<Way>) -> impl Iterator<Item = Case> {
    let over_nics = nic::CASES.into_iter().flatten().copied().filter(move |_| nic.is_some());
    let groups = [
        memory::CASES,
        copies::CASES,
        blocks::CASES,
        events::CASES,
        flags::CASES,
        streams::CASES,
        addresses::CASES,
        processes::CASES,
        faults::CASES,
    ];
    let others = groups.into_iter().chain(kv::CASES).chain([af::CASES, af::graphs::CASES]).flatten().copied();
    others.filter(move |_| nic.is_none()).chain(over_nics)
}
