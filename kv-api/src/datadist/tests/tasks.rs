//! Layers that are sent while they are computed.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    time::Duration,
};

use super::*;

/// Lets a layer go when the test says so: `true` for computed.
struct Gate {
    asked: Mutex<Sender<u32>>,
    answers: Mutex<Receiver<bool>>,
}

impl LayerSynchronizer for Gate {
    fn synchronize_layer(&self, layer_index: u32, timeout_in_millis: Option<u32>) -> bool {
        assert_eq!(timeout_in_millis, None);
        self.asked.lock().expect("not poisoned").send(layer_index).expect("the test listens");
        self.answers.lock().expect("not poisoned").recv_timeout(PATIENCE).expect("the test answers")
    }
}

fn gate() -> (Gate, Receiver<u32>, Sender<bool>) {
    let ((asked, asks), (answer, answers)) = (channel(), channel());
    (Gate { asked: Mutex::new(asked), answers: Mutex::new(answers) }, asks, answer)
}

fn to(destination: TransferDestination) -> TransferConfig {
    TransferConfig { destination, src_layer_range: None, dst_layer_range: None, src_batch_index: 0 }
}

fn to_cache(cluster_id: u64, cache_id: i64, batch_index: u32) -> TransferConfig {
    to(TransferDestination::Cache(index(cluster_id, cache_id, batch_index)))
}

fn blocks_of(src: &[u64], dst: &[u64], dst_block_memory_size: u64) -> TransferBlocks {
    let (src_block_indices, dst_block_indices) = (src.to_vec(), dst.to_vec());
    TransferBlocks { src_block_indices, dst_block_indices, dst_block_memory_size }
}

/// Sends everything at once; the outcome of each destination.
fn send(from: &LlmDataDist, configs: &[TransferConfig], blocks: TransferBlocks) -> Vec<Status> {
    let task = from.transfer_cache_async(1, |_, _| true, configs, blocks).expect("it starts");
    task.get_results(Some(PATIENCE))
}

#[test]
fn no_layer_is_sent_before_it_is_computed() {
    let (prompt, decoder) = pair();
    let (theirs, ours) = (cache(&prompt, 6, 4, 0), cache(&decoder, 6, 4, 50_000));
    let (gate, asks, answer) = gate();
    let task = prompt.transfer_cache_async(1, gate, &[to_cache(1, 1, 3)], TransferBlocks::default());
    let task = task.expect("it starts");
    for layer in 0..3 {
        assert_eq!(asks.recv_timeout(PATIENCE).expect("asked"), layer);
        for tensor in 0..6 {
            let sent = tensor < 2 * layer as usize;
            let wanted = filled(if sent { 0 } else { 50_000 }, tensor as i32, if sent { 0 } else { 3 });
            assert_eq!(ours.row(tensor, 3), wanted, "tensor {tensor} before layer {layer}");
        }
        assert_eq!(task.synchronize(Some(Duration::from_millis(1))), Status::Timeout);
        assert_eq!(task.get_results(Some(Duration::from_millis(1))), [Status::Timeout]);
        answer.send(true).expect("it waits");
    }
    assert_eq!(task.synchronize(Some(PATIENCE)), Status::Success);
    assert_eq!(task.get_results(None), [Status::Success]);
    (0..6).for_each(|tensor| assert_eq!(ours.row(tensor, 3), filled(0, tensor as i32, 0)));
    drop((prompt, decoder));
    drop((theirs, ours));
}

