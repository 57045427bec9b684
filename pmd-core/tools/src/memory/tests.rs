use pmd_host::soft::{Device, DeviceConfig};

use super::{Mismatch, POISON, pattern};
use crate::perf::{fabric::Fabric, plan::MemoryChoice};

#[test]
fn patterns_differ_and_are_never_the_poison() {
    let message = |seed| (0..4096).map(|index| pattern(seed, index)).collect::<Vec<_>>();
    assert!(!message(1).contains(&POISON));
    assert_ne!(message(1), message(2));
    assert_ne!(message(1)[..256], message(1)[256..512]);
}

#[test]
fn a_check_finds_the_byte_that_is_wrong() {
    let device = Device::open(DeviceConfig::default()).unwrap();
    for choice in [MemoryChoice::Arena, MemoryChoice::Heap] {
        let mut memory = device.memory(100, choice).unwrap();
        memory.poison();
        memory.fill(32, 64, 7);
        assert_eq!(memory.check(32, 64, 7, None), Ok(()));
        assert!(memory.check(32, 64, 8, None).is_err());
        memory.stamp(95, 0xee);
        assert_eq!(memory.check(32, 64, 7, Some(0xee)), Ok(()));
        memory.stamp(40, POISON);
        let expected = pattern(7, 8);
        let mismatch = Mismatch { offset: 8, size: 64, found: POISON, expected };
        assert_eq!(memory.check(32, 64, 7, Some(0xee)), Err(mismatch));
        assert!(memory.sge(90, 11).is_err());
    }
}
