//! Prometheus' text format, as far as a scraper needs it: samples by name, with labels. Comments are passed over.

use thiserror::Error;

/// The samples of a page in its order.
#[derive(Debug, Default)]
pub(super) struct Samples(Vec<Sample>);

/// One sample.
#[derive(Debug, PartialEq)]
pub(super) struct Sample {
    pub(super) name: String,
    pub(super) labels: Vec<(String, String)>,
    pub(super) value: f64,
}

/// A line is no sample.
#[derive(Debug, PartialEq, Error)]
#[error("line {number} is no sample: {line:?}")]
pub(crate) struct NotASample {
    number: usize,
    line: String,
}

impl Sample {
    /// The value of a label; empty where it has no such label.
    pub(super) fn label(&self, name: &str) -> &str {
        self.labels.iter().find(|(of, _)| of == name).map_or("", |(_, value)| value)
    }
}

impl Samples {
    pub(super) fn parse(text: &str) -> Result<Self, NotASample> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let parsed = lines.map(|(index, line)| {
            sample(line)
                .ok_or_else(|| NotASample { number: index + 1, line: line.chars().take(200).collect() })
        });
        parsed.collect::<Result<_, _>>().map(Self)
    }

    /// The samples of this name.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }

    /// The sum of those of this name that have all of these labels.
    pub(super) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| labels.iter().all(|(name, value)| sample.label(name) == *value);
        self.named(name).filter(has).map(|sample| sample.value).sum()
    }
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (name, after) = rest.split_once("=\"")?;
            let (value, after) = quoted(after)?;
            labels.push((name.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    // A time stamp may follow the value.
    let value = match rest.split_whitespace().next()? {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        number => number.parse().ok()?,
    };
    Some(Sample { name: name.to_owned(), labels, value })
}

/// The text up to the quotation mark, unescaped, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[index + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}
