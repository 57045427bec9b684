//! Codes of LLM-DataDist and HIXL that the other tests do not produce, through the C functions.

use std::{
    net::TcpListener,
    ptr::without_provenance,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use kv_api::{
    datadist::Status,
    fabric::{Fabric, Handler},
    hixl,
};
use pmd_host::{
    control::Refusal,
    endpoint::{EndpointConfig, Peer},
};

use super::{datadist::*, *};
use crate::{datadist::*, hixl::*, pmd_kv_option};

/// A cluster that was initialised with options beside the device.
fn initialised(id: u64, options: &[pmd_kv_option]) -> *mut pmd_datadist {
    // SAFETY: a place for the object.
    let handle = made_by(null_mut(), |place| unsafe { pmd_datadist_create(id, 3, place) }).expect("made");
    let options: Vec<_> =
        [option(c"llm.DeviceId", c"0")].into_iter().chain(options.iter().copied()).collect();
    // SAFETY: options whose texts live.
    let status = unsafe { pmd_datadist_initialize(handle, options.as_ptr(), options.len()) };
    assert_eq!(status, 0, "{}", last_error());
    handle
}

fn link(handle: *const pmd_datadist, cluster: &pmd_datadist_cluster) -> u32 {
    // SAFETY: one cluster, and no statuses.
    unsafe { pmd_datadist_link(handle, cluster, 1, null_mut(), TIMEOUT_MS) }
}

fn unlink(handle: *const pmd_datadist, cluster: &pmd_datadist_cluster, timeout_ms: i32) -> u32 {
    // SAFETY: as above.
    unsafe { pmd_datadist_unlink(handle, cluster, 1, null_mut(), timeout_ms, false) }
}

#[test]
fn links_have_datadists_codes() {
    let (listen, port) = free_address();
    let prompt = Cluster::new(0, Some(&listen), 7);
    let addresses = [address(port)];
    let to_prompt = remote(0, &addresses);
    let decoder = initialised(1, &[option(c"pmd.ClusterLimit", c"1")]);
    assert_eq!(link(decoder, &to_prompt), 0, "{}", last_error());
    assert_eq!(link(decoder, &to_prompt), Status::AlreadyLink.code());
    // SAFETY: no options.
    assert_eq!(unsafe { pmd_datadist_set_role(decoder, 2, null(), 0) }, Status::ExistLink.code());
    // SAFETY: two clusters, and no statuses.
    let many = unsafe { pmd_datadist_link(decoder, [to_prompt; 2].as_ptr(), 2, null_mut(), TIMEOUT_MS) };
    assert_eq!(many, Status::ClusterNumberExceedsLimit.code());
    assert_eq!(pmd_datadist_finalize(prompt.handle), 0);
    let deadline = Instant::now() + Duration::from_millis(PATIENCE);
    while pmd_datadist_check_link(decoder, 0) == 0 {
        assert!(Instant::now() < deadline, "the goodbye never comes");
    }
    assert_eq!(unlink(decoder, &to_prompt, TIMEOUT_MS), Status::NotifyPromptUnlinkFailed.code());
    assert_eq!(unlink(decoder, &to_prompt, TIMEOUT_MS), Status::UnlinkFailed.code());
    assert_eq!(pmd_datadist_destroy(decoder), 0);
    let fixed = initialised(1, &[option(c"llm.EnableSwitchRole", c"0")]);
    // SAFETY: no options.
    assert_eq!(unsafe { pmd_datadist_set_role(fixed, 2, null(), 0) }, Status::FeatureNotEnabled.code());
    assert_eq!(pmd_datadist_destroy(fixed), 0);
}

#[test]
fn a_link_that_is_being_made_is_not_made_twice() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let addresses = [address(silent.local_addr().expect("an address").port())];
    let decoder = initialised(1, &[]);
    let (number, port) = (decoder.addr(), addresses[0].port);
    let linking = thread::spawn(move || {
        let addresses = [address(port)];
        link(without_provenance(number), &remote(0, &addresses))
    });
    let connection = silent.accept().expect("it tries");
    assert_eq!(link(decoder, &remote(0, &addresses)), Status::ProcessingLink.code());
    drop(connection);
    assert_eq!(linking.join().expect("it ends"), Status::LinkFailed.code());
    assert_eq!(pmd_datadist_destroy(decoder), 0);
}

