//! The soft HCA: keys and bounds, order, completions, the death of a peer, proofs of quiet.

use super::super::{
    Check::*,
    Mutant,
    edit::{edit, within},
};
use super::mutant;

const REGIONS: &str = "host/src/soft/regions.rs";
const REACH: &str = "host/src/soft/reach.rs";
const REGISTER: &str = "host/src/soft/register.rs";
const QUIET: &str = "host/src/soft/quiet.rs";
const LINK: &str = "host/src/soft/link.rs";
const PEER: &str = "host/src/soft/peer.rs";
const QUEUE_PAIR: &str = "host/src/soft/engine/queue_pair.rs";
const COMPLETIONS: &str = "host/src/soft/engine/queues/completion.rs";
const STEP: &str = "host/src/soft/engine/requester/step.rs";
const DIRECT: &str = "host/src/soft/engine/requester/direct.rs";
const SINGLE: &str = "host/src/soft/engine/requester/single.rs";
const RETIRE: &str = "host/src/soft/engine/requester/retire.rs";
const RESPONDER: &str = "host/src/soft/engine/responder/mod.rs";
const ONE_SIDED: &str = "host/src/soft/engine/responder/one_sided.rs";
const RECEIVES: &str = "host/src/soft/engine/responder/receives.rs";
const PASS: &str = "host/src/soft/engine/pass.rs";
const MOVES: &str = "host/src/soft/engine/requester/moves.rs";
const STAGING: &str = "host/src/soft/mover/staging.rs";
const COPY: &str = "host/src/soft/engine/copy.rs";
const COLD: &str = "host/src/soft/engine/cold.rs";
const WIRE: &str = "host/src/soft/tcp/wire.rs";
const STREAM: &str = "host/src/soft/tcp/stream.rs";

