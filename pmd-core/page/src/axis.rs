//! Axes: where a figure lies, and what stands at the ticks. Called by plots.

use crate::number;

/// What an axis counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// With its unit.
    pub label: String,
    /// How figures are spread.
    pub scale: Scale,
}

/// How an axis spreads its figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Evenly, from zero on.
    Linear,
    /// By their logarithm; for figures above zero.
    Logarithmic,
    /// By their logarithm, in powers of two; for sizes in bytes.
    Bytes,
    /// Shares from 0 to below 1, so that 90 %, 99 % and 99.9 % are equally far apart.
    Percentile,
}

impl Axis {
    /// An even one.
    #[must_use]
    pub fn linear(label: &str) -> Self {
        Self { label: label.to_owned(), scale: Scale::Linear }
    }

    /// A logarithmic one.
    #[must_use]
    pub fn logarithmic(label: &str) -> Self {
        Self { label: label.to_owned(), scale: Scale::Logarithmic }
    }

    /// One of sizes.
    #[must_use]
    pub fn bytes(label: &str) -> Self {
        Self { label: label.to_owned(), scale: Scale::Bytes }
    }

    /// One of shares.
    #[must_use]
    pub fn percentile(label: &str) -> Self {
        Self { label: label.to_owned(), scale: Scale::Percentile }
    }
}

impl Scale {
    /// A figure as its place on an endless axis; `None` for one that the axis does not have.
    fn spread(self, figure: f64) -> Option<f64> {
        let place = match self {
            Self::Linear => figure,
            Self::Logarithmic => figure.log10(),
            Self::Bytes => figure.log2(),
            Self::Percentile if figure < 0.0 => return None,
            Self::Percentile => -(1.0 - figure).log10(),
        };
        place.is_finite().then_some(place)
    }

    /// What stands at a tick.
    pub(super) fn text(self, figure: f64) -> String {
        match self {
            Self::Linear | Self::Logarithmic => short(figure),
            Self::Bytes => bytes(figure),
            // Digits as far as they tell.
            Self::Percentile => format!("{} %", trimmed(&format!("{:.6}", figure * 100.0))),
        }
    }

    /// Figures between which all of these lie, both included, at which ticks can stand.
    fn around(self, low: f64, high: f64) -> Vec<f64> {
        match self {
            Self::Linear => evenly(high),
            Self::Logarithmic => decades(low, high),
            Self::Bytes => powers_of_two(low, high),
            Self::Percentile => shares(high),
        }
    }
}

/// The part of an axis that a plot shows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) scale: Scale,
    /// Where ticks stand; the first and the last are the ends.
    pub(super) ticks: Vec<f64>,
}

impl Span {
    /// Around these figures; `None` where the axis has none of them.
    pub(super) fn of(scale: Scale, figures: impl Iterator<Item = f64>) -> Option<Self> {
        let drawable = figures.filter(|figure| scale.spread(*figure).is_some());
        let ends = drawable.fold(None, |ends: Option<(f64, f64)>, figure| {
            let (low, high) = ends.unwrap_or((figure, figure));
            Some((low.min(figure), high.max(figure)))
        });
        let (low, high) = ends?;
        Some(Self { scale, ticks: scale.around(low, high) })
    }

    /// Where a figure lies: 0 at the low end, 1 at the high one.
    pub(super) fn place(&self, figure: f64) -> Option<f64> {
        let end = |tick: Option<&f64>| tick.and_then(|tick| self.scale.spread(*tick));
        let (low, high) = (end(self.ticks.first())?, end(self.ticks.last())?);
        Some((self.scale.spread(figure)? - low) / (high - low))
    }
}

/// Zero and up to six equal steps of 1, 2 or 5 times a power of ten.
fn evenly(high: f64) -> Vec<f64> {
    let high = if high > 0.0 { high } else { 1.0 };
    let least = high / 6.0;
    let power = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| *step >= least);
    let step = step.unwrap_or(10.0 * power);
    (0..=(high / step).ceil().max(1.0) as u32).map(|count| f64::from(count) * step).collect()
}

/// Powers of ten, and where they are few, twice and five times each.
fn decades(low: f64, high: f64) -> Vec<f64> {
    // A figure at a tick is not pushed to the next one by a rounding.
    const NEAR: f64 = 1e-9;
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let fine = last - first <= 3;
    let times: &[f64] = if fine { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let all: Vec<f64> = (first..=last.max(first + 1))
        .flat_map(|power| times.iter().map(move |times| times * 10_f64.powi(power)))
        .collect();
    let begin = all.iter().rposition(|tick| *tick <= low * (1.0 + NEAR)).unwrap_or(0);
    let end = all.iter().position(|tick| *tick >= high * (1.0 - NEAR)).unwrap_or(all.len() - 1);
    all[begin.min(all.len() - 2)..=end.max(begin + 1).min(all.len() - 1)].to_vec()
}

/// Powers of two, as many steps apart as leave about nine.
fn powers_of_two(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (low.log2().floor() as i32, high.log2().ceil() as i32);
    let step = ((last - first) / 8).max(1);
    let count = ((last - first) as f64 / f64::from(step)).ceil().max(1.0) as i32;
    (0..=count).map(|tick| 2_f64.powi(first + tick * step)).collect()
}

/// Half, and nines as far as they are needed.
fn shares(high: f64) -> Vec<f64> {
    let nines = (1..=9).map(|nines| 1.0 - 10_f64.powi(-nines));
    let mut ticks = vec![0.0, 0.5];
    for share in nines {
        ticks.push(share);
        if share >= high {
            break;
        }
    }
    ticks
}

fn short(figure: f64) -> String {
    match figure {
        0.0 => "0".to_owned(),
        millions if millions >= 1e6 => format!("{} M", trimmed(&number(millions / 1e6))),
        thousands if thousands >= 1e3 => format!("{} k", trimmed(&number(thousands / 1e3))),
        small if small < 0.01 => format!("{small:e}"),
        plain => trimmed(&number(plain)).to_owned(),
    }
}

fn bytes(figure: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scaled = figure;
    while scaled >= 1024.0 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    format!("{} {}", trimmed(&number(scaled)), UNITS[unit])
}

/// Without zeros behind the point.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}
