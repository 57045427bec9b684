//! Splits Rust source into tokens, so that a rule never mistakes a string or a comment for code.
//!
//! Called through [`tokens`]. It knows as much of the language as the checks need: words, single punctuation
//! characters, comments and literals, each with its place.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An identifier, a keyword or a number.
    Word,
    /// One character of punctuation; `::` is two.
    Punctuation,
    /// A string, byte string, C string or character, raw or not, with its quotes.
    Literal,
    /// A lifetime or a loop label, with its quote.
    Lifetime,
    /// A comment of any form, with its marks.
    Comment,
}

/// One token and its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token<'a> {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its text, exactly as written.
    pub(crate) text: &'a str,
    /// Where its text begins, in bytes from the start of the source.
    pub(crate) offset: usize,
    /// The line on which it begins, from 1.
    pub(crate) line: usize,
}

impl Token<'_> {
    /// Where its text ends, in bytes from the start of the source.
    pub(crate) fn end(&self) -> usize {
        self.offset + self.text.len()
    }

    /// Whether this is code with exactly this text.
    pub(crate) fn is(&self, text: &str) -> bool {
        matches!(self.kind, Kind::Word | Kind::Punctuation) && self.text == text
    }

    /// Whether this is a comment.
    pub(crate) fn is_comment(&self) -> bool {
        self.kind == Kind::Comment
    }
}

/// All tokens of a source, in order, comments among them.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let (mut offset, mut line) = (0, 1);
    while let Some(first) = source[offset..].chars().next() {
        let rest = &source[offset..];
        if first.is_whitespace() {
            line += usize::from(first == '\n');
            offset += first.len_utf8();
            continue;
        }
        let (kind, length) = token(rest, first);
        let text = &rest[..length];
        found.push(Token { kind, text, offset, line });
        line += text.matches('\n').count();
        offset += length;
    }
    found
}

/// The kind and length of the token at the start of `rest`.
fn token(rest: &str, first: char) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if let Some(length) = literal(rest) {
        return (Kind::Literal, length);
    }
    if first == '\'' {
        return quoted(rest);
    }
    if is_word(first) {
        let raw = if rest.starts_with("r#") { 2 } else { 0 };
        return (Kind::Word, raw + rest[raw..].find(|c| !is_word(c)).unwrap_or(rest.len() - raw));
    }
    (Kind::Punctuation, first.len_utf8())
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Block comments nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of a string of any form, or of a byte character, if one begins here.
fn literal(rest: &str) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let after = rest.strip_prefix(*prefix).unwrap_or_default();
        let raw = prefix.ends_with('r') && after.trim_start_matches('#').starts_with('"');
        raw || after.starts_with('"') || *prefix == "b" && after.starts_with('\'')
    })?;
    let after = &rest[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = after.len() - after.trim_start_matches('#').len();
        let closing = format!("\"{}", "#".repeat(hashes));
        let body = hashes + 1;
        let end = after[body..].find(&closing).map_or(after.len(), |at| body + at + closing.len());
        return Some(prefix.len() + end);
    }
    Some(prefix.len() + escaped(after))
}

/// The length of a string or character with escapes, which begins with its quote.
fn escaped(rest: &str) -> usize {
    let quote = rest.as_bytes()[0];
    let mut at = 1;
    while at < rest.len() {
        match rest.as_bytes()[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character or a lifetime: a character closes after one character or an escape.
fn quoted(rest: &str) -> (Kind, usize) {
    let mut characters = rest[1..].chars();
    match (characters.next(), characters.next()) {
        (Some('\\'), _) => (Kind::Literal, escaped(rest)),
        (Some(inner), Some('\'')) => (Kind::Literal, 2 + inner.len_utf8()),
        _ => (Kind::Lifetime, 1 + rest[1..].find(|c| !is_word(c)).unwrap_or(rest.len() - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(source: &str) -> Vec<(Kind, &str)> {
        tokens(source).iter().map(|token| (token.kind, token.text)).collect()
    }

    #[test]
    fn words_and_punctuation() {
        use Kind::{Punctuation, Word};
        let expected =
            [(Word, "a"), (Punctuation, ":"), (Punctuation, ":"), (Word, "r#fn"), (Punctuation, ";")];
        assert_eq!(texts("a::r#fn;"), expected);
    }

    #[test]
    fn strings_hide_their_contents() {
        for string in [
            "\"a \\\" unsafe\"",
            "r\"\\\"",
            "r#\"a \" b\"#",
            "b\"x\"",
            "br##\"\"#\"##",
            "c\"x\"",
            "b'\\''",
            "'\\''",
            "'{'",
        ] {
            assert_eq!(texts(&format!("{string};")), [(Kind::Literal, string), (Kind::Punctuation, ";")]);
        }
    }

    #[test]
    fn lifetimes_are_not_characters() {
        assert_eq!(texts("&'a str"), [(Kind::Punctuation, "&"), (Kind::Lifetime, "'a"), (Kind::Word, "str")]);
        assert_eq!(texts("'a'"), [(Kind::Literal, "'a'")]);
    }

    #[test]
    fn comments_nest_and_end() {
        assert_eq!(texts("/* a /* b */ c */ d // e\nf")[0], (Kind::Comment, "/* a /* b */ c */"));
        assert_eq!(texts("/* a /* b */ c */ d // e\nf")[2], (Kind::Comment, "// e"));
    }

    #[test]
    fn lines_and_offsets_are_counted_through_long_tokens() {
        let source = "/* 1\n2 */ \"3\n4\" ü x";
        let last = *tokens(source).last().expect("tokens");
        assert_eq!((last.text, last.line, last.offset), ("x", 3, source.len() - 1));
    }

    #[test]
    fn an_unclosed_literal_or_comment_ends_with_the_source() {
        for source in ["\"abc", "r#\"abc\"", "/* abc", "'", "b'", "\"\\"] {
            assert_eq!(tokens(source).last().map(Token::end), Some(source.len()), "{source}");
        }
    }
}
