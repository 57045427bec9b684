//! The port's link: while it is down nobody answers, and every process hears of the change.

use super::{Device, turn::Turn};
use crate::state::AsynchronousKind;

impl Device {
    /// Brings the link down or up again, for all processes.
    pub fn set_link(&self, is_up: bool) {
        self.turn(|turn| turn.set_link(is_up));
    }
}

impl Turn<'_> {
    /// As [`Device::set_link`]; nothing is raised when nothing changes.
    pub(super) fn set_link(&mut self, is_up: bool) {
        if self.tables.link_down == is_up {
            self.tables.link_down = !is_up;
            self.raise_port(if is_up { AsynchronousKind::PortActive } else { AsynchronousKind::PortError });
        }
    }
}
