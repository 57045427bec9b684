//! Selections by runs and by tokens, and caches that say what is in a block.

use super::{
    transfers::{fill, post, table, wait},
    *,
};

/// Nothing selected but layers: every block to its own.
fn every_block() -> pmd_kv_selection {
    pmd_kv_selection { source: null(), destination: null(), ..table(&[], &[]) }
}

#[test]
fn runs_of_blocks_go_to_runs_of_blocks() {
    let pair = Pair::new(LAYOUT);
    fill(pair.near, 1);
    let run = |first, step| pmd_kv_block_run { first, step, count: 3 };
    let runs = pmd_kv_block_runs { source: run(1, 2), destination: run(0, 3) };
    let selection = pmd_kv_selection { runs: &raw const runs, ..every_block() };
    assert_eq!(post(&pair, pmd_kv_push, Some(&selection), None).and_then(wait), Ok(4 * 3 * 4096));
    for (tensor, number) in (0..4).flat_map(|tensor| (0..8).map(move |number| (tensor, number))) {
        let from = [0, 3, 6].iter().position(|to| *to == number);
        let wanted = from.map_or(0, |from| 1 + 8 * tensor + 1 + 2 * from as u32);
        let found = block(pair.far, tensor, number);
        assert!(found.iter().all(|byte| u32::from(*byte) == wanted), "{tensor} {number}");
    }
    // One way of three.
    let sources = [1];
    let both = pmd_kv_selection { source: sources.as_ptr(), count: 1, ..selection };
    assert_eq!(post(&pair, pmd_kv_push, Some(&both), None), Err(pmd_kv_status::InvalidArgument));
    assert!(last_error().contains("only one of them"), "{}", last_error());
}

/// Blocks of `tokens` tokens of 2 heads of 8 bytes.
const fn format(tokens: u32, heads_first: bool) -> pmd_kv_token_format {
    pmd_kv_token_format {
        tokens,
        first_head: 0,
        heads: 2,
        total_heads: 2,
        head_bytes: 8,
        heads_first,
        token_stride: 0,
        head_stride: 0,
    }
}

#[test]
fn tokens_are_resliced_between_blocks_of_other_sizes_and_orders() {
    let (wide, narrow) = (format(4, false), format(2, true));
    let layout = |format: &pmd_kv_token_format, blocks| pmd_kv_layout {
        layers: 1,
        tensors_per_layer: 1,
        blocks,
        block_bytes: 0,
        format,
    };
    let pair = Pair::new(LAYOUT);
    let near = allocate(pair.here, c"wide", layout(&wide, 2));
    let far = allocate(pair.there, c"narrow", layout(&narrow, 4));
    let remote = look_up(pair.here, pair.peer, c"narrow").expect("there");
    // Token t's head h is t * 16 + h everywhere.
    for number in 0..2 {
        let bytes = block_of(near, number, 64);
        bytes.chunks_exact_mut(8).enumerate().for_each(|(at, head)| {
            head.fill((16 * (4 * number as usize + at / 2) + at % 2) as u8);
        });
    }
    let (from, to) = ([0_u32, 1], [3_u32, 1, 2]);
    let span =
        |blocks: &[u32], first| pmd_kv_token_span { blocks: blocks.as_ptr(), count: blocks.len(), first };
    let tokens = pmd_kv_tokens { source: span(&from, 2), destination: span(&to, 1), count: 5 };
    let selection = pmd_kv_selection { tokens: &raw const tokens, ..every_block() };
    // SAFETY: the tables live, and a place for the transfer.
    let posted = made(null_mut(), |place| unsafe { pmd_kv_push(remote, near, &selection, null(), place) });
    assert_eq!(posted.and_then(wait), Ok(5 * 16));
    // Tokens 2..7 lie at places 1..6 of blocks 3, 1, 2, heads first.
    for place in 0..6_usize {
        let bytes = block_of(far, to[place / 2], 32);
        for head in 0..2 {
            let wanted = if place == 0 { 0 } else { (16 * (place + 1) + head) as u8 };
            let at = 8 * (2 * head + place % 2);
            assert_eq!(bytes[at..at + 8], [wanted; 8], "place {place} head {head}");
        }
    }
    let empty = format(0, false);
    // SAFETY: a place for the format.
    let asked = |remote| made(empty, |place| unsafe { pmd_kv_remote_cache_format(remote, place) });
    let told = pmd_kv_token_format { token_stride: 8, head_stride: 16, ..narrow };
    assert_eq!((asked(remote), asked(pair.remote)), (Ok(told), Err(pmd_kv_status::NotFound)));
    let overlapping = pmd_kv_token_format { token_stride: 8, head_stride: 8, ..wide };
    let refused = layout(&overlapping, 2);
    // SAFETY: a name, a layout, and a place for the cache.
    let refused = made(null_mut(), |place| unsafe {
        pmd_kv_cache_allocate(pair.here, c"overlapping".as_ptr(), &refused, place)
    });
    assert_eq!(refused, Err(pmd_kv_status::InvalidArgument));
    let _ = (pmd_kv_cache_release(near), pmd_kv_cache_release(far), pmd_kv_remote_cache_release(remote));
}

/// A block of tensor 0.
fn block_of<'a>(cache: *const pmd_kv_cache, number: u32, bytes: usize) -> &'a mut [u8] {
    // SAFETY: a place for the address.
    let address = made(null_mut(), |place| unsafe { pmd_kv_cache_block(cache, 0, number, place) });
    // SAFETY: the cache lives, has blocks of so many bytes, and no transfer runs.
    unsafe { std::slice::from_raw_parts_mut(address.expect("there").cast(), bytes) }
}
