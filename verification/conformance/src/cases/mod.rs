//! The cases. Each module holds one claim about back ends, lanes or endpoints; `main` makes tests of all of them.

mod atomics;
mod chance;
mod data;
mod devices;
mod errors;
mod lane;
mod lifetime;
mod order;
mod parking;
mod payload;
pub mod process;
mod queues;
mod ready;
mod registration;
mod shared;
mod staging;

use crate::{bed::Ability, context::Context};

/// A case, before it is put on a bed.
#[derive(Clone, Copy)]
pub struct Case {
    /// Name, with its module's in front.
    pub name: &'static str,
    /// What it cannot do without.
    pub needs: &'static [Ability],
    /// What it does; a panic is a failure.
    pub run: fn(&Context),
}

/// A case that every bed can run.
const fn case(name: &'static str, run: fn(&Context)) -> Case {
    Case { name, needs: &[], run }
}

/// A case that needs abilities.
const fn case_with(name: &'static str, needs: &'static [Ability], run: fn(&Context)) -> Case {
    Case { name, needs, run }
}

/// All cases, the simplest first.
#[must_use]
pub fn all() -> Vec<Case> {
    [
        data::CASES,
        order::CASES,
        payload::CASES,
        queues::CASES,
        atomics::CASES,
        lifetime::CASES,
        ready::CASES,
        errors::CASES,
        shared::CASES,
        registration::CASES,
        devices::CASES,
        staging::CASES,
        parking::CASES,
        &lane::cases(),
        chance::CASES,
        process::CASES,
    ]
    .concat()
}
