//! The faults, by the part of the product that they are in.
//!
//! A fault is one that somebody could make: a step forgotten, done too early or twice, a neighbouring field, a bound off
//! by one. Each names the one check that is there for it.

mod completion;
mod connectx;
mod credits;
mod lane;
mod post;
mod protocol;
mod soft;

use super::{Check, Mutant, edit::Edit};

/// All of them.
pub(super) fn all() -> Vec<&'static Mutant> {
    let parts = [
        post::MUTANTS,
        completion::MUTANTS,
        protocol::MUTANTS,
        credits::MUTANTS,
        lane::MUTANTS,
        soft::MUTANTS,
        connectx::MUTANTS,
    ];
    parts.into_iter().flatten().collect()
}

const fn mutant(name: &'static str, edits: &'static [Edit], check: Check) -> Mutant {
    Mutant { name, edits, check }
}
