//! Lists of hosts as Slurm writes them: `gpu[09-12,20],login-a[1-2]b[0-1]`.

use thiserror::Error;

/// Most hosts that a list may have.
pub const MOST_HOSTS: usize = 1 << 16;

/// Reads a list of hosts with ranges in brackets, in its order. A range keeps the leading zeros of its first number; several
/// brackets in a name go through all combinations, the last one fastest.
///
/// # Errors
/// [`NodeListError`].
pub fn hosts(list: &str) -> Result<Vec<String>, NodeListError> {
    let mut all = Vec::new();
    for name in names(list)? {
        expand(name, &mut all)?;
    }
    if all.is_empty() { Err(NodeListError::Empty) } else { Ok(all) }
}

/// Cuts a list at the commas that are outside of brackets.
fn names(list: &str) -> Result<Vec<&str>, NodeListError> {
    let (mut names, mut begin, mut open) = (Vec::new(), 0, false);
    for (at, byte) in list.bytes().enumerate() {
        match byte {
            b'[' if open => return Err(NodeListError::Bracket { at }),
            b'[' => open = true,
            b']' if !open => return Err(NodeListError::Bracket { at }),
            b']' => open = false,
            b',' if !open => {
                names.push(&list[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    if open {
        return Err(NodeListError::Bracket { at: list.len() });
    }
    names.push(&list[begin..]);
    Ok(names.into_iter().map(str::trim).filter(|name| !name.is_empty()).collect())
}

/// Adds the hosts of one name to those before it.
fn expand(name: &str, all: &mut Vec<String>) -> Result<(), NodeListError> {
    let room = MOST_HOSTS - all.len();
    let mut found = vec![String::new()];
    let mut rest = name;
    while let Some((before, bracketed)) = rest.split_once('[') {
        // Brackets come in pairs here.
        let (ranges, after) = bracketed.split_once(']').unwrap_or((bracketed, ""));
        let numbers = numbers(ranges, room)?;
        if found.len().saturating_mul(numbers.len()) > room {
            return Err(NodeListError::TooMany);
        }
        let with = |start: &String| -> Vec<String> {
            numbers.iter().map(|number| format!("{start}{before}{number}")).collect()
        };
        found = found.iter().flat_map(with).collect();
        rest = after;
    }
    if found.len() > room {
        return Err(NodeListError::TooMany);
    }
    all.extend(found.into_iter().map(|start| start + rest));
    Ok(())
}

/// The numbers of one pair of brackets: `09-12,20`.
fn numbers(ranges: &str, room: usize) -> Result<Vec<String>, NodeListError> {
    let mut all = Vec::new();
    for range in ranges.split(',') {
        let wrong = || NodeListError::Range { range: range.to_owned() };
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let parse = |text: &str| text.parse::<u64>().ok().filter(|_| digits(text));
        let (first, last) =
            parse(low).zip(parse(high)).filter(|(low, high)| low <= high).ok_or_else(wrong)?;
        if last - first >= (room - all.len()) as u64 {
            return Err(NodeListError::TooMany);
        }
        let width = low.len();
        all.extend((first..=last).map(|number| format!("{number:0width$}")));
    }
    Ok(all)
}

/// Why a list of hosts does not parse.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NodeListError {
    /// A bracket has no partner, or stands in another pair.
    #[error("the bracket at byte {at} has no partner")]
    Bracket {
        /// Where, in bytes from the start.
        at: usize,
    },
    /// What stands in brackets is no number and no range of two.
    #[error("{range:?} is no number and no range of them, as in [09-12,20]")]
    Range {
        /// What stands there.
        range: String,
    },
    /// It names nobody.
    #[error("it names no host")]
    Empty,
    /// It names too many.
    #[error("it names more than {MOST_HOSTS} hosts")]
    TooMany,
}
