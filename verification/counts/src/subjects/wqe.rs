//! A work request's 64 bytes: made from its fields, as the driver does it, and kept from an earlier one and patched.
//!
//! The second is nobody's code: it bounds what templates could save. It is the best case for them: queue pair, operation,
//! flags and keys are those of the request before, so that the index, both addresses and the length are all that is patched.

use std::hint::black_box;

use pmd_core::{
    memory::{LocalKey, RemoteAddress, RemoteKey, Sge},
    wire::{
        ControlFlags, ControlSegment, DataSegment, Opcode, RemoteSegment, UNIT, UNITS_PER_BLOCK, Unit, data,
        remote,
    },
};

use super::SubjectError;
use crate::{device::NUMBER, meter::Meter};

/// Requests of a subject, and slots of the queue.
const REQUESTS: usize = 1024;

/// Where the index is in a control segment: between what changes the operation and the operation.
const INDEX: std::ops::Range<usize> = 1..3;

/// One slot of queue memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(64))]
struct Slot([Unit; UNITS_PER_BLOCK]);

const EMPTY: Slot = Slot([[0; UNIT]; UNITS_PER_BLOCK]);

/// A signalled WRITE of one entry.
#[derive(Clone, Copy, Debug)]
struct Write {
    remote: RemoteAddress,
    entry: Sge,
}

pub(super) fn run(meter: &mut Meter) -> Result<(), SubjectError> {
    let writes: Vec<Write> = (0..REQUESTS as u64).map(write).collect();
    let (mut made, mut patched) = (vec![EMPTY; REQUESTS], vec![EMPTY; REQUESTS]);
    let mut from_fields = || {
        for (index, (slot, write)) in made.iter_mut().zip(&writes).enumerate() {
            make(slot, index as u16, black_box(NUMBER), write);
        }
    };
    from_fields();
    meter.span(from_fields);
    meter.end("wqe-from-fields", REQUESTS as u64);
    let mut template = EMPTY;
    make(&mut template, 0, NUMBER, &writes[0]);
    let mut from_template = || {
        for (index, (slot, write)) in patched.iter_mut().zip(&writes).enumerate() {
            patch(slot, index as u16, &template, write);
        }
    };
    from_template();
    meter.span(from_template);
    meter.end("wqe-from-template", REQUESTS as u64);
    if made == patched { Ok(()) } else { Err("a patched template is another work request".into()) }
}

/// Each has addresses and a length of its own, all have the same keys.
fn write(number: u64) -> Write {
    Write {
        remote: RemoteAddress { address: 0x1_0000_0000 + (number << 12), key: RemoteKey(7) },
        entry: Sge {
            address: 0x2_0000_0000 + (number << 13),
            length: 4096 - number as u32,
            key: LocalKey(9),
        },
    }
}

/// As `SendQueue::post` makes a request of one slot.
#[inline(never)]
fn make(slot: &mut Slot, index: u16, queue_pair: u32, write: &Write) {
    let control = ControlSegment {
        opcode: Opcode::RdmaWrite,
        opmod: 0,
        index,
        queue_pair,
        units: 3,
        flags: ControlFlags::CQ_UPDATE,
        immediate: 0,
    };
    let mut block = [control.to_bytes(), [0; UNIT], [0; UNIT], [0; UNIT]];
    let Write { remote, entry } = write;
    RemoteSegment { address: remote.address, rkey: remote.key.0 }.emit(&mut block[1]);
    DataSegment { length: entry.length, lkey: entry.key.0, address: entry.address }.emit(&mut block[2]);
    *slot = Slot(block);
}

/// Copies the template and stores what differs.
#[inline(never)]
fn patch(slot: &mut Slot, index: u16, template: &Slot, write: &Write) {
    let Write { remote, entry } = write;
    *slot = *template;
    slot.0[0][INDEX].copy_from_slice(&index.to_be_bytes());
    slot.0[1][remote::field::ADDRESS].copy_from_slice(&remote.address.to_be_bytes());
    slot.0[2][data::field::LENGTH].copy_from_slice(&entry.length.to_be_bytes());
    slot.0[2][data::field::ADDRESS].copy_from_slice(&entry.address.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patched_template_is_the_request_that_its_fields_make() {
        let mut template = EMPTY;
        make(&mut template, 0, NUMBER, &write(0));
        for (index, number) in [(0, 0), (1, 1), (0x00ff, 2), (0x0100, 3), (0xffff, 1023)] {
            let (mut made, mut patched) = (EMPTY, EMPTY);
            make(&mut made, index, NUMBER, &write(number));
            patch(&mut patched, index, &template, &write(number));
            assert_eq!(made, patched, "index {index:#x}");
            assert_eq!(made == template, index == 0, "index {index:#x}");
        }
    }

    #[test]
    fn both_ways_are_counted() {
        let mut meter = Meter::default();
        run(&mut meter).expect("the same bytes");
        let counted: Vec<_> =
            meter.counted().iter().map(|each| (each.name.as_str(), each.operations)).collect();
        assert_eq!(counted, [("wqe-from-fields", 1024), ("wqe-from-template", 1024)]);
    }
}
