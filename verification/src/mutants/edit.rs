//! One place of a fault: text that is there exactly once, and what stands there instead.

use std::ops::Range;

use thiserror::Error;

/// A change to one place of one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edit {
    /// The file, relative to pmd-core's folder.
    pub(super) file: &'static str,
    /// Text that is in the file once.
    pub(super) context: &'static str,
    /// The part of it that is replaced, an expression or whole statements; once in the context.
    pub(super) text: &'static str,
    /// What runs there instead.
    pub(super) with: &'static str,
}

/// The source is not what the list was written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Stale {
    /// The text is not there, or more often than once.
    #[error("the text is there {0} times, not once")]
    Count(usize),
    /// The same within the context.
    #[error("the text is {0} times in its context, not once")]
    InContext(usize),
}

/// A change of text that is in the file once.
pub(super) const fn edit(file: &'static str, text: &'static str, with: &'static str) -> Edit {
    Edit { file, context: text, text, with }
}

/// A change of a part of text that is in the file once.
pub(super) const fn within(
    file: &'static str,
    context: &'static str,
    text: &'static str,
    with: &'static str,
) -> Edit {
    Edit { file, context, text, with }
}

impl Edit {
    /// Where in the file the text is.
    pub(super) fn place(&self, source: &str) -> Result<Range<usize>, Stale> {
        let outer = once(source, self.context).map_err(Stale::Count)?;
        let inner = once(self.context, self.text).map_err(Stale::InContext)?;
        let start = outer + inner;
        Ok(start..start + self.text.len())
    }
}

/// The place of text that is there once; how often it is there, otherwise.
fn once(source: &str, text: &str) -> Result<usize, usize> {
    let mut found = source.match_indices(text);
    match (found.next(), found.count()) {
        (Some((at, _)), 0) => Ok(at),
        (None, _) => Err(0),
        (Some(_), others) => Err(1 + others),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_to_be_there_once() {
        let source = "a(b); c(b);";
        assert_eq!(edit("f", "a(b)", "").place(source), Ok(0..4));
        assert_eq!(within("f", "c(b)", "b", "d").place(source), Ok(8..9));
        assert_eq!(edit("f", "b", "").place(source), Err(Stale::Count(2)));
        assert_eq!(edit("f", "e", "").place(source), Err(Stale::Count(0)));
        assert_eq!(within("f", "c(b)", "a", "").place(source), Err(Stale::InContext(0)));
    }
}
