//! Whatever a program sends is answered with an error number, never with a panic, and never takes what it did not make.

use super::*;
use crate::kernel::{abi::command::EXTENDED, ioctl, memory::UserBuffer};

/// Numbers by chance, the same in every run (xorshift, Marsaglia 2003).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Mostly small numbers, which are handles and counts, and now and then anything.
    fn word(&mut self) -> u32 {
        if self.below(4) == 0 { self.next() as u32 } else { self.below(8) as u32 }
    }
}

#[test]
fn writes_by_chance_are_answered() {
    let (library, _) = Library::allocated();
    let mut chance = Chance(0x5eed);
    let mut answer = vec![0_u8; 4096];
    for _ in 0..20_000 {
        let number = (chance.below(44) as u32) | if chance.below(3) == 0 { EXTENDED } else { 0 };
        let words = chance.below(40) as u16;
        let mut bytes = Answer::default().u32(&[number]).u16(&[words, chance.below(80) as u16]);
        bytes = bytes.u64(&[answer.as_mut_ptr() as u64]);
        while bytes.0.len() < usize::from(words) * 4 {
            bytes = bytes.u32(&[chance.word()]);
        }
        let length = bytes.0.len() - (chance.below(8) as usize / 6) * 4;
        let _ = library.write(&bytes.0[..length]);
    }
    assert!(library.plain(command::QUERY_DEVICE, Answer::default()).is_ok());
}

#[test]
fn ioctls_by_chance_are_answered() {
    let (library, _) = Library::allocated();
    let mut chance = Chance(0xfeed);
    let mut room = vec![0_u64; 64];
    let objects = [0, 0, 3, 4, 5, 6, 7, 16, 0x1008, 0x1001];
    for _ in 0..20_000 {
        let object = objects[chance.below(objects.len() as u64) as usize];
        let method = (object, chance.below(4) as u16 | if object >= 0x1000 { 0x1000 } else { 0 });
        let attributes: Vec<(u16, u16, u64)> = (0..chance.below(12))
            .map(|_| {
                let id = chance.below(16) as u16 | if chance.below(4) == 0 { 0x1000 } else { 0 };
                let data = match chance.below(3) {
                    0 => room.as_mut_ptr() as u64,
                    _ => u64::from(chance.word()),
                };
                (id, chance.below(80) as u16, data)
            })
            .collect();
        let _ = library.ioctl(method, &attributes);
    }
    assert!(library.plain(command::QUERY_DEVICE, Answer::default()).is_ok());
}

#[test]
fn every_prefix_of_every_command_is_refused() {
    let (library, _) = Library::allocated();
    for number in 0..40 {
        let Some((request, answered)) = command::sizes(number) else { continue };
        for length in (0..request).step_by(4) {
            let words = [(8 + length) / 4, answered.div_ceil(4)].map(|words| words as u16);
            let bytes = Answer::default().u32(&[number]).u16(&words).pad(8 + length).0;
            assert_ne!(super::number(library.write(&bytes)), 0, "command {number}, {length} bytes");
        }
    }
}

#[test]
fn a_truncated_ioctl_is_refused() {
    let header = |length: u16, count: u16| Answer::default().u16(&[length, 0, 0, count]).pad(24).0;
    let refused = |bytes: &[u8]| {
        let address = bytes.as_ptr() as u64;
        ioctl::parse(address).map(drop).map_err(|error| error.errno().0)
    };
    assert_eq!(refused(&header(24, 0)), Ok(()));
    assert_eq!(refused(&header(24, 1)), Err(libc::EINVAL));
    assert_eq!(refused(&header(23, 0)), Err(libc::EINVAL));
    assert_eq!(ioctl::parse(16).map(drop).map_err(|error| error.errno().0), Err(libc::EFAULT));
    // A header at the very end of what is mapped, whose attributes are not.
    let page = UnmappedAfter::new();
    let bytes = header(24 + 16, 1);
    let address = page.end() - bytes.len() as u64;
    UserBuffer { address, length: bytes.len() }.fill(&Answer(bytes)).expect("mapped");
    assert_eq!(ioctl::parse(address).map(drop).map_err(|error| error.errno().0), Err(libc::EFAULT));
}

/// A page after which nothing is mapped.
struct UnmappedAfter(*mut libc::c_void);

impl UnmappedAfter {
    #[expect(unsafe_code, reason = "maps pages")]
    fn new() -> Self {
        // SAFETY: a new mapping, of which the second page is made unreachable.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let start =
                libc::mmap(std::ptr::null_mut(), 8192, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
            libc::mprotect(start.byte_add(4096), 4096, libc::PROT_NONE);
            Self(start)
        }
    }

    fn end(&self) -> u64 {
        self.0.addr() as u64 + 4096
    }
}

impl Drop for UnmappedAfter {
    #[expect(unsafe_code, reason = "unmaps pages")]
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and nobody reaches it any more.
        unsafe { libc::munmap(self.0, 8192) };
    }
}
