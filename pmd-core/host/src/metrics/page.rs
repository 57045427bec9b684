//! The writer of Prometheus' text exposition format, version 0.0.4 (prometheus.io, "Exposition formats"): a line of help
//! and one of type for each family, then its samples, together; backslashes and line ends escaped in both, quotation
//! marks in label values too.
//!
//! [`super::render`] and applications above call it. Names are the caller's and are to be right: letters, digits and
//! underscores, with the unit in them. `_total` is added to those of counters.

use std::fmt::{self, Display, Write};

use super::Histogram;

/// What a server says that it sends.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Text that grows family by family.
#[derive(Clone, Debug, Default)]
pub struct Page(String);

/// One family: what is added to it follows its head.
#[derive(Debug)]
pub struct Family<'a> {
    text: &'a mut String,
    name: String,
}

/// A sample's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Written with all digits.
    Whole(u64),
    /// Written with as many digits as tell it apart; NaN and infinities as the format names them.
    Real(f64),
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Whole(value)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Whole(value as u64)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Whole(u64::from(value))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Real(value)
    }
}

impl Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Whole(value) => write!(formatter, "{value}"),
            Self::Real(value) if value.is_nan() => formatter.write_str("NaN"),
            Self::Real(f64::INFINITY) => formatter.write_str("+Inf"),
            Self::Real(f64::NEG_INFINITY) => formatter.write_str("-Inf"),
            Self::Real(value) => write!(formatter, "{value}"),
        }
    }
}

/// Names and values of labels.
pub(crate) type Labels<'a> = &'a [(&'a str, &'a str)];

impl Page {
    /// A family of numbers that only rise; its name ends in `_total`, which is added.
    pub fn counter(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(format!("{name}_total"), "counter", help)
    }

    /// A family of numbers that rise and fall.
    pub fn gauge(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name.to_owned(), "gauge", help)
    }

    /// A family of histograms; `name` ends in the unit.
    pub fn histogram(&mut self, name: &str, help: &str) -> Family<'_> {
        self.family(name.to_owned(), "histogram", help)
    }

    /// Everything so far.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }

    fn family(&mut self, name: String, kind: &str, help: &str) -> Family<'_> {
        self.0.push_str("# HELP ");
        self.0.push_str(&name);
        self.0.push(' ');
        escape(&mut self.0, help, false);
        // Writing to a string does not fail, here and below.
        let _ = writeln!(self.0, "\n# TYPE {name} {kind}");
        Family { text: &mut self.0, name }
    }
}

impl Family<'_> {
    /// Adds a sample. No two of a family have the same labels.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Into<Value>) -> &mut Self {
        self.line("", labels, None, value.into());
        self
    }

    /// Adds a histogram of durations, in seconds: buckets through `steps` to the octave (see [`Histogram::up_to`]) between
    /// 1 us and 17 s, their sum and their count.
    pub fn durations(&mut self, labels: &[(&str, &str)], histogram: &Histogram, steps: u32) -> &mut Self {
        for (bound, count) in histogram.up_to(FIRST_OCTAVE, LAST_OCTAVE, steps) {
            let bound = Value::from(seconds(bound)).to_string();
            self.line("_bucket", labels, Some(&bound), count.into());
        }
        self.line("_bucket", labels, Some("+Inf"), histogram.count().into());
        self.line("_sum", labels, None, seconds(histogram.sum()).into());
        self.line("_count", labels, None, histogram.count().into());
        self
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, bound: Option<&str>, value: Value) {
        let _ = write!(self.text, "{}{suffix}", self.name);
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            let _ = write!(self.text, "{separator}{name}=\"");
            escape(self.text, value, true);
            self.text.push('"');
            separator = ',';
        }
        let close = if separator == ',' { "}" } else { "" };
        let _ = writeln!(self.text, "{close} {value}");
    }
}

/// Durations below 2^10 ns share the first bucket that is told, those from 2^34 ns (17 s) on the last.
const FIRST_OCTAVE: u32 = 10;
const LAST_OCTAVE: u32 = 34;

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn escape(text: &mut String, value: &str, quoted: bool) {
    for character in value.chars() {
        match character {
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '"' if quoted => text.push_str("\\\""),
            other => text.push(other),
        }
    }
}
