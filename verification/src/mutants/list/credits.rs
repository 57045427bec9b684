//! Credits of messages: forgotten, counted twice, lost on the way.

use super::super::{
    Check::*,
    Mutant,
    edit::{edit, within},
};
use super::mutant;

const CREDITS: &str = "src/ring/credits/mod.rs";
const POST: &str = "host/src/lane/worker/post.rs";
const ROUTE: &str = "host/src/lane/route.rs";
const MESSAGES: &str = "host/src/lane/worker/messages.rs";
const STOP: &str = "host/src/lane/worker/stop.rs";
const RECEIVE: &str = "host/src/lane/worker/receive.rs";

pub(super) const MUTANTS: &[Mutant] = &[
    mutant(
        "two threads take the same credit",
        &[edit(
            CREDITS,
            "self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()",
            "let left = less(self.free.load(Ordering::Relaxed));
             if let Some(left) = left { self.free.store(left, Ordering::Relaxed) }
             left.is_some()",
        )],
        Model("ring::credits::model::a_credit_is_taken_once"),
    ),
    mutant(
        "a used receive is not given back",
        &[edit(CREDITS, "self.due += u32::from(arrived == Arrived::Message);", "let _ = arrived;")],
        Test("pmd-core", "ring::credits::tests::receives_are_conserved"),
    ),
    mutant(
        "a credit is given back for an empty message too",
        &[within(
            CREDITS,
            "self.due += u32::from(arrived == Arrived::Message);",
            "self.due += u32::from(arrived == Arrived::Message);",
            "let _ = arrived; self.due += 1;",
        )],
        Test("pmd-core", "ring::credits::tests::receives_are_conserved"),
    ),
    mutant(
        "credits count as given, and stay due",
        &[edit(CREDITS, "self.due -= u32::from(credits);", "")],
        Model("ring::credits::model::one_way_traffic_never_stops"),
    ),
    mutant(
        "credits come back only when all are due",
        &[edit(CREDITS, "self.due >= self.threshold", "self.due > 2 * self.threshold")],
        Test("pmd-core", "ring::credits::tests::receives_are_conserved"),
    ),
    mutant(
        "credits of a message that was not posted are forgotten",
        &[edit(CREDITS, "self.due += u32::from(credits);", "")],
        Test("pmd-core", "ring::credits::tests::what_was_not_sent_is_still_due"),
    ),
    mutant(
        "credits kept for notifications are given to anybody as well",
        &[edit(CREDITS, "u32::from(credits) - kept", "u32::from(credits)")],
        Test("pmd-core", "ring::credits::tests::receives_are_conserved"),
    ),
    mutant(
        "a full ring keeps the credit of the message that it refused",
        &[edit(ROUTE, "shared.credits.give(1);", "")],
        Test("pmd-host", "lane::tests::message::a_message_that_the_ring_refuses_keeps_its_credit"),
    ),
    mutant(
        "the credit of a notification that was given up is lost",
        &[edit(STOP, "route.shared.credits.give(credits);", "let _ = credits;")],
        Test(
            "pmd-host",
            "lane::tests::message::the_credit_of_a_notification_that_was_given_up_is_for_anybody",
        ),
    ),
    mutant(
        "credits of the peer are forgotten",
        &[edit(RECEIVE, "route.shared.credits.give(credits);", "let _ = credits;")],
        Test("pmd-host", "lane::tests::message::both_sides_can_send_without_end"),
    ),
    mutant(
        "an immediate rides without a credit",
        &[within(
            POST,
            "(route.messages.are_all_posted() && route.shared.credits.take())",
            "route.shared.credits.take()",
            "true",
        )],
        Test("pmd-host", "lane::tests::rider::many_riders_at_once_keep_within_their_credits"),
    ),
    mutant(
        "the credit of an immediate whose WRITE was refused is lost",
        &[edit(POST, "self.route.shared.credits.give(1);", "")],
        Test("pmd-host", "lane::tests::rider::a_refused_rider_keeps_no_credit"),
    ),
    mutant(
        "a receive that a WRITE used is not given back",
        &[within(
            MESSAGES,
            "Ok(self.account.arrived(Arrived::Message, 0,",
            "Arrived::Message",
            "Arrived::Empty",
        )],
        Test("pmd-host", "lane::tests::rider::credits_of_riders_come_back"),
    ),
    mutant(
        "a message is taken for credits alone",
        &[within(MESSAGES, "Kind::Data => Arrived::Message,", "Arrived::Message", "Arrived::Empty")],
        Test("pmd-host", "lane::tests::message::both_sides_can_send_without_end"),
    ),
];
