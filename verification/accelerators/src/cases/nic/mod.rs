//! Memory of the accelerator over a NIC, from `kv-api` and `af-api`: whichever way the NIC has, every byte arrives, peers are
//! told where there is none, and what fails below fails one transfer. Run in place of the other cases where the command line
//! says which way there is (`--nic`): the suite `connectx` does, on the simulated device.

mod af;
mod kv;

use super::Case;
use crate::{
    child::{Child, answer, order},
    context::{Context, Outcome, Skip},
    way::Way,
};

/// All groups of cases here.
pub(super) const CASES: [&[Case]; 2] = [kv::CASES, af::CASES];

/// What the process of a case does.
pub(super) fn play(context: &Context, part: &str) {
    match part {
        part if part.starts_with("nic-af-") => af::play(context, part),
        part => kv::play(context, part),
    }
    answer("as it should be");
    while order().is_some_and(|order| order != "end") {}
}

/// Has a process of its own play a part, whose stand-in reads from its environment what shall fail.
fn in_a_process(context: &Context, part: &str, faults: String) -> Outcome {
    context.counts()?;
    let child = Child::start(context, part, &[("FAKE_DEVICE_FAULTS", faults)]);
    assert_eq!(child.hear(), "as it should be");
    child.succeeds();
    Ok(())
}

/// For cases of memory that the NIC does not reach.
fn staged(context: &Context) -> Result<(), Skip> {
    match context.nic {
        Some(Way::Staged) => Ok(()),
        _ => Err(Skip("the NIC reaches the accelerator's memory".to_owned())),
    }
}
