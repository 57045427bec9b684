//! Putting faults into a source, each behind its number.

use std::collections::BTreeMap;
use std::ops::Range;

use thiserror::Error;

/// The variable whose number switches one fault on.
pub(crate) const VARIABLE: &str = "PMD_PLANTED";

/// The module that every planted package gets: which fault is switched on, 0 for none.
pub(crate) const SWITCH: &str = r#"//! Which planted fault is switched on.
extern crate std;

/// Its number; 0 for none.
#[inline]
pub fn number() -> usize {
    static NUMBER: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *NUMBER.get_or_init(|| std::env::var("PMD_PLANTED").ok().and_then(|text| text.parse().ok()).unwrap_or(0))
}
"#;

/// One fault in one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Its number, from 1.
    pub(crate) number: usize,
    /// The bytes that it replaces: an expression, or statements.
    pub(crate) range: Range<usize>,
    /// What runs there instead.
    pub(crate) replacement: String,
}

/// Two faults cannot be planted together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("faults {first} and {second} overlap without being at the same place: make them the same text")]
pub(crate) struct Overlap {
    first: usize,
    second: usize,
}

/// The source with all faults in it. `switch` is the path of the [`SWITCH`] module's function. Several faults can have
/// the same range; otherwise ranges do not touch.
pub(crate) fn plant(source: &str, faults: &[Fault], switch: &str) -> Result<String, Overlap> {
    let mut places: BTreeMap<usize, Vec<&Fault>> = BTreeMap::new();
    for fault in faults {
        places.entry(fault.range.start).or_default().push(fault);
    }
    let (mut planted, mut at, mut last) = (String::new(), 0, 0);
    for (start, here) in places {
        let end = here[0].range.end;
        let other =
            here.iter().find(|fault| fault.range.end != end).map(|fault| (here[0].number, fault.number));
        let before = (start < at).then_some((last, here[0].number));
        if let Some((first, second)) = before.or(other) {
            return Err(Overlap { first, second });
        }
        planted.push_str(&source[at..start]);
        planted.push_str(&choice(&source[start..end], &here, switch));
        (at, last) = (end, here[0].number);
    }
    planted.push_str(&source[at..]);
    Ok(planted)
}

/// A `match` that runs the fault which is switched on, or the original: a statement if that is one, an expression else.
fn choice(original: &str, faults: &[&Fault], switch: &str) -> String {
    let arms: String =
        faults.iter().map(|fault| format!("{} => {{ {} }} ", fault.number, fault.replacement)).collect();
    let choice = format!("match {switch}() {{ {arms}_ => {{ {original} }} }}");
    if original.ends_with([';', '}']) { choice } else { format!("({choice})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(number: usize, range: Range<usize>, replacement: &str) -> Fault {
        Fault { number, range, replacement: replacement.to_owned() }
    }

    #[test]
    fn expressions_and_statements_get_a_choice() {
        let planted = plant("f(a); g();", &[fault(1, 2..3, "b"), fault(2, 6..10, "")], "n");
        let expected = "f((match n() { 1 => { b } _ => { a } })); match n() { 2 => {  } _ => { g(); } }";
        assert_eq!(planted.as_deref(), Ok(expected));
    }

    #[test]
    fn faults_of_one_place_share_its_choice() {
        let planted = plant("x", &[fault(4, 0..1, "y"), fault(7, 0..1, "z")], "n");
        assert_eq!(planted.as_deref(), Ok("(match n() { 4 => { y } 7 => { z } _ => { x } })"));
    }

    #[test]
    fn overlaps_are_named() {
        let nested = plant("abcd", &[fault(1, 0..3, ""), fault(2, 1..2, "")], "n");
        assert_eq!(nested, Err(Overlap { first: 1, second: 2 }));
        let longer = plant("abcd", &[fault(1, 0..3, ""), fault(2, 0..2, "")], "n");
        assert_eq!(longer, Err(Overlap { first: 1, second: 2 }));
    }

    #[test]
    fn the_switch_reads_the_variable() {
        assert!(SWITCH.contains(VARIABLE));
    }
}
