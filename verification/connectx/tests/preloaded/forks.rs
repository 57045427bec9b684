//! A program that forks while it has the device open.

use super::bench::Bench;

#[test]
#[ignore = "runs on the simulated device"]
fn a_child_owns_nothing_and_can_open_the_device_itself() {
    let bench = Bench::new();
    bench.write(1);
    // SAFETY: the child calls what only needs memory and the system, then exits without running anything of the test's.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let own = Bench::new();
        own.write(7);
        let done = own.complete(1) == [7];
        own.destroy();
        // SAFETY: ends this process.
        unsafe { libc::_exit(if done { 0 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: a child that was not waited for.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child ended with {status:#x}");
    bench.write(2);
    assert_eq!(bench.complete(2), [1, 2]);
    bench.destroy();
}
