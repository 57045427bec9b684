use pmd_core::wire::{
    ControlFlags, ControlSegment, Cqe, DataSegment, ErrorCompletion, Opcode, RemoteSegment,
    RequesterCompletion, ResponderCompletion, Scatter, Service, Side, Syndrome, inline::InlineHeader,
};
use proptest::prelude::*;

use super::{Entry, Kind, Rules, decode};
use crate::dump::{DumpError, KindChoice, Layout, text::Input};

const AUTO: Rules =
    Rules { kind: KindChoice::Auto, layout: Layout::Auto, cqe_size: 64, service: Service::Connected };

fn control(opcode: Opcode, units: u8) -> [u8; 16] {
    ControlSegment {
        opcode,
        opmod: 0,
        index: 7,
        queue_pair: 0x1234,
        units,
        flags: ControlFlags::CQ_UPDATE,
        immediate: 0,
    }
    .to_bytes()
}

/// A WRITE of one data segment, then an inline SEND of 20 bytes; each fills one block.
fn two_wqes() -> Vec<u8> {
    let mut queue = vec![0; 128];
    let (units, _) = queue.as_chunks_mut::<16>();
    units[0] = control(Opcode::RdmaWrite, 3);
    RemoteSegment { address: 0x1000, rkey: 7 }.emit(&mut units[1]);
    DataSegment { length: 64, lkey: 9, address: 0x2000 }.emit(&mut units[2]);
    units[4] = control(Opcode::Send, 3);
    InlineHeader { length: 20 }.emit(units[5].first_chunk_mut().unwrap());
    queue
}

fn completions() -> Vec<u8> {
    let mut bytes = vec![0; 192];
    let (entries, _) = bytes.as_chunks_mut::<64>();
    Cqe::Requester(RequesterCompletion {
        queue_pair: 0x1234,
        operation: Opcode::RdmaWrite,
        wqe_counter: 7,
        byte_count: 0,
        timestamp: 5,
        scatter: Scatter::Memory,
    })
    .emit_cqe64(false, &mut entries[0]);
    Cqe::Responder(ResponderCompletion { queue_pair: 0x55, byte_count: 8, ..ResponderCompletion::default() })
        .emit_cqe64(true, &mut entries[1]);
    Cqe::Error(ErrorCompletion {
        side: Side::Requester,
        queue_pair: 0x1234,
        operation: 8,
        wqe_counter: 9,
        syndrome: Syndrome::RemoteAccess,
        vendor: 0,
        shared_receive_queue: 0,
    })
    .emit_cqe64(true, &mut entries[2]);
    bytes
}

fn text(entries: &[Entry]) -> String {
    entries.iter().map(|entry| entry.text.as_str()).collect()
}

fn again(text: &str) -> Vec<Entry> {
    decode(&Input::parse(text.as_bytes()).unwrap(), &AUTO).unwrap()
}

#[test]
fn work_requests_are_found_in_their_blocks() {
    let entries = decode(&Input::binary(two_wqes()), &AUTO).unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().all(|entry| entry.kind == Kind::Wqe && entry.error.is_none()));
    assert_eq!(entries[1].offset, 64);
    assert_eq!(entries[1].opcode, Some("SEND"));
    assert_eq!(entries[1].queue_pair, Some(0x1234));
}

#[test]
fn a_dump_of_both_kinds_is_read_back() {
    let mut printed = text(&decode(&Input::binary(two_wqes()), &AUTO).unwrap());
    printed += &text(&decode(&Input::binary(completions()), &AUTO).unwrap());
    let entries = again(&printed);
    assert_eq!(entries.iter().filter(|entry| entry.kind == Kind::Wqe).count(), 2);
    assert_eq!(entries.iter().filter(|entry| entry.kind == Kind::Cqe).count(), 3);
    assert_eq!(text(&entries), printed);
}

#[test]
fn large_completions_are_read_back() {
    let rules = Rules { cqe_size: 128, kind: KindChoice::Cqe, ..AUTO };
    let mut bytes = vec![0x77; 64];
    bytes.extend(&completions()[..64]);
    let printed = text(&decode(&Input::binary(bytes), &rules).unwrap());
    let entries = again(&printed);
    assert_eq!((entries.len(), entries[0].bytes), (1, 128));
    assert_eq!(text(&entries), printed);
}

#[test]
fn bytes_that_are_no_entry_are_shown_with_the_reason() {
    let rules = Rules { kind: KindChoice::Wqe, ..AUTO };
    let entries = decode(&Input::binary(vec![0x33; 128]), &rules).unwrap();
    assert_eq!(entries.len(), 2);
    assert!(entries.iter().all(|entry| entry.error.as_ref().is_some_and(|error| error.contains("0x33"))));
    assert_eq!(text(&again(&text(&entries))), text(&entries));
}

#[test]
fn input_that_ends_inside_an_entry_is_refused_with_its_place() {
    let refused = |text: &str, rules| decode(&Input::parse(text.as_bytes()).unwrap(), &rules).unwrap_err();
    let error = refused("00000008 00123403 00000008 00000000\n00", AUTO);
    assert!(
        matches!(error, DumpError::Truncated { line: 1, column: 1, needed: 48, left: 17, .. }),
        "{error:?}"
    );
    let error = refused(&"00".repeat(65), Rules { kind: KindChoice::Cqe, ..AUTO });
    assert!(
        matches!(error, DumpError::Truncated { line: 1, column: 129, needed: 64, left: 1, .. }),
        "{error:?}"
    );
    assert!(matches!(refused("# nothing", AUTO), DumpError::Empty));
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 1..600), kind in 0..3) {
        let kind = [KindChoice::Auto, KindChoice::Wqe, KindChoice::Cqe][kind as usize];
        if let Ok(entries) = decode(&Input::binary(bytes.clone()), &Rules { kind, ..AUTO }) {
            prop_assert_eq!(entries.iter().map(|entry| entry.bytes).sum::<usize>(), bytes.len());
            let printed = text(&entries);
            prop_assert_eq!(text(&again(&printed)), printed);
        }
    }

    #[test]
    fn any_text_parses_or_is_refused(text in "[0-9a-fx:|#!* \n]{0,80}") {
        let _ = Input::parse(text.as_bytes());
    }
}
