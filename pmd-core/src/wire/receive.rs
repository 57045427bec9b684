//! The receive WQE: data segments only, `stride` bytes a slot, ended early by a terminator.
//!
//! ConnectX PRM, "Receive WQE"; rdma-core `mlx5_post_recv` in `providers/mlx5/qp.c`. A slot of a shared
//! receive queue puts a [`NextSegment`](super::NextSegment) in front of the same list.

use super::data::DataSegment;
use super::{UNIT, Unit};

/// Writes `segments` into a receive slot and ends the list when the slot has room for more. Elements that the
/// slot cannot hold are not written: the queue checks the count before.
#[inline]
pub fn emit(segments: &[DataSegment], slot: &mut [Unit]) {
    let ended = segments.len() < slot.len();
    for (segment, out) in segments.iter().zip(slot.iter_mut()) {
        segment.emit(out);
    }
    if ended {
        DataSegment::TERMINATOR.emit(&mut slot[segments.len()]);
    }
}

/// The data segments of one receive slot, up to its terminator or its end.
#[derive(Clone, Debug)]
pub struct ReceiveSegments<'a> {
    units: core::slice::Iter<'a, Unit>,
}

impl<'a> ReceiveSegments<'a> {
    /// Reads a slot; bytes after its last whole unit are not looked at.
    #[must_use]
    pub fn new(slot: &'a [u8]) -> Self {
        let (units, _) = slot.as_chunks::<UNIT>();
        Self { units: units.iter() }
    }
}

impl Iterator for ReceiveSegments<'_> {
    type Item = DataSegment;

    #[inline]
    fn next(&mut self) -> Option<DataSegment> {
        let segment = DataSegment::parse(self.units.next()?);
        if segment.is_terminator() {
            self.units = [].iter();
            return None;
        }
        Some(segment)
    }
}
