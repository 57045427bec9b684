#![allow(unsafe_code)] // gives pointers of the tests' own

use std::{
    ffi::CStr,
    io,
    ptr::{null, null_mut, without_provenance},
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use pmd_core::sync::{AtomicBool, Ordering};
use pmd_host::{backend::Transport, endpoint::TransportChoice, lane::Idle};

use super::*;

struct Opaque;

static NUMBERS: Table<Opaque, u32> = Table::new("number");

#[test]
fn handles_are_looked_up_and_never_used_twice() {
    let (first, second) = (NUMBERS.insert(7), NUMBERS.insert(8));
    let held = NUMBERS.find(first).expect("there");
    assert_eq!((*held, *NUMBERS.find(second).expect("there")), (7, 8));
    assert_eq!(NUMBERS.remove(first).map(|number| *number), Ok(7));
    assert_eq!(NUMBERS.find(first), Err(BadCall::Handle { what: "number" }));
    assert_eq!(NUMBERS.remove(first), Err(BadCall::Handle { what: "number" }));
    assert_eq!(NUMBERS.find(null()), Err(BadCall::Null { what: "number" }));
    assert_eq!(*held, 7, "whoever uses it still has it");
    assert!(![first, second].contains(&NUMBERS.insert(9)));
}

#[test]
fn texts_are_checked() {
    // SAFETY: null, or texts that end.
    unsafe {
        assert_eq!(text(c"name".as_ptr(), "it"), Ok("name"));
        assert_eq!(text(null(), "it"), Err(BadCall::Null { what: "it" }));
        assert_eq!(optional_text(null(), "it"), Ok(None));
        assert_eq!(text(c"\xff".as_ptr(), "it"), Err(BadCall::NotUtf8 { what: "it" }));
    }
}

#[test]
fn arrays_are_checked() {
    let (what, numbers) = ("it", [1_u32, 2]);
    let odd = without_provenance::<u32>(9);
    // SAFETY: an array of its length, or none.
    unsafe {
        assert_eq!(array(numbers.as_ptr(), 2, what), Ok([1, 2].as_slice()));
        assert_eq!(array(null::<u32>(), 0, what), Ok([].as_slice()));
        assert_eq!(array(null::<u32>(), 1, what), Err(BadCall::Null { what }));
        assert_eq!(array(odd, 1, what), Err(BadCall::Array { what, count: 1, address: 9 }));
        let beyond = array(numbers.as_ptr(), usize::MAX, what).expect_err("too long");
        assert!(matches!(beyond, BadCall::Array { count: usize::MAX, .. }));
        assert_eq!(reference(&raw const numbers, what), Ok(&numbers));
        assert_eq!(reference(null::<u32>(), what), Err(BadCall::Null { what }));
    }
    assert_eq!(writable_array(null_mut::<u32>(), 0, what), Ok(()));
    assert_eq!(writable_array(null_mut::<u32>(), 1, what), Err(BadCall::Null { what }));
}

#[test]
fn results_go_where_there_is_room() {
    let (mut room, mut length) = ([9_u8; 4], 0);
    // SAFETY: room for four bytes, and a place for the length.
    let mut copy = |text: &str, capacity| unsafe {
        let told = Place::new(&raw mut length, "the length").expect("a place");
        (copy_text_out(text, room.as_mut_ptr().cast(), capacity, told), length)
    };
    assert_eq!(copy("abcd", 4), (Err(BadCall::NoRoom { needed: 5, capacity: 4 }), 4));
    assert_eq!(copy("a\0bc", 4), (Ok(()), 3));
    assert_eq!(&room, b"abc\0");
    // SAFETY: no place.
    unsafe {
        Place::<u8>::optional(null_mut()).put(1);
        assert!(Place::<u8>::new(null_mut(), "it").is_err());
        let nowhere = copy_out(b"a", null_mut(), 1, Place::optional(null_mut()));
        assert_eq!(nowhere, Err(BadCall::NoRoom { needed: 1, capacity: 1 }));
    }
}

#[test]
fn panics_and_failures_are_codes_and_texts() {
    // SAFETY: always text that ends with a zero byte.
    let last = || unsafe { CStr::from_ptr(last_error()) }.to_string_lossy().into_owned();
    assert_eq!(last(), "");
    assert_eq!(guard(0, 9, || Err((4, "a\0b".to_owned()))), 4);
    assert_eq!((guard(0, 9, || Ok(())), last().as_str()), (0, "a?b"));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let code = guard(0, 9, || panic!("five"));
    std::panic::set_hook(hook);
    assert_eq!((code, last().as_str()), (9, "a defect of this library: five"));
}

#[test]
fn errors_are_told_with_what_lies_beneath() {
    let beneath = io::Error::other(BadCall::NotUtf8 { what: "a name" });
    assert_eq!(chain(&beneath), "a name is not UTF-8");
}

#[test]
fn no_time_is_beyond_the_clock() {
    let now = Instant::now();
    assert!(now + milliseconds(u64::MAX) > now + Duration::from_secs(300 * 24 * 60 * 60));
    assert_eq!(milliseconds(1500), Duration::from_millis(1500));
}

#[test]
fn settings_have_names() {
    assert_eq!(transport_choice("auto", "it"), Ok(TransportChoice::Auto));
    assert_eq!(transport_choice("shm", "it"), Ok(TransportChoice::Only(Transport::SharedMemory)));
    assert_eq!(idle_policy("park", "it"), Ok(Idle::Park));
    assert_eq!(socket_address("[::1]:7", "it").map(|address| address.port()), Ok(7));
    let wrong = [
        transport_choice("pigeon", "it").map(drop),
        idle_policy("", "it").map(drop),
        socket_address("here", "it").map(drop),
    ];
    for error in wrong {
        assert!(matches!(&error, Err(BadCall::Setting { what: "it", .. })), "{error:?}");
    }
}

#[test]
fn everyone_who_waits_is_woken() {
    let (bell, found) = (Arc::new(Bell::default()), Mutex::new(None::<Waker>));
    assert_eq!(bell.wait(Some(Instant::now()), |_| Poll::<()>::Pending), None);
    let ready = AtomicBool::new(false);
    let look = |waker: &Waker| {
        *found.lock().expect("not poisoned") = Some(waker.clone());
        if ready.load(Ordering::SeqCst) { Poll::Ready(7) } else { Poll::Pending }
    };
    std::thread::scope(|scope| {
        let waiting = [(); 2].map(|()| scope.spawn(|| bell.wait(None, look)));
        ready.store(true, Ordering::SeqCst);
        while waiting.iter().any(|thread| !thread.is_finished()) {
            found.lock().expect("not poisoned").clone().into_iter().for_each(Waker::wake);
        }
        for thread in waiting {
            assert_eq!(thread.join().expect("no panic"), Some(7));
        }
    });
}
