//! Blocks between block tables.

use std::sync::Arc;

use crate::support::*;

/// Numbers from 0 in an order that looks like chance.
fn shuffled(count: u32) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..count).collect();
    let mut state = 0x2545_f491_u64;
    for at in (1..numbers.len()).rev() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        numbers.swap(at, (state >> 33) as usize % (at + 1));
    }
    numbers
}

/// Blocks of so many bytes, every `stride` bytes, moved by a permutation and compared one by one.
fn permute(gpu: &Arc<dyn Accelerator>, stream: &Arc<dyn Stream>, count: u32, block: usize, stride: usize) {
    let length = count as usize * stride;
    let (from, to) = (gpu.allocate(length as u64).unwrap(), gpu.allocate(length as u64).unwrap());
    let content = pattern(length);
    put(&**gpu, address(&*from), &content);
    let order = shuffled(count);
    let pairs: Vec<BlockPair> =
        order.iter().enumerate().map(|(at, to)| BlockPair { from: at as u32, to: *to }).collect();
    let table = |memory: &dyn DeviceMemory| BlockTable { base: address(memory), stride: stride as u64 };
    let blocks = BlockCopies {
        from: table(&*from),
        to: table(&*to),
        block_bytes: block as u64,
        pairs: &pairs,
        direction: CopyDirection::DeviceToDevice,
    };
    // SAFETY: both tables live until the stream is done.
    unsafe { stream.copy_blocks(&blocks) }.unwrap();
    finish(stream);
    let found = bytes(&**gpu, address(&*to), length);
    for BlockPair { from, to } in pairs {
        let (from, to) = (from as usize * stride, to as usize * stride);
        assert_eq!(found[to..to + block], content[from..from + block], "block of {block} at {from}");
        assert!(found[to + block..to + stride].iter().all(|byte| *byte == 0xa5), "behind {to}");
    }
}

case!(blocks_of_every_alignment_move, ["FAKE_DEVICE_FAULTS" = "cuMemcpyBatchAsync@1=1"], {
    let gpu = open(0);
    let stream = gpu.open_stream().unwrap();
    for (block, stride) in [(4096, 4096), (48, 64), (24, 40), (20, 28), (13, 17), (6, 6), (1, 3)] {
        permute(&gpu, &stream, 200, block, stride);
    }
    drop((stream, gpu));
    assert_nothing_left();
});

case!(
    the_kernels_text_moves_every_word_once,
    ["FAKE_CUDA_INTERPRET" = "1", "FAKE_DEVICE_FAULTS" = "cuMemcpyBatchAsync@1=1"],
    {
        let gpu = open(0);
        let stream = gpu.open_stream().unwrap();
        // One word for some threads, four and more for each, several parts of a block, every width.
        for (block, stride) in [
            (48, 64),
            (16_384, 16_400),
            (33_808, 33_808),
            (4_104, 4_104),
            (20, 28),
            (8_196, 8_204),
            (13, 17),
            (2_600, 2_601),
        ] {
            permute(&gpu, &stream, 6, block, stride);
        }
        drop((stream, gpu));
        assert_nothing_left();
    }
);

case!(thousands_of_blocks_are_one_launch, ["FAKE_DEVICE_FAULTS" = "cuLaunchKernel@2=719"], {
    let gpu = open(0);
    let stream = gpu.open_stream().unwrap();
    permute(&gpu, &stream, 16_384, 64, 64);
    let memory = gpu.allocate(256).unwrap();
    let table = BlockTable { base: address(&*memory), stride: 16 };
    let pairs: Vec<BlockPair> = (0..8).map(|at| BlockPair { from: at, to: at + 8 }).collect();
    let direction = CopyDirection::DeviceToDevice;
    let blocks = BlockCopies { from: table, to: table, block_bytes: 16, pairs: &pairs, direction };
    // SAFETY: the memory lives until the stream is done.
    let error = unsafe { stream.copy_blocks(&blocks) }.unwrap_err();
    assert_eq!(code(&error), 719);
    // SAFETY: as above.
    unsafe { stream.copy_blocks(&blocks) }.unwrap();
    finish(&stream);
    drop((stream, memory, gpu));
    assert_nothing_left();
});

