//! The commonest request by a short way: a WRITE or READ of one entry that is done in one go.
//!
//! Whatever does not fit is left to [`step`](super::step), which looks at the WQE anew; nothing is changed before all
//! is known to fit. Values stay in registers here, which is the whole point.
#![allow(unsafe_code)] // copies between checked addresses

use pmd_core::{
    memory::Access,
    wire::{ControlFlags, ControlSegment, DataSegment, Opcode, RemoteSegment, Unit, inline},
};

use super::{Requester, Sending};
use crate::soft::{
    Link, Reach,
    engine::{
        copy::{Piece, Tail},
        outstanding::{Record, Wait},
        pass::Pass,
    },
};

/// Units of control, remote and data segment.
const UNITS: u8 = 3;

impl Requester {
    /// Executes the WQE at the head of the queue, if it is of this kind. Whether it was.
    #[inline]
    pub(super) fn execute_single(&mut self, pass: &mut Pass<'_>, link: &mut Link) -> bool {
        let Self { ring, sending } = self;
        let [control, remote, data, _] = ring.block();
        let Ok(control) = ControlSegment::parse(control) else { return false };
        let fits = control.units == UNITS
            && control.index == ring.head()
            && control.queue_pair == sending.number
            && !inline::is_inline(data)
            && sending.is_free(pass);
        if !fits || !sending.move_single(&control, remote, data, pass, link) {
            return false;
        }
        ring.advance(1);
        true
    }
}

impl Sending {
    /// Whether nothing is under way that a direct WRITE would have to wait for.
    #[inline]
    fn is_free(&self, pass: &Pass<'_>) -> bool {
        self.current.offset == 0
            && self.awaited.count == 0
            && self.moves == 0
            && self.one_sided_end.is_none()
            && pass.batch.is_empty()
    }

    #[inline]
    fn move_single(
        &mut self,
        control: &ControlSegment,
        remote: &Unit,
        data: &Unit,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> bool {
        let (local, remote_access) = match control.opcode {
            Opcode::RdmaWrite => (Access::empty(), Access::REMOTE_WRITE),
            Opcode::RdmaRead if link.requests_out.lines_in_use() == 0 => {
                (Access::LOCAL_WRITE, Access::REMOTE_READ)
            }
            _ => return false,
        };
        let (remote, data) = (RemoteSegment::parse(remote), DataSegment::parse(data));
        let length = u64::from(data.length);
        // A length of zero means 2 GiB.
        if length == 0 || length > pass.budget || !link.is_open(pass.keys.active) {
            return false;
        }
        let reach = link.reach(pass.mappings, pass.keys.active, &remote, length, remote_access);
        let Ok(Reach::Direct(there)) = reach else { return false };
        if pass.keys.check_local(self.domain, data.lkey, (data.address, length), local).is_err() {
            return false;
        }
        let here = data.address as *mut u8;
        let recent = &mut *pass.recent;
        // SAFETY: both ranges were checked for `length` bytes in this round.
        unsafe {
            if local.is_empty() {
                let piece = Piece { total: length, offset: 0, length: length as usize };
                Tail::default().place_by(piece, here, there, |from, to, bytes| recent.copy(from, to, bytes));
            } else {
                recent.copy(there, here, length as usize);
            }
        }
        pass.spend(length);
        let byte_count = if local.is_empty() { 0 } else { data.length };
        let signalled = control.flags.contains(ControlFlags::CQ_UPDATE);
        let (index, opcode, wait) = (control.index, control.opcode, Wait::Done);
        self.begun(Record { index, opcode, signalled, byte_count, wait }, pass);
        true
    }
}
