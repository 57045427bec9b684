//! A child after fork owns nothing of the device that its parent opened, and may open it itself.
#![allow(unsafe_code)] // forks, and opens descriptors as a program does

use std::{ffi::c_int, fs::File, os::fd::IntoRawFd, path::PathBuf};

use connectx::{
    config::{Config, DeviceMemory, Link, Mode, OnViolation},
    kernel, shim,
    state::SharedState,
};

fn config() -> Config {
    let name = format!("connectx-fork-{}", std::process::id());
    Config {
        state: PathBuf::from("/dev/shm").join(name),
        mode: Mode::Step,
        link: Link::InfiniBand,
        dynamic_uars: true,
        ioctl: true,
        on_violation: OnViolation::Report,
        scatter_to_cqe: false,
        device_memory: DeviceMemory::None,
        faults: String::new(),
    }
}

fn open(config: &Config) -> c_int {
    let descriptor = File::open("/dev/null").expect("there is always one").into_raw_fd();
    kernel::open(config, descriptor).expect("a device");
    descriptor
}

/// Processes and contexts that the device knows of.
fn known(state: &SharedState) -> Vec<u32> {
    state.lock().processes.iter().map(|process| process.contexts).collect()
}

/// What the child finds; 0 is as it should be. It may not do much: only its own thread came along.
fn child(config: &Config, state: &SharedState, inherited: c_int) -> c_int {
    if kernel::owns(inherited) || kernel::is_context(inherited) {
        return 1;
    }
    // SAFETY: eight readable bytes.
    let written = unsafe { shim::write(inherited, [0_u8; 8].as_ptr().cast(), 8) };
    if written != -1 || std::io::Error::last_os_error().raw_os_error() != Some(libc::EBADF) {
        return 2;
    }
    if shim::close(inherited) != 0 || known(state) != [1] {
        return 3;
    }
    let own = open(config);
    if !kernel::is_context(own) || known(state) != [1, 1] {
        return 4;
    }
    shim::close(own);
    if known(state) == [1, 0] { 0 } else { 5 }
}

#[test]
fn a_child_leaves_its_parents_device_alone() {
    let config = config();
    let descriptor = open(&config);
    let state = SharedState::open(&config.state).expect("the device's state");
    assert_eq!(known(&state), [1]);
    // SAFETY: the child calls what does not depend on other threads, and ends without running destructors.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = child(&config, &state, descriptor);
        // SAFETY: ends the child.
        unsafe { libc::_exit(code) };
    }
    let mut status = 0;
    // SAFETY: a child of this process, and room for its status.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status), "{status:#x}");
    assert_eq!(libc::WEXITSTATUS(status), 0);
    assert!(kernel::is_context(descriptor));
    assert_eq!(shim::close(descriptor), 0);
    assert!(!kernel::owns(descriptor));
    std::fs::remove_file(&config.state).expect("made above");
}