#[test]
fn pools_that_are_full_have_datadists_codes() {
    let pool = c"{\"memory_size\": 65536}";
    let cluster =
        initialised(1, &[option(c"llm.MemPoolConfig", pool), option(c"llm.HostMemPoolConfig", pool)]);
    let shape = [2_i64, 65536];
    for (placement, full) in [(0, Status::OutOfMemory), (1, Status::DeviceOutOfMemory)] {
        let desc = pmd_datadist_cache_desc {
            placement,
            num_tensors: 1,
            shape: shape.as_ptr(),
            shape_length: 2,
            ..desc()
        };
        let mut address = 0;
        // SAFETY: a description, and places for results.
        let refused = made_by(-1, |place| unsafe {
            pmd_datadist_allocate_cache(cluster, &desc, place, &mut address, 1)
        });
        assert_eq!(refused, Err(full.code()), "{}", last_error());
    }
    assert_eq!(pmd_datadist_destroy(cluster), 0);
}

/// Answers the first question, and sleeps over the others.
struct Slow(Mutex<bool>);

impl Handler for Slow {
    fn request(&self, _: &Peer, _: u16, _: &[u8]) -> Result<Vec<u8>, Refusal> {
        let first = std::mem::replace(&mut *self.0.lock().expect("not poisoned"), false);
        if !first {
            thread::sleep(Duration::from_millis(200));
        }
        Ok(Vec::new())
    }
}

#[test]
fn a_cluster_that_does_not_answer_in_time_has_a_code_of_its_own() {
    let listen = Some(([127, 0, 0, 1], 0).into());
    let config = EndpointConfig { listen, ..EndpointConfig::default() };
    let slow = Fabric::open(config, Arc::new(Slow(Mutex::new(true)))).expect("a fabric");
    let addresses = [address(slow.local_address().expect("it listens").port())];
    let decoder = initialised(1, &[option(c"llm.SyncKvCacheWaitTime", c"20")]);
    let mut memory = vec![vec![0_i32; 8 * 16]; TENSORS];
    let tensors: Vec<u64> = memory.iter_mut().map(|tensor| tensor.as_mut_ptr() as u64).collect();
    // SAFETY: memory that outlives the cache.
    let cache = made_by(-1, |place| unsafe {
        pmd_datadist_register_cache(decoder, &desc(), tensors.as_ptr(), TENSORS, place)
    });
    assert_eq!(link(decoder, &remote(0, &addresses)), 0, "{}", last_error());
    let index = pmd_datadist_cache_index { cluster_id: 0, cache_id: 1, batch_index: 0, key: null() };
    // SAFETY: an index, and no range.
    let late = unsafe { pmd_datadist_pull_cache(decoder, &index, cache.expect("registered"), 0, -1, null()) };
    assert_eq!(late, Status::WaitProcessTimeout.code());
    assert_eq!(pmd_datadist_destroy(decoder), 0);
}

