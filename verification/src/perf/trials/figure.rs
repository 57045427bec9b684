//! What trials give, and how it is shown.

use std::time::Instant;

use pmd_page::number;
use serde_json::{Value, json};

use super::{Effort, TrialError};
use crate::perf::machine::Machine;

/// One line: a way of doing something, and what it costs or gives.
#[derive(Debug, Clone)]
pub(super) struct Figure {
    /// What is done; lines of one group have it in common.
    pub(super) what: String,
    /// How.
    pub(super) variant: String,
    /// None where the machine does not have it.
    pub(super) value: Option<f64>,
    /// Of the value.
    pub(super) unit: &'static str,
    /// Whether the driver does it this way.
    pub(super) is_default: bool,
    /// What else there is to say.
    pub(super) note: String,
}

impl Figure {
    /// A line without a note, which is not the driver's way.
    pub(super) fn new(what: &str, variant: &str, value: f64, unit: &'static str) -> Self {
        let (what, variant) = (what.to_owned(), variant.to_owned());
        Self { what, variant, value: Some(value), unit, is_default: false, note: String::new() }
    }

    /// A way that this machine does not have, and why.
    pub(super) fn missing(what: &str, variant: &str, unit: &'static str, why: &str) -> Self {
        let figure = Self::new(what, variant, f64::NAN, unit);
        Self { value: None, ..figure.noting(why) }
    }

    /// The driver's way, if so.
    pub(super) fn default_if(self, is_default: bool) -> Self {
        Self { is_default, ..self }
    }

    /// With a note.
    pub(super) fn noting(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}

/// Time of the shortest pass, in nanoseconds, after one that is not counted: in the others something else had the processor.
pub(super) fn nanoseconds(
    effort: Effort,
    mut pass: impl FnMut() -> Result<(), TrialError>,
) -> Result<f64, TrialError> {
    pass()?;
    let mut times = Vec::with_capacity(effort.passes);
    for _ in 0..effort.passes {
        let start = Instant::now();
        pass()?;
        times.push(start.elapsed().as_secs_f64() * 1e9);
    }
    Ok(shortest(&times))
}

/// The least of these; not a number for none.
pub(super) fn shortest(times: &[f64]) -> f64 {
    times.iter().copied().fold(f64::NAN, f64::min)
}

/// The value of a figure divided by that of the driver's way in its group; none where there is no such way.
pub(super) fn ratio(figure: &Figure, all: &[Figure]) -> Option<f64> {
    let default = all.iter().find(|other| other.is_default && other.what == figure.what)?;
    Some(figure.value? / default.value?)
}

/// The table. The driver's way is marked; the last number is a line's figure divided by it.
pub(super) fn render(figures: &[Figure]) -> String {
    let widest = |of: fn(&Figure) -> &str| figures.iter().map(|figure| of(figure).len()).max().unwrap_or(0);
    let (what, variant) = (widest(|figure| &figure.what).max(4), widest(|figure| &figure.variant).max(7));
    let mut text =
        format!("{:<what$}  {:<variant$} {:>10} {:<6} beside\n", "what", "variant", "figure", "unit");
    for figure in figures {
        let value = figure.value.map_or_else(|| "-".to_owned(), number);
        let beside = match ratio(figure, figures) {
            _ if figure.is_default => "driver".to_owned(),
            Some(ratio) => format!("{ratio:.2}"),
            None => String::new(),
        };
        let Figure { unit, note, .. } = figure;
        let line = format!(
            "{:<what$}  {:<variant$} {value:>10} {unit:<6} {beside:<6}  {note}",
            figure.what, figure.variant
        );
        text += line.trim_end();
        text += "\n";
    }
    text
}

/// The same as one object.
pub(super) fn json(machine: &Machine, figures: &[Figure]) -> Value {
    let row = |figure: &Figure| {
        json!({
            "what": figure.what,
            "variant": figure.variant,
            "value": figure.value,
            "unit": figure.unit,
            "default": figure.is_default,
            "ratio": ratio(figure, figures),
            "note": figure.note,
        })
    };
    json!({
        "op": "trials",
        "processor": machine.processor,
        "cores": machine.cores,
        "kernel": machine.kernel,
        "load": machine.load,
        "rows": figures.iter().map(row).collect::<Vec<_>>(),
    })
}
