use std::{ffi::c_char, net::TcpListener};

use kv_api::datadist::{DataType, Status};

use super::*;
use crate::{datadist::*, pmd_kv_option};

pub(super) const TIMEOUT_MS: i32 = 20_000;

/// Four tensors of eight rows of 16 integers.
const SHAPE: [i64; 2] = [8, 16];
pub(super) const TENSORS: usize = 4;
const WORDS: usize = 8 * 16;

pub(super) fn desc() -> pmd_datadist_cache_desc {
    let shape = SHAPE.as_ptr();
    pmd_datadist_cache_desc {
        placement: 0,
        num_tensors: TENSORS as u32,
        data_type: DataType::Int32.number(),
        shape,
        shape_length: 2,
        kind: 0,
        hidden: false,
        keys: null(),
        key_count: 0,
    }
}

pub(super) fn made_by<T>(initial: T, call: impl FnOnce(*mut T) -> u32) -> Result<T, u32> {
    let mut place = initial;
    match call(&mut place) {
        0 => Ok(place),
        code => Err(code),
    }
}

pub(super) fn option(name: &CStr, value: &CStr) -> pmd_kv_option {
    pmd_kv_option { name: name.as_ptr(), value: value.as_ptr() }
}

/// A cluster that was initialised, and its cache.
pub(super) struct Cluster {
    pub(super) handle: *mut pmd_datadist,
    pub(super) cache: i64,
    pub(super) memory: Vec<Vec<i32>>,
}

impl Cluster {
    pub(super) fn new(id: u64, listen: Option<&CStr>, first: i32) -> Self {
        // SAFETY: a place for the object.
        let handle = made_by(null_mut(), |place| unsafe { pmd_datadist_create(id, 1, place) }).expect("made");
        let mut options = vec![option(c"llm.DeviceId", c"0")];
        options.extend(listen.map(|listen| option(c"llm.ListenIpInfo", listen)));
        // SAFETY: options whose texts live.
        let status = unsafe { pmd_datadist_initialize(handle, options.as_ptr(), options.len()) };
        assert_eq!(status, 0, "{}", last_error());
        let mut memory = vec![vec![first; WORDS]; TENSORS];
        let addresses: Vec<u64> = memory.iter_mut().map(|tensor| tensor.as_mut_ptr() as u64).collect();
        // SAFETY: memory that outlives the cache.
        let cache = made_by(-1, |place| unsafe {
            pmd_datadist_register_cache(handle, &desc(), addresses.as_ptr(), TENSORS, place)
        });
        Self { handle, cache: cache.expect("registered"), memory }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = pmd_datadist_destroy(self.handle);
    }
}

pub(super) fn free_address() -> (CString, u16) {
    let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|socket| socket.local_addr()).expect("a port");
    (CString::new(free.to_string()).expect("text"), free.port())
}

pub(super) fn address(port: u16) -> pmd_datadist_address {
    pmd_datadist_address { ip: c"127.0.0.1".as_ptr(), port }
}

pub(super) fn remote(id: u64, addresses: &[pmd_datadist_address]) -> pmd_datadist_cluster {
    pmd_datadist_cluster {
        remote_cluster_id: id,
        remote_role: 0,
        local: null(),
        local_count: 0,
        remote: addresses.as_ptr(),
        remote_count: addresses.len(),
    }
}

pub(super) fn blocks(blocks: &[u64]) -> pmd_datadist_blocks {
    pmd_datadist_blocks { blocks: blocks.as_ptr(), count: blocks.len() }
}

/// What a row holds in every tensor, when it is one number.
pub(super) fn row(cluster: &Cluster, row: usize) -> i32 {
    let number = cluster.memory[0][16 * row];
    assert!(
        cluster
            .memory
            .iter()
            .all(|tensor| tensor[16 * row..16 * (row + 1)].iter().all(|word| *word == number))
    );
    number
}

