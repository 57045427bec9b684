//! Every unsafe block and impl says why it is sound; every unsafe function says what its caller must uphold.

use crate::source::{Kind, Token};

/// Unsafe code without its comment, with its line.
///
/// A function of a test (`in_test`) has one caller, which is in sight.
pub(super) fn undocumented(source: &str, tokens: &[Token<'_>], in_test: bool) -> Vec<(usize, String)> {
    let lines: Vec<&str> = source.lines().collect();
    let trait_impls = trait_impl_ranges(tokens);
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.is("unsafe")) {
        let (form, mark) = match form(tokens, at) {
            Some(Form::Block) => ("unsafe block", "SAFETY:"),
            Some(Form::Impl) => ("unsafe impl", "SAFETY:"),
            // What the caller of a trait's function must uphold stands at the trait.
            Some(Form::Function) if trait_impls.iter().any(|range| range.contains(&at)) => continue,
            Some(Form::Function) if in_test => continue,
            Some(Form::Function) => ("unsafe fn", "# Safety"),
            Some(Form::Trait) => ("unsafe trait", "# Safety"),
            None => continue,
        };
        if !comment_in_statement(tokens, at, mark) && !comment_above(&lines, token.line, mark) {
            found.push((token.line, format!("{form} without a `{mark}` comment directly above it")));
        }
    }
    found
}

enum Form {
    Block,
    Impl,
    Function,
    Trait,
}

/// What the word `unsafe` at this index opens; none for a pointer's type, an attribute or an extern block.
fn form(tokens: &[Token<'_>], at: usize) -> Option<Form> {
    let mut after =
        tokens[at + 1..].iter().filter(|token| !token.is_comment() && token.kind != Kind::Literal);
    match after.next()?.text {
        "{" => Some(Form::Block),
        "impl" => Some(Form::Impl),
        "trait" => Some(Form::Trait),
        "auto" => Some(Form::Trait),
        "fn" => named(after.next()),
        "extern" => (after.next()?.is("fn")).then(|| named(after.next())).flatten(),
        _ => None,
    }
}

/// A function that is defined has a name; a function pointer's type has none.
fn named(token: Option<&Token<'_>>) -> Option<Form> {
    token.is_some_and(|token| token.kind == Kind::Word).then_some(Form::Function)
}

/// Whether a comment with this mark stands between the start of the statement and its `unsafe`.
fn comment_in_statement(tokens: &[Token<'_>], at: usize, mark: &str) -> bool {
    tokens[..at]
        .iter()
        .rev()
        .take_while(|token| !(token.is(";") || token.is("{") || token.is("}")))
        .any(|token| token.is_comment() && token.text.contains(mark))
}

/// Whether the comments and attributes directly above this line hold the mark.
fn comment_above(lines: &[&str], line: usize, mark: &str) -> bool {
    lines[..line - 1]
        .iter()
        .rev()
        .map(|line| line.trim_start())
        .take_while(|line| line.starts_with("//") || line.starts_with("#["))
        .any(|line| line.contains(mark))
}

/// The token ranges of the bodies of `impl Trait for Type` blocks.
fn trait_impl_ranges(tokens: &[Token<'_>]) -> Vec<std::ops::Range<usize>> {
    let starts = tokens.iter().enumerate().filter(|(at, token)| token.is("impl") && begins_item(tokens, *at));
    starts
        .filter_map(|(start, _)| {
            let open = start + tokens[start..].iter().position(|token| token.is("{") || token.is(";"))?;
            let header = &tokens[start..open];
            let names_trait = header.windows(2).any(|pair| pair[0].is("for") && !pair[1].is("<"));
            let for_last = header.last().is_some_and(|token| token.is("for"));
            (names_trait || for_last).then(|| open..closing(tokens, open))
        })
        .collect()
}

fn begins_item(tokens: &[Token<'_>], at: usize) -> bool {
    let before = tokens[..at].iter().rev().find(|token| !token.is_comment());
    before.is_none_or(|token| ["}", ";", "{", "]", "unsafe"].iter().any(|text| token.is(text)))
}

fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        depth += usize::from(token.is("{"));
        depth -= usize::from(token.is("}"));
        if depth == 0 {
            return at;
        }
    }
    tokens.len()
}
