//! Names of the fields of a WQE, and the comparison field by field.
//!
//! The layout follows from the request alone, so that a field of the wrong size is a difference as well. ConnectX PRM,
//! "Send WQE Construction"; rdma-core providers/mlx5/mlx5dv.h.

use std::{fmt, ops::Range};

use thiserror::Error;

use super::request::{Data, Extra, Request, Work};

/// How libmlx5 is given requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// A list for ibv_post_send.
    PostSend,
    /// Call by call: ibv_wr_start .. ibv_wr_complete.
    WorkRequest,
}

/// A field of a WQE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) range: Range<usize>,
    /// Whether libmlx5 leaves there what happened to be there: no device looks at it.
    pub(super) is_free: bool,
}

/// A field in which ours and libmlx5's differ.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field} differs: ours {ours}, libmlx5's {theirs}")]
pub(super) struct Difference {
    pub(super) field: String,
    pub(super) ours: Hex,
    pub(super) theirs: Hex,
}

/// Bytes that print in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hex(pub(super) Vec<u8>);

impl fmt::Display for Hex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// Compares two WQEs of equal length, field by field.
pub(super) fn compare(ours: &[u8], theirs: &[u8], fields: &[Field]) -> Result<(), Difference> {
    for Field { name, range, is_free } in fields {
        let (mine, other) = (&ours[range.clone()], &theirs[range.clone()]);
        if !is_free && mine != other {
            let (ours, theirs) = (Hex(mine.to_vec()), Hex(other.to_vec()));
            return Err(Difference { field: name.clone(), ours, theirs });
        }
    }
    Ok(())
}

/// The fields of a request's WQE, without gaps.
pub(super) fn fields(request: &Request, path: Path) -> Vec<Field> {
    let mut layout = Layout(Vec::new());
    let has_immediate = match &request.work {
        Work::Write { immediate, .. } => immediate.is_some(),
        Work::Send { extra, .. } => *extra != Extra::None,
        _ => false,
    };
    layout.control(path == Path::WorkRequest && !has_immediate);
    match &request.work {
        Work::Write { data, .. } => {
            layout.remote();
            layout.data(data);
        }
        Work::Read { list, .. } => {
            layout.remote();
            layout.list(list.iter().map(|entry| entry.length));
        }
        Work::Send { data, .. } => layout.data(data),
        Work::CompareSwap { local, .. } | Work::FetchAdd { local, .. } => {
            layout.remote();
            layout.field("atomic.swap_or_add", 8);
            layout.free_field("atomic.compare", 8, matches!(request.work, Work::FetchAdd { .. }));
            layout.list([local.length]);
        }
    }
    layout.0
}

/// Bytes of a WQE.
pub(super) fn length(fields: &[Field]) -> usize {
    fields.last().map_or(0, |field| field.range.end)
}

struct Layout(Vec<Field>);

impl Layout {
    fn free_field(&mut self, name: impl Into<String>, bytes: usize, is_free: bool) {
        let start = length(&self.0);
        self.0.push(Field { name: name.into(), range: start..start + bytes, is_free });
    }

    fn field(&mut self, name: impl Into<String>, bytes: usize) {
        self.free_field(name, bytes, false);
    }

    /// `stale`: the immediate is what the slot held before.
    fn control(&mut self, stale: bool) {
        let parts = [
            ("opcode_modifier", 1),
            ("index", 2),
            ("opcode", 1),
            ("queue_pair", 3),
            ("ds", 1),
            ("signature", 1),
            ("stream", 2),
            ("fm_ce_se", 1),
        ];
        for (name, length) in parts {
            self.field(format!("control.{name}"), length);
        }
        self.free_field("control.immediate", 4, stale);
    }

    fn remote(&mut self) {
        for (name, length) in [("address", 8), ("rkey", 4), ("reserved", 4)] {
            self.field(format!("remote.{name}"), length);
        }
    }

    fn data(&mut self, data: &Data) {
        match data {
            Data::Gather(list) => self.list(list.iter().map(|entry| entry.length)),
            Data::Inline { bytes, .. } if bytes.is_empty() => {}
            Data::Inline { bytes, .. } => {
                self.field("inline.length", 4);
                self.field("inline.bytes", bytes.len());
                let padding = (bytes.len() + 4).next_multiple_of(16) - (bytes.len() + 4);
                self.free_field("inline.padding", padding, true);
            }
        }
    }

    /// Entries without bytes are left out.
    fn list(&mut self, lengths: impl IntoIterator<Item = u32>) {
        for (index, _) in lengths.into_iter().filter(|length| *length != 0).enumerate() {
            for (name, length) in [("length", 4), ("lkey", 4), ("address", 8)] {
                self.field(format!("data[{index}].{name}"), length);
            }
        }
    }
}

#[cfg(test)]
mod tests;
