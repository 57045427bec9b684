//! Completing: ownership of entries, the consumer index, which request an entry completes, flushes, resets.

use super::super::{
    Check::*,
    Mutant,
    edit::{edit, within},
};
use super::mutant;

const COMPLETION: &str = "src/queue/completion.rs";
const SEND: &str = "src/queue/send.rs";
const ATTACHED: &str = "src/queue/attached.rs";

pub(super) const MUTANTS: &[Mutant] = &[
    mutant(
        "an entry is read before its owner was looked at",
        &[within(
            COMPLETION,
            "let ready = self.ready(into.len());",
            "self.ready(into.len())",
            "{ let _ = self.ring.view(self.consumer); self.ready(into.len()) }",
        )],
        Model("queue::model::completions_cross_over_laps"),
    ),
    mutant(
        "an entry is taken without a look at its owner",
        &[edit(COMPLETION, "ring.is_owned(self.consumer.wrapping_add(ready as u32))", "true")],
        Model("queue::model::completions_cross_over_laps"),
    ),
    mutant(
        "the owner bit of the last lap counts",
        &[edit(
            COMPLETION,
            "ownership(op_own, index, self.count)",
            "ownership(op_own, index & (self.count - 1), self.count)",
        )],
        Test("pmd-core", "queue::tests::consumer_indexes_wrap_after_24_and_32_bits"),
    ),
    mutant(
        "the consumer index is not told",
        &[edit(
            COMPLETION,
            "self.store_record(doorbell::CONSUMER_RECORD, doorbell::consumer_record(self.consumer));",
            "",
        )],
        Test("pmd-core/queue_wrap", "the_consumer_index_is_told_once_a_poll"),
    ),
    mutant(
        "the consumer index is told before the entries are read",
        &[within(
            COMPLETION,
            "mmio::from_device();\n        let (ring, first) = (self.ring, self.consumer);",
            "mmio::from_device();",
            "mmio::from_device();
             let first = self.consumer;
             self.consumer = first.wrapping_add(ready as u32);
             self.publish();
             self.consumer = first;",
        )],
        Model("queue::model::completions_cross_over_laps"),
    ),
    mutant(
        "a completion of a wrapped index is another request's",
        &[edit(SEND, "self.consumer.wrapping_add(distance)", "u32::from(index)")],
        Test("pmd-core/queue_wrap", "indexes_wrap_after_sixteen_bits"),
    ),
    mutant(
        "an entry completes a request that was not handed over",
        &[edit(SEND, "self.rung.wrapping_sub(self.consumer)", "self.producer.wrapping_sub(self.consumer)")],
        Test("pmd-core/queue_errors", "entries_that_complete_nothing_are_refused"),
    ),
    mutant(
        "a slot inside of a request completes the one that began there before",
        &[edit(SEND, "shadow.position == position && distance < handed_over", "distance < handed_over")],
        Test("pmd-core/queue_errors", "a_slot_inside_a_request_completes_nothing_though_it_once_began_one"),
    ),
    mutant(
        "a request of two slots frees one",
        &[edit(
            SEND,
            "shadow.position.wrapping_add(u32::from(shadow.slots))",
            "shadow.position.wrapping_add(1)",
        )],
        Test("pmd-core/queue_wrap", "gather_lists_wrap_at_every_offset"),
    ),
    mutant(
        "a failed request leaves its queue pair as it was",
        &[edit(ATTACHED, "queue_pair.state = QueuePairState::Error;", "")],
        Test("pmd-core/queue_errors", "a_failed_request_flushes_what_follows_and_retires_what_went_before"),
    ),
    mutant(
        "the immediate of a completion is byte-swapped",
        &[edit(ATTACHED, "Some(entry.view.immediate())", "Some(entry.view.immediate().swap_bytes())")],
        Test("pmd-core/queue_operations", "write_with_immediate_consumes_a_receive"),
    ),
    mutant(
        "entries of other queue pairs go with those of one that is reset",
        &[edit(COMPLETION, "self.copy(index, index.wrapping_add(freed));", "")],
        Test("pmd-core/queue_reset", "stale_entries_go_and_others_keep_their_order"),
    ),
    mutant(
        "a moved entry keeps the owner bit of its old place",
        &[edit(COMPLETION, "op_own & !1 | owner", "op_own")],
        Test("pmd-core/queue_reset", "stale_entries_go_and_others_keep_their_order"),
    ),
    mutant(
        "a reset queue pair keeps its indexes",
        &[edit(SEND, "(self.producer, self.consumer, self.rung, self.blue_flame_units) = (0, 0, 0, 0);", "")],
        Test("pmd-core/queue_reset", "a_failed_queue_pair_works_again_after_reset"),
    ),
];