#[test]
fn layers_go_to_many_clusters_and_ranges() {
    let prompt = start(0, &client());
    let theirs = cache(&prompt, 8, 4, 0);
    let decoders = [start(1, &server()), start(2, &server()), start(3, &server())];
    let kind = CacheKind::Blocks;
    let keyed = CacheKeys::Blocks(BlocksCacheKey { cluster_id: 0, model_id: 5 });
    let caches = [
        cache(&decoders[0], 8, 4, 50_000),
        cache(&decoders[1], 4, 4, 60_000),
        cache_with(&decoders[2], &CacheDesc { kind, ..desc(8, 4) }, 70_000, &keyed),
    ];
    decoders.iter().for_each(|decoder| link(&prompt, decoder));
    let configs = [
        TransferConfig { src_batch_index: 2, ..to_cache(1, 1, 1) },
        TransferConfig { src_layer_range: Some(1..3), dst_layer_range: Some(0..2), ..to_cache(2, 1, 0) },
        to(TransferDestination::Blocks(BlocksCacheKey { cluster_id: 3, model_id: 5 })),
    ];
    assert_eq!(send(&prompt, &configs, TransferBlocks::default()), [Status::Success; 3]);
    for tensor in 0..8 {
        let number = tensor as i32;
        assert_eq!(caches[0].row(tensor, 1), filled(0, number, 2));
        assert_eq!(caches[0].row(tensor, 0), filled(50_000, number, 0));
        assert_eq!(caches[2].row(tensor, 0), filled(0, number, 0));
    }
    (0..4).for_each(|tensor| assert_eq!(caches[1].row(tensor, 0), filled(0, 2 + tensor as i32, 0)));
    drop((prompt, decoders));
    drop((theirs, caches));
}

#[test]
fn blocks_go_to_blocks_and_rows_are_cut_into_blocks() {
    let (prompt, decoder) = pair();
    let (theirs, ours) = (cache(&prompt, 2, 8, 0), cache(&decoder, 2, 8, 50_000));
    let config = [to_cache(1, 1, 0)];
    assert_eq!(send(&prompt, &config, blocks_of(&[1, 2, 7], &[0, 5, 6], 0)), [Status::Success]);
    for (to, from) in [(0, 1), (5, 2), (6, 7)] {
        (0..2).for_each(|tensor| assert_eq!(ours.row(tensor, to), filled(0, tensor as i32, from)));
    }
    // A contiguous source: from row 6 on there are two blocks.
    let from_row_6 = [TransferConfig { src_batch_index: 6, ..config[0].clone() }];
    assert_eq!(send(&prompt, &from_row_6, blocks_of(&[], &[3, 2], 64)), [Status::Success]);
    for (to, from) in [(3, 6), (2, 7)] {
        (0..2).for_each(|tensor| assert_eq!(ours.row(tensor, to), filled(0, tensor as i32, from)));
    }
    assert_eq!(
        send(&prompt, &from_row_6, blocks_of(&[], &[3, 2, 1], 64)),
        [Status::ParamInvalid],
        "too short"
    );
    assert_eq!(send(&prompt, &config, blocks_of(&[], &[3], 32)), [Status::ParamInvalid], "not their size");
    assert_eq!(send(&prompt, &config, blocks_of(&[], &[8], 64)), [Status::ParamInvalid], "no such block");
    assert_eq!(ours.row(0, 1), filled(50_000, 0, 1));
    drop((prompt, decoder));
    drop((theirs, ours));
}

#[test]
fn layers_go_to_addresses_that_the_peer_has_registered() {
    let (prompt, decoder) = pair();
    let (theirs, ours) = (cache(&prompt, 4, 4, 0), cache(&decoder, 4, 4, 50_000));
    let addresses: Vec<u64> = ours.tensors.iter().map(|tensor| tensor.as_ptr() as u64).collect();
    let config = |dst_addrs: &[u64], src_layer_range| {
        let destination = TransferDestination::Addresses { cluster_id: 1, dst_addrs: dst_addrs.to_vec() };
        [TransferConfig { src_layer_range, ..to(destination) }]
    };
    let row_1 = TransferConfig { src_batch_index: 1, ..config(&addresses, None)[0].clone() };
    assert_eq!(send(&prompt, &[row_1], TransferBlocks::default()), [Status::Success]);
    (0..4).for_each(|tensor| assert_eq!(ours.row(tensor, 0), filled(0, tensor as i32, 1)));
    // One layer only, as blocks, from blocks and from a row.
    let layer_1 = config(&addresses[..2], Some(1..2));
    assert_eq!(send(&prompt, &layer_1, blocks_of(&[3, 0], &[1, 2], 64)), [Status::Success]);
    assert_eq!(send(&prompt, &layer_1, blocks_of(&[], &[3], 64)), [Status::Success]);
    for (to, from) in [(1, 3), (2, 0), (3, 0)] {
        (0..2).for_each(|tensor| assert_eq!(ours.row(tensor, to), filled(0, 2 + tensor as i32, from)));
    }
    let beyond = config(&[addresses[0], addresses[1] + 4096 * 1024], Some(0..1));
    assert_eq!(send(&prompt, &beyond, TransferBlocks::default()), [Status::ParamInvalid]);
    let huge = blocks_of(&[0], &[u64::MAX], 64);
    assert_eq!(send(&prompt, &layer_1, huge), [Status::ParamInvalid]);
    assert!(prompt.check_link_status(1).is_ok(), "nothing of it reached the device");
    let nobody = to(TransferDestination::Addresses { cluster_id: 9, dst_addrs: addresses });
    assert_eq!(send(&prompt, &[nobody], TransferBlocks::default()), [Status::NotYetLink]);
    drop((prompt, decoder));
    drop((theirs, ours));
}

