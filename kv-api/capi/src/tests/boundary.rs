use std::{
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::boundary::{guard, guard_code, milliseconds};

#[test]
fn a_panic_is_a_status_and_its_text_is_kept_for_the_thread() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let statuses =
        [guard(|| panic!("one {}", 1)), guard(|| panic!("two")), guard(|| std::panic::panic_any(3))];
    let code = guard_code(0, 9, || -> Result<(), (i32, String)> { panic!("four\0") });
    std::panic::set_hook(hook);
    assert_eq!(statuses, [pmd_kv_status::Panic; 3]);
    assert_eq!(code, 9);
    assert_eq!(last_error(), "a defect of this library: four?");
    thread::spawn(|| assert_eq!(last_error(), "")).join().expect("the other thread");
    // A call that is done says nothing.
    assert_eq!(guard(|| Ok(())), pmd_kv_status::Ok);
    assert_eq!(last_error(), "a defect of this library: four?");
}

#[test]
fn the_last_error_can_be_read_while_the_thread_ends() {
    // A call in a destructor of thread-local data comes after this crate's own may be gone: a status, no abort.
    struct Late;
    impl Drop for Late {
        fn drop(&mut self) {
            assert_eq!(pmd_kv_engine_close(null_mut()), pmd_kv_status::NullPointer);
        }
    }
    thread_local! {
        static LATE: Late = const { Late };
    }
    thread::spawn(|| {
        LATE.with(|_| {});
        assert_eq!(pmd_kv_engine_close(null_mut()), pmd_kv_status::NullPointer);
    })
    .join()
    .expect("the other thread");
}

#[test]
fn no_time_is_beyond_the_clock() {
    assert!(
        Instant::now() + milliseconds(u64::MAX) > Instant::now() + Duration::from_secs(300 * 24 * 60 * 60)
    );
    assert_eq!(milliseconds(1500), Duration::from_millis(1500));
}