#[test]
fn caches_and_blocks_are_pulled_pushed_and_copied() {
    let (listen, port) = free_address();
    let (prompt, decoder) = (Cluster::new(0, Some(&listen), 7), Cluster::new(1, None, 1));
    let addresses = [address(port)];
    let (peer, handle, mut status) = (remote(0, &addresses), decoder.handle, 99);
    let source =
        pmd_datadist_cache_index { cluster_id: 0, cache_id: prompt.cache, batch_index: 0, key: null() };
    let range = pmd_datadist_range {
        source_first: 0,
        source_last: 0,
        destination_first: 0,
        destination_last: 0,
        tensors_per_layer: 4,
    };
    // SAFETY: structures and lists of their counts.
    unsafe {
        assert_eq!(pmd_datadist_link(handle, &peer, 1, &mut status, TIMEOUT_MS), 0, "{}", last_error());
        assert_eq!((status, pmd_datadist_check_link(handle, 0)), (0, 0));
        let (from, to) = (blocks(&[1, 2]), blocks(&[5, 6]));
        assert_eq!(pmd_datadist_pull_blocks(handle, &source, decoder.cache, from, to, null()), 0);
        assert_eq!(pmd_datadist_pull_cache(handle, &source, decoder.cache, 3, -1, &range), 0);
        let second = pmd_datadist_cache_index { batch_index: 7, ..source };
        assert_eq!(
            pmd_datadist_push_cache(handle, decoder.cache, &second, 0, -1, &range),
            0,
            "{}",
            last_error()
        );
        let (from, to) = (blocks(&[0]), blocks(&[4]));
        assert_eq!(pmd_datadist_push_blocks(handle, decoder.cache, &source, from, to, null()), 0);
        let lists = [blocks(&[1]), blocks(&[2])];
        assert_eq!(
            pmd_datadist_copy_blocks(handle, decoder.cache, decoder.cache, blocks(&[3]), lists.as_ptr(), 2),
            0
        );
        assert_eq!(pmd_datadist_copy_cache(handle, decoder.cache, decoder.cache, 3, 7, 0, -1), 0);
        assert_eq!(pmd_datadist_unlink(handle, &peer, 1, &mut status, TIMEOUT_MS, false), 0);
    }
    assert_eq!((0..8).map(|at| row(&decoder, at)).collect::<Vec<_>>(), [1, 7, 7, 7, 1, 7, 7, 7]);
    assert_eq!((0..8).map(|at| row(&prompt, at)).collect::<Vec<_>>(), [7, 7, 7, 7, 1, 7, 7, 1]);
    assert_eq!(pmd_datadist_check_link(handle, 0), Status::NotYetLink.code());
    assert_eq!(pmd_datadist_unregister_cache(handle, decoder.cache), 0);
}

#[test]
fn allocated_caches_have_addresses() {
    let cluster = Cluster::new(1, None, 0);
    let mut addresses = [0_u64; TENSORS];
    let mut allocate = |count, place: *mut i64| {
        // SAFETY: a description, and room for four addresses.
        unsafe { pmd_datadist_allocate_cache(cluster.handle, &desc(), place, addresses.as_mut_ptr(), count) }
    };
    let invalid = Status::ParamInvalid.code();
    assert_eq!(made_by(-1, |place| allocate(3, place)), Err(invalid));
    assert_eq!(allocate(TENSORS, null_mut()), invalid);
    let cache = made_by(-1, |place| allocate(TENSORS, place)).expect("allocated");
    assert!(cache > 0 && addresses.iter().all(|address| *address != 0));
    assert_eq!(pmd_datadist_deallocate_cache(cluster.handle, cache), 0);
    assert_eq!(pmd_datadist_deallocate_cache(cluster.handle, cache), 0);
}

