//! `emit` then `parse` is the identity, and nothing else parses.

use proptest::prelude::*;

use super::*;
use crate::tensor::{DataType, Layout};

fn layouts() -> impl Strategy<Value = Layout> {
    let data_types = prop::sample::select(DataType::ALL);
    (data_types, prop::collection::vec(0_u64..9, 0..8))
        .prop_map(|(data_type, shape)| Layout::new(data_type, &shape).unwrap())
}

prop_compose! {
    fn pushes()(key: u64, length in 0_u32..40, layout: u16, slot in 0..=NO_SLOT, inside: bool) -> PushEntry {
        PushEntry { key, length, layout, slot: if inside { slot | INLINE } else { slot } }
    }
}

prop_compose! {
    fn pulls()(key: u64, address: u64, remote_key: u32, length: u32) -> PullEntry {
        PullEntry { key, address, remote_key, length }
    }
}

prop_compose! {
    fn headers()(bits in 0_u8..16, slot: u16, generation: u16, tag: u32, batch: u32, index: u16) -> RequestHeader {
        let flags = Flags::from_bits_truncate(bits);
        let in_batch = flags.intersects(Flags::CONTINUES | Flags::MORE);
        RequestHeader { flags, slot, generation, tag, batch: in_batch.then_some(BatchPart { batch, index }) }
    }
}

/// A request and the data of the pushes that travel inside.
fn requests() -> impl Strategy<Value = (RequestView<'static>, Vec<u8>)> {
    let definition = (any::<u16>(), layouts()).prop_map(|(number, layout)| Definition { number, layout });
    let lists = (
        prop::collection::vec(pushes(), 0..6),
        prop::collection::vec(pulls(), 0..6),
        prop::collection::vec(definition, 0..4),
    );
    (headers(), lists, any::<u8>()).prop_map(|(header, (pushes, pulls, definitions), fill)| {
        let inside = pushes.iter().filter(|push| push.is_inline()).map(|push| push.length as usize).sum();
        (RequestView { header, pushes, pulls, definitions, data: &[] }, vec![fill; inside])
    })
}

proptest! {
    #[test]
    fn requests_come_back_and_no_other_length_does((view, data) in requests(), more in 1_usize..9) {
        let view = RequestView { data: &data, ..view };
        let mut bytes = Vec::new();
        view.emit(&mut bytes);
        prop_assert_eq!(bytes.len(), view.metadata_bytes() + data.len());
        prop_assert_eq!(RequestView::parse(&bytes), Ok(view));
        for end in 0..bytes.len() {
            prop_assert!(RequestView::parse(&bytes[..end]).is_err(), "the first {} bytes", end);
        }
        bytes.extend(std::iter::repeat_n(0, more));
        prop_assert_eq!(RequestView::parse(&bytes), Err(WireError::Trailing { excess: more }));
    }

    #[test]
    fn what_parses_is_what_would_be_emitted(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0_u8..4) {
        let mut bytes = bytes;
        // Random bytes seldom come past the first checks: help them.
        for (at, value) in [(0, VERSION), (1, count), (6, count), (7, 0), (8, 1), (9, 0), (10, 0), (11, 0)] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        if let Ok(view) = RequestView::parse(&bytes) {
            let mut again = Vec::new();
            view.emit(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn responses_come_back_and_no_other_length_does(lengths in prop::collection::vec(0_u32..20, 0..8), inside: bool) {
        let mut bytes = Vec::new();
        let data = vec![7; lengths.iter().sum::<u32>() as usize];
        let expected = if inside {
            emit_inline(&lengths, &mut bytes);
            bytes.extend_from_slice(&data);
            ResponseView::Inline { lengths, data: &data }
        } else {
            emit_lengths(&lengths, &mut bytes);
            ResponseView::Lengths(lengths)
        };
        prop_assert_eq!(ResponseView::parse(&bytes), Ok(expected));
        for end in 1..bytes.len() {
            prop_assert!(ResponseView::parse(&bytes[..end]).is_err());
        }
        bytes.push(0);
        prop_assert_eq!(ResponseView::parse(&bytes), Err(WireError::Trailing { excess: 1 }));
    }

    #[test]
    fn any_bytes_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = ResponseView::parse(&bytes);
        let _ = RequestView::parse(&bytes);
    }

    #[test]
    fn immediates_come_back(bits: u32) {
        prop_assert_eq!(Immediate::from_bits(bits).to_bits(), bits);
    }
}

#[test]
fn refusals_come_back() {
    let refusals = [
        Refusal::Application { code: u64::MAX },
        Refusal::Abandoned,
        Refusal::Size { given: 1, wanted: 2 },
        Refusal::Count { given: 3, wanted: 4 },
        Refusal::Malformed,
        Refusal::Unknown { code: 99 },
    ];
    for refusal in refusals {
        let mut bytes = Vec::new();
        emit_refusal(refusal, &mut bytes);
        assert_eq!(ResponseView::parse(&bytes), Ok(ResponseView::Refused(refusal)));
    }
}

#[test]
fn a_push_and_a_pull_are_56_bytes_in_a_fixed_order() {
    let header =
        RequestHeader { flags: Flags::UP_TO, slot: 0x0102, generation: 0x0304, tag: 0x05060708, batch: None };
    let pushes =
        vec![PushEntry { key: 0x1112131415161718, length: 0x21222324, layout: 0x3132, slot: 0x4142 }];
    let pulls = vec![PullEntry { key: 1, address: 2, remote_key: 3, length: 4 }];
    let view = RequestView { header, pushes, pulls, definitions: Vec::new(), data: &[] };
    let mut bytes = Vec::new();
    view.emit(&mut bytes);
    let fixed = [2, 4, 2, 1, 4, 3, 1, 0, 1, 0, 0, 0, 8, 7, 6, 5];
    let push =
        [0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11, 0x24, 0x23, 0x22, 0x21, 0x32, 0x31, 0x42, 0x41];
    assert_eq!((bytes.len(), &bytes[..16], &bytes[16..32]), (56, &fixed[..], &push[..]));
    assert_eq!(bytes[32..], [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0]);
}

#[test]
fn fields_that_cannot_be_are_named() {
    let mut bytes = Vec::new();
    let view = RequestView {
        header: RequestHeader::default(),
        pushes: Vec::new(),
        pulls: Vec::new(),
        definitions: vec![Definition { number: 1, layout: Layout::of_bytes(1) }],
        data: &[],
    };
    view.emit(&mut bytes);
    let with = |at: usize, value: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        RequestView::parse(&bytes).unwrap_err()
    };
    assert_eq!(with(0, 9), WireError::Version { theirs: 9, ours: VERSION });
    assert_eq!(with(1, 0x80), WireError::Field { field: "flags", value: 0x80 });
    assert_eq!(with(18, 99), WireError::Field { field: "type of elements", value: 99 });
    assert_eq!(with(19, 9), WireError::Field { field: "number of dimensions", value: 9 });
    assert_eq!(with(27, 1), WireError::Field { field: "product of dimensions", value: 1 });
    let response = ResponseView::parse(&[VERSION, 9, 0, 0]);
    assert_eq!(response, Err(WireError::Field { field: "kind of response", value: 9 }));
    assert_eq!(ResponseView::parse(&[9]), Err(WireError::Version { theirs: 9, ours: VERSION }));
}
