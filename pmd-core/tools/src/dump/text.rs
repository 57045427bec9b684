//! Hexdumps as text: what `wire::dump`, `xxd`, `hexdump -C` and people write.
//!
//! A line is hex digits in groups of any even length. Everything after `|` or `#` is a comment, a line that begins
//! with `!` is one. `00000010:` in front (`xxd`), or a first group of seven digits and more before groups of two
//! (`hexdump -C`), is an offset; after an offset with a colon two blanks end the digits.

use std::ops::Range;

use thiserror::Error;

/// Bytes with the places in the text that they came from.
#[derive(Debug, Default)]
pub(crate) struct Input {
    /// All bytes in order.
    pub(crate) bytes: Vec<u8>,
    /// Lines that held bytes, in order; empty for binary input.
    lines: Vec<Line>,
    /// Whether a line began with `!`, as those do that say what is wrong with an entry.
    pub(crate) has_remarks: bool,
}

/// A line of text that held bytes.
#[derive(Debug)]
struct Line {
    /// Which of the bytes.
    bytes: Range<usize>,
    /// Counted from 1.
    number: usize,
    /// Column of each byte's first digit, counted from 1.
    columns: Vec<usize>,
    /// What stood behind `|`.
    comment: Option<String>,
}

impl Input {
    /// Raw bytes.
    pub(crate) fn binary(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Reads a hexdump.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, TextError> {
        let mut input = Self::default();
        let text = String::from_utf8_lossy(raw);
        for (index, line) in text.lines().enumerate() {
            input.line(index + 1, line)?;
        }
        Ok(input)
    }

    /// Line and column of a byte; for binary input line 1 and the byte's number.
    pub(crate) fn place(&self, byte: usize) -> (usize, usize) {
        let found = self.lines.iter().find(|line| line.bytes.contains(&byte));
        found.map_or((1, byte + 1), |line| (line.number, line.columns[byte - line.bytes.start]))
    }

    /// The comment beside the line that begins with this byte.
    pub(crate) fn comment(&self, byte: usize) -> Option<&str> {
        let position = self.lines.binary_search_by_key(&byte, |line| line.bytes.start).ok()?;
        self.lines[position].comment.as_deref()
    }

    /// Comments in order.
    pub(crate) fn comments(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().filter_map(|line| line.comment.as_deref())
    }

    fn line(&mut self, number: usize, text: &str) -> Result<(), TextError> {
        if text.trim_start().starts_with('!') {
            self.has_remarks = true;
            return Ok(());
        }
        let (digits, comment) = split_comment(text);
        let columns = self.digits(number, digits)?;
        if !columns.is_empty() {
            let bytes = self.bytes.len() - columns.len()..self.bytes.len();
            let comment = comment.map(|comment| comment.trim().to_owned());
            self.lines.push(Line { bytes, number, columns, comment });
        }
        Ok(())
    }

    /// Takes in the bytes of a line and gives the column of each.
    fn digits(&mut self, line: usize, text: &str) -> Result<Vec<usize>, TextError> {
        let mut columns = Vec::new();
        for group in groups(text) {
            if group.text == "*" {
                return Err(TextError::Squeezed { line, column: group.column });
            }
            for (index, character) in group.text.chars().enumerate() {
                if !character.is_ascii_hexdigit() {
                    return Err(TextError::NotHex { line, column: group.column + index, found: character });
                }
            }
            if group.text.len() % 2 != 0 {
                return Err(TextError::OddDigits { line, column: group.column, digits: group.text.len() });
            }
            for (index, pair) in group.text.as_bytes().chunks_exact(2).enumerate() {
                self.bytes.push(nibble(pair[0]) << 4 | nibble(pair[1]));
                columns.push(group.column + 2 * index);
            }
        }
        Ok(columns)
    }
}

/// The part of a line before its comment, and the comment behind `|`. What `hexdump -C` puts between two bars are
/// the bytes again, no comment.
fn split_comment(text: &str) -> (&str, Option<&str>) {
    let end = text.find(['|', '#']).unwrap_or(text.len());
    (&text[..end], text[end..].strip_prefix('|').filter(|comment| !comment.trim_end().ends_with('|')))
}

/// Characters between blanks.
struct Group<'a> {
    text: &'a str,
    /// Of its first character, counted from 1.
    column: usize,
}

/// The groups of a line, without an offset and without the characters that `xxd` prints at the end.
fn groups(text: &str) -> Vec<Group<'_>> {
    if let Some((offset, rest)) = text.split_once(':')
        && offset.trim().chars().all(|character| character.is_ascii_hexdigit())
    {
        let start = offset.len() + 1 + leading_blanks(&text[offset.len() + 1..]);
        let end = rest.trim_start().find("  ").map_or(text.len(), |length| start + length);
        return split(&text[..end], start);
    }
    let mut groups = split(text, 0);
    let bytes = groups.get(1..).unwrap_or_default();
    if !bytes.is_empty() && groups[0].text.len() >= 7 && bytes.iter().all(|group| group.text.len() == 2) {
        groups.remove(0);
    }
    groups
}

fn split(text: &str, start: usize) -> Vec<Group<'_>> {
    let mut column = text[..start].chars().count() + 1;
    let mut groups = Vec::new();
    for part in text[start..].split_inclusive(char::is_whitespace) {
        let group = part.trim_end();
        if !group.is_empty() {
            groups.push(Group { text: group, column });
        }
        column += part.chars().count();
    }
    groups
}

fn leading_blanks(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

fn nibble(digit: u8) -> u8 {
    char::from(digit).to_digit(16).map_or(0, |value| value as u8)
}

/// Why text is no hexdump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum TextError {
    /// A character that is no hex digit.
    #[error(
        "line {line}, column {column}: {found:?} is no hex digit; comments begin with '|' or '#', raw bytes need --binary"
    )]
    NotHex { line: usize, column: usize, found: char },
    /// A group that is no whole number of bytes.
    #[error("line {line}, column {column}: {digits} hex digits are no whole number of bytes: one is missing")]
    OddDigits { line: usize, column: usize, digits: usize },
    /// `*` of hexdump and xxd -a.
    #[error(
        "line {line}, column {column}: '*' stands for repeated lines: dump without squeezing (hexdump -v, xxd without -a)"
    )]
    Squeezed { line: usize, column: usize },
}

#[cfg(test)]
mod tests;
