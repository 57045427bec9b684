//! Lanes: when a transfer is done, when it is quiet, when its notification goes, what a flush and a cancel leave.

use super::super::{
    Check::*,
    Mutant,
    edit::{edit, within},
};
use super::mutant;

const ACTIVE: &str = "host/src/lane/worker/active.rs";
const COMPLETE: &str = "host/src/lane/worker/complete.rs";
const POST: &str = "host/src/lane/worker/post.rs";
const STOP: &str = "host/src/lane/worker/stop.rs";
const TURNS: &str = "host/src/lane/worker/turns.rs";
const WINDOW: &str = "host/src/lane/worker/window.rs";
const WORKER: &str = "host/src/lane/worker/mod.rs";
const SHARED: &str = "host/src/lane/shared.rs";

pub(super) const MUTANTS: &[Mutant] = &[
    mutant(
        "a notification goes before the last part has landed",
        &[within(ACTIVE, "(ordered || self.outstanding == 0)", "ordered || self.outstanding == 0", "true")],
        Test("pmd-host", "lane::tests::message::a_notification_waits_for_parts_on_other_queue_pairs"),
    ),
    mutant(
        "a transfer is done before its last part",
        &[edit(COMPLETE, "active.outstanding -= count;", "active.outstanding = 0;")],
        Test("pmd-host", "lane::tests::post::a_transfer_waits_for_all_of_its_parts"),
    ),
    mutant(
        "cancel returns before the transfer is quiet",
        &[edit(
            ACTIVE,
            "self.outstanding == 0 && (self.failure.is_some() || !self.has_unposted())",
            "self.failure.is_some() || self.outstanding == 0 && !self.has_unposted()",
        )],
        Test("pmd-host", "lane::tests::stop::cancel_stops_posting_and_waits_for_what_is_outstanding"),
    ),
    mutant(
        "a cancelled transfer is posted on",
        &[edit(STOP, "route.running.retain(|&running| running != transfer);", "")],
        Test("pmd-host", "lane::tests::stop::cancel_stops_posting_and_waits_for_what_is_outstanding"),
    ),
    mutant(
        "high priority starves the others",
        &[edit(TURNS, "self.favoured >= FAVOUR && !self.normal.is_empty()", "false")],
        Test("pmd-host", "lane::tests::priority::high_priority_does_not_starve_the_others"),
    ),
    mutant(
        "what failed counts as landed",
        &[within(COMPLETE, ".filter(|_| failure.is_none())", "failure.is_none()", "true")],
        Test("pmd-host", "lane::tests::priority::observers_hear_what_has_landed"),
    ),
    mutant(
        "a route fails before the last messages are looked at",
        &[edit(STOP, "self.take_in_last_words()?;", "")],
        Test("pmd-host", "lane::tests::message::what_a_peer_said_before_it_went_is_heard"),
    ),
    mutant(
        "the last request of a doorbell asks for no completion",
        &[edit(POST, "due || self.posted + 1 == size", "due")],
        Test("pmd-host", "lane::tests::post::entries_are_posted_in_order_and_the_last_is_signalled"),
    ),
    mutant(
        "a WRITE whose immediate is the notification asks for no completion",
        &[within(POST, "self.posted + 1 == size || rider.is_some()", "rider.is_some()", "false")],
        Test("pmd-host", "lane::tests::rider::the_last_write_of_several_in_one_batch_is_signalled_each"),
    ),
    mutant(
        "an immediate overtakes the messages before it",
        &[edit(POST, "route.messages.are_all_posted()", "true")],
        Test("pmd-host", "lane::tests::rider::riders_do_not_overtake_messages"),
    ),
    mutant(
        "a completion answers for the requests before it only",
        &[edit(
            WINDOW,
            "position.wrapping_add(1).wrapping_sub(self.oldest)",
            "position.wrapping_sub(self.oldest)",
        )],
        Test("pmd-host", "lane::tests::message::a_notification_comes_after_the_bytes"),
    ),
    mutant(
        "the requests before a failed one are failed as well",
        &[edit(
            COMPLETE,
            "self.settle(id.queue, id.sequence.wrapping_sub(1), None);",
            "self.settle(id.queue, id.sequence.wrapping_sub(1), Some(fault.transfer_error()));",
        )],
        Test(
            "pmd-host",
            "lane::tests::fault::a_transfer_without_a_completion_of_its_own_is_done_when_a_later_one_is_refused",
        ),
    ),
    mutant(
        "a refusal is not told when the route was given up before",
        &[edit(COMPLETE, "is_told_beside(found, fault)", "false")],
        Test(
            "pmd-host",
            "lane::tests::fault::a_refusal_is_told_although_the_route_was_given_up_before_it_was_looked_at",
        ),
    ),
    mutant(
        "that a route goes down is told rather than what was wrong with a request",
        &[edit(
            COMPLETE,
            "active.failure.filter(|before| !before.is_route_down() || error.is_route_down())",
            "active.failure",
        )],
        Test("pmd-host", "lane::tests::fault::what_is_posted_when_the_peers_end_closes_may_still_be_refused"),
    ),
    mutant(
        "a queue pair that ends takes the others of its route along",
        &[edit(STOP, "!fault.is_disconnect() || route.queues.len() == 1", "true")],
        Test(
            "pmd-host",
            "lane::tests::fault::a_refusal_on_one_queue_pair_is_told_although_another_is_found_closed_before",
        ),
    ),
    mutant(
        "a queue pair is reset while a peer moves bytes for it",
        &[within(
            STOP,
            "if !self.backend.quiesce(queue.handle) {",
            "!self.backend.quiesce(queue.handle)",
            "false",
        )],
        Test(
            "pmd-host",
            "lane::tests::stop::a_queue_pair_that_a_stopped_peer_writes_for_is_asked_again_while_other_routes_go_on",
        ),
    ),
    mutant(
        "a route is closed while a peer moves bytes for it",
        &[within(STOP, "if self.quiesce(index) {", "self.quiesce(index)", "true")],
        Test(
            "pmd-host",
            "lane::tests::stop::a_route_for_which_a_stopped_peer_writes_is_closed_later_and_others_go_on",
        ),
    ),
    mutant(
        "a route fails and its queue pairs go on",
        &[edit(STOP, "self.fail_queue(queue)?;", "let _ = queue;")],
        Hangs("pmd-host", "lane::tests::stop::peer_down_fails_everything_on_its_route_only"),
    ),
    mutant(
        "a lane sleeps over a command",
        &[edit(
            WORKER,
            "!self.shared.attention.is_raised() && !self.has_command()",
            "!self.shared.attention.is_raised()",
        )],
        Test("pmd-host", "lane::tests::thread::a_command_that_came_before_keeps_the_lane_awake"),
    ),
    mutant(
        "a raised flag wakes nobody",
        &[within(
            SHARED,
            "self.0.raised.raise();\n        let _ = self.published();",
            "let _ = self.published();",
            "",
        )],
        Test(
            "pmd-host",
            "lane::tests::thread::a_flag_wakes_a_lane_that_sleeps_and_keeps_one_that_is_about_to",
        ),
    ),
];