case!(more_blocks_than_a_launch_takes_are_several, ["FAKE_DEVICE_FAULTS" = "cuLaunchKernel@3=719"], {
    let gpu = open(0);
    permute(&gpu, &gpu.open_stream().unwrap(), 70_000, 16, 16);
});

case!(staging_areas_are_used_again, [], {
    let gpu = open(0);
    let stream = gpu.open_stream().unwrap();
    for _ in 0..20 {
        permute(&gpu, &stream, 64, 16, 16);
    }
    assert_eq!((counts().allocations, counts().pinned), (1, 1));
});

case!(a_driver_that_takes_no_kernel_copies_batches, ["FAKE_DEVICE_FAULTS" = "cuModuleLoadData@1=218"], {
    let gpu = open(0);
    let stream = gpu.open_stream().unwrap();
    permute(&gpu, &stream, 300, 64, 64);
    assert_eq!(counts().others, 1);
    drop((stream, gpu));
    assert_nothing_left();
});

case!(a_module_without_the_kernel_is_unloaded, ["FAKE_DEVICE_FAULTS" = "cuModuleGetFunction@2=500"], {
    let gpu = open(0);
    permute(&gpu, &gpu.open_stream().unwrap(), 10, 64, 64);
    drop(gpu);
    assert_nothing_left();
});

case!(blocks_of_the_host_go_in_batches, ["FAKE_DEVICE_FAULTS" = "cuLaunchKernel@1=719"], {
    let gpu = open(0);
    let stream = gpu.open_stream().unwrap();
    let (device, content) = (gpu.allocate(64 * 200).unwrap(), pattern(64 * 200));
    let order = shuffled(200);
    let pairs: Vec<BlockPair> =
        order.iter().enumerate().map(|(at, to)| BlockPair { from: at as u32, to: *to }).collect();
    let host = BlockTable { base: content.as_ptr() as u64, stride: 64 };
    let table = BlockTable { base: address(&*device), stride: 64 };
    let direction = CopyDirection::HostToDevice;
    let blocks = BlockCopies { from: host, to: table, block_bytes: 64, pairs: &pairs, direction };
    // SAFETY: both live until the stream is done.
    unsafe { stream.copy_blocks(&blocks) }.unwrap();
    finish(&stream);
    let found = bytes(&*gpu, address(&*device), 64 * 200);
    for BlockPair { from, to } in pairs {
        let (from, to) = (from as usize * 64, to as usize * 64);
        assert_eq!(found[to..to + 64], content[from..from + 64]);
    }
});

case!(blocks_beyond_the_address_space_are_refused, [], {
    let gpu = open(0);
    let stream = gpu.open_stream().unwrap();
    for count in [2, 9] {
        let pairs: Vec<BlockPair> = (0..count).map(|at| BlockPair { from: at, to: at }).collect();
        let far = BlockTable { base: u64::MAX - 16, stride: 16 };
        let direction = CopyDirection::DeviceToDevice;
        let blocks = BlockCopies { from: far, to: far, block_bytes: 16, pairs: &pairs, direction };
        // SAFETY: nothing is copied, as the last block is refused.
        let error = unsafe { stream.copy_blocks(&blocks) }.unwrap_err();
        assert!(matches!(error, AcceleratorError::Range { length: 16, .. }), "{error}");
    }
    let none = BlockTable { base: 0, stride: 0 };
    let direction = CopyDirection::DeviceToDevice;
    let blocks = BlockCopies { from: none, to: none, block_bytes: 16, pairs: &[], direction };
    // SAFETY: nothing is copied.
    unsafe { stream.copy_blocks(&blocks) }.unwrap();
});
