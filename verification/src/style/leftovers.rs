//! Work that was put off: macros that panic in place of code, and notes to come back.

use crate::source::Token;

/// Macros that stand for code that is not there.
const MACROS: [&str; 2] = ["todo", "unimplemented"];

/// Words that mark a comment as a note to come back.
const NOTES: [&str; 2] = ["TODO", "FIXME"];

/// Leftovers with their lines.
pub(super) fn find(tokens: &[Token<'_>]) -> Vec<(usize, String)> {
    let macros = tokens.windows(2).filter_map(|pair| {
        let name = MACROS.iter().find(|name| pair[0].is(name) && pair[1].is("!"))?;
        Some((pair[0].line, format!("{name}! stands for code that is not there")))
    });
    let notes = tokens.iter().filter(|token| token.is_comment()).flat_map(|comment| {
        let lines = comment.text.lines().enumerate();
        lines.filter_map(|(at, text)| {
            let word = text.split(|c: char| !c.is_alphanumeric()).find(|word| NOTES.contains(word))?;
            Some((comment.line + at, format!("a comment says {word}")))
        })
    });
    macros.chain(notes).collect()
}
