//! Protocols between threads and processes: rings, flags, parking, revoking, connecting and closing.

use super::super::{
    Check::*,
    Mutant,
    edit::{edit, within},
};
use super::mutant;

const ATTENTION: &str = "src/ring/attention/mod.rs";
const MPSC: &str = "src/ring/mpsc/mod.rs";
const SPSC: &str = "src/ring/spsc/mod.rs";
const PRODUCER: &str = "src/ring/packet/producer.rs";
const PARKING: &str = "src/ring/parking/mod.rs";
const QUIESCE: &str = "src/ring/quiesce/mod.rs";
const SIDE: &str = "src/ring/side/mod.rs";
const SLOT: &str = "src/ring/slot/mod.rs";

pub(super) const MUTANTS: &[Mutant] = &[
    mutant(
        "a packet is published before its body",
        &[edit(
            PRODUCER,
            "grant.fill(0, body);\n        grant.commit();",
            "grant.producer.publish(grant.lines, body.len() as u32 + 1);
             grant.producer.tail = grant.producer.tail.wrapping_sub(grant.lines);
             grant.fill(0, body);
             grant.producer.tail = grant.producer.tail.wrapping_add(grant.lines);",
        )],
        Model("ring::packet::model::small_packets_cross_over_laps"),
    ),
    mutant(
        "the marker behind a packet is cleared after the packet is published",
        &[edit(
            PRODUCER,
            "self.lines.marker(next).store(NOTHING, Ordering::Relaxed);
        self.lines.marker(self.tail).store(marker, Ordering::Release);",
            "self.lines.marker(self.tail).store(marker, Ordering::Release);
             self.lines.marker(next).store(NOTHING, Ordering::Relaxed);",
        )],
        Model("ring::packet::model::stale_payload_is_never_taken_for_a_packet"),
    ),
    mutant(
        "a packet ring keeps no line free",
        &[edit(
            PRODUCER,
            "self.lines.count() - 1 - self.lines_in_use()",
            "self.lines.count() - self.lines_in_use()",
        )],
        Model("ring::packet::model::small_packets_cross_over_laps"),
    ),
    mutant(
        "an spsc ring takes one value more than it holds",
        &[within(
            SPSC,
            "self.tail.wrapping_sub(self.head_seen) == self.capacity()",
            "self.tail.wrapping_sub(self.head_seen) == self.capacity()",
            "self.tail.wrapping_sub(self.head_seen) > self.capacity()",
        )],
        Model("ring::spsc::model::values_cross_once_and_in_order"),
    ),
    mutant(
        "two senders claim the same slot",
        &[within(
            MPSC,
            "match self.shared.tail.compare_exchange(position, next, Ordering::Relaxed, Ordering::Relaxed) {",
            "self.shared.tail.compare_exchange(position, next, Ordering::Relaxed, Ordering::Relaxed)",
            "self.shared.tail.store(next, Ordering::Relaxed); Ok::<usize, usize>(position)",
        )],
        Model("ring::mpsc::model::senders_claim_slots_apart"),
    ),
    mutant(
        "a ring with a hidden value counts as drained",
        &[edit(MPSC, "self.shared.tail.load(Ordering::Relaxed) == self.head", "true")],
        Model("ring::attention::model::commands_pushed_before_a_flag_are_taken_before_it"),
    ),
    mutant(
        "of two raised flags the earlier one is lost",
        &[edit(
            ATTENTION,
            "self.raised.swap(true, Ordering::Release);",
            "self.raised.store(true, Ordering::Release);",
        )],
        Model("ring::attention::model::no_flag_is_lost"),
    ),
    mutant(
        "two publishers wake a consumer",
        &[edit(
            PARKING,
            "self.state.compare_exchange(PARKED, AWAKE, Ordering::Relaxed, Ordering::Relaxed)",
            "self.state.store(AWAKE, Ordering::Relaxed); Ok::<u32, u32>(PARKED)",
        )],
        Model("ring::parking::model::two_publishers_wake_once"),
    ),
    mutant(
        "a consumer that ended is taken for one that sleeps",
        &[within(
            PARKING,
            "ENDED => Published::Ended,\n            _ =>",
            "Published::Ended",
            "Published::Seen",
        )],
        Model("ring::parking::model::nothing_is_left_behind_at_the_end"),
    ),
    mutant(
        "an outcome is published before it is written",
        &[edit(
            SLOT,
            "self.outcome.with_mut(|cell| {
            // SAFETY: this call alone set `CLAIMED`, and nobody reads before `DONE`.
            unsafe { (*cell).write(outcome) };
        });
        self.state.fetch_or(DONE, Ordering::Release) & CANCEL_REQUESTED != 0",
            "let before = self.state.fetch_or(DONE, Ordering::Release);
             self.outcome.with_mut(|cell| { unsafe { (*cell).write(outcome) }; });
             before & CANCEL_REQUESTED != 0",
        )],
        Model("ring::slot::model::an_outcome_comes_after_the_bytes"),
    ),
    mutant(
        "a second completion is written over the first",
        &[within(SLOT, "if before & CLAIMED != 0 {", "before & CLAIMED != 0", "false")],
        Model("ring::slot::model::a_second_completion_changes_nothing"),
    ),
    mutant(
        "revoke does not wait for transfers in flight",
        &[edit(
            QUIESCE,
            "self.count.is_multiple_of(2) || activity.count.load(Ordering::Acquire) != self.count",
            "true",
        )],
        Model("ring::quiesce::model::nothing_writes_after_quiet"),
    ),
    mutant(
        "revoke leaves the key valid",
        &[within(QUIESCE, "self.0.store(0, Ordering::Relaxed);", "self.0.store(0, Ordering::Relaxed);", "")],
        Model("ring::quiesce::model::nothing_writes_after_quiet"),
    ),
    mutant(
        "no key is a key",
        &[within(QUIESCE, "key != 0 && self.0.load(Ordering::Acquire) == key", "key != 0", "true")],
        Test("pmd-core", "ring::quiesce::tests::a_key_is_valid_from_grant_to_revoke"),
    ),
    mutant(
        "the newest engine is not counted",
        &[edit(
            QUIESCE,
            "self.used.fetch_max(index + 1, Ordering::Relaxed);",
            "self.used.fetch_max(index, Ordering::Relaxed);",
        )],
        Model("ring::quiesce::model::a_new_engine_is_counted_or_refused"),
    ),
    mutant(
        "the round of an engine that died goes on for ever",
        &[edit(
            QUIESCE,
            "self.count.load(Ordering::Relaxed).wrapping_add(1) | 1",
            "self.count.load(Ordering::Relaxed).wrapping_add(1)",
        )],
        Test("pmd-core", "ring::quiesce::tests::a_round_that_its_process_left_open_ends_with_the_next"),
    ),
    mutant(
        "bytes are moved for a side that has closed",
        &[edit(SIDE, "self.open.validate(active, OPEN)", "true")],
        Model("ring::side::model::nothing_is_copied_after_close_and_quiet"),
    ),
    mutant(
        "a side that gave up stays open",
        &[within(
            SIDE,
            "let revoked = self.open.revoke();\n        self.state.store(ABANDONED",
            "self.open.revoke()",
            "KeyCell::new().revoke()",
        )],
        Model("ring::side::model::nothing_is_copied_after_giving_up_and_quiet"),
    ),
];
