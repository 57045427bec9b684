//! Finds every ordering and every named barrier in a source and says how to weaken just that one.

use std::ops::Range;

use crate::source::{Kind, Token, is_test_name, tokens};

#[cfg(test)]
mod tests;

/// One change to one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mutation {
    /// The bytes that it replaces.
    pub(crate) range: Range<usize>,
    /// What stands there instead.
    pub(crate) replacement: String,
    /// The line, from 1.
    pub(crate) line: usize,
    /// What it does, for the table: `Release -> Relaxed`.
    pub(crate) change: String,
}

/// Barriers of `pmd_core::mmio` that say which stores and loads they order. `flush_writes` is none of them: it hurries a
/// doorbell along, which no model shows.
const BARRIERS: [&str; 4] = ["to_device", "from_device", "before_release", "write_combining_start"];

/// Orderings that promise something, with what is left when the promise is taken back.
///
/// `AcqRel` makes two promises, and each must be needed.
const WEAKER: [(&str, &[&str]); 4] = [
    ("Release", &["Relaxed"]),
    ("Acquire", &["Relaxed"]),
    ("AcqRel", &["Acquire", "Release"]),
    ("SeqCst", &["Relaxed"]),
];

/// Every way to weaken one ordering of the code that ships.
pub(crate) fn mutations(source: &str) -> Vec<Mutation> {
    let code: Vec<Token<'_>> = tokens(source).into_iter().filter(|token| !token.is_comment()).collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < code.len() {
        if let Some(end) = test_item(&code, at).or_else(|| use_item(&code, at)) {
            at = end;
        } else if let Some((mutation, end)) = fence(source, &code, at) {
            found.push(mutation);
            at = end;
        } else {
            found.extend(ordering(source, &code, at));
            at += 1;
        }
    }
    found
}

/// The end of the test module or `#[cfg(test)]` item that begins here.
fn test_item(code: &[Token<'_>], at: usize) -> Option<usize> {
    if code[at].is("mod") {
        return code.get(at + 1).filter(|name| is_test_name(name.text)).map(|_| item_end(code, at));
    }
    if !(code[at].is("#") && code.get(at + 1)?.is("[") && code.get(at + 2)?.is("cfg")) {
        return None;
    }
    let close = at + code[at..].iter().position(|token| token.is("]"))?;
    let words = &code[at..close];
    let for_tests = words.iter().any(|token| token.is("test")) && !words.iter().any(|token| token.is("not"));
    for_tests.then(|| item_end(code, close + 1))
}

/// The end of the import that begins here: what it names is not used there.
fn use_item(code: &[Token<'_>], at: usize) -> Option<usize> {
    code[at].is("use").then(|| at + code[at..].iter().take_while(|token| !token.is(";")).count())
}

/// The index after an item: after its semicolon, or after its closing brace.
fn item_end(code: &[Token<'_>], start: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in code.iter().enumerate().skip(start) {
        depth += usize::from(token.is("{"));
        if token.is("}") {
            depth = depth.saturating_sub(1);
        }
        if depth == 0 && (token.is(";") || token.is("}")) {
            return at + 1;
        }
    }
    code.len()
}

/// A fence or a barrier is taken out whole, with the path before its name.
fn fence(source: &str, code: &[Token<'_>], at: usize) -> Option<(Mutation, usize)> {
    let orders = code[at].is("fence") || BARRIERS.iter().any(|name| code[at].is(name));
    if !orders || !code.get(at + 1)?.is("(") || at > 0 && code[at - 1].is("fn") {
        return None;
    }
    let close = at + code[at..].iter().position(|token| token.is(")"))?;
    let start = path_start(code, at);
    let range = code[start].offset..code[close].end();
    let change = format!("{} -> removed", &source[range.clone()]);
    Some((Mutation { range, replacement: "()".to_owned(), line: code[at].line, change }, close))
}

fn path_start(code: &[Token<'_>], mut at: usize) -> usize {
    while at >= 3 && code[at - 1].is(":") && code[at - 2].is(":") && code[at - 3].kind == Kind::Word {
        at -= 3;
    }
    at
}

/// An ordering by its name with the path before it, `Ordering::Release`, or imported, `Release`.
fn ordering(source: &str, code: &[Token<'_>], at: usize) -> Vec<Mutation> {
    let token = code[at];
    let Some((_, weaker)) = WEAKER.iter().find(|(name, _)| token.is(name)) else { return Vec::new() };
    let start = code[path_start(code, at)].offset;
    let path = &source[start..token.offset];
    let mutation = |weaker: &&str| Mutation {
        range: start..token.end(),
        replacement: if path.is_empty() { imported(weaker).to_owned() } else { format!("{path}{weaker}") },
        line: token.line,
        change: format!("{} -> {weaker}", token.text),
    };
    weaker.iter().map(mutation).collect()
}

/// Where the strong name was imported, the weak one may not have been.
fn imported(weaker: &str) -> &'static str {
    match weaker {
        "Acquire" => "crate::sync::Ordering::Acquire",
        "Release" => "crate::sync::Ordering::Release",
        _ => "crate::sync::Ordering::Relaxed",
    }
}
