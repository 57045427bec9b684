//! Each rule of the lint, broken once by a driver that is wrong in just that.

use pmd_core::{
    memory::Access,
    wire::{
        AddressVector, Arm, AtomicSegment, ControlFlags, DataSegment, Opcode, RemoteSegment, Unit,
        address_vector, control,
    },
};

use super::{
    bench::{self, ALL, Fabric, Plan, path, register},
    raw::{Raw, data_unit, head, pair},
};
use crate::{
    config::{Mode, OnViolation},
    lint::{Rule, seen},
    state::{QueuePairKind, state},
};

/// The rules that were broken since the last call.
fn broken() -> Vec<Rule> {
    seen::take().into_iter().map(|violation| violation.rule).collect()
}

fn nop(raw: &Raw) -> Unit {
    raw.control(Opcode::Nop, 1).to_bytes()
}

/// What a post of `units` breaks, after `units` good NOPs; the queue pair then fails with "local QP operation".
fn posted(kind: QueuePairKind, make: impl FnOnce(&Raw) -> Vec<Unit>) -> Vec<Rule> {
    let fabric = Fabric::new();
    let (mut left, _right) = pair(&fabric, Plan { kind, ..Plan::default() });
    for _ in 0..3 {
        let unit = nop(&left);
        left.post(&[unit]);
    }
    let units = make(&left);
    left.post(&units);
    assert_eq!(left.poll_syndromes(), [(0, 0), (1, 0), (2, 0), (3, 0x02)]);
    assert_ne!(left.state(), state::RTS);
    let seen = seen::take();
    assert!(seen.iter().all(|violation| violation.object == left.number()));
    assert_eq!(left.device.lock().counters.violations, seen.len() as u64);
    seen.into_iter().map(|violation| violation.rule).collect()
}

fn reliable(make: impl FnOnce(&Raw) -> Vec<Unit>) -> Vec<Rule> {
    posted(QueuePairKind::Reliable, make)
}

#[test]
fn good_work_breaks_nothing() {
    let fabric = Fabric::new();
    let (mut left, right) = pair(&fabric, Plan::default());
    let (source, target) = (register(&left.device, 64, Access::empty()), register(&right.device, 64, ALL));
    let local = DataSegment { address: source.address(), length: 64, lkey: source.key };
    for _ in 0..40 {
        left.post_write(local, RemoteSegment { address: target.address(), rkey: target.key });
        assert_eq!(left.poll().len(), 1);
    }
    assert_eq!(broken(), []);
}

#[test]
fn a_wrong_index_is_seen() {
    let rules = reliable(|left| {
        let mut control = left.control(Opcode::Nop, 1);
        control.index += 1;
        vec![control.to_bytes()]
    });
    // The doorbell, too, names a WQE that is not there yet.
    let rung = Rule::RecordBehindDoorbell { rung: 5, record: 4 };
    assert_eq!(rules, [rung, Rule::WrongIndex { found: 4, expected: 3 }]);
}

#[test]
fn a_wrong_queue_pair_number_is_seen() {
    let fabric = Fabric::new();
    let (mut left, _right) = pair(&fabric, Plan::default());
    let mut control = left.control(Opcode::Nop, 1);
    control.queue_pair ^= 0x80_0000;
    let (found, expected) = (control.queue_pair, left.number());
    left.write(&[control.to_bytes()]);
    left.set_record(1);
    left.device.ring(head(&control.to_bytes()));
    assert_eq!(broken(), [Rule::UnknownQueuePair { number: found }]);
    let rung = u64::from(expected) << 8 | 1;
    left.device.ring(rung);
    let word = head(&control.to_bytes());
    let rules =
        [Rule::WrongDoorbell { found: rung, expected: word }, Rule::WrongQueuePair { found, expected }];
    assert_eq!(broken(), rules);
}

