//! Copies of many ranges and of blocks.
#![allow(unsafe_code)] // copies

use pmd_core::accelerator::{AcceleratorError, BlockCopies, BlockPair, BlockTable, CopyDirection, CopyRange};

use crate::{
    bench::{Fake, address, error, open, pattern, read, wait, write},
    stage::Stage,
};

const BLOCK: u64 = 512;
const BLOCKS: u32 = 300;

case!(blocks_go_where_their_table_says, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let bytes = u64::from(BLOCKS) * BLOCK;
    let (from, to) = (device.allocate(bytes).expect("room"), device.allocate(2 * bytes).expect("room"));
    let stream = device.open_stream().expect("a stream");
    let content = pattern(5, bytes as usize);
    write(&*stream, address(&*from), &content);
    let pairs: Vec<BlockPair> =
        (0..BLOCKS).map(|block| BlockPair { from: block, to: block * 7 % BLOCKS }).collect();
    let table = |base, stride| BlockTable { base, stride };
    let copies = BlockCopies {
        from: table(address(&*from), BLOCK),
        to: table(address(&*to), 2 * BLOCK),
        block_bytes: BLOCK,
        pairs: &pairs,
        direction: CopyDirection::DeviceToDevice,
    };
    // SAFETY: both tables are allocated until the copies are done; each block is written once.
    unsafe { stream.copy_blocks(&copies) }.expect("the blocks are taken");
    wait(&*stream.record().expect("an event"));
    let found = read(&*stream, address(&*to), 2 * bytes as usize);
    let block = BLOCK as usize;
    for pair in &pairs {
        let (source, place) = (pair.from as usize * block, pair.to as usize * 2 * block);
        assert_eq!(found[place..place + block], content[source..source + block], "{pair:?}");
        assert_eq!(found[place + block..place + 2 * block], [0xa5; BLOCK as usize], "between blocks");
    }
    let far = BlockCopies { to: table(u64::MAX - 1, BLOCK), ..copies };
    // SAFETY: refused before anything is copied.
    let refused = error(unsafe { stream.copy_blocks(&far) });
    assert!(matches!(refused, AcceleratorError::Range { available: None, .. }), "{refused}");
    drop((from, to, stream, device));
    fake.is_empty();
});

case!(neighbours_are_one_copy, Stage::normal().faults("hipMemcpyAsync@2+=719"), || {
    let device = open(0);
    let memory = device.allocate(1 << 16).expect("room");
    let (stream, base) = (device.open_stream().expect("a stream"), address(&*memory));
    let range = |index: u64| CopyRange {
        from: base + index * 64,
        to: base + (1 << 15) + index * 64,
        length: 64,
        direction: CopyDirection::DeviceToDevice,
    };
    let neighbours: Vec<CopyRange> = (0..500).map(range).collect();
    // SAFETY: inside the allocation, which is there until its copies are done.
    unsafe { stream.copy(&neighbours) }.expect("one call of the runtime");
    // SAFETY: nothing is copied.
    unsafe { stream.copy(&[CopyRange::default()]) }.expect("no call of the runtime");
    // SAFETY: the runtime refuses it.
    let refused = error(unsafe { stream.copy(&[range(1)]) });
    let told = matches!(refused, AcceleratorError::Runtime { function: "hipMemcpyAsync", code: 719, .. });
    assert!(told, "{refused}");
});

case!(a_copy_beyond_its_allocation_is_refused, Stage::normal().misused(), || {
    let device = open(0);
    let memory = device.allocate(64).expect("room");
    let (stream, from) = (device.open_stream().expect("a stream"), address(&*memory));
    let beyond = CopyRange { from, to: from + 32, length: 33, direction: CopyDirection::DeviceToDevice };
    // SAFETY: the fake refuses it.
    let refused = error(unsafe { stream.copy(&[beyond]) });
    let told = matches!(refused, AcceleratorError::Runtime { function: "hipMemcpyAsync", code: 1, .. });
    assert!(told, "{refused}");
    assert_eq!(Fake::loaded().counts().misuses, 1);
});