pub(super) const MUTANTS: &[Mutant] = &[
    mutant(
        "ranges that overlap are copied past the caches",
        &[edit(COLD, "source.addr().abs_diff(target.addr()) < length", "false")],
        Test("pmd-host", "soft::engine::cold::tests::ranges_that_overlap_are_copied_as_one_that_does_not"),
    ),
    mutant(
        "a piece counts as cached when its last page is",
        &[edit(COLD, "recent && is_it", "is_it")],
        Test("pmd-host", "soft::engine::cold::tests::pages_are_recent_until_as_many_others_were_written"),
    ),
    mutant(
        "a region is one byte longer than registered",
        &[edit(
            REGIONS,
            "wanted.length <= self.length - offset",
            "wanted.length <= self.length - offset + 1",
        )],
        Test("pmd-host", "soft::tests::keys::keys_allow_what_was_registered_and_no_more"),
    ),
    mutant(
        "a right that was not given is there",
        &[within(
            REGIONS,
            "if !self.access.contains(wanted.access) {",
            "!self.access.contains(wanted.access)",
            "false",
        )],
        Test("pmd-host", "soft::tests::keys::keys_allow_what_was_registered_and_no_more"),
    ),
    mutant(
        "regions of other protection domains are reached",
        &[edit(REGIONS, "self.protection_domain != wanted.protection_domain", "false")],
        Conformance("soft-direct::errors::remote_memory_of_another_domain"),
    ),
    mutant(
        "a peer's table reaches one byte behind its arena",
        &[edit(
            REACH,
            "offset <= size && length <= size - offset",
            "offset <= size && length <= size - offset + 1",
        )],
        Test("pmd-host", "soft::reach::tests::nothing_outside_of_a_mapping_is_inside"),
    ),
    mutant(
        "deregistration does not wait for rounds that run",
        &[edit(REGISTER, "Quiet::everywhere(&self.device, &revoked).wait();", "drop(revoked);")],
        Test(
            "pmd-host",
            "soft::tests::revoking::deregistration_waits_for_the_round_in_which_the_key_was_checked",
        ),
    ),
    mutant(
        "deregistration looks at this device's engines only",
        &[edit(QUIET, "device.exchange().known_peers()", "Vec::new()")],
        Test("pmd-host", "soft::tests::revoking::deregistration_waits_for_rounds_of_peers_too"),
    ),
    mutant(
        "requests are flushed before the peer's engines are quiet",
        &[edit(QUEUE_PAIR, "quiet.as_mut().is_some_and(|quiet| !quiet.is_reached())", "false")],
        Test("pmd-host/soft_sharing", "nothing_is_written_after_the_flush"),
    ),
    mutant(
        "bytes are moved for a peer that has closed",
        &[edit(STEP, "!link.is_open(pass.keys.active)", "false")],
        Test("pmd-host/soft_sharing", "nothing_is_written_after_the_flush"),
    ),
    mutant(
        "nobody looks whether the peer's process is there",
        &[within(
            LINK,
            "self.closed_by_peer() || self.shared().is_some_and(|shared| !shared.peer.alive())",
            "self.shared().is_some_and(|shared| !shared.peer.alive())",
            "self.shared().is_some_and(|_| false)",
        )],
        Hangs("pmd-host/soft_processes", "a_message_to_a_killed_peer_fails"),
    ),
    mutant(
        "a process that has exited is waited for",
        &[within(
            PEER,
            "self.segment.is_closed()\n            || self.process.has_exited()",
            "self.process.has_exited()",
            "false",
        )],
        Hangs("pmd-host", "soft::tests::processes::a_killed_peer_is_noticed_and_its_memory_given_back"),
    ),
    mutant(
        "completions have the owner bit of the first lap",
        &[edit(
            COMPLETIONS,
            "cqe::owner_bit(self.produced, self.count)",
            "cqe::owner_bit(self.produced & (self.count - 1), self.count)",
        )],
        Test(
            "pmd-host",
            "soft::engine::queues::tests::entries_change_owner_with_each_lap_and_overrun_is_told",
        ),
    ),
    mutant(
        "a full completion queue is written over",
        &[edit(COMPLETIONS, "self.overrun || self.room() == 0", "self.overrun")],
        Test("pmd-host/soft_failures", "an_overrun_completion_queue_is_told_and_fails_its_queue_pairs"),
    ),
    mutant(
        "a completion has the index of the next WQE",
        &[within(RETIRE, "wqe_counter: record.index,", "record.index", "record.index.wrapping_add(1)")],
        Conformance("soft-direct::data::writes_of_every_size"),
    ),
    mutant(
        "an unsignalled request gives a completion",
        &[within(RETIRE, "if record.signalled {", "record.signalled", "true")],
        Conformance("soft-direct::order::unsignalled_requests_retire_with_the_next_signalled_one"),
    ),
    mutant(
        "a flush drops all requests but the first",
        &[edit(
            RETIRE,
            "sending.fail(index, opcode, first.take().unwrap_or(Syndrome::Flushed), pass);",
            "if let Some(first) = first.take() { sending.fail(index, opcode, first, pass); }",
        )],
        Conformance("soft-packets::lifetime::failing_flushes_everything_in_order"),
    ),
    mutant(
        "a flush forgets the receives",
        &[edit(QUEUE_PAIR, "self.responder.flush(pass);", "")],
        Conformance("soft-packets::lifetime::failing_flushes_everything_in_order"),
    ),
    mutant(
        "a peer that has failed is not heard to the end",
        &[edit(QUEUE_PAIR, "link.has_said_all()", "true")],
        Test(
            "pmd-host",
            "soft::tcp::tests::refusals::\
             a_refusal_behind_a_read_waits_for_the_bytes_of_that_although_the_peer_has_failed",
        ),
    ),
    mutant(
        "a fence is not looked at",
        &[edit(STEP, "control.flags.contains(ControlFlags::FENCE) && self.current.offset == 0", "false")],
        Test("pmd-host/soft_sharing", "a_fenced_request_waits_for_reads_before_it"),
    ),
    mutant(
        "a direct WRITE overtakes packets",
        &[edit(DIRECT, "self.require_one_sided_done(link)?;", "")],
        Test("pmd-host/soft_sharing", "direct_requests_wait_for_packets_before_them"),
    ),
    mutant(
        "a WRITE of one piece overtakes packets",
        &[edit(SINGLE, "self.one_sided_end.is_none()", "true")],
        Test("pmd-host/soft_sharing", "direct_requests_wait_for_packets_before_them"),
    ),
    mutant(
        "a READ of one piece overtakes packets",
        &[
            edit(SINGLE, "self.one_sided_end.is_none()", "true"),
            within(
                SINGLE,
                "if link.requests_out.lines_in_use() == 0 =>",
                "link.requests_out.lines_in_use() == 0",
                "true",
            ),
        ],
        Test("pmd-host/soft_sharing", "direct_requests_wait_for_packets_before_them"),
    ),
    mutant(
        "a direct READ overtakes packets",
        &[within(
            DIRECT,
            "self.require_all_done(link)?;\n        let mut offset",
            "self.require_all_done(link)?;",
            "",
        )],
        Test("pmd-host/soft_sharing", "direct_requests_wait_for_packets_before_them"),
    ),
    mutant(
        "a WRITE in packets is not checked",
        &[within(ONE_SIDED, "&& !self.may_write(&writing, pass)", "self.may_write(&writing, pass)", "true")],
        Test("pmd-host", "soft::engine::tests::forged_keys_reach_nothing"),
    ),
    mutant(
        "a peer without a receive is not told",
        &[edit(RESPONDER, "self.tell_not_ready(incoming.position, link)?;", "")],
        Conformance("soft-packets::ready::limited_retries_end"),
    ),
    mutant(
        "a refused request is not told",
        &[within(
            RESPONDER,
            "if notify(Kind::Nak, detail, position, link)? {",
            "notify(Kind::Nak, detail, position, link)?",
            "{ let _ = detail; true }",
        )],
        Test("pmd-host", "soft::engine::tests::forged_keys_reach_nothing"),
    ),
    mutant(
        "the immediate of a WRITE is byte-swapped",
        &[within(
            RECEIVES,
            "Received::WriteImmediate(header.word)",
            "header.word",
            "header.word.swap_bytes()",
        )],
        Conformance("soft-direct::data::immediates_arrive_with_and_without_bytes"),
    ),
    mutant(
        "a compare-and-swap gives the new value",
        &[edit(
            COPY,
            "cell
            .compare_exchange(compare, swap, Ordering::AcqRel, Ordering::Acquire)
            .unwrap_or_else(|old| old)",
            "let _ = cell.compare_exchange(compare, swap, Ordering::AcqRel, Ordering::Acquire);
             swap",
        )],
        Conformance("soft-direct::data::atomics_give_the_old_value"),
    ),
    mutant(
        "an engine touches memory of an accelerator",
        &[within(PASS, "if is_device {", "is_device", "false")],
        Touches("soft-device::devices::what_is_not_possible_is_refused"),
    ),
    mutant(
        "a queue pair flushes while streams copy for it",
        &[edit(QUEUE_PAIR, "self.requester.has_moves()", "false")],
        Conformance("soft-device::devices::a_queue_pair_that_fails_during_copies"),
    ),
    mutant(
        "a mover's round ends before its copies",
        &[
            edit(STAGING, "event.query().unwrap_or(true)", "event.query().is_ok()"),
            edit(STAGING, "wait_for(&**event, None).map(drop)", "event.query().map(drop)"),
        ],
        Conformance("soft-device::devices::memory_is_quiet_after_it_was_taken_back"),
    ),
    mutant(
        "a direct request overtakes copies of device memory",
        &[within(SINGLE, "&& self.moves == 0", "self.moves == 0", "true")],
        Conformance("soft-device::devices::requests_of_host_and_device_in_order"),
    ),
    mutant(
        "an immediate overtakes the bytes that a stream copies",
        &[edit(MOVES, "self.without_moves()?", "None")],
        Conformance("soft-device::devices::immediates_come_behind_their_bytes"),
    ),
    mutant(
        "what was consumed is never said by itself",
        &[edit(WIRE, "self.overdue = alone && !self.overdue;", "self.overdue = alone;")],
        Test("pmd-host", "soft::tcp::tests::words::what_was_consumed_is_said_soon_where_there_is_no_answer"),
    ),
    mutant(
        "an end that came with the last bytes is waited for",
        &[edit(
            STREAM,
            "self.readable &= self.ending || self.seal.is_some();",
            "self.readable &= self.seal.is_some();",
        )],
        Test(
            "pmd-host",
            "soft::tcp::tests::words::\
             a_stream_that_gave_less_than_there_is_room_for_is_asked_again_when_it_has_news",
        ),
    ),
];
