//! What a store to a register page means. The layout is the ConnectX PRM's ("UAR Page Format").
//!
//! Called by [`super::trap`] for every store, in order; the scans of the other modes see only what is left in the page.

use pmd_core::sync::Ordering;

use super::pages::{HALF_BYTES, Page, PageKind, REGISTERS_START};

/// Where a completion queue is armed.
pub(super) const ARM: usize = 0x20;
/// Bytes of a doorbell, and of one word of a BlueFlame copy.
pub(super) const WORD_BYTES: usize = 8;

/// Who hears of stores that were recognised: the device.
pub trait Doorbells: Sync {
    /// A send doorbell: the first eight bytes of a WQE, big-endian.
    fn ring(&self, register: u64);
    /// Word 1 or later of the WQE whose first word rang.
    fn blue_flame(&self, ringing: u64, word: usize, value: u64);
    /// A completion queue wants an event.
    fn arm(&self, register: u64);
    /// A store that is nothing of these.
    fn stray_store(&self, offset: usize, bytes: usize);
}

/// Tells the device of one store.
pub(super) fn deliver(device: &dyn Doorbells, page: &Page, offset: usize, bytes: &[u8]) {
    let whole_words = bytes.len().is_multiple_of(WORD_BYTES) && offset.is_multiple_of(WORD_BYTES);
    let in_one_half = offset % HALF_BYTES + bytes.len() <= HALF_BYTES;
    if offset == ARM && bytes.len() == WORD_BYTES {
        device.arm(word(bytes));
    } else if offset >= REGISTERS_START && whole_words && in_one_half {
        // Wider stores are several words: write-combining buffers join stores anyhow.
        let words = bytes.chunks_exact(WORD_BYTES).zip((offset..).step_by(WORD_BYTES));
        words.for_each(|(bytes, offset)| deliver_word(device, page, offset, word(bytes)));
    } else {
        device.stray_store(offset, bytes.len());
    }
}

fn deliver_word(device: &dyn Doorbells, page: &Page, offset: usize, value: u64) {
    let rung = page.rung((offset - REGISTERS_START) / HALF_BYTES);
    let index = offset % HALF_BYTES / WORD_BYTES;
    if index == 0 {
        rung.store(value, Ordering::Relaxed);
        return device.ring(value);
    }
    match rung.load(Ordering::Relaxed) {
        ringing if ringing != 0 && page.kind() == PageKind::BlueFlame => {
            device.blue_flame(ringing, index, value)
        }
        _ => device.stray_store(offset, WORD_BYTES),
    }
}

fn word(bytes: &[u8]) -> u64 {
    let mut word = [0; WORD_BYTES];
    word.copy_from_slice(bytes);
    u64::from_be_bytes(word)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::uar::pages::Pages;

    #[derive(Debug, PartialEq, Eq)]
    enum Heard {
        Ring(u64),
        BlueFlame(u64, usize, u64),
        Arm(u64),
        Stray(usize, usize),
    }

    #[derive(Default)]
    struct Ears(Mutex<Vec<Heard>>);

    impl Ears {
        fn hear(&self, heard: Heard) {
            self.0.lock().expect("no test panics with it").push(heard);
        }
    }

    impl Doorbells for Ears {
        fn ring(&self, register: u64) {
            self.hear(Heard::Ring(register));
        }

        fn blue_flame(&self, ringing: u64, word: usize, value: u64) {
            self.hear(Heard::BlueFlame(ringing, word, value));
        }

        fn arm(&self, register: u64) {
            self.hear(Heard::Arm(register));
        }

        fn stray_store(&self, offset: usize, bytes: usize) {
            self.hear(Heard::Stray(offset, bytes));
        }
    }

    fn heard(kind: PageKind, stores: &[(usize, &[u8])]) -> Vec<Heard> {
        let (pages, ears) = (Box::new(Pages::new()), Ears::default());
        assert!(pages.add(0x10_000, kind));
        for (offset, bytes) in stores {
            let (page, offset) = pages.find(0x10_000 + offset).expect("just added");
            deliver(&ears, page, offset, bytes);
        }
        ears.0.into_inner().expect("no test panics with it")
    }

    #[test]
    fn doorbells_and_arms_are_big_endian() {
        let word: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7];
        let stores = [(0x20, word), (0x800, word), (0x900, word), (0xf00, word)];
        let expected = [Heard::Arm(0x0001_0203_0405_0607)]
            .into_iter()
            .chain((0..3).map(|_| Heard::Ring(0x0001_0203_0405_0607)));
        assert_eq!(heard(PageKind::BlueFlame, &stores), expected.collect::<Vec<_>>());
    }

    #[test]
    fn words_after_a_doorbell_belong_to_the_one_of_their_half() {
        let (first, second, third) = ([1; 8], [2; 8], [3; 8]);
        let stores: [(usize, &[u8]); 4] =
            [(0x800, &first), (0x900, &second), (0x808, &third), (0x938, &third)];
        let all = |byte: u8| u64::from_be_bytes([byte; 8]);
        let expected = [
            Heard::Ring(all(1)),
            Heard::Ring(all(2)),
            Heard::BlueFlame(all(1), 1, all(3)),
            Heard::BlueFlame(all(2), 7, all(3)),
        ];
        assert_eq!(heard(PageKind::BlueFlame, &stores), expected);
    }

    #[test]
    fn a_wide_store_is_the_words_in_it() {
        let mut wide = [7; 32];
        wide[8..].fill(9);
        let all = |byte: u8| u64::from_be_bytes([byte; 8]);
        let words = (1..4).map(|word| Heard::BlueFlame(all(7), word, all(9)));
        let expected: Vec<_> = [Heard::Ring(all(7))].into_iter().chain(words).collect();
        assert_eq!(heard(PageKind::BlueFlame, &[(0xa00, &wide)]), expected);
    }

    #[test]
    fn everything_else_is_stray() {
        let bytes = [1; 64];
        let stores = [
            (0x20, 4),   // half an arm
            (0x28, 8),   // beside the arm
            (0x800, 4),  // half a doorbell
            (0x804, 8),  // not aligned
            (0x808, 8),  // a word of no WQE
            (0x8f8, 16), // over the end of a half
            (0x0, 8),
        ];
        let stored: Vec<(usize, &[u8])> =
            stores.iter().map(|(offset, length)| (*offset, &bytes[..*length])).collect();
        let expected: Vec<Heard> =
            stores.iter().map(|(offset, length)| Heard::Stray(*offset, *length)).collect();
        assert_eq!(heard(PageKind::BlueFlame, &stored), expected);
    }

    #[test]
    fn a_page_without_blue_flame_takes_doorbells_only() {
        let stores: [(usize, &[u8]); 2] = [(0x800, &[1; 8]), (0x808, &[1; 8])];
        let expected = [Heard::Ring(0x0101_0101_0101_0101), Heard::Stray(0x808, 8)];
        assert_eq!(heard(PageKind::NonCached, &stores), expected);
    }
}