#[test]
fn what_fails_for_one_destination_does_not_stop_the_others() {
    let (prompt, decoder) = pair();
    let (theirs, ours) = (cache(&prompt, 4, 2, 0), cache(&decoder, 4, 2, 50_000));
    let configs = [to_cache(7, 1, 0), to_cache(1, 99, 0), to_cache(1, 1, 5), to_cache(1, 1, 1)];
    let task =
        prompt.transfer_cache_async(1, |_, _| true, &configs, TransferBlocks::default()).expect("it starts");
    let wanted = [Status::NotYetLink, Status::KvCacheNotExist, Status::ParamInvalid, Status::Success];
    assert_eq!(task.get_results(Some(PATIENCE)), wanted);
    assert_eq!(task.synchronize(Some(PATIENCE)), Status::NotYetLink, "the first failure");
    (0..4).for_each(|tensor| assert_eq!(ours.row(tensor, 1), filled(0, tensor as i32, 0)));
    drop((prompt, decoder));
    drop((theirs, ours));
}

#[test]
fn a_synchroniser_that_gives_up_or_panics_ends_the_task() {
    let (prompt, decoder) = pair();
    let (theirs, ours) = (cache(&prompt, 6, 2, 0), cache(&decoder, 6, 2, 50_000));
    // One destination is done before, one is in the middle, and one has not begun.
    let part = |layers| TransferConfig { src_layer_range: Some(layers), ..to_cache(1, 1, 1) };
    let configs = [part(0..1), part(0..3), part(2..3)];
    let give_up = |layer: u32, _: Option<u32>| layer == 0;
    let task =
        prompt.transfer_cache_async(1, give_up, &configs, TransferBlocks::default()).expect("it starts");
    let wanted = [Status::Success, Status::ParamInvalid, Status::ParamInvalid];
    assert_eq!(task.get_results(Some(PATIENCE)), wanted);
    let panics =
        |layer: u32, _: Option<u32>| if layer == 0 { true } else { panic!("a synchroniser may be wrong") };
    let task =
        prompt.transfer_cache_async(1, panics, &configs, TransferBlocks::default()).expect("it starts");
    assert_eq!(task.get_results(Some(PATIENCE)), [Status::Success, Status::Failed, Status::Failed]);
    assert_eq!(ours.row(2, 1), filled(50_000, 2, 1), "the layer was not sent");
    assert_eq!(send(&prompt, &configs, TransferBlocks::default()), [Status::Success; 3], "all goes on");
    drop((prompt, decoder));
    drop((theirs, ours));
}

#[test]
fn a_task_holds_nothing_while_it_waits_for_a_layer() {
    let (prompt, decoder) = pair();
    let (theirs, ours) = (cache(&prompt, 4, 2, 0), cache(&decoder, 4, 2, 50_000));
    let (first, asks, answer) = gate();
    let task = prompt
        .transfer_cache_async(1, first, &[to_cache(1, 1, 0)], TransferBlocks::default())
        .expect("it starts");
    asks.recv_timeout(PATIENCE).expect("asked");
    // Neither call waits for the synchroniser.
    prompt.unregister_kv_cache(1).expect("unregistered");
    answer.send(true).expect("it waits");
    assert_eq!(task.synchronize(Some(PATIENCE)), Status::KvCacheNotExist);
    let again = cache(&prompt, 4, 2, 0);
    let (second, asks, answer) = gate();
    let configs = [to_cache(1, 1, 0)];
    let task = prompt
        .transfer_cache_async(again.cache_id, second, &configs, TransferBlocks::default())
        .expect("it starts");
    asks.recv_timeout(PATIENCE).expect("asked");
    prompt.finalize();
    answer.send(true).expect("it waits");
    assert_eq!(task.synchronize(Some(PATIENCE)), Status::Failed);
    assert_eq!(ours.row(0, 0), filled(50_000, 0, 0));
    drop((prompt, decoder));
    drop((theirs, again, ours));
}

