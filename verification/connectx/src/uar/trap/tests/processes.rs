//! What happens to faults that are no stores to registers. Most of it ends the process, so that each test runs itself
//! once more, as a child that plays the part.

use std::{
    env,
    os::unix::process::ExitStatusExt,
    process::{Command, Output},
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{super::handlers, super::*, Heard, Recorder, Registers};

/// Set for the child.
const PART: &str = "CONNECTX_TRAP_TEST_PART";

/// Whether this is the child of `test`; else runs it and gives what it wrote.
fn as_child(test: &str) -> Option<Output> {
    if env::var_os(PART).is_some() {
        return None;
    }
    let name = format!("uar::trap::tests::processes::{test}");
    let this = env::current_exe().expect("the path of this test");
    let mut command = Command::new(this);
    command.args([name.as_str(), "--exact", "--nocapture"]).env(PART, test);
    Some(command.output().expect("this test runs once more"))
}

fn standard_error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Address of the last fault that came to a handler of a test.
static FOREIGN: AtomicUsize = AtomicUsize::new(0);

/// Writes the address down, and lets the thread go on behind the two bytes of `mov [rax], cl`.
unsafe extern "C" fn foreign_handler(_: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel's own arguments.
    unsafe {
        FOREIGN.store((*info).si_addr() as usize, Ordering::SeqCst);
        (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_RIP as usize] += 2;
    }
}

fn foreign_action() -> libc::sigaction {
    // SAFETY: zeros are a valid action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = foreign_handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    action
}

/// Stores where nothing is mapped.
fn foreign_store(address: usize) {
    // SAFETY: the handler of the test skips it.
    unsafe { std::arch::asm!("mov [rax], cl", in("rax") address) };
}

fn registers_still_work() {
    let page = Registers::map();
    // SAFETY: a trapped store.
    unsafe { page.at(0x20).cast::<u64>().write_volatile(7) };
    assert_eq!(page.heard(), [Heard { offset: 0x20, bytes: 7u64.to_le_bytes().to_vec() }]);
}

#[test]
fn a_handler_from_before_gets_its_faults() {
    if let Some(output) = as_child("a_handler_from_before_gets_its_faults") {
        assert!(output.status.success(), "{}", standard_error(&output));
        return;
    }
    // SAFETY: a valid action.
    assert_eq!(unsafe { libc::sigaction(libc::SIGSEGV, &foreign_action(), ptr::null_mut()) }, 0);
    registers_still_work();
    foreign_store(0x18);
    assert_eq!(FOREIGN.load(Ordering::SeqCst), 0x18);
    registers_still_work();
}

#[test]
fn a_handler_from_after_gets_its_faults_and_leaves_the_registers() {
    if let Some(output) = as_child("a_handler_from_after_gets_its_faults_and_leaves_the_registers") {
        assert!(output.status.success(), "{}", standard_error(&output));
        return;
    }
    registers_still_work();
    let mut old = foreign_action();
    // SAFETY: valid actions. This is the function that is preloaded over the C library's.
    assert_eq!(unsafe { handlers::sigaction(libc::SIGSEGV, &foreign_action(), &raw mut old) }, 0);
    // Rust's own, for its stack guard: not the trap's.
    assert!(old.sa_sigaction != on_fault as *const () as usize && old.sa_sigaction != libc::SIG_DFL);
    foreign_store(0x28);
    assert_eq!(FOREIGN.load(Ordering::SeqCst), 0x28);
    registers_still_work();
    // SAFETY: as above.
    let earlier = unsafe { handlers::signal(libc::SIGSEGV, libc::SIG_IGN) };
    assert_eq!(earlier, foreign_handler as *const () as usize);
    registers_still_work();
    // SAFETY: an ignored signal that was sent, not a fault.
    unsafe { libc::raise(libc::SIGSEGV) };
}

#[test]
fn other_signals_are_not_touched() {
    let mut old = foreign_action();
    // SAFETY: valid actions; nobody in this process uses SIGWINCH.
    unsafe {
        assert_eq!(handlers::sigaction(libc::SIGWINCH, &foreign_action(), ptr::null_mut()), 0);
        assert_eq!(libc::sigaction(libc::SIGWINCH, ptr::null(), &raw mut old), 0);
        assert_eq!(handlers::signal(libc::SIGWINCH, libc::SIG_DFL), foreign_handler as *const () as usize);
    }
    assert_eq!(old.sa_sigaction, foreign_handler as *const () as usize);
}

#[test]
fn a_fault_that_nobody_wants_ends_the_process() {
    if let Some(output) = as_child("a_fault_that_nobody_wants_ends_the_process") {
        assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{}", standard_error(&output));
        return;
    }
    registers_still_work();
    foreign_store(0x38);
    unreachable!("the store above ends this process");
}

#[test]
fn rust_tells_of_an_overflown_stack() {
    if let Some(output) = as_child("rust_tells_of_an_overflown_stack") {
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{}", standard_error(&output));
        assert!(standard_error(&output).contains("has overflowed its stack"), "{}", standard_error(&output));
        return;
    }
    fn deeper(depth: u64) -> u64 {
        let frame = std::hint::black_box([depth; 512]);
        if depth == u64::MAX { 0 } else { deeper(depth + 1) + frame[7] }
    }
    registers_still_work();
    println!("{}", deeper(0));
}

#[test]
fn a_fault_of_the_device_itself_is_told_and_fatal() {
    struct Faulty;
    impl StoreSink for Faulty {
        fn store(&self, _page: &Page, _offset: usize, _bytes: &[u8]) {
            foreign_store(0x48);
        }
    }
    if let Some(output) = as_child("a_fault_of_the_device_itself_is_told_and_fatal") {
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{}", standard_error(&output));
        assert!(standard_error(&output).contains("device model itself faulted at address 0x48"));
        return;
    }
    install(&Faulty).expect("a handler can be installed");
    registers_still_work();
}

#[test]
fn a_store_that_is_no_plain_one_is_told_and_fatal() {
    if let Some(output) = as_child("a_store_that_is_no_plain_one_is_told_and_fatal") {
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{}", standard_error(&output));
        let told = standard_error(&output);
        assert!(told.contains("offset 0x820") && told.contains("Xchg is no plain store"), "{told}");
        return;
    }
    let page = Registers::map();
    // SAFETY: a trapped access.
    unsafe { std::arch::asm!("xchg [{a}], {v}", a = in(reg) page.at(0x820), v = inout(reg) 0u64 => _) };
}

#[test]
fn a_panic_of_the_device_ends_the_process() {
    struct Panicking(Recorder);
    impl StoreSink for Panicking {
        fn store(&self, page: &Page, offset: usize, bytes: &[u8]) {
            self.0.store(page, offset, bytes);
            panic!("device gave up");
        }
    }
    if let Some(output) = as_child("a_panic_of_the_device_ends_the_process") {
        assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{}", standard_error(&output));
        assert!(standard_error(&output).contains("device gave up"));
        return;
    }
    static PANICKING: Panicking = Panicking(Recorder(std::sync::Mutex::new(None)));
    install(&PANICKING).expect("a handler can be installed");
    registers_still_work();
}
