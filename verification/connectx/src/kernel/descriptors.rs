//! Which descriptors are the device's. Asked at every `write`, `close` and `ioctl` of the program, also in signal
//! handlers: nothing here locks or allocates.

use std::{
    ffi::c_int,
    sync::atomic::{AtomicI32, AtomicUsize, Ordering},
};

/// Contexts and event files that a process can have.
const PLACES: usize = 1024;
/// No descriptor.
const FREE: c_int = -1;

static DESCRIPTORS: [AtomicI32; PLACES] = [const { AtomicI32::new(FREE) }; PLACES];
/// Places from this one on were never used.
static USED: AtomicUsize = AtomicUsize::new(0);

/// Whether the device knows this descriptor.
pub(super) fn contains(descriptor: c_int) -> bool {
    descriptor >= 0 && place_of(descriptor).is_some()
}

/// Adds one; false when there are too many.
pub(super) fn add(descriptor: c_int) -> bool {
    let free = |place: &AtomicI32| {
        place.compare_exchange(FREE, descriptor, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    };
    let Some(index) = DESCRIPTORS.iter().position(free) else { return false };
    USED.fetch_max(index + 1, Ordering::AcqRel);
    true
}

/// Takes one out; false when it was not there.
pub(super) fn remove(descriptor: c_int) -> bool {
    descriptor >= 0
        && place_of(descriptor).is_some_and(|place| {
            place.compare_exchange(descriptor, FREE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        })
}

/// Takes all out: in a child after fork they are its parent's.
pub(super) fn clear() {
    DESCRIPTORS.iter().for_each(|place| place.store(FREE, Ordering::Release));
}

fn place_of(descriptor: c_int) -> Option<&'static AtomicI32> {
    let used = USED.load(Ordering::Acquire);
    DESCRIPTORS[..used].iter().find(|place| place.load(Ordering::Acquire) == descriptor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_come_and_go() {
        // Numbers that no test opens.
        let descriptor = 900_001;
        assert!(!contains(descriptor) && !contains(-1));
        assert!(add(descriptor) && contains(descriptor));
        assert!(remove(descriptor) && !contains(descriptor) && !remove(descriptor));
        assert!(!remove(-1));
    }
}
