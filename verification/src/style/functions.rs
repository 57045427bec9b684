//! The length of functions, counted from `fn` to the closing brace.

use crate::source::{Kind, Token};

/// A function has at most this many lines.
const LONGEST: usize = 80;

/// Functions that are too long, with the line on which they begin.
pub(super) fn too_long(tokens: &[Token<'_>]) -> Vec<(usize, String)> {
    let code: Vec<Token<'_>> = tokens.iter().filter(|token| !token.is_comment()).copied().collect();
    let starts =
        code.windows(2).enumerate().filter(|(_, pair)| pair[0].is("fn") && pair[1].kind == Kind::Word);
    starts
        .filter_map(|(at, pair)| {
            let end = body_end(&code, at)?;
            let lines = code[end].line - pair[0].line + 1;
            let what = format!("function {} has {lines} lines, at most {LONGEST} are allowed", pair[1].text);
            (lines > LONGEST).then_some((pair[0].line, what))
        })
        .collect()
}

/// The index of the brace that closes the body of the function at `start`; none for a declaration.
fn body_end(code: &[Token<'_>], start: usize) -> Option<usize> {
    let open = body_start(code, start)?;
    let mut depth = 0_usize;
    for (at, token) in code.iter().enumerate().skip(open) {
        if token.is("{") {
            depth += 1;
        } else if token.is("}") {
            depth -= 1;
            if depth == 0 {
                return Some(at);
            }
        }
    }
    None
}

/// The index of the brace that opens the body: outside every bracket, and no constant generic argument.
fn body_start(code: &[Token<'_>], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for at in start..code.len() {
        let token = code[at];
        if token.is("(") || token.is("[") {
            depth += 1;
        } else if token.is(")") || token.is("]") {
            depth = depth.saturating_sub(1);
        } else if depth == 0 && token.is(";") {
            return None;
        } else if depth == 0 && token.is("{") && !code[at - 1].is("<") {
            return Some(at);
        }
    }
    None
}
