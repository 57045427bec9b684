//! What the rows came to, as text and as JSON. Called by the command and by the page.

use pmd_page::number;
use serde_json::{Value, json};

use super::{
    copy::median,
    machine::Machine,
    program::ProgramError,
    rows::{Goal, Row},
};

/// A row with its figures, or with the reason why there are none.
#[derive(Debug)]
pub(super) struct Measured {
    /// The row's name.
    pub(super) name: String,
    /// What was compared.
    pub(super) what: String,
    /// Of both figures.
    pub(super) unit: &'static str,
    /// Median of our rounds.
    pub(super) ours: f64,
    /// Median of the peer's.
    pub(super) peer: f64,
    /// What the ratio should be.
    pub(super) goal: Option<Goal>,
    /// Why there are no figures.
    pub(super) error: Option<ProgramError>,
}

impl Measured {
    /// Medians of these rounds.
    pub(super) fn new(row: &Row, ours: &[f64], peer: &[f64]) -> Self {
        let (name, what) = (row.name.to_owned(), row.what.to_owned());
        let (ours, peer) = (median(ours), median(peer));
        Self { name, what, unit: row.unit, ours, peer, goal: Some(row.goal), error: None }
    }

    /// A row one of whose sides gave no figure.
    pub(super) fn failed(row: &Row, error: ProgramError) -> Self {
        Self::without(row.name, row.what, error)
    }

    /// A comparison without figures.
    pub(super) fn without(name: &str, what: &str, error: ProgramError) -> Self {
        let (name, what) = (name.to_owned(), what.to_owned());
        Self { name, what, unit: "", ours: f64::NAN, peer: f64::NAN, goal: None, error: Some(error) }
    }

    /// Ours divided by the peer's.
    pub(super) fn ratio(&self) -> f64 {
        self.ours / self.peer
    }

    /// In a word: whether the goal is met.
    pub(super) fn verdict(&self) -> &'static str {
        match (&self.error, self.goal) {
            (Some(error), _) if error.is_missing() => "missing",
            (Some(_), _) | (None, None) => "failed",
            (None, Some(goal)) if goal.is_met(self.ratio()) => "met",
            (None, Some(_)) => "not met",
        }
    }
}

/// The table; reasons stand below it.
pub(super) fn render(measured: &[Measured]) -> String {
    let width = measured.iter().map(|row| row.what.len()).max().unwrap_or(0);
    let mut text = format!(
        "{:<width$} {:>12} {:>12} {:<5} {:>6} {:>8}  goal is\n",
        "what, peer", "ours", "peer", "", "ratio", "goal"
    );
    for row in measured {
        let goal = row.goal.map_or_else(String::new, |goal| goal.to_string());
        text += &format!(
            "{:<width$} {:>12} {:>12} {:<5} {:>6} {goal:>8}  {}\n",
            row.what,
            number(row.ours),
            number(row.peer),
            row.unit,
            number(row.ratio()),
            row.verdict()
        );
    }
    for row in measured {
        if let Some(error) = &row.error {
            text += &format!("{}: {error}\n", row.name);
        }
    }
    text
}

/// The same as one object.
pub(super) fn json(machine: &Machine, rounds: u32, measured: &[Measured]) -> Value {
    let rows: Vec<Value> = measured.iter().map(object).collect();
    json!({
        "op": "perf",
        "processor": machine.processor,
        "cores": machine.cores,
        "kernel": machine.kernel,
        "load": machine.load,
        "rounds": rounds,
        "rows": rows,
        "verified": measured.iter().all(|row| row.error.is_none()),
    })
}

fn object(row: &Measured) -> Value {
    json!({
        "name": row.name,
        "what": row.what,
        "unit": row.unit,
        "ours": row.ours,
        "peer": row.peer,
        "ratio": row.ratio(),
        "goal": row.goal.map(|goal| goal.to_string()),
        "result": row.verdict(),
        "error": row.error.as_ref().map(ToString::to_string),
    })
}
