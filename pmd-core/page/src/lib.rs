//! One self-contained page of figures: tables and plots, drawn as SVG, that fetch nothing.
//!
//! ```text
//!   kv bench --report    af bench --report    verification perf --report
//!                  \            |            /
//!     Page   text, Table, Plot            Line::distribution   samples -> the curve of their percentiles
//!                               |
//!     axis   where a figure lies, and what stands at the ticks
//! ```
//! The page is readable in light and dark surroundings and on paper. Lines are told apart by colour, marker and the legend;
//! behind every plot stands a sentence for those who do not see it, and the figures as a table that can be opened.
//! Called by the commands that measure; no other part of the driver knows it.
//!
//! ```
//! use pmd_page::{Axis, Line, Page, Plot};
//!
//! let samples = [3.0, 1.0, 2.0];
//! let mut page = Page::new("Three transfers");
//! page.paragraph("On this machine.");
//! page.plot(&Plot {
//!     title: "Latency".to_owned(),
//!     across: Axis::percentile("share of the transfers"),
//!     up: Axis::logarithmic("us"),
//!     lines: vec![Line::distribution("this driver", &samples)],
//! });
//! assert!(page.html().contains("<svg"));
//! ```

mod axis;
mod line;
mod plot;
mod style;
mod table;

use std::{fs, io, path::Path};

pub use axis::{Axis, Scale};
pub use line::Line;
pub use plot::Plot;
pub use table::{Cell, Table};

/// A page that is filled from top to bottom.
#[derive(Clone, Debug)]
pub struct Page {
    title: String,
    body: String,
    /// Plots so far: their numbers tell their texts apart.
    plots: usize,
}

impl Page {
    /// A page with this heading.
    #[must_use]
    pub fn new(title: &str) -> Self {
        Self { title: title.to_owned(), body: String::new(), plots: 0 }
    }

    /// Plain text.
    pub fn paragraph(&mut self, text: &str) {
        self.body += &format!("<p>{}</p>\n", escaped(text));
    }

    /// Text that says what is missing, and why.
    pub fn complaint(&mut self, text: &str) {
        self.body += &format!("<p class=bad>{}</p>\n", escaped(text));
    }

    /// A table.
    pub fn table(&mut self, table: &Table) {
        self.body += &table.html();
    }

    /// A plot, its text and its figures; nothing where no point of it can be drawn.
    pub fn plot(&mut self, plot: &Plot) {
        if let Some(figure) = plot.html(self.plots) {
            self.plots += 1;
            self.body += &figure;
        }
    }

    /// The whole page.
    #[must_use]
    pub fn html(&self) -> String {
        let title = escaped(&self.title);
        format!(
            "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n<meta name=viewport content=\"width=device-width\">\n\
             <meta name=color-scheme content=\"light dark\">\n<title>{title}</title>\n<style>{}</style>\n<main>\n<h1>{title}</h1>\n\
             {}</main>\n</html>\n",
            style::STYLE,
            self.body
        )
    }

    /// Writes the page.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, file: &Path) -> io::Result<()> {
        fs::write(file, self.html())
    }
}

/// A figure with about three digits; a dash where there is none.
#[must_use]
pub fn number(figure: f64) -> String {
    match figure {
        none if !none.is_finite() => "-".to_owned(),
        large if large.abs() >= 100.0 => format!("{large:.0}"),
        medium if medium.abs() >= 10.0 => format!("{medium:.1}"),
        small => format!("{small:.2}"),
    }
}

/// Text as HTML shows it.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests;
