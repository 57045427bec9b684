//! What is measured with: callgrind's counts, or the clock.

use std::{collections::BTreeMap, time::Instant};

use counts::meter::Meter;

/// Of one request, by name: nanoseconds, or instructions.
pub type Figures = BTreeMap<String, f64>;

/// Measures spans, which belong together until they get a name.
#[derive(Debug)]
pub enum Gauge {
    /// Instructions. Under valgrind only; the command that started it reads them.
    Instructions(Meter),
    /// Time on a processor that does nothing else: the shortest span of each name.
    Time {
        /// The spans since the last name, in nanoseconds.
        shortest: f64,
        /// Those before, by operation.
        figures: Figures,
    },
}

impl Gauge {
    /// The clock.
    #[must_use]
    pub const fn clock() -> Self {
        Self::Time { shortest: f64::INFINITY, figures: Figures::new() }
    }

    /// What the clock found.
    #[must_use]
    pub fn figures(&self) -> Figures {
        match self {
            Self::Instructions(_) => Figures::new(),
            Self::Time { figures, .. } => figures.clone(),
        }
    }

    /// A line for each name that callgrind has counted, as the command that started valgrind reads it.
    pub fn said(&self) -> impl Iterator<Item = String> + '_ {
        let counted = match self {
            Self::Instructions(meter) => meter.counted(),
            Self::Time { .. } => &[],
        };
        counted.iter().map(|counted| format!("{} {}", counted.name, counted.operations))
    }

    /// Work that counts, if it is to.
    pub(super) fn span_if(&mut self, is_measured: bool, work: impl FnOnce()) {
        match self {
            _ if !is_measured => work(),
            Self::Instructions(meter) => meter.span(work),
            Self::Time { shortest, .. } => {
                let begun = Instant::now();
                work();
                *shortest = shortest.min(begun.elapsed().as_secs_f64() * 1e9);
            }
        }
    }

    /// Ends the spans of one name, each of which was `operations` operations; the clock takes the shortest span.
    pub(super) fn end(&mut self, name: &str, rounds: u64, operations: u64) {
        match self {
            Self::Instructions(meter) => meter.end(name, rounds * operations),
            Self::Time { shortest, figures } => {
                figures.insert(name.to_owned(), *shortest / operations as f64);
                *shortest = f64::INFINITY;
            }
        }
    }
}
