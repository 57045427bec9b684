//! Memory of one side: what it sends from, slots that transfers fill, counters for atomics, and a window whose key comes
//! and goes.

use std::sync::OnceLock;

use pmd_core::memory::{Access, RemoteAddress, Sge};
use pmd_host::{
    region::Region,
    soft::{Arena, ArenaOptions, Device, ProtectionDomain},
};

use crate::{memory::Block, seeds::noise};

/// What nobody has written.
pub(super) const GUARD: u8 = 0xa5;
/// Bytes that requests send from; never written.
pub(super) const SOURCE: usize = 8192;
/// The most that a slot takes.
pub(super) const SLOT: usize = 2048;
/// From slot to slot: what follows the bytes stays a guard.
const STRIDE: usize = SLOT + 32;
/// Slots of each kind.
pub(super) const SLOTS: usize = 12;
/// Atomics' words.
pub(super) const COUNTERS: usize = 4;
/// Bytes of a window.
pub(super) const WINDOW: usize = 512;

const COUNTERS_AT: usize = SOURCE + 3 * SLOTS * STRIDE;
const LENGTH: usize = COUNTERS_AT + 8 * COUNTERS;

/// A slot that nobody has written. Compared as a whole: a loop over bytes costs a fuzzer more than all else.
const UNTOUCHED: [u8; STRIDE] = [GUARD; STRIDE];

/// The bytes to send of both sides, which differ.
fn sources() -> &'static [Vec<u8>; 2] {
    static SOURCES: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
    SOURCES.get_or_init(|| [0, 1].map(|side| noise(side, SOURCE)))
}

/// What a slot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// The peer writes here.
    Landing = 0,
    /// Results of this side's reads and atomics.
    Result = 1,
    /// Receives.
    Buffer = 2,
}

/// A slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) used_for: Use,
    number: usize,
}

/// Registered bytes.
#[derive(Debug)]
struct Room {
    // The region goes first: it must not outlive the bytes.
    region: Option<Region>,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    Heap(Block),
    Arena(Arena, usize),
}

/// All of one side's memory.
#[derive(Debug)]
pub(super) struct Memory {
    main: Room,
    window: Room,
    device: Device,
    busy: [[bool; SLOTS]; 3],
    /// The window's last key that was taken away.
    pub(super) revoked: Option<RemoteAddress>,
}

impl Memory {
    pub(super) fn new(device: &Device, in_arena: bool, side: usize) -> Self {
        let main = Room::new(device, in_arena, LENGTH);
        main.write(0, &vec![GUARD; LENGTH]);
        main.write(0, &sources()[side]);
        main.write(COUNTERS_AT, &[0; 8 * COUNTERS]);
        let window = Room::new(device, in_arena, WINDOW);
        Self { main, window, device: device.clone(), busy: [[false; SLOTS]; 3], revoked: None }
    }

    /// Takes a free slot.
    pub(super) fn take(&mut self, used_for: Use) -> Option<Slot> {
        let number = self.busy[used_for as usize].iter().position(|busy| !busy)?;
        self.busy[used_for as usize][number] = true;
        Some(Slot { used_for, number })
    }

    /// Gives a slot back, whatever it holds: only its guard must be whole.
    pub(super) fn give_back(&mut self, slot: Slot) {
        let guard = self.main.read(slot.offset() + SLOT, STRIDE - SLOT);
        assert!(guard == UNTOUCHED[SLOT..], "bytes behind {slot:?} were written");
        self.main.write(slot.offset(), &[GUARD; SLOT]);
        self.busy[slot.used_for as usize][slot.number] = false;
    }

    /// Gives all slots of a kind back.
    pub(super) fn give_all_back(&mut self, used_for: Use) {
        for number in 0..SLOTS {
            if self.busy[used_for as usize][number] {
                self.give_back(Slot { used_for, number });
            }
        }
    }

    /// Asserts that a slot holds `expected` and nothing else was written there, then gives it back.
    pub(super) fn assert_holds(&mut self, slot: Slot, expected: &[u8]) {
        let bytes = self.main.read(slot.offset(), SLOT);
        assert!(bytes[..expected.len()] == *expected, "{slot:?} holds other bytes than were sent");
        let rest = &bytes[expected.len()..];
        assert!(rest == &UNTOUCHED[..rest.len()], "{slot:?}: written beyond {} bytes", expected.len());
        self.give_back(slot);
    }

    /// Whether a slot holds `expected` so far.
    pub(super) fn holds(&self, slot: Slot, expected: &[u8]) -> bool {
        self.main.read(slot.offset(), expected.len()) == expected
    }

    /// Asserts that what nobody may write was not written.
    pub(super) fn assert_untouched(&self, side: usize) {
        assert!(self.main.read(0, SOURCE) == sources()[side], "memory that is only read was written");
        for used_for in [Use::Landing, Use::Result, Use::Buffer] {
            for number in (0..SLOTS).filter(|number| !self.busy[used_for as usize][*number]) {
                let slot = Slot { used_for, number };
                let bytes = self.main.read(slot.offset(), STRIDE);
                assert!(bytes == UNTOUCHED, "{slot:?} was written and nobody uses it");
            }
        }
    }