#[test]
fn a_wrong_size_is_seen() {
    let reasons = |make: fn(&Raw) -> Vec<Unit>| match reliable(make)[..] {
        [Rule::WrongSize { reason, units, .. }] => (units, reason),
        ref other => panic!("{other:?}"),
    };
    let none = reasons(|left| vec![left.control(Opcode::Nop, 0).to_bytes(), [0; 16]]);
    assert_eq!(none, (0, "a WQE has at least its control segment"));
    let nop = reasons(|left| vec![left.control(Opcode::Nop, 2).to_bytes(), [0; 16]]);
    assert_eq!(nop, (2, "a NOP has a control segment only"));
    let missing = reasons(|left| vec![left.control(Opcode::RdmaWrite, 1).to_bytes()]);
    assert_eq!(missing, (1, "a segment of the operation is missing"));
    let inline = reasons(|left| {
        let mut header = [0; 16];
        header[..4].copy_from_slice(&(0x8000_0000u32 | 13).to_be_bytes());
        vec![left.control(Opcode::Send, 2).to_bytes(), header]
    });
    assert_eq!(inline, (2, "inline payload goes past the WQE"));
    let result = reasons(|left| {
        let mut header = [0; 16];
        header[..4].copy_from_slice(&(0x8000_0000u32 | 8).to_be_bytes());
        vec![left.control(Opcode::RdmaRead, 3).to_bytes(), [0; 16], header]
    });
    assert_eq!(result, (3, "a result cannot go inline"));
    let atomic = reasons(|left| {
        let mut operands = [0; 16];
        AtomicSegment::default().emit(&mut operands);
        let data = data_unit(DataSegment { address: 8, length: 4, lkey: 1 });
        vec![left.control(Opcode::FetchAndAdd, 5).to_bytes(), [0; 16], operands, data, data]
    });
    assert_eq!(atomic, (5, "an atomic has one data segment"));
}

#[test]
fn a_size_past_the_field_or_the_queue_is_seen() {
    let rules = reliable(|left| {
        let mut control = left.control(Opcode::Nop, 1).to_bytes();
        control[7] = 64;
        vec![control]
    });
    assert!(matches!(rules[..], [_, Rule::WrongSize { units: 64, .. }]), "{rules:?}");
    let fabric = Fabric::new();
    let (mut left, _right) = pair(&fabric, Plan { slots: 4, ..Plan::default() });
    let units = [&[left.control(Opcode::Send, 20).to_bytes()][..], &[[0; 16]; 15]].concat();
    left.write(&units);
    left.set_record(4);
    left.device.ring(head(&units[0]));
    let rules = broken();
    assert!(rules.contains(&Rule::WrongSize {
        units: 20,
        opcode: Opcode::Send as u8,
        reason: "the WQE is larger than its queue"
    }));
}

#[test]
fn an_illegal_opcode_is_seen() {
    let on = |kind, opcode: u8| {
        posted(kind, |left| {
            let mut control = left.control(Opcode::Nop, 1).to_bytes();
            control[3] = opcode;
            vec![control]
        })
    };
    let cases = [
        (QueuePairKind::Reliable, 0x77, "RC"),
        (QueuePairKind::Reliable, Opcode::Tso as u8, "RC"),
        (QueuePairKind::Reliable, Opcode::UserMemoryRegistration as u8, "RC"),
        (QueuePairKind::Unreliable, Opcode::RdmaRead as u8, "UC"),
        (QueuePairKind::Unreliable, Opcode::FetchAndAdd as u8, "UC"),
        (QueuePairKind::Datagram, Opcode::RdmaWrite as u8, "UD"),
    ];
    for (kind, opcode, service) in cases {
        assert_eq!(on(kind, opcode), [Rule::IllegalOpcode { opcode, service }]);
    }
}

#[test]
fn reserved_fields_are_seen() {
    let with = |offset: usize, value: u8, units: u8| {
        reliable(|left| {
            let opcode = if units == 1 { Opcode::Nop } else { Opcode::RdmaWrite };
            let mut wqe = vec![left.control(opcode, units).to_bytes()];
            wqe.resize(units.into(), [0; 16]);
            wqe.as_flattened_mut()[offset] |= value;
            wqe
        })
    };
    assert_eq!(with(0, 1, 1), [Rule::ReservedSet { offset: 0, value: 1 }]);
    let signature = control::field::SIGNATURE.start;
    assert_eq!(with(signature, 0xff, 1), [Rule::ReservedSet { offset: signature, value: 0xff_0000 }]);
    assert_eq!(with(10, 2, 1), [Rule::ReservedSet { offset: signature, value: 2 }]);
    assert_eq!(with(11, 1, 1), [Rule::ReservedSet { offset: 11, value: 1 }]);
    assert_eq!(with(16 + 15, 9, 2), [Rule::ReservedSet { offset: 16 + 12, value: 9 }]);
    let datagram = posted(QueuePairKind::Datagram, |left| {
        let mut vector = [0; address_vector::LENGTH];
        AddressVector::default().emit(&mut vector);
        vector[19] = 5;
        let mut wqe = vec![left.control(Opcode::Send, 4).to_bytes()];
        wqe.extend_from_slice(vector.as_chunks().0);
        wqe
    });
    assert_eq!(datagram, [Rule::ReservedSet { offset: 32, value: 5 }]);
}

