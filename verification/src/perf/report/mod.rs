//! One self-contained page: the table, and curves of ours beside the peer's. Called by the command for `--report`.
//!
//! `curves` measures; `pmd_page` draws.

mod curves;

use pmd_page::{Cell, Page, Table, number};

pub(super) use curves::Curves;
#[cfg(test)]
pub(super) use curves::points;

use super::{machine::Machine, table::Measured};

/// The page.
pub(super) fn page(machine: &Machine, measured: &[Measured], curves: &Curves) -> Page {
    let mut page = Page::new("Poll-mode RDMA driver beside its peers");
    page.paragraph(&format!(
        "{machine}. Ours and the peer's ran in turns; figures are medians of the rounds, ratios ours by the peer's."
    ));
    let mut table = Table::new(&["what, peer", "ours", "peer", "unit", "ratio", "goal", "goal is"]);
    table.rows.extend(measured.iter().map(row));
    page.table(&table);
    measured.iter().filter_map(|row| row.error.as_ref()).for_each(|error| page.complaint(&error.to_string()));
    curves.plots().iter().for_each(|plot| page.plot(plot));
    curves.errors().iter().for_each(|error| page.complaint(error));
    page
}

fn row(row: &Measured) -> Vec<Cell> {
    let verdict = row.verdict().to_owned();
    vec![
        row.what.as_str().into(),
        number(row.ours).into(),
        number(row.peer).into(),
        row.unit.into(),
        number(row.ratio()).into(),
        row.goal.map_or_else(String::new, |goal| goal.to_string()).into(),
        if verdict == "met" { Cell::Good(verdict) } else { Cell::Bad(verdict) },
    ]
}