    /// Bytes to send.
    pub(super) fn source(&self, offset: usize, length: usize) -> Vec<u8> {
        self.main.read(offset, length)
    }

    /// A list over bytes to send.
    pub(super) fn source_list(&self, offset: usize, length: usize, pieces: usize) -> Vec<Sge> {
        self.main.list(offset, length, pieces)
    }

    /// A list over a slot.
    pub(super) fn slot_list(&self, slot: Slot, length: usize, pieces: usize) -> Vec<Sge> {
        self.main.list(slot.offset(), length, pieces)
    }

    /// Where a peer reaches a slot.
    pub(super) fn slot_address(&self, slot: Slot) -> RemoteAddress {
        self.main.remote(slot.offset())
    }

    /// Where a peer reaches bytes to send.
    pub(super) fn source_address(&self, offset: usize) -> RemoteAddress {
        self.main.remote(offset)
    }

    /// Where a peer reaches a counter.
    pub(super) fn counter_address(&self, counter: usize) -> RemoteAddress {
        self.main.remote(COUNTERS_AT + 8 * counter)
    }

    /// The end of the memory; that of an arena is a whole number of pages.
    pub(super) fn end_address(&self) -> RemoteAddress {
        self.main.remote(self.main.region().length() as usize)
    }

    pub(super) fn counter(&self, counter: usize) -> u64 {
        let bytes = self.main.read(COUNTERS_AT + 8 * counter, 8);
        u64::from_ne_bytes(bytes.try_into().expect("eight bytes"))
    }

    /// Where a peer reaches the window.
    pub(super) fn window_address(&self) -> RemoteAddress {
        self.window.remote(0)
    }

    /// Takes the window's key away, after which nobody reaches it; clears it, and gives another key out.
    pub(super) fn revoke_window(&mut self) {
        self.revoked = Some(self.window.remote(0));
        if let Some(region) = self.window.region.take() {
            region.deregister();
        }
        self.window.write(0, &[0; WINDOW]);
        self.window.register(&self.device);
    }

    /// Whether nobody has written the window since it was revoked.
    pub(super) fn window_is_clear(&self) -> bool {
        self.window.read(0, WINDOW) == [0; WINDOW]
    }
}

impl Slot {
    fn offset(self) -> usize {
        SOURCE + (self.used_for as usize * SLOTS + self.number) * STRIDE
    }
}

impl Room {
    fn new(device: &Device, in_arena: bool, length: usize) -> Self {
        let bytes = if in_arena {
            let arena = device.allocate(length, ArenaOptions::default()).expect("memory");
            Bytes::Arena(arena, length)
        } else {
            Bytes::Heap(Block::new(length))
        };
        let mut room = Self { region: None, bytes };
        room.register(device);
        room
    }

    #[allow(unsafe_code)] // registers memory that the room owns
    fn register(&mut self, device: &Device) {
        let (access, domain) = (Access::all(), ProtectionDomain::default());
        let region = match &self.bytes {
            Bytes::Arena(arena, _) => device.register_source(arena, access, domain),
            // SAFETY: the block outlives the region, and is reached by pointers only.
            Bytes::Heap(block) => unsafe {
                device.register(block.address(), block.length() as u64, access, domain)
            },
        };
        self.region = Some(region.expect("a region"));
    }

    fn region(&self) -> &Region {
        self.region.as_ref().expect("registered but for the moment of revoking")
    }

    fn remote(&self, offset: usize) -> RemoteAddress {
        self.region().remote_address(offset as u64).expect("inside of the memory")
    }

    fn list(&self, offset: usize, length: usize, pieces: usize) -> Vec<Sge> {
        let step = length.div_ceil(pieces).max(1);
        let places = (0..length).step_by(step);
        let piece = |at: usize| {
            let length = step.min(length - at);
            self.region().sge((offset + at) as u64, length as u32).expect("inside of the memory")
        };
        places.map(piece).collect()
    }

    #[allow(unsafe_code)] // looks at memory that transfers reach
    fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        match &self.bytes {
            Bytes::Heap(block) => block.read(offset, length),
            Bytes::Arena(arena, whole) => {
                assert!(offset + length <= *whole);
                // SAFETY: inside of the arena, and everything runs on one thread.
                unsafe { std::slice::from_raw_parts(arena.as_ptr().add(offset), length).to_vec() }
            }
        }
    }

    #[allow(unsafe_code)] // as above
    fn write(&self, offset: usize, bytes: &[u8]) {
        match &self.bytes {
            Bytes::Heap(block) => block.write(offset, bytes),
            Bytes::Arena(arena, whole) => {
                assert!(offset + bytes.len() <= *whole);
                // SAFETY: as above.
                unsafe { arena.as_ptr().add(offset).copy_from(bytes.as_ptr(), bytes.len()) }
            }
        }
    }
}
