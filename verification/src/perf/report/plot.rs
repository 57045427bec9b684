//! Lines over logarithmic axes, as SVG. Called for each figure of the page.

use super::escaped;
use crate::perf::table::number;

/// The drawing's size and the margins in which axes are labelled, in SVG's units.
const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 46.0;

/// Told apart by those who see few colours (Okabe and Ito's palette).
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];

/// A curve.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::perf) struct Line {
    /// Its name in the legend.
    pub(in crate::perf) name: &'static str,
    /// Places, both coordinates above zero; others are left out.
    pub(in crate::perf) points: Vec<(f64, f64)>,
}

/// A figure of the page.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::perf) struct Plot {
    /// What it shows.
    pub(in crate::perf) title: &'static str,
    /// What the axes count, with units.
    pub(in crate::perf) axes: [&'static str; 2],
    /// At most four curves.
    pub(in crate::perf) lines: Vec<Line>,
}

/// The span of one axis, in powers of ten.
#[derive(Debug, Clone, Copy)]
struct Span {
    low: f64,
    high: f64,
}

impl Span {
    /// Whole decades around these figures.
    fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let logs = figures.map(f64::log10);
        let (low, high) =
            logs.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), log| (low.min(log), high.max(log)));
        let high = if high - low < 1.0 { low.floor() + 1.0 } else { high };
        (low.is_finite() && high.is_finite()).then(|| Self { low: low.floor(), high: high.ceil() })
    }

    /// Where a figure lies, from 0 to 1.
    fn place(self, figure: f64) -> f64 {
        (figure.log10() - self.low) / (self.high - self.low)
    }

    /// The decades.
    fn ticks(self) -> impl Iterator<Item = f64> {
        let (low, high) = (self.low as i32, self.high as i32);
        (low..=high).map(|power| 10_f64.powi(power))
    }
}

impl Plot {
    /// The figure with its caption; nothing where there is nothing to draw.
    pub(in crate::perf) fn figure(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter()).filter(is_drawable);
        let spans = (Span::of(points().map(|point| point.0)), Span::of(points().map(|point| point.1)));
        let (Some(across), Some(up)) = spans else { return String::new() };
        let lines: String = self
            .lines
            .iter()
            .zip(COLOURS)
            .enumerate()
            .map(|(place, (line, colour))| line.drawing(place, colour, across, up))
            .collect();
        format!(
            "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img font-size=12>{}{lines}</svg></figure>",
            escaped(self.title),
            self.frame(across, up)
        )
    }

    fn frame(&self, across: Span, up: Span) -> String {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let columns: String = across
            .ticks()
            .map(|tick| {
                let x = horizontal(across, tick);
                format!(
                    "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"#d8dee4\"/><text x={x:.1} y={:.1} text-anchor=middle>{}</text>",
                    bottom + 16.0,
                    short(tick)
                )
            })
            .collect();
        let rows: String = up
            .ticks()
            .map(|tick| {
                let y = vertical(up, tick);
                format!(
                    "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#d8dee4\"/><text x={:.1} y={:.1} text-anchor=end>{}</text>",
                    LEFT - 6.0,
                    y + 4.0,
                    short(tick)
                )
            })
            .collect();
        format!(
            "{columns}{rows}<text x={:.1} y={:.1} text-anchor=middle>{}</text><text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=middle>{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 8.0,
            escaped(self.axes[0]),
            f64::midpoint(TOP, bottom),
            escaped(self.axes[1])
        )
    }
}

impl Line {
    fn drawing(&self, place: usize, colour: &str, across: Span, up: Span) -> String {
        let places: Vec<(f64, f64)> = self
            .points
            .iter()
            .filter(is_drawable)
            .map(|(x, y)| (horizontal(across, *x), vertical(up, *y)))
            .collect();
        let path: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let dots: String = places
            .iter()
            .map(|(x, y)| format!("<circle cx={x:.1} cy={y:.1} r=3 fill=\"{colour}\"/>"))
            .collect();
        let row = TOP + 12.0 + 20.0 * place as f64;
        format!(
            "<polyline points=\"{}\" fill=none stroke=\"{colour}\" stroke-width=2 />{dots}\
<circle cx={:.1} cy={:.1} r=5 fill=\"{colour}\"/><text x={:.1} y={row:.1}>{}</text>",
            path.join(" "),
            WIDTH - RIGHT + 16.0,
            row - 4.0,
            WIDTH - RIGHT + 28.0,
            escaped(self.name)
        )
    }
}

fn is_drawable(point: &&(f64, f64)) -> bool {
    point.0 > 0.0 && point.1 > 0.0 && point.0.is_finite() && point.1.is_finite()
}

fn horizontal(span: Span, figure: f64) -> f64 {
    LEFT + span.place(figure) * (WIDTH - LEFT - RIGHT)
}

fn vertical(span: Span, figure: f64) -> f64 {
    HEIGHT - BOTTOM - span.place(figure) * (HEIGHT - BOTTOM - TOP)
}

/// A decade's label.
fn short(tick: f64) -> String {
    let (scaled, suffix) = match tick {
        millions if millions >= 1e6 => (millions / 1e6, " M"),
        thousands if thousands >= 1e3 => (thousands / 1e3, " k"),
        plain => (plain, ""),
    };
    format!("{}{suffix}", number(scaled).trim_end_matches('0').trim_end_matches('.'))
}
