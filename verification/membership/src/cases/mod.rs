//! What must hold of processes that find each other through etcd.

mod commands;
mod directory;
mod engines;
mod groups;

use std::{
    thread,
    time::{Duration, Instant},
};

use pmd_host::metadata::{Change, Publication, Standing, Watch};

/// How long anything may take before a case fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The shortest that there is.
pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// A case, by its name.
type Case = (&'static str, fn());

/// All of them.
pub(crate) const ALL: &[Case] = &[
    ("directory::names_have_one_holder_and_ranks_are_claimed_once", directory::one_holder),
    ("directory::a_killed_process_vanishes_and_a_join_is_seen", directory::killed_process),
    ("directory::etcd_is_killed_and_back_with_its_data", directory::back_with_data),
    ("directory::etcd_is_back_without_its_data_and_entries_are_put_back", directory::back_without_data),
    (
        "directory::a_lease_that_ran_out_is_granted_again_and_a_name_that_was_taken_stays_so",
        directory::lease_ran_out,
    ),
    ("directory::what_is_not_there_is_told", directory::not_there),
    ("engines::transfers_go_on_while_etcd_is_gone", engines::transfers_go_on),
    ("groups::a_group_forms_by_name_with_claimed_ranks_and_outlives_etcd", groups::forms_and_outlives),
    ("commands::kv_fetches_by_name", commands::kv_fetches),
    ("commands::af_runs_by_name", commands::af_runs),
];

/// Waits until something holds.
fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} does not come about");
        thread::sleep(Duration::from_millis(5));
    }
}

fn until_standing(publication: &dyn Publication, standing: &Standing) {
    until(&format!("{standing:?}"), || publication.standing() == *standing);
}

/// The next change, whatever etcd is doing.
fn next_change(watch: &mut dyn Watch) -> Change {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(Some(change)) = watch.next(Duration::from_millis(200)) {
            return change;
        }
        assert!(Instant::now() < deadline, "no change is told");
    }
}
