//! Shows that pmd-core needs neither std nor libc: a static program that links nothing else and does real work.
//!
//! The `no_std` suite builds it in the release profile and runs it. Each check prints `ok NAME`; the exit code is 0
//! only if all of them hold, 1 if one does not, and 2 after a panic.
#![no_std]
#![no_main]

extern crate alloc;

mod checks;
mod memory;
mod system;

use core::panic::PanicInfo;

/// What a check is called, and what it does.
type Check = (&'static str, fn() -> bool);

const CHECKS: [Check; 4] = [
    ("write request", checks::write_request),
    ("completion", checks::completion),
    ("ring between two ends", checks::ring),
    ("ring from many producers", checks::shared_ring),
];

/// Called by the start code with a stack and nothing else.
pub(crate) extern "C" fn start() -> ! {
    let mut code = 0;
    for (name, check) in CHECKS {
        let holds = check();
        system::print(if holds { "ok " } else { "failed " });
        system::print(name);
        system::print("\n");
        code |= i32::from(!holds);
    }
    system::exit(code)
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    system::print("failed: a panic\n");
    system::exit(2)
}
