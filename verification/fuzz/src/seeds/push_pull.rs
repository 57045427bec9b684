//! Requests with everything in them, responses of each kind, and some of both that are cut.

use af_api::{
    tensor::{DataType, Layout},
    wire::{
        BatchPart, Definition, Flags, INLINE, NO_SLOT, PullEntry, PushEntry, Refusal, RequestHeader,
        RequestView, emit_inline, emit_lengths, emit_refusal,
    },
};

use super::Seeds;
use crate::push_pull::{REQUEST, RESPONSE};

pub(super) fn seeds() -> Seeds {
    let mut seeds: Seeds = requests().into_iter().map(|(name, view)| (name.into(), request(&view))).collect();
    let cut = |name: &str, seeds: &Seeds| {
        let whole = seeds.iter().find(|(of, _)| of == name).map_or(&[][..], |(_, bytes)| bytes);
        (format!("{name}_cut"), whole[..whole.len() * 3 / 4].to_vec())
    };
    seeds.push(cut("everything", &seeds));
    let mut lengths = vec![RESPONSE];
    emit_lengths(&[5, 0, 70_000], &mut lengths);
    let mut inline = vec![RESPONSE];
    emit_inline(&[3, 1], &mut inline);
    inline.extend_from_slice(b"data");
    let mut refusal = vec![RESPONSE];
    emit_refusal(Refusal::Size { given: 4999, wanted: 5000 }, &mut refusal);
    let responses =
        [("complete", vec![RESPONSE]), ("lengths", lengths), ("inline", inline), ("refusal", refusal)];
    seeds.extend(responses.map(|(name, bytes)| (name.to_owned(), bytes)));
    seeds.push(cut("inline", &seeds));
    seeds
}

fn requests() -> Vec<(&'static str, RequestView<'static>)> {
    let header = RequestHeader { slot: 3, generation: 9, tag: 77, ..RequestHeader::default() };
    let push = |length, layout, slot| PushEntry { key: 0x0201_0003, length, layout, slot };
    let pull = PullEntry { key: 7, address: 0x7fff_1234_5000, remote_key: 0xbeef, length: 1 << 20 };
    let nothing = RequestView { header, pushes: vec![], pulls: vec![], definitions: vec![], data: &[] };
    let one = RequestView { pushes: vec![push(4096, 1, 0)], pulls: vec![pull], ..nothing.clone() };
    let layout = Layout::new(DataType::Bfloat16, &[2, 3]).unwrap_or(Layout::of_bytes(12));
    let everything = RequestView {
        header: RequestHeader {
            flags: Flags::all(),
            batch: Some(BatchPart { batch: 5, index: 1 }),
            ..header
        },
        pushes: vec![push(12, 2, INLINE), push(0, 3, NO_SLOT), push(1 << 20, 1, 6), push(2, 4, INLINE | 1)],
        pulls: vec![pull, pull],
        definitions: vec![
            Definition { number: 2, layout },
            Definition { number: 0, layout: Layout::of_bytes(0) },
        ],
        data: b"twelve bytes..",
    };
    vec![("nothing", nothing), ("one", one), ("everything", everything)]
}

fn request(view: &RequestView<'_>) -> Vec<u8> {
    let mut bytes = vec![REQUEST];
    view.emit(&mut bytes);
    bytes
}