#[test]
fn the_codes_are_llm_datadists() {
    let cluster = Cluster::new(1, None, 0);
    let (handle, cache, invalid) = (cluster.handle, cluster.cache, Status::ParamInvalid.code());
    let index = pmd_datadist_cache_index { cluster_id: 9, cache_id: 1, batch_index: 0, key: null() };
    let addresses = [address(1)];
    let (nobody, mut statuses) = (remote(9, &addresses), [0, 0]);
    let no_other = pmd_datadist_cluster { remote_cluster_id: 10, ..nobody };
    let (bad_address, none) = ([pmd_datadist_address { ip: c"here".as_ptr(), port: 1 }], blocks(&[]));
    // SAFETY: places for results.
    let roled = |role| made_by(null_mut(), |place| unsafe { pmd_datadist_create(1, role, place) });
    let described = |desc: pmd_datadist_cache_desc| {
        // SAFETY: a description; nothing is registered at address 0.
        made_by(-1, |place| unsafe { pmd_datadist_register_cache(handle, &desc, [0; 4].as_ptr(), 4, place) })
    };
    let missing = Status::KvCacheNotExist.code();
    // SAFETY: structures, places for results, or null.
    let calls = unsafe {
        [
            (pmd_datadist_create(1, 1, null_mut()), invalid),
            (roled(0).expect_err("refused"), invalid),
            (described(pmd_datadist_cache_desc { placement: 2, ..desc() }).expect_err("refused"), invalid),
            (described(pmd_datadist_cache_desc { data_type: 5, ..desc() }).expect_err("refused"), invalid),
            (described(pmd_datadist_cache_desc { shape: null(), ..desc() }).expect_err("refused"), invalid),
            (pmd_datadist_register_cache(handle, null(), null(), 0, &mut 0), invalid),
            (pmd_datadist_pull_cache(handle, null(), cache, 0, -1, null()), invalid),
            (pmd_datadist_pull_cache(handle, &index, 999, 0, -1, null()), missing),
            (pmd_datadist_pull_cache(handle, &index, cache, 0, -1, null()), Status::NotYetLink.code()),
            (pmd_datadist_push_blocks(handle, cache, &index, none, none, null()), invalid),
            (pmd_datadist_set_role(handle, 4, null(), 0), invalid),
            (pmd_datadist_set_role(handle, 2, null(), 1), invalid),
            (pmd_datadist_link(handle, &remote(9, &bad_address), 1, null_mut(), 100), invalid),
            (pmd_datadist_link(handle, null(), 1, null_mut(), 100), invalid),
            (
                pmd_datadist_link(handle, [nobody, no_other].as_ptr(), 2, statuses.as_mut_ptr(), 2000),
                Status::LinkFailed.code(),
            ),
            (pmd_datadist_check_link(null(), 1), invalid),
        ]
    };
    for (at, (found, wanted)) in calls.into_iter().enumerate() {
        assert_eq!(found, wanted, "call {at}: {found:#x}, not {wanted:#x}");
    }
    assert_ne!(statuses[0], 0);
    // SAFETY: an option whose texts live.
    let missing = made_by(null_mut(), |place| unsafe { pmd_datadist_create(1, 2, place) }).expect("made");
    let unnamed = pmd_kv_option { name: null::<c_char>(), value: c"".as_ptr() };
    // SAFETY: one option.
    assert_eq!(unsafe { pmd_datadist_initialize(missing, &unnamed, 1) }, invalid);
    assert_eq!(pmd_datadist_unregister_cache(missing, 1), Status::Failed.code());
    assert_eq!((pmd_datadist_finalize(missing), pmd_datadist_destroy(missing)), (0, 0));
    assert_eq!(pmd_datadist_destroy(missing), invalid);
}

#[test]
fn the_headers_have_the_same_numbers() {
    let header = include_str!("../../include/llm_datadist/llm_datadist.h");
    for status in Status::ALL {
        let line = format!("constexpr Status {} = 0x{:X}U;", status.name(), status.code());
        assert!(header.contains(&line), "{line}");
    }
    let types = include_str!("../../include/external/ge_common/api_error_codes.h");
    for data_type in DataType::ALL {
        let value = format!(" = {},", data_type.number());
        assert!(types.contains(&value), "{data_type:?}{value}");
    }
}
