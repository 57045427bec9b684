//! Plots: lines over two axes, as SVG, with a text for those who do not see it and the figures as a table.

use crate::{Axis, Line, Table, axis::Span, escaped, number};

/// The drawing's size and the margins in which axes are labelled, in SVG's units.
const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 330.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 176.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 50.0;

/// Colours of lines; further lines begin again.
const COLOURS: usize = 4;

/// A figure of the page.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// From left to right.
    pub across: Axis,
    /// From bottom to top.
    pub up: Axis,
    /// Four can be told apart.
    pub lines: Vec<Line>,
}

/// The part of both axes that is shown.
struct Frame {
    across: Span,
    up: Span,
}

impl Plot {
    /// The figure; `None` where no point can be drawn. `number` tells it from the page's others.
    pub(super) fn html(&self, number: usize) -> Option<String> {
        let points = || self.lines.iter().flat_map(|line| line.points.iter());
        let across = Span::of(self.across.scale, points().map(|point| point.0))?;
        let up = Span::of(self.up.scale, points().map(|point| point.1))?;
        let frame = Frame { across, up };
        let lines: String =
            self.lines.iter().enumerate().map(|(place, line)| frame.line(line, place)).collect();
        Some(format!(
            "<figure>\n<figcaption>{title}</figcaption>\n\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=img aria-labelledby=\"plot{number}t plot{number}d\">\n\
             <title id=plot{number}t>{title}</title>\n<desc id=plot{number}d>{}</desc>\n{}{}{lines}</svg>\n\
             <details><summary>The figures</summary>\n{}</details>\n</figure>\n",
            escaped(&self.text()),
            frame.grid(),
            self.labels(),
            self.table().html(),
            title = escaped(&self.title),
        ))
    }

    /// What is to be seen, in a sentence for each line.
    fn text(&self) -> String {
        let said = |line: &Line| {
            let (first, last) = (line.points.first()?, line.points.last()?);
            let at =
                |point: &(f64, f64)| format!("{} at {}", number(point.1), self.across.scale.text(point.0));
            Some(format!("{}: {} to {}", line.name, at(first), at(last)))
        };
        let lines: Vec<String> = self.lines.iter().filter_map(said).collect();
        format!("{} by {}. {}.", self.up.label, self.across.label, lines.join("; "))
    }

    fn labels(&self) -> String {
        let (middle, bottom) = (f64::midpoint(LEFT, WIDTH - RIGHT), HEIGHT - 8.0);
        format!(
            "<text class=axis x={middle} y={bottom} text-anchor=middle>{}</text>\n\
             <text class=axis transform=\"translate(14 {}) rotate(-90)\" text-anchor=middle>{}</text>\n",
            escaped(&self.across.label),
            f64::midpoint(TOP, HEIGHT - BOTTOM),
            escaped(&self.up.label)
        )
    }

    /// A row for each place from left to right.
    fn table(&self) -> Table {
        let mut places: Vec<f64> =
            self.lines.iter().flat_map(|line| line.points.iter().map(|point| point.0)).collect();
        places.sort_by(f64::total_cmp);
        places.dedup();
        let names = self.lines.iter().map(|line| format!("{}, {}", line.name, self.up.label));
        let header = [self.across.label.clone()].into_iter().chain(names).collect();
        let row = |place: &f64| {
            let figure = |line: &Line| {
                let point = line.points.iter().find(|point| point.0 == *place);
                number(point.map_or(f64::NAN, |point| point.1)).into()
            };
            let first = self.across.scale.text(*place).into();
            [first].into_iter().chain(self.lines.iter().map(figure)).collect()
        };
        Table { header, rows: places.iter().map(row).collect() }
    }
}

impl Frame {
    fn grid(&self) -> String {
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let column = |tick: &f64| {
            let (x, text) = (self.x(*tick)?, self.across.scale.text(*tick));
            let below = bottom + 18.0;
            Some(format!(
                "<path class=grid d=\"M{x:.1} {TOP}V{bottom}\"/><text x={x:.1} y={below} text-anchor=middle>{text}</text>\n"
            ))
        };
        let row = |tick: &f64| {
            let (y, text) = (self.y(*tick)?, self.up.scale.text(*tick));
            let (beside, lower) = (LEFT - 8.0, y + 4.0);
            Some(format!(
                "<path class=grid d=\"M{LEFT} {y:.1}H{right}\"/><text x={beside} y={lower:.1} text-anchor=end>{text}</text>\n"
            ))
        };
        let columns = self.across.ticks.iter().filter_map(column);
        columns.chain(self.up.ticks.iter().filter_map(row)).collect()
    }

    /// A line with its markers, and its place in the legend.
    fn line(&self, line: &Line, place: usize) -> String {
        let colour = place % COLOURS;
        let drawable: Vec<(f64, f64)> =
            line.points.iter().filter_map(|point| Some((self.x(point.0)?, self.y(point.1)?))).collect();
        let path: Vec<String> = drawable.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let markers: String = drawable.iter().map(|(x, y)| marker(colour, *x, *y)).collect();
        let row = TOP + 12.0 + 20.0 * place as f64;
        let (sample, text) = (WIDTH - RIGHT + 18.0, WIDTH - RIGHT + 30.0);
        format!(
            "<polyline class=\"line c{colour}\" points=\"{}\"/>{markers}{}<text x={text} y={row}>{}</text>\n",
            path.join(" "),
            marker(colour, sample, row - 4.0),
            escaped(&line.name)
        )
    }

    fn x(&self, figure: f64) -> Option<f64> {
        Some(LEFT + self.across.place(figure)? * (WIDTH - LEFT - RIGHT))
    }

    fn y(&self, figure: f64) -> Option<f64> {
        Some(HEIGHT - BOTTOM - self.up.place(figure)? * (HEIGHT - BOTTOM - TOP))
    }
}

/// A circle, a square, a diamond or a triangle: what tells lines apart where colours do not.
fn marker(colour: usize, x: f64, y: f64) -> String {
    let path = match colour {
        0 => return format!("<circle class=m{colour} cx={x:.1} cy={y:.1} r=3.5 />"),
        1 => "m-3.2-3.2h6.4v6.4h-6.4z",
        2 => "m0-4.6l4.6 4.6l-4.6 4.6l-4.6-4.6z",
        _ => "m0-4.2l4.2 7.4h-8.4z",
    };
    format!("<path class=m{colour} d=\"M{x:.1} {y:.1}{path}\"/>")
}
