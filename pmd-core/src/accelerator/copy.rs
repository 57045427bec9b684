//! What a stream is asked to copy.

use super::AcceleratorError;

/// Between whose memory a copy goes. Runtimes with one address space for both need it less than others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum CopyDirection {
    /// From the host to the device.
    HostToDevice,
    /// From the device to the host.
    DeviceToHost,
    /// Within one device, or from one device of the runtime to another.
    #[default]
    DeviceToDevice,
    /// Within the host, in the stream's order.
    HostToHost,
}

/// One range to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CopyRange {
    /// First byte to read.
    pub from: u64,
    /// First byte to write.
    pub to: u64,
    /// Bytes; 0 copies nothing.
    pub length: u64,
    /// On which sides `from` and `to` are.
    pub direction: CopyDirection,
}

/// Where blocks lie: block `i` begins at `base + i * stride`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockTable {
    /// First byte of block 0.
    pub base: u64,
    /// Bytes from one block to the next.
    pub stride: u64,
}

impl BlockTable {
    /// The address of a block, or `None` beyond 2^64.
    #[must_use]
    pub const fn address(&self, block: u32) -> Option<u64> {
        match self.stride.checked_mul(block as u64) {
            Some(offset) => self.base.checked_add(offset),
            None => None,
        }
    }
}

/// A block to copy: its number in the table that is read and in the one that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct BlockPair {
    /// Its number where it is read.
    pub from: u32,
    /// Its number where it is written.
    pub to: u32,
}

/// Blocks to copy between two block tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockCopies<'a> {
    /// The table that is read.
    pub from: BlockTable,
    /// The table that is written.
    pub to: BlockTable,
    /// Bytes of each block.
    pub block_bytes: u64,
    /// Which blocks.
    pub pairs: &'a [BlockPair],
    /// On which sides the tables are.
    pub direction: CopyDirection,
}

impl BlockCopies<'_> {
    /// One block as a range.
    ///
    /// # Errors
    /// [`AcceleratorError::Range`] where it would end beyond 2^64.
    pub fn copy_of(&self, pair: BlockPair) -> Result<CopyRange, AcceleratorError> {
        let place = |table: &BlockTable, block| {
            let address = table.address(block);
            address.filter(|address| address.checked_add(self.block_bytes).is_some()).ok_or(
                AcceleratorError::Range { address: table.base, length: self.block_bytes, available: None },
            )
        };
        let (from, to) = (place(&self.from, pair.from)?, place(&self.to, pair.to)?);
        Ok(CopyRange { from, to, length: self.block_bytes, direction: self.direction })
    }
}
