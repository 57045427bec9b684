//! Local and remote memory: what keys allow, and copies between lists of pieces.
//!
//! Called by `requester`, `responder` and `receives`. Keys are looked up in every turn anew, so that a region that was
//! deregistered in the middle of a long transfer is not written any more.

use pmd_core::{
    memory::Access,
    wire::{DataItem, DataItems},
};

use super::turn::Turn;
use crate::{
    dma::{self, CopyFault},
    state::ProcessIndex,
};

/// Bytes in the memory of one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) pid: u32,
    pub(super) address: u64,
    pub(super) length: u64,
}

/// Whose key is asked for, and what for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Right {
    pub(super) owner: ProcessIndex,
    pub(super) domain: u32,
    pub(super) access: Access,
}

/// A key that does not allow what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forbidden;

impl Turn<'_> {
    /// The bytes that `key` opens at `address`, if it opens all of them.
    pub(super) fn span(
        &self,
        key: u32,
        (address, length): (u64, u64),
        right: Right,
    ) -> Result<Span, Forbidden> {
        let region = self.tables.regions.find(key).ok_or(Forbidden)?;
        let offset = address.checked_sub(region.virtual_start).ok_or(Forbidden)?;
        let fits = offset.checked_add(length).is_some_and(|end| end <= region.length);
        let same = region.owner == right.owner && region.domain == right.domain;
        let access = Access::from_bits_truncate(region.access);
        if !fits || !same || region.invalidated || !access.contains(right.access) {
            return Err(Forbidden);
        }
        Ok(Span { pid: self.pid(region.owner), address: region.start + offset, length })
    }

    /// The local memory of a WQE. Inline payload lies in the WQE's copy, which belongs to this process.
    pub(super) fn gather(&self, data: &DataItems<'_>, right: Right) -> Result<Vec<Span>, Forbidden> {
        let mut spans = Vec::new();
        for item in data.clone() {
            match item {
                DataItem::Memory(segment) => {
                    let range = (segment.address, segment.device_length());
                    spans.push(self.span(segment.lkey, range, right)?);
                }
                DataItem::Inline(first, second) => spans.extend([own_bytes(first), own_bytes(second)]),
            }
        }
        Ok(spans)
    }
}

/// Bytes of this process, to be copied from.
pub(super) fn own_bytes(bytes: &[u8]) -> Span {
    Span { pid: dma::own_pid(), address: bytes.as_ptr() as u64, length: bytes.len() as u64 }
}

/// Bytes of this process, to be copied to.
pub(super) fn own_bytes_mut(bytes: &mut [u8]) -> Span {
    Span { pid: dma::own_pid(), address: bytes.as_mut_ptr() as u64, length: bytes.len() as u64 }
}

/// All bytes of a list.
pub(super) fn total(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.length).sum()
}

/// Copies bytes `skip..skip + length` of `source` to the same place of `target`, or less where one of them ends.
pub(super) fn copy(source: &[Span], target: &[Span], skip: u64, length: u64) -> Result<(), CopyFault> {
    let (mut source, mut target) = (Cursor::new(source, skip), Cursor::new(target, skip));
    let mut left = length;
    while left > 0 {
        let (Some(from), Some(to)) = (source.rest(), target.rest()) else { return Ok(()) };
        let piece = from.length.min(to.length).min(left);
        dma::copy((from.pid, from.address), (to.pid, to.address), piece)?;
        source.advance(piece);
        target.advance(piece);
        left -= piece;
    }
    Ok(())
}

/// A place in a list.
struct Cursor<'a> {
    spans: &'a [Span],
    offset: u64,
}

impl<'a> Cursor<'a> {
    fn new(spans: &'a [Span], skip: u64) -> Self {
        let mut cursor = Self { spans, offset: 0 };
        cursor.advance(skip);
        cursor
    }

    fn advance(&mut self, bytes: u64) {
        self.offset += bytes;
        while let Some((first, rest)) = self.spans.split_first()
            && self.offset >= first.length
        {
            self.offset -= first.length;
            self.spans = rest;
        }
    }

    /// What is left of the span that the cursor is in.
    fn rest(&self) -> Option<Span> {
        let first = self.spans.first()?;
        let address = first.address.wrapping_add(self.offset);
        Some(Span { pid: first.pid, address, length: first.length - self.offset })
    }
}
