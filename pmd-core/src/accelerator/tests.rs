//! The parts that need no device: addresses of blocks, and the default way to copy them.
#![allow(unsafe_code)] // calls what the device would follow
extern crate std;

use alloc::vec::Vec;
use std::sync::Mutex;

use super::*;

/// Writes down what it is asked to copy.
#[derive(Debug, Default)]
struct Recorder {
    calls: Mutex<Vec<Vec<CopyRange>>>,
}

impl Stream for Recorder {
    fn native(&self) -> u64 {
        0
    }

    fn record(&self) -> Result<Arc<dyn Event>, AcceleratorError> {
        Err(AcceleratorError::StreamGone)
    }

    fn wait(&self, _: &Arc<dyn Event>) -> Result<(), AcceleratorError> {
        Ok(())
    }

    fn signal(&self, _: &Arc<dyn Flag>, _: u64) -> Result<(), AcceleratorError> {
        Ok(())
    }

    fn wait_value(&self, _: &Arc<dyn Flag>, _: u64) -> Result<(), AcceleratorError> {
        Ok(())
    }

    unsafe fn copy(&self, copies: &[CopyRange]) -> Result<(), AcceleratorError> {
        self.calls.lock().unwrap().push(copies.to_vec());
        Ok(())
    }
}

const FROM: BlockTable = BlockTable { base: 0x1000, stride: 0x200 };
const TO: BlockTable = BlockTable { base: 0x9000_0000, stride: 0x400 };

fn copies(pairs: &[BlockPair]) -> BlockCopies<'_> {
    BlockCopies { from: FROM, to: TO, block_bytes: 0x200, pairs, direction: CopyDirection::DeviceToDevice }
}

#[test]
fn a_block_lies_at_its_number_times_the_stride() {
    let copy = copies(&[]).copy_of(BlockPair { from: 3, to: 2 }).unwrap();
    assert_eq!((copy.from, copy.to, copy.length), (0x1600, 0x9000_0800, 0x200));
    assert_eq!(FROM.address(u32::MAX), Some(0x1000 + 0x200 * u64::from(u32::MAX)));
}

#[test]
fn blocks_beyond_the_address_space_are_refused() {
    let far = BlockTable { base: u64::MAX - 0x300, stride: 0x100 };
    let blocks = BlockCopies { to: far, ..copies(&[]) };
    assert!(blocks.copy_of(BlockPair { from: 0, to: 1 }).is_ok());
    for to in [2, 3, u32::MAX] {
        let error = blocks.copy_of(BlockPair { from: 0, to }).unwrap_err();
        assert_eq!(
            error,
            AcceleratorError::Range { address: far.base, length: 0x200, available: None },
            "{to}"
        );
    }
    let error = BlockTable { base: 0, stride: u64::MAX }.address(2);
    assert_eq!(error, None);
}

#[test]
fn every_block_is_copied_once_in_batches() {
    let pairs: Vec<BlockPair> = (0..150).map(|block| BlockPair { from: block, to: 149 - block }).collect();
    let recorder = Recorder::default();
    // SAFETY: the recorder follows no address.
    unsafe { recorder.copy_blocks(&copies(&pairs)) }.unwrap();
    let calls = recorder.calls.into_inner().unwrap();
    assert_eq!(calls.iter().map(Vec::len).collect::<Vec<_>>(), [64, 64, 22]);
    let wanted: Vec<CopyRange> = pairs.iter().map(|pair| copies(&pairs).copy_of(*pair).unwrap()).collect();
    assert_eq!(calls.concat(), wanted);
}

#[test]
fn nothing_is_copied_of_no_blocks() {
    let recorder = Recorder::default();
    // SAFETY: the recorder follows no address.
    unsafe { recorder.copy_blocks(&copies(&[])) }.unwrap();
    assert_eq!(recorder.calls.into_inner().unwrap().len(), 0);
}

#[test]
fn addresses_are_written_as_sysfs_does() {
    let address = PciAddress { domain: 0, bus: 0x3b, device: 0, function: 1 };
    assert_eq!(alloc::format!("{address}"), "0000:3b:00.1");
}

#[test]
fn addresses_are_read_as_they_are_written() {
    let address = PciAddress { domain: 0x10000, bus: 0xc1, device: 31, function: 7 };
    assert_eq!(PciAddress::parse("10000:C1:1f.7"), Some(address));
    assert_eq!(PciAddress::parse(&alloc::format!("{address}")), Some(address));
    let wrong =
        ["", "3b:00.0", "0000:3b:00", "0000:3b:00.8", "0000:3b:20.0", "0000:13b:00.0", "0000:+b:00.0"];
    for text in wrong.into_iter().chain(["100000000:3b:00.0", ":3b:00.0", "0000:3b:00.0:1", "pci0000:3a"]) {
        assert_eq!(PciAddress::parse(text), None, "{text}");
    }
}
