//! Keys, values, ranges, and the front of a request.

use proptest::prelude::*;

use crate::simple::{
    FrontError, KvError, KvPairs, Value,
    message::Front,
    ranges::{of_servers, slices},
    value::{emit_values, parse_values},
};

fn round_trip<V: Value>(values: &[V]) {
    let mut bytes = Vec::new();
    emit_values(values, &mut bytes);
    assert_eq!(bytes.len(), values.len() * V::BYTES);
    assert_eq!(parse_values::<V>(&bytes), values);
}

#[test]
fn values_of_every_type_travel() {
    round_trip(&[1.5f32, -0.0, f32::MAX]);
    round_trip(&[1.5f64, f64::MIN]);
    round_trip(&[i8::MIN, 1]);
    round_trip(&[i16::MIN, 1]);
    round_trip(&[i32::MIN, 1]);
    round_trip(&[i64::MIN, 1]);
    round_trip(&[u8::MAX, 1]);
    round_trip(&[u16::MAX, 1]);
    round_trip(&[u32::MAX, 1]);
    round_trip(&[u64::MAX, 1]);
    assert_eq!((1.5f32.plus(2.0), u8::MAX.plus(2), u16::parse(&[7])), (3.5, 1, 7));
}

#[test]
fn pairs_that_do_not_go_together_are_refused() {
    let unsorted = KvPairs::uniform(vec![3, 3], vec![0f32; 2]);
    assert!(matches!(unsorted, Err(KvError::Unsorted { first: 3, second: 3 })));
    let uneven = KvPairs::uniform(vec![1, 2], vec![0f32; 3]);
    assert!(matches!(uneven, Err(KvError::Values { values: 3, wanted: 4 })));
    let without_keys = KvPairs::uniform(vec![], vec![0f32; 3]);
    assert!(matches!(without_keys, Err(KvError::Values { values: 3, wanted: 0 })));
    let lengths = KvPairs::variable(vec![1, 2], vec![0f32; 3], vec![3]);
    assert!(matches!(lengths, Err(KvError::Lengths { keys: 2, lengths: 1 })));
    let values = KvPairs::variable(vec![1, 2], vec![0f32; 3], vec![3, 1]);
    assert!(matches!(values, Err(KvError::Values { values: 3, wanted: 4 })));
}

#[test]
fn each_key_has_its_values() {
    let uniform = KvPairs::uniform(vec![1, 5], vec![1, 2, 3, 4]).expect("they go together");
    assert_eq!(uniform.iter().collect::<Vec<_>>(), [(1, &[1, 2][..]), (5, &[3, 4])]);
    let variable = KvPairs::variable(vec![1, 5, 6], vec![1, 2, 3], vec![0, 1, 2]).expect("they go together");
    assert_eq!(variable.iter().collect::<Vec<_>>(), [(1, &[][..]), (5, &[1]), (6, &[2, 3])]);
    let empty = KvPairs::<f32>::uniform(vec![], vec![]).expect("they go together");
    assert_eq!(empty.iter().count(), 0);
}

#[test]
fn servers_share_all_keys() {
    assert!(of_servers(0).is_empty());
    assert_eq!(of_servers(1), [0..=u64::MAX]);
    for servers in [2, 3, 7, 64] {
        let ranges = of_servers(servers);
        assert_eq!((*ranges[0].start(), *ranges[servers as usize - 1].end()), (0, u64::MAX));
        assert!(ranges.windows(2).all(|pair| pair[0].end() + 1 == *pair[1].start()));
    }
}

#[test]
fn what_is_no_front_is_refused() {
    let front = Front { keys: vec![1, 2], ..Front::default() };
    let bytes = front.emit();
    assert_eq!(Front::parse(&bytes[..31]), Err(FrontError::Length { bytes: 31, wanted: 32 }));
    assert_eq!(Front::parse(&bytes[..15]), Err(FrontError::Length { bytes: 15, wanted: 16 }));
    let mut endless = bytes.clone();
    endless[8..12].fill(0xff);
    assert!(matches!(Front::parse(&endless), Err(FrontError::Length { bytes: 32, .. })));
    let mut other = bytes;
    other[0] = 9;
    assert_eq!(Front::parse(&other), Err(FrontError::Version { found: 9 }));
}

proptest! {
    #[test]
    fn a_front_is_parsed_as_it_was_emitted(
        (push, pull, command, value_bytes) in any::<(bool, bool, i32, u8)>(),
        keys in prop::collection::vec(any::<u64>(), 0..20),
        with_lengths in any::<bool>(),
    ) {
        let lengths = with_lengths.then(|| keys.iter().map(|key| *key as u32).collect());
        let front = Front { push, pull, value_bytes, command, keys, lengths };
        prop_assert_eq!(Front::parse(&front.emit()), Ok(front));
    }

    #[test]
    fn slices_cover_the_keys_in_order(mut keys in prop::collection::vec(any::<u64>(), 0..50), servers in 1u32..9) {
        keys.sort_unstable();
        let ranges = of_servers(servers);
        let slices = slices(&keys, &ranges);
        let covered: Vec<usize> = slices.iter().cloned().flatten().collect();
        prop_assert_eq!(covered, (0..keys.len()).collect::<Vec<_>>());
        for (range, slice) in ranges.iter().zip(slices) {
            prop_assert!(keys[slice].iter().all(|key| range.contains(key)));
        }
    }
}
