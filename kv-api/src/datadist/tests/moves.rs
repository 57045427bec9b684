//! Bytes that move: rows, blocks, layers, both ways.

use super::*;

#[test]
fn rows_and_blocks_are_pulled_and_pushed() {
    let (prompt, decoder) = pair();
    let (theirs, ours) = (cache(&prompt, 4, 8, 0), cache(&decoder, 4, 8, 100_000));
    let all = KvCacheExtParam::default();
    decoder.pull_kv_blocks(index(0, 1, 0), 1, &[1, 2, 3], &[1, 2, 3], &all).expect("pulled");
    decoder.pull_kv_cache(index(0, 1, 0), 1, 0, -1, &all).expect("pulled");
    for tensor in 0..4 {
        (0..4).for_each(|row| assert_eq!(ours.row(tensor, row), filled(0, tensor as i32, row as i32)));
        (4..8).for_each(|row| assert_eq!(ours.row(tensor, row), filled(100_000, tensor as i32, row as i32)));
    }
    // The other way round over the same link, by the side that listened.
    prompt.push_kv_blocks(1, index(1, 1, 0), &[5, 7], &[7, 5], &all).expect("pushed");
    prompt.push_kv_cache(1, index(1, 1, 4), 6, -1, &all).expect("pushed");
    for tensor in 0..4 {
        for (to, from) in [(7, 5), (5, 7), (4, 6)] {
            assert_eq!(ours.row(tensor, to), filled(0, tensor as i32, from), "row {to}");
        }
        assert_eq!(ours.row(tensor, 6), filled(100_000, tensor as i32, 6));
    }
    drop((prompt, decoder));
    drop((theirs, ours));
}
