//! Numbers of layouts towards one server.
//!
//! A layout that the server may not know travels with every request that uses it. Once a response to such a request is
//! here the server knows it, and its number is enough. Number 0 means nothing for longer than its own request: it is for
//! layouts beyond the bound.

use std::collections::HashMap;

use crate::tensor::Layout;

/// Layouts that are remembered.
const MOST_LAYOUTS: u16 = 4096;

#[derive(Debug, Default)]
pub(super) struct Layouts {
    numbers: HashMap<Layout, Known>,
    by_number: Vec<Layout>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    number: u16,
    confirmed: bool,
}

/// How a layout travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbered {
    pub(super) number: u16,
    /// Whether the server knows the number.
    pub(super) confirmed: bool,
}

impl Layouts {
    /// The number of a layout; `None` when there is none left.
    pub(super) fn number(&mut self, layout: &Layout) -> Option<Numbered> {
        if let Some(&Known { number, confirmed }) = self.numbers.get(layout) {
            return Some(Numbered { number, confirmed });
        }
        let number = u16::try_from(self.by_number.len() + 1).ok().filter(|number| *number <= MOST_LAYOUTS)?;
        self.by_number.push(*layout);
        self.numbers.insert(*layout, Known { number, confirmed: false });
        Some(Numbered { number, confirmed: false })
    }

    /// The server has seen what the number stands for.
    pub(super) fn confirm(&mut self, number: u16) {
        let layout = usize::from(number).checked_sub(1).and_then(|index| self.by_number.get(index));
        if let Some(known) = layout.and_then(|layout| self.numbers.get_mut(layout)) {
            known.confirmed = true;
        }
    }
}