#[test]
fn an_empty_gather_entry_is_seen() {
    let rules = reliable(|left| {
        let data = data_unit(DataSegment { address: 8, length: 4, lkey: 1 });
        let empty = data_unit(DataSegment { address: 8, length: 0, lkey: 1 });
        vec![left.control(Opcode::Send, 3).to_bytes(), data, empty]
    });
    assert_eq!(rules, [Rule::ZeroLength { segment: 1 }]);
}

#[test]
fn a_doorbell_before_its_record_is_seen() {
    let fabric = Fabric::new();
    let (mut left, _right) = pair(&fabric, Plan::default());
    let unit = nop(&left);
    left.write(&[unit]);
    left.device.ring(head(&unit));
    assert_eq!(broken(), [Rule::RecordBehindDoorbell { rung: 1, record: 0 }]);
    assert_eq!(left.poll(), [], "the device does not look past the record");
}

#[test]
fn a_doorbell_that_is_not_the_last_wqe_is_seen() {
    let fabric = Fabric::new();
    let (mut left, _right) = pair(&fabric, Plan::default());
    let first = nop(&left);
    left.write(&[first]);
    let second = nop(&left);
    left.write(&[second]);
    left.set_record(2);
    left.device.ring(head(&first));
    assert_eq!(broken(), [Rule::WrongDoorbell { found: head(&first), expected: head(&second) }]);
}

#[test]
fn a_doorbell_with_another_size_is_seen() {
    let fabric = Fabric::new();
    let (mut left, _right) = pair(&fabric, Plan::default());
    let unit = nop(&left);
    left.write(&[unit]);
    left.set_record(1);
    left.device.ring(head(&unit) + 1);
    assert_eq!(broken(), [Rule::WrongDoorbell { found: head(&unit) + 1, expected: head(&unit) }]);
}

#[test]
fn a_blue_flame_copy_that_differs_is_seen() {
    let fabric = Fabric::new();
    let (mut left, _right) = pair(&fabric, Plan::default());
    let unit = nop(&left);
    left.post(&[unit]);
    left.device.blue_flame(head(&unit), 1, 0x08_0000_0000);
    assert_eq!(broken(), []);
    left.device.blue_flame(head(&unit), 2, 7);
    assert_eq!(broken(), [Rule::WrongBlueFlame { word: 2, found: 7, expected: 0 }]);
}

#[test]
fn too_much_work_is_seen() {
    let fabric = Fabric::new();
    let (mut left, _right) = pair(&fabric, Plan { slots: 4, ..Plan::default() });
    for _ in 0..5 {
        let unit = nop(&left);
        left.write(&[unit]);
    }
    left.set_record(5);
    let last = raw_nop(&left, 4);
    left.device.ring(head(&last));
    let rules = broken();
    assert_eq!(rules[0], Rule::SendQueueOverflow { record: 5, consumer: 0, slots: 4 });
    assert_eq!(rules[1], Rule::WrongIndex { found: 4, expected: 0 }, "the first was overwritten");
}

fn raw_nop(raw: &Raw, index: u16) -> Unit {
    let mut control = raw.control(Opcode::Nop, 1);
    control.index = index;
    control.to_bytes()
}

#[test]
fn too_many_receives_are_seen() {
    let fabric = Fabric::new();
    let (mut left, right) = pair(&fabric, Plan::default());
    let source = register(&left.device, 64, ALL);
    right.set_receive_record(17);
    left.post_send(DataSegment { address: source.address(), length: 8, lkey: source.key });
    let rule = Rule::ReceiveQueueOverflow { record: 17, consumer: 0, slots: 16 };
    let seen = seen::take();
    assert_eq!(seen[0].rule, rule);
    assert!(!seen[0].is_own, "the sender is not at fault");
}