/// So many tensors in the same memory take longer than the time that is given for them.
#[test]
fn transfers_that_are_late_or_too_many_have_datadists_codes() {
    let (listen, port) = free_address();
    let prompt = initialised(0, &[option(c"llm.ListenIpInfo", &listen)]);
    let limits = [option(c"llm.SyncKvCacheWaitTime", c"100"), option(c"pmd.OperationLimit", c"1")];
    let decoder = initialised(1, &limits);
    let (mut source, mut destination) = (vec![7_u8; 4 << 20], vec![0_u8; 4 << 20]);
    let shape = [1_i64, 4 << 20];
    let many = pmd_datadist_cache_desc {
        num_tensors: 1024,
        data_type: kv_api::datadist::DataType::Uint8.number(),
        shape: shape.as_ptr(),
        ..desc()
    };
    for (handle, memory) in [(prompt, &mut source), (decoder, &mut destination)] {
        let addresses = [memory.as_mut_ptr() as u64; 1024];
        // SAFETY: memory that outlives the objects.
        let cache = made_by(-1, |place| unsafe {
            pmd_datadist_register_cache(handle, &many, addresses.as_ptr(), 1024, place)
        });
        assert_eq!(cache, Ok(1), "{}", last_error());
    }
    assert_eq!(link(decoder, &remote(0, &[address(port)])), 0, "{}", last_error());
    let number = decoder.addr();
    let pull = move || {
        let index = pmd_datadist_cache_index { cluster_id: 0, cache_id: 1, batch_index: 0, key: null() };
        // SAFETY: an index, and no range.
        unsafe { pmd_datadist_pull_cache(without_provenance(number), &index, 1, 0, -1, null()) }
    };
    let (late, busy) = (Status::Timeout.code(), Status::LinkBusy.code());
    let (mut seen, deadline) = (Vec::new(), Instant::now() + Duration::from_millis(PATIENCE));
    while ![late, busy].iter().all(|code| seen.contains(code)) {
        assert!(Instant::now() < deadline, "{seen:x?}");
        // What is stopped too late to be drained takes its link with it.
        if pmd_datadist_check_link(decoder, 0) != 0 {
            let _ = link(decoder, &remote(0, &[address(port)]));
        }
        let other = thread::spawn(pull);
        seen.push(pull());
        seen.push(other.join().expect("it ends"));
    }
    let _ = (pmd_datadist_destroy(decoder), pmd_datadist_destroy(prompt));
}

/// Takes questions in and does not answer them.
struct Mute(Mutex<Sender<()>>);

impl Handler for Mute {
    fn event(&self, _: &Peer, _: u16, _: &[u8]) {
        let _ = self.0.lock().expect("not poisoned").send(());
    }
}

fn mute() -> (Fabric, CString, Receiver<()>) {
    let (sender, heard) = channel();
    let listen = Some(([127, 0, 0, 1], 0).into());
    let config = EndpointConfig { listen, ..EndpointConfig::default() };
    let fabric = Fabric::open(config, Arc::new(Mute(Mutex::new(sender)))).expect("a fabric");
    let name = fabric.local_address().expect("it listens").to_string();
    (fabric, CString::new(name).expect("text"), heard)
}

fn notify(engine: *const pmd_hixl, name: &CStr) -> u32 {
    // SAFETY: a name; nothing else is read.
    unsafe { pmd_hixl_send_notify(engine, name.as_ptr(), null(), 0, null(), 0, TIMEOUT_MS) }
}

fn client(options: &[pmd_kv_option]) -> *mut pmd_hixl {
    // SAFETY: a place for the engine.
    let engine = made_by(null_mut(), |place| unsafe { pmd_hixl_create(place) }).expect("made");
    // SAFETY: a name, and options whose texts live.
    let status =
        unsafe { pmd_hixl_initialize(engine, c"127.0.0.1".as_ptr(), options.as_ptr(), options.len()) };
    assert_eq!(status, 0, "{}", last_error());
    engine
}

#[test]
fn peers_that_refuse_and_pools_that_are_full_have_hixls_codes() {
    let (_stranger, name, _heard) = mute();
    let resources = c"{\"connect_pool.thread_num\": \"1\", \"connect_pool.task_queue_capacity\": 1}";
    let engine = client(&[option(c"GlobalResourceConfig", resources), option(c"BufferPool", c"0:0")]);
    // SAFETY: a name.
    assert_eq!(unsafe { pmd_hixl_connect(engine, name.as_ptr(), TIMEOUT_MS) }, 0, "{}", last_error());
    assert_eq!(notify(engine, &name), hixl::Status::NotifyFailed.code());
    // One thread, kept busy by somebody who does not answer; one task may wait.
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let silent_name = CString::new(silent.local_addr().expect("an address").to_string()).expect("text");
    // SAFETY: a name.
    let begin = || unsafe { pmd_hixl_connect_async(engine, silent_name.as_ptr(), 300) };
    // SAFETY: a name.
    let stop = || unsafe { pmd_hixl_disconnect_async(engine, name.as_ptr(), 300) };
    let codes = [begin(), stop(), stop(), stop()];
    assert!(codes.contains(&hixl::Status::ResourceExhausted.code()), "{codes:?}");
    assert_eq!(pmd_hixl_destroy(engine), 0);
}
