//! Posting: WQE bytes, doorbell record, doorbell, receives.

use super::super::{
    Check::*,
    Mutant,
    edit::{edit, within},
};
use super::mutant;

const SEND: &str = "src/queue/send.rs";
const SLOT: &str = "src/queue/slot.rs";
const SHARED: &str = "src/queue/shared_receive.rs";
const REGISTER: &str = "src/queue/register.rs";

/// The store of the doorbell record.
pub(super) const RECORD: &str =
    "mmio::store_record(self.doorbell_record.as_ptr(), doorbell::send_record(self.producer));";

/// The doorbell, and the record behind it.
pub(super) const RECORD_LATE: &str = "doorbell.ring(self.last_control);
    mmio::write_combining_start();
    unsafe { mmio::store_record(self.doorbell_record.as_ptr(), doorbell::send_record(self.producer)) };";

pub(super) const MUTANTS: &[Mutant] = &[
    mutant(
        "the doorbell record is stored after the doorbell",
        &[edit(SEND, RECORD, ""), edit(SEND, "doorbell.ring(self.last_control);", RECORD_LATE)],
        Model("queue::model::a_doorbell_comes_after_its_record"),
    ),
    mutant(
        "the doorbell record counts a request that is not written",
        &[edit(
            SEND,
            RECORD,
            "mmio::store_record(self.doorbell_record.as_ptr(), doorbell::send_record(self.producer.wrapping_add(1)));",
        )],
        Model("queue::model::a_record_comes_after_its_work_requests"),
    ),
    mutant(
        "ds is one less",
        &[within(SEND, "units: units as u8,", "units as u8", "units as u8 - 1")],
        Test("pmd-core/queue_bytes", "samples_of_libmlx5"),
    ),
    mutant(
        "ds is one more",
        &[within(SEND, "units: units as u8,", "units as u8", "units as u8 + 1")],
        Test("pmd-core/queue_bytes", "samples_of_libmlx5"),
    ),
    mutant(
        "fm_ce_se asks for no completion",
        &[within(SEND, "flags: control_flags(flags),", "control_flags(flags)", "control_flags(flags - SendFlags::SIGNALED)")],
        Test("pmd-core/queue_bytes", "every_combination_of_flags"),
    ),
    mutant(
        "the WQE index is that of the next WQE",
        &[within(SEND, "index: self.producer as u16,", "self.producer", "self.producer.wrapping_add(1)")],
        Test("pmd-core/queue_bytes", "samples_of_libmlx5"),
    ),
    mutant(
        "the WQE index is the slot's number",
        &[within(SEND, "index: self.producer as u16,", "self.producer", "(self.producer & self.ring.mask())")],
        Test("pmd-core/queue_wrap", "indexes_wrap_after_sixteen_bits"),
    ),
    mutant(
        "lkey and rkey are swapped",
        &[edit(
            SEND,
            "remote_segment(remote).emit(&mut block[1]);\n        data_segment(entry).emit(&mut block[2]);",
            "RemoteSegment { address: remote.address, rkey: entry.key.0 }.emit(&mut block[1]);
             DataSegment { length: entry.length, lkey: remote.key.0, address: entry.address }.emit(&mut block[2]);",
        )],
        Test("pmd-core/queue_bytes", "both_posting_paths_write_the_same_bytes"),
    ),
    mutant(
        "immediates are byte-swapped when posted",
        &[edit(SEND, "parts.immediate", "parts.immediate.swap_bytes()")],
        Test("pmd-core/queue_operations", "write_with_immediate_consumes_a_receive"),
    ),
    mutant(
        "BlueFlame takes a request that is not the only one",
        &[within(SEND, "if self.is_rung() { units } else { 0 }", "self.is_rung()", "true")],
        Test("pmd-core/queue_operations", "blue_flame_takes_a_single_inline_request_that_fits"),
    ),
    mutant(
        "two doorbells go to the same half of the register",
        &[edit(REGISTER, "self.offset ^= self.half;", "")],
        Test("pmd-host", "mlx5::tests::doorbells_alternate_between_the_halves"),
    ),
    mutant(
        "a full queue takes one more request",
        &[within(SEND, "if slots <= self.free()", "self.free()", "self.free() + 1")],
        Test("pmd-core/queue_wrap", "a_full_queue_takes_nothing_and_loses_nothing"),
    ),
    mutant(
        "inline payload does not go on at the beginning of the queue",
        &[edit("src/queue/units.rs", "self.copy(0, after);", "")],
        Test("pmd-core/queue_wrap", "inline_payload_wraps_at_every_offset"),
    ),
    mutant(
        "a receive's list has no end",
        &[edit(SLOT, "self.store(slot, unit, DataSegment::TERMINATOR);", "")],
        Test("pmd-core/queue_bytes", "receives_end_with_the_terminator_unless_the_slot_is_full"),
    ),
    mutant(
        "a shared receive's slot is not linked back",
        &[edit(SHARED, "self.link(self.tail, slot);", "")],
        Test("pmd-core/queue_shared", "slots_come_back_in_any_order_and_one_stays_free"),
    ),
    mutant(
        "a completion queue is armed with the last event's number",
        &[edit("src/queue/completion.rs", "self.sequence = self.sequence.wrapping_add(1);", "")],
        Test("pmd-core/queue_bytes", "arming_counts_events_and_entries"),
    ),
];
