//! The grammar of fault lists.

use std::time::Duration;

use pmd_core::wire::Syndrome;

use super::{Fault, When};

/// Why a fault list is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultError {
    /// No such fault.
    #[error(
        "{text:?} is no fault: there are delay=MICROSECONDS, syndrome=CODE, retry-exceeded, no-answer, no-receive, \
         link-down, drop-cqe, twice"
    )]
    Unknown {
        /// What stands before the `@`.
        text: String,
    },
    /// It is not said when.
    #[error("{text:?} does not say when: append @N, @N..M or @/N")]
    Never {
        /// The fault.
        text: String,
    },
    /// Something that should be a number is none, or too large.
    #[error("{text:?} is not a number that this fault takes")]
    Number {
        /// What stands there.
        text: String,
    },
    /// Counts begin at 1, and a range has a beginning before its end.
    #[error("{text:?} is never: counts begin at 1, and N..M ends before M")]
    Empty {
        /// What stands after the `@`.
        text: String,
    },
}

/// A whole list.
pub(super) fn list(text: &str) -> Result<Vec<(Fault, When)>, FaultError> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(entry).collect()
}

fn entry(text: &str) -> Result<(Fault, When), FaultError> {
    let (what, at) = text.split_once('@').ok_or_else(|| FaultError::Never { text: text.into() })?;
    Ok((fault(what)?, when(at)?))
}

fn fault(text: &str) -> Result<Fault, FaultError> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    match (name, value) {
        ("delay", _) => Ok(Fault::Delay(Duration::from_micros(number(value)?))),
        ("syndrome", _) => Ok(Fault::Syndrome(syndrome(value)?)),
        ("retry-exceeded", "") => Ok(Fault::Syndrome(Syndrome::RetryExceeded)),
        ("no-answer", "") => Ok(Fault::NoAnswer),
        ("no-receive", "") => Ok(Fault::NoReceive),
        ("link-down", "") => Ok(Fault::LinkDown),
        ("drop-cqe", "") => Ok(Fault::DropCompletion),
        ("twice", "") => Ok(Fault::Twice),
        _ => Err(FaultError::Unknown { text: text.into() }),
    }
}

fn when(text: &str) -> Result<When, FaultError> {
    let when = match (text.strip_prefix('/'), text.split_once("..")) {
        (Some(step), _) => When::Every(number(step)?),
        (None, Some((first, end))) => When::Range(number(first)?, number(end)?),
        (None, None) => {
            let count: u64 = number(text)?;
            When::Range(count, count.saturating_add(1))
        }
    };
    match when {
        When::Every(0) | When::Range(0, _) => Err(FaultError::Empty { text: text.into() }),
        When::Range(first, end) if first >= end => Err(FaultError::Empty { text: text.into() }),
        when => Ok(when),
    }
}

fn number(text: &str) -> Result<u64, FaultError> {
    text.parse().map_err(|_| FaultError::Number { text: text.into() })
}

fn syndrome(text: &str) -> Result<Syndrome, FaultError> {
    let code = match text.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    code.map(Syndrome::from_byte).ok_or_else(|| FaultError::Number { text: text.into() })
}
