//! Stores by instructions of every form that compilers emit, seen through the signal handler.

mod forms;
mod processes;
mod threads;

use std::{
    collections::HashMap,
    sync::{Mutex, Once},
};

use super::*;
use crate::uar::{MmapRequest, PageKind, pages};

/// One store as the sink heard it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Heard {
    offset: usize,
    bytes: Vec<u8>,
}

/// Writes stores down by page. The handler is the process's, so that all tests share it.
struct Recorder(Mutex<Option<HashMap<usize, Vec<Heard>>>>);

static RECORDER: Recorder = Recorder(Mutex::new(None));

impl StoreSink for Recorder {
    fn store(&self, page: &Page, offset: usize, bytes: &[u8]) {
        // More than a signal stack holds.
        let ballast = std::hint::black_box([offset as u8; 256 * 1024]);
        assert_eq!(ballast[ballast.len() - 1], offset as u8);
        let mut stores = self.0.lock().expect("no test panics with it");
        let heard = Heard { offset, bytes: bytes.to_vec() };
        stores.get_or_insert_default().entry(page.address()).or_default().push(heard);
    }
}

/// A page whose stores are written down.
struct Registers {
    address: usize,
}

impl Registers {
    fn map() -> Self {
        static INSTALLED: Once = Once::new();
        INSTALLED.call_once(|| install(&RECORDER).expect("a handler can be installed"));
        let request = MmapRequest { address: 0, length: 4096, flags: libc::MAP_SHARED };
        let start = pages::map(true, PageKind::BlueFlame, &request).expect("a page");
        Self { address: start as usize }
    }

    fn at(&self, offset: usize) -> *mut u8 {
        std::ptr::with_exposed_provenance_mut(self.address + offset)
    }

    /// What was stored since the last call.
    fn heard(&self) -> Vec<Heard> {
        let mut stores = RECORDER.0.lock().expect("no test panics with it");
        stores.as_mut().and_then(|stores| stores.remove(&self.address)).unwrap_or_default()
    }
}

impl Drop for Registers {
    fn drop(&mut self) {
        // Other tests open the device, whose service thread looks at all pages.
        crate::uar::forget(self.at(0).cast(), 4096);
        // SAFETY: mapped by `map`; tests store to it no more.
        unsafe { libc::munmap(self.at(0).cast(), 4096) };
    }
}
