#![allow(unsafe_code)] // calls C functions

use std::{
    ffi::{CStr, c_char, c_void},
    ptr::{null, null_mut},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use crate::{Code, device::*, memory::*, stream::*};

const HOST_TO_DEVICE: i32 = 1;
const DEVICE_TO_HOST: i32 = 2;
const DEVICE_TO_DEVICE: i32 = 3;

/// How long a test waits for something that must come.
const PATIENCE: Duration = Duration::from_secs(20);

fn device_memory(size: usize) -> *mut c_void {
    assert_eq!(aclrtSetDevice(0), 0);
    let mut memory = null_mut();
    // SAFETY: a place for the address.
    assert_eq!(unsafe { aclrtMalloc(&mut memory, size, 1) }, 0);
    memory
}

fn new_stream() -> *mut c_void {
    assert_eq!(aclrtSetDevice(0), 0);
    let mut stream = null_mut();
    // SAFETY: a place for the handle.
    assert_eq!(unsafe { aclrtCreateStream(&mut stream) }, 0);
    stream
}

fn new_event() -> *mut c_void {
    assert_eq!(aclrtSetDevice(0), 0);
    let mut event = null_mut();
    // SAFETY: a place for the handle.
    assert_eq!(unsafe { aclrtCreateEvent(&mut event) }, 0);
    event
}

fn recent() -> Option<String> {
    let text = aclGetRecentErrMsg();
    // SAFETY: null, or text that lives until this thread asks again.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

#[test]
fn bytes_go_to_a_device_between_devices_and_back() {
    let source: Vec<u8> = (0..=255).collect();
    let mut found = vec![0_u8; 256];
    let (first, second) = (device_memory(256), device_memory(256));
    // SAFETY: ranges of 256 bytes each.
    unsafe {
        assert_eq!(aclrtMemcpy(first, 256, source.as_ptr().cast(), 256, HOST_TO_DEVICE), 0);
        assert_eq!(aclrtMemcpy(second, 256, first, 256, DEVICE_TO_DEVICE), 0);
        assert_eq!(aclrtMemset(second, 256, 7, 1), 0);
        assert_eq!(aclrtMemcpy(found.as_mut_ptr().cast(), 256, second, 256, DEVICE_TO_HOST), 0);
    }
    assert_eq!((found[0], &found[1..]), (7, &source[1..]));
    assert_eq!((aclrtFree(first), aclrtFree(second)), (0, 0));
}

#[test]
fn copies_that_cannot_be_have_their_codes_and_a_text() {
    let memory = device_memory(64);
    let mut host = [0_u8; 128];
    let bytes = host.as_mut_ptr().cast::<c_void>();
    // SAFETY: none of them may copy anything.
    let refused =
        |to, room, from: *const c_void, count, kind| unsafe { aclrtMemcpy(to, room, from, count, kind) };
    let past_the_end = memory.wrapping_byte_add(32);
    let cases = [
        (refused(null_mut(), 64, bytes, 64, HOST_TO_DEVICE), Code::InvalidParameter, "destination is NULL"),
        (refused(memory, 64, null(), 64, HOST_TO_DEVICE), Code::InvalidParameter, "source of a copy is NULL"),
        (refused(memory, 64, bytes, 64, 9), Code::InvalidParameter, "no memcpy kind 9"),
        (refused(memory, 63, bytes, 64, HOST_TO_DEVICE), Code::RuntimeParameter, "64 bytes into room for 63"),
        (refused(past_the_end, 64, bytes, 64, HOST_TO_DEVICE), Code::RuntimeParameter, "32 are left"),
        (refused(bytes, 128, memory, 65, DEVICE_TO_HOST), Code::RuntimeParameter, "64 are left"),
        (refused(memory, 64, bytes, 64, DEVICE_TO_DEVICE), Code::MemoryType, "is not the memory"),
        (refused(bytes, 64, memory, 64, HOST_TO_DEVICE), Code::MemoryType, "is not the memory"),
    ];
    let last = recent().expect("the last refusal has a text");
    assert!(last.starts_with("E107016") && last.contains(cases[7].2), "{last}");
    assert_eq!(recent(), None);
    for (code, wanted, text) in cases {
        assert_eq!(code, wanted as i32, "{text}");
    }
    assert!(host.iter().all(|byte| *byte == 0));
    assert_eq!(aclrtFree(memory), 0);
}

#[test]
fn memory_is_freed_once_and_by_its_own_function() {
    assert_eq!(aclrtSetDevice(0), 0);
    let mut pinned = null_mut();
    // SAFETY: a place for the address.
    assert_eq!(unsafe { aclrtMallocHost(&mut pinned, 8) }, 0);
    assert_eq!(aclrtFree(pinned), Code::MemoryType as i32);
    assert_eq!(aclrtFreeHost(pinned), 0);
    assert_eq!(aclrtFreeHost(pinned), Code::RuntimeParameter as i32);
    let mut memory = null_mut();
    // SAFETY: places for addresses, or null.
    unsafe {
        assert_eq!(aclrtMalloc(&mut memory, 0, 1), Code::InvalidParameter as i32);
        assert_eq!(aclrtMalloc(&mut memory, 8, 6), Code::InvalidParameter as i32);
        assert_eq!(aclrtMalloc(null_mut(), 8, 1), Code::InvalidParameter as i32);
        assert_eq!(aclrtMalloc(&mut memory, 1 << 62, 1), Code::MemoryAllocation as i32);
    }
}

#[test]
fn devices_are_counted_and_set_for_a_thread() {
    let (mut count, mut device) = (0, -1);
    // SAFETY: places for numbers.
    unsafe {
        assert_eq!((aclrtGetDeviceCount(&mut count), count), (0, 2));
        assert_eq!(aclrtGetDevice(&mut device), Code::NoContext as i32);
        assert_eq!(aclrtMalloc(&mut null_mut(), 8, 0), Code::NoContext as i32);
        assert_eq!(aclrtSetDevice(1), 0);
        assert_eq!((aclrtGetDevice(&mut device), device), (0, 1));
    }
    let (mut context, mut other) = (null_mut(), null_mut());
    // SAFETY: places for handles.
    unsafe {
        assert_eq!(aclrtGetCurrentContext(&mut context), 0);
        assert_eq!((aclrtSetDevice(0), aclrtGetCurrentContext(&mut other)), (0, 0));
        assert_ne!(context, other);
        assert_eq!((aclrtSetCurrentContext(context), aclrtGetDevice(&mut device), device), (0, 0, 1));
    }
    assert_eq!(aclrtSetCurrentContext(null_mut()), Code::RuntimeParameter as i32);
    thread::spawn(|| {
        // SAFETY: a place for a number.
        assert_eq!(unsafe { aclrtGetDevice(&mut -1) }, Code::NoContext as i32);
    })
    .join()
    .expect("the other thread");
    for absent in [2, -1] {
        assert_eq!(aclrtSetDevice(absent), Code::InvalidDevice as i32);
        assert_eq!(aclrtResetDevice(absent), Code::InvalidDevice as i32);
    }
    assert_eq!(aclrtResetDevice(1), 0);
    // SAFETY: a place for a number, and text that lives as long as the library.
    unsafe {
        assert_eq!(aclrtGetDevice(&mut device), Code::NoContext as i32);
        assert_eq!(CStr::from_ptr(aclrtGetSocName()), c"Ascend910B1");
    }
}

#[test]
fn a_stream_of_another_context_is_refused() {
    let stream = new_stream();
    assert_eq!(aclrtSetDevice(1), 0);
    assert_eq!(aclrtSynchronizeStream(stream), Code::StreamContext as i32);
    assert_eq!((aclrtSetDevice(0), aclrtDestroyStream(stream)), (0, 0));
}

#[test]
fn an_address_is_told_with_its_allocation() {
    let (memory, host) = (device_memory(100), 0_u8);
    let mut found = PointerAttributes::default();
    let (mut base, mut size) = (null_mut(), 0);
    // SAFETY: places for results.
    unsafe {
        assert_eq!(aclrtPointerGetAttributes(memory.wrapping_byte_add(99), &mut found), 0);
        assert_eq!((found.device, found.location), (0, 1));
        assert_eq!(aclrtMemGetAddressRange(memory.wrapping_byte_add(99), &mut base, &mut size), 0);
        assert_eq!((base, size), (memory, 100));
        assert_eq!(aclrtPointerGetAttributes((&raw const host).cast(), &mut found), 0);
        assert_eq!(found.location, 2);
        let refused = aclrtMemGetAddressRange((&raw const host).cast_mut().cast(), &mut base, &mut size);
        assert_eq!(refused, Code::RuntimeParameter as i32);
    }
    assert_eq!(aclrtFree(memory), 0);
}

#[test]
fn streams_write_and_wait_for_words_that_a_device_reaches() {
    #[repr(align(4096))]
    struct Page([u64; 512]);
    let stream = new_stream();
    let mut page = Box::new(Page([0; 512]));
    let host = (&raw mut page.0[0]).cast::<c_void>();
    let mut mapped = null_mut();
    // SAFETY: a page that stays until it is unregistered, and words of it.
    unsafe {
        let between = host.wrapping_byte_add(8);
        assert_eq!(aclrtHostRegister(between, 8, 0, &mut mapped), Code::Unaligned as i32);
        assert_eq!(aclrtHostRegister(host, 4096, 1, &mut mapped), Code::InvalidParameter as i32);
        assert_eq!((aclrtHostRegister(host, 4096, 0, &mut mapped), mapped == host), (0, false));
        assert_eq!(aclrtValueWrite(host, 1, 0, stream), Code::RuntimeParameter as i32);
        assert_eq!(aclrtValueWait(mapped, 1, 4, stream), Code::InvalidParameter as i32);
        let second = mapped.wrapping_byte_add(8);
        assert_eq!(aclrtValueWait(mapped, 3, 0, stream), 0);
        assert_eq!(aclrtValueWrite(second, 7, 0, stream), 0);
        assert_eq!(aclrtSynchronizeStreamWithTimeout(stream, 1), Code::StreamTimeout as i32);
        assert_eq!(host.cast::<u64>().add(1).read_volatile(), 0);
        std::sync::atomic::AtomicU64::from_ptr(host.cast()).store(4, std::sync::atomic::Ordering::Release);
        assert_eq!(aclrtSynchronizeStream(stream), 0);
        assert_eq!(host.cast::<u64>().add(1).read_volatile(), 7);
    }
    assert_eq!((aclrtHostUnregister(host), aclrtDestroyStream(stream)), (0, 0));
    assert_eq!(aclrtHostUnregister(host), Code::RuntimeParameter as i32);
}

#[test]
fn keys_name_whole_allocations_and_are_closed_once() {
    let memory = device_memory(64);
    let mut key = [1 as c_char; 65];
    // SAFETY: room for a key, and C strings.
    unsafe {
        let export = |at, size, key: &mut [c_char; 65], room| {
            aclrtIpcMemGetExportKey(at, size, key.as_mut_ptr(), room, 1)
        };
        let refused = Code::RuntimeParameter as i32;
        assert_eq!(export(memory.wrapping_byte_add(8), 8, &mut key, 65), refused);
        assert_eq!(export(memory, 65, &mut key, 65), refused);
        assert_eq!(export(memory, 64, &mut key, 64), refused);
        assert_eq!((export(memory, 64, &mut key, 65), key[64]), (0, 0));
        // The process's own memory is not opened, nor what is no key.
        let mut place = null_mut();
        assert_eq!(aclrtIpcMemImportByKey(&mut place, key.as_ptr(), 0), refused);
        assert_eq!(aclrtIpcMemImportByKey(&mut place, c"no key".as_ptr(), 0), refused);
        assert_eq!(aclrtIpcMemImportByKey(&mut place, null(), 0), Code::InvalidParameter as i32);
        let mut counts = fake_device::Counts::default();
        fake_device_counts(&mut counts);
        assert_eq!(counts.others, 1);
        assert_eq!((aclrtIpcMemClose(key.as_ptr()), aclrtIpcMemClose(key.as_ptr())), (0, refused));
    }
    assert_eq!(aclrtFree(memory), 0);
}

#[test]
fn the_runtime_is_initialised_and_finalised_once() {
    assert_eq!(aclFinalize(), Code::Uninitialised as i32);
    assert_eq!(aclInit(null()), 0);
    assert_eq!(aclInit(null()), Code::RepeatedInitialise as i32);
    assert_eq!(aclFinalize(), 0);
    assert_eq!(aclFinalize(), Code::RepeatedFinalise as i32);
}

/// What a gate needs: it opens when something is received.
struct Gate(Receiver<()>);

/// Waits for the gate.
unsafe extern "C" fn wait_for_gate(argument: *mut c_void) {
    // SAFETY: the test's gate, which lives until the stream was destroyed.
    let gate = unsafe { &*argument.cast::<Gate>() };
    gate.0.recv_timeout(PATIENCE).expect("the test opens the gate");
}

/// A stream that stands still until the sender is used.
fn blocked_stream() -> (*mut c_void, Sender<()>, Box<Gate>) {
    let (stream, (open, opened)) = (new_stream(), channel());
    let gate = Box::new(Gate(opened));
    let argument = (&raw const *gate).cast_mut().cast();
    // SAFETY: the gate outlives the stream's work in every test.
    assert_eq!(unsafe { aclrtLaunchHostFunc(stream, Some(wait_for_gate), argument) }, 0);
    (stream, open, gate)
}

#[test]
fn a_stream_runs_in_order_and_an_event_joins_two() {
    let (first, open, gate) = blocked_stream();
    let (second, event) = (new_stream(), new_event());
    let (source, memory) = ([9_u8; 16], device_memory(16));
    let mut found = [0_u8; 16];
    let (mut status, mut query) = (-1, -1);
    // SAFETY: places for numbers, and ranges of 16 bytes that live until both streams are done.
    unsafe {
        assert_eq!((aclrtQueryEventStatus(event, &mut status), status), (0, 0));
        assert_eq!(aclrtMemcpyAsync(memory, 16, source.as_ptr().cast(), 16, HOST_TO_DEVICE, first), 0);
        assert_eq!(aclrtRecordEvent(event, first), 0);
        assert_eq!(aclrtStreamWaitEvent(second, event), 0);
        assert_eq!(aclrtMemcpyAsync(found.as_mut_ptr().cast(), 16, memory, 16, DEVICE_TO_HOST, second), 0);
        assert_eq!((aclrtQueryEventStatus(event, &mut status), status), (0, 0));
        assert_eq!((aclrtStreamQuery(second, &mut query), query), (0, 1));
    }
    assert_eq!(aclrtSynchronizeStreamWithTimeout(second, 0), Code::StreamTimeout as i32);
    open.send(()).expect("the gate waits");
    assert_eq!((aclrtSynchronizeEvent(event), aclrtSynchronizeStream(second)), (0, 0));
    // SAFETY: places for numbers.
    unsafe {
        assert_eq!((aclrtQueryEventStatus(event, &mut status), status), (0, 1));
        assert_eq!((aclrtStreamQuery(second, &mut query), query), (0, 0));
    }
    assert_eq!(found, source);
    assert_eq!((aclrtSynchronizeDevice(), aclrtDestroyEvent(event)), (0, 0));
    assert_eq!((aclrtDestroyStream(first), aclrtDestroyStream(second), aclrtFree(memory)), (0, 0, 0));
    drop(gate);
}

#[test]
fn handles_that_are_no_more_and_nulls_are_refused() {
    let (stream, event) = (new_stream(), new_event());
    assert_eq!((aclrtDestroyStream(stream), aclrtDestroyEvent(event)), (0, 0));
    let (invalid, parameter) = (Code::InvalidHandle as i32, Code::InvalidParameter as i32);
    assert_eq!(aclrtDestroyStream(stream), invalid);
    assert_eq!(aclrtDestroyStream(null_mut()), invalid);
    assert_eq!(aclrtSynchronizeStream(stream), invalid);
    assert_eq!(aclrtSynchronizeStreamWithTimeout(stream, -2), parameter);
    assert_eq!(aclrtStreamWaitEvent(null_mut(), event), invalid);
    assert_eq!(aclrtRecordEvent(event, null_mut()), invalid);
    assert_eq!((aclrtSynchronizeEvent(event), aclrtDestroyEvent(event)), (invalid, invalid));
    let mut status = -1;
    // SAFETY: places for results, or null; no function to call.
    unsafe {
        assert_eq!(aclrtStreamQuery(stream, &mut status), invalid);
        assert_eq!(aclrtQueryEventStatus(event, &mut status), invalid);
        assert_eq!(aclrtLaunchHostFunc(null_mut(), None, null_mut()), parameter);
        assert_eq!((aclrtCreateStream(null_mut()), aclrtCreateEvent(null_mut())), (parameter, parameter));
    }
    assert_eq!(status, -1);
    // The default stream is always there.
    assert_eq!(aclrtSynchronizeStream(null_mut()), 0);
}
