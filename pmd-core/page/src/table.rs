//! Tables. Called by the page.

use crate::escaped;

/// Text of a cell, and how it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cell {
    /// As it is.
    Plain(String),
    /// Something that is as it should be.
    Good(String),
    /// Something that is not.
    Bad(String),
}

impl Cell {
    fn html(&self) -> String {
        match self {
            Self::Plain(text) => format!("<td>{}", escaped(text)),
            Self::Good(text) => format!("<td class=good>{}", escaped(text)),
            Self::Bad(text) => format!("<td class=bad>{}", escaped(text)),
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Plain(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Plain(text.to_owned())
    }
}

/// Rows below a header; the first column is text, the others are numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// What stands above the columns.
    pub header: Vec<String>,
    /// As many cells each.
    pub rows: Vec<Vec<Cell>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|text| (*text).to_owned()).collect(), rows: Vec::new() }
    }

    /// Wide tables scroll by themselves, so that the page does not.
    pub(super) fn html(&self) -> String {
        let header: String =
            self.header.iter().map(|text| format!("<th scope=col>{}", escaped(text))).collect();
        let rows: String = self
            .rows
            .iter()
            .map(|row| format!("<tr>{}</tr>\n", row.iter().map(Cell::html).collect::<String>()))
            .collect();
        format!("<div class=wide><table>\n<tr>{header}</tr>\n{rows}</table></div>\n")
    }
}