#[test]
fn tasks_that_cannot_be_are_refused_before_they_start() {
    let prompt = start(0, &client());
    let odd = cache(&prompt, 3, 4, 0);
    let even = cache(&prompt, 4, 4, 0);
    let asked = Arc::new(Mutex::new(0));
    let refuse = |cache_id, config: TransferConfig, blocks| {
        let asked = Arc::clone(&asked);
        let count = move |_, _| {
            *asked.lock().expect("not poisoned") += 1;
            true
        };
        match prompt.transfer_cache_async(cache_id, count, &[config], blocks) {
            Err(DataDistError::Argument(error)) => error,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it starts"),
        }
    };
    let (none, good) = (TransferBlocks::default(), to_cache(1, 1, 0));
    let uneven = ArgumentError::UnevenLayers { side: Side::Source, tensors: 3, per_layer: 2 };
    assert_eq!(refuse(odd.cache_id, good.clone(), none.clone()), uneven);
    let id = even.cache_id;
    let layers = |from, to| TransferConfig { src_layer_range: from, dst_layer_range: to, ..good.clone() };
    for range in [1..1, 2..3, 1..3] {
        let error = refuse(id, layers(Some(range), None), none.clone());
        assert!(
            matches!(error, ArgumentError::LayersBeyond { side: Side::Source, layers: 2, .. }),
            "{error}"
        );
    }
    let counts = ArgumentError::TensorCount { source_tensors: 4, destination_tensors: 2 };
    assert_eq!(refuse(id, layers(None, Some(0..1)), none.clone()), counts);
    let addresses = to(TransferDestination::Addresses { cluster_id: 1, dst_addrs: vec![8; 3] });
    assert_eq!(refuse(id, addresses, none.clone()), ArgumentError::AddressCount { given: 3, wanted: 4 });
    let row = TransferConfig { src_batch_index: 4, ..good.clone() };
    let wanted = ArgumentError::BatchIndex { side: Side::Source, index: 4, rows: 4 };
    assert_eq!(refuse(id, row, none), wanted);
    let row = TransferConfig { src_batch_index: 1, ..good.clone() };
    assert_eq!(refuse(id, row, blocks_of(&[0], &[0], 0)), ArgumentError::BatchIndexWithBlocks { index: 1 });
    let block = ArgumentError::Block { side: Side::Source, block: 4, blocks: 4 };
    assert_eq!(refuse(id, good.clone(), blocks_of(&[4], &[0], 0)), block);
    let twice = ArgumentError::BlockTwice { block: 1 };
    assert_eq!(refuse(id, good.clone(), blocks_of(&[0, 1], &[1, 1], 64)), twice);
    let lengths = ArgumentError::BlockCount { source_blocks: 1, destination_blocks: 0 };
    assert_eq!(refuse(id, good.clone(), blocks_of(&[0], &[], 0)), lengths);
    for (blocks, block_bytes) in [
        (blocks_of(&[], &[], 64), 64),
        (blocks_of(&[], &[0], 0), 0),
        (blocks_of(&[], &[0], 256), 256),
        (blocks_of(&[0], &[0], 32), 32),
    ] {
        assert_eq!(
            refuse(id, good.clone(), blocks),
            ArgumentError::BlockMemorySize { block_bytes, tensor_bytes: 256 }
        );
    }
    let missing = prompt.transfer_cache_async(99, |_, _| true, &[good], TransferBlocks::default());
    assert_eq!(missing.err().map(|error| error.status()), Some(Status::KvCacheNotExist));
    let nothing =
        prompt.transfer_cache_async(id, |_, _| true, &[], TransferBlocks::default()).expect("it starts");
    assert_eq!(nothing.synchronize(Some(PATIENCE)), Status::Success);
    assert_eq!(*asked.lock().expect("not poisoned"), 0);
    drop(prompt);
    drop((odd, even));
}
