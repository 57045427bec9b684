//! Failures that a test asks for: the n-th call of a function. Asked by the stand-ins at the head of each function.

use std::{collections::HashMap, sync::Mutex};

use crate::lock;

/// Which calls fail, and how often each function was called.
#[derive(Debug, Default)]
pub struct Faults {
    planned: Vec<Planned>,
    called: Mutex<HashMap<String, u64>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Planned {
    function: String,
    call: u64,
    onwards: bool,
    code: i64,
}

impl Faults {
    /// From text: `function@n=code` or `function@n+=code`, separated by commas.
    ///
    /// # Errors
    /// The part that is no such thing.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let planned = parts.map(|part| planned(part).ok_or_else(|| part.to_owned()));
        Ok(Self { planned: planned.collect::<Result<_, _>>()?, called: Mutex::default() })
    }

    /// Counts a call, and says with which code it fails.
    pub fn hit(&self, function: &str) -> Option<i64> {
        if !self.planned.iter().any(|planned| planned.function == function) {
            return None;
        }
        let mut called = lock(&self.called);
        let count = called.entry(function.to_owned()).or_default();
        *count += 1;
        let fails = |planned: &&Planned| {
            planned.function == function
                && (planned.call == *count || (planned.onwards && *count > planned.call))
        };
        self.planned.iter().find(fails).map(|planned| planned.code)
    }
}

fn planned(part: &str) -> Option<Planned> {
    let (function, rest) = part.split_once('@')?;
    let (call, code) = rest.split_once('=')?;
    let (call, onwards) = call.strip_suffix('+').map_or((call, false), |call| (call, true));
    let call = call.parse().ok().filter(|call| *call > 0)?;
    Some(Planned { function: function.to_owned(), call, onwards, code: code.parse().ok()? })
}