#[test]
fn a_completion_queue_that_is_not_consumed_overruns() {
    let fabric = Fabric::new();
    let left = Raw::new(&fabric, Plan::default());
    let completions = bench::completion_queue(&left.device, 4, 64);
    let mut left = Raw::on(left.device.clone(), completions, Plan::default());
    let right = Raw::new(&fabric, Plan::default());
    left.connect(path(right.number()));
    for _ in 0..5 {
        let unit = nop(&left);
        left.post(&[unit]);
    }
    let number = completions.number;
    let rule = Rule::CompletionQueueOverrun { number, producer: 4, consumer: 0, entries: 4 };
    assert_eq!(broken(), [rule]);
    assert_eq!(left.state(), state::ERR);
    assert_eq!(left.poll().len(), 4, "what was written stays");
}

#[test]
fn a_consumer_index_past_the_producer_is_seen() {
    let fabric = Fabric::new();
    let (mut left, _right) = pair(&fabric, Plan::default());
    left.set_consumer(3);
    let unit = nop(&left);
    left.post(&[unit]);
    let number = left.completions.number;
    assert_eq!(broken()[0], Rule::ConsumerPastProducer { number, consumer: 3, producer: 0 });
}

#[test]
fn doorbells_of_strangers_are_seen() {
    let fabric = Fabric::new();
    let (left, right) = pair(&fabric, Plan::default());
    left.device.ring(u64::from(right.number()) << 8 | 1);
    left.device.arm(u64::from(right.completions.number));
    left.device.stray_store(0x48, 4);
    let expected = [
        Rule::UnknownQueuePair { number: right.number() },
        Rule::UnknownCompletionQueue { number: right.completions.number },
        Rule::StrayStore { bytes: 4, offset: 0x48 },
    ];
    assert_eq!(broken(), expected);
}

#[test]
fn an_arm_before_its_record_is_seen() {
    let fabric = Fabric::new();
    let left = Raw::new(&fabric, Plan::default());
    let number = left.completions.number;
    let arm = Arm { sequence: 0, solicited_only: true, consumer_index: 0, completion_queue: number };
    left.device.arm(u64::from_be(arm.register()));
    assert_eq!(broken(), [Rule::WrongArmRecord { rung: 1 << 24, record: 0 }]);
    left.set_arm_record(arm.record());
    left.device.arm(u64::from_be(arm.register()));
    assert_eq!(broken(), []);
}

#[test]
fn modes_that_see_doorbells_late_do_not_judge_them() {
    let mut fabric = Fabric::new();
    fabric.config.mode = Mode::Step;
    let (mut left, _right) = pair(&fabric, Plan::default());
    let first = nop(&left);
    left.write(&[first]);
    let second = nop(&left);
    left.write(&[second]);
    left.set_record(2);
    left.device.ring(head(&first));
    assert_eq!((left.poll().len(), broken()), (2, vec![]));
    let third = nop(&left);
    left.write(&[third]);
    left.set_record(3);
    left.device.run_moved();
    assert_eq!((left.poll().len(), broken()), (1, vec![]));
}

#[test]
fn a_violation_shows_the_wqe() {
    let fabric = Fabric::new();
    let (mut left, _right) = pair(&fabric, Plan::default());
    let mut control = left.control(Opcode::Nop, 1);
    control.flags = ControlFlags::from_bits_retain(0x09);
    left.post(&[control.to_bytes()]);
    let text = seen::take()[0].to_string();
    let [title, dump, ..] = &text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    assert!(title.ends_with("reserved field at byte 11 of the WQE is not zero (0x1)"), "{title}");
    assert!(dump.contains("control NOP index=0x0"), "{dump}");
}

/// The other half of the test below: does nothing unless that has started it.
#[test]
fn breaks_a_rule_where_that_is_fatal() {
    if std::env::var_os("CONNECTX_TEST_ABORT").is_none() {
        return;
    }
    let mut fabric = Fabric::new();
    fabric.config.on_violation = OnViolation::Abort;
    fabric.open().stray_store(0x40, 2);
}

#[test]
fn a_violation_aborts_and_says_why() {
    use std::{os::unix::process::ExitStatusExt, process::Command};
    let test = "device::tests::rules::breaks_a_rule_where_that_is_fatal";
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    let output = child.args(["--exact", test]).env("CONNECTX_TEST_ABORT", "1").output().expect("it starts");
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("a store of 2 bytes at offset 0x40 of a UAR page is no doorbell"), "{text}");
}
