//! Memory that was taken back is gone when nobody holds it, not when somebody has begun to let go of it.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use pmd_core::memory::{RegionDescription, RegionSource};

use super::*;
use crate::accelerator::CpuAccelerator;

/// Memory whose runtime takes its time to let go of it.
#[derive(Debug)]
struct Slow {
    memory: Box<dyn DeviceMemory>,
    /// Told that it has begun.
    begun: Sender<()>,
    /// Says when it may end.
    may_end: Mutex<Receiver<()>>,
}

// SAFETY: the description of memory that the value keeps.
#[expect(unsafe_code, reason = "describes memory")]
unsafe impl RegionSource for Slow {
    fn description(&self) -> RegionDescription {
        self.memory.description()
    }
}

impl DeviceMemory for Slow {
    fn accelerator(&self) -> Arc<dyn Accelerator> {
        self.memory.accelerator()
    }

    fn share(&self) -> Result<ShareHandle, AcceleratorError> {
        self.memory.share()
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.begun.send(()).unwrap();
        self.may_end.lock().unwrap().recv().unwrap();
    }
}

#[test]
fn memory_is_not_gone_while_a_thread_lets_go_of_it() {
    let accelerator = CpuAccelerator::default();
    let ((begun, has_begun), (end, may_end)) = (channel(), channel());
    let memory = accelerator.allocate(64).unwrap();
    let slow = Slow { memory, begun, may_end: Mutex::new(may_end) };
    let memories = Memories::default();
    assert!(memories.are_gone());
    memories.withdraw(1, Arc::new(slow), Vec::new());
    assert!(!memories.are_gone());
    let gone_meanwhile = thread::scope(|scope| {
        scope.spawn(|| memories.let_go());
        has_begun.recv().unwrap();
        memories.let_go();
        let gone = memories.are_gone();
        end.send(()).unwrap();
        gone
    });
    assert!(!gone_meanwhile, "gone before its runtime has let go of it");
    assert!(memories.are_gone());
}
