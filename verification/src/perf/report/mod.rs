//! One self-contained page: the table, and curves of ours beside the peer's. Called by the command for `--report`.
//!
//! `curves` measures, `plot` draws. Nothing is fetched: styles and drawings are in the page.

mod curves;
mod plot;

pub(super) use curves::Curves;
#[cfg(test)]
pub(super) use curves::points;
pub(super) use plot::{Line, Plot};

use super::{machine::Machine, table::Measured, table::number};

/// Colours for light and dark surroundings alike.
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;\
color:#1b1f24;background:#fff}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\
th,td{padding:.3rem .6rem;border-bottom:1px solid #d8dee4;text-align:right}th:first-child,td:first-child{text-align:left}\
.met{color:#1a7f37}.not,.missing,.failed{color:#b35900}svg{width:100%;height:auto;margin:.5rem 0 1.5rem}\
figure{margin:0}figcaption{font-weight:600}";

/// The page.
pub(super) fn page(machine: &Machine, measured: &[Measured], curves: &Curves) -> String {
    let rows: String = measured.iter().map(row).collect();
    let plots: String = curves.plots().iter().map(Plot::figure).collect();
    let silent: String =
        curves.errors().iter().map(|error| format!("<p class=missing>{}</p>", escaped(error))).collect();
    format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
<title>Poll-mode RDMA driver: figures</title><style>{STYLE}</style><h1>Poll-mode RDMA driver beside its peers</h1>\
<p>{}. Ours and the peer's ran in turns; figures are medians of the rounds, ratios ours by the peer's.</p>\
<table><tr><th>what, peer<th>ours<th>peer<th>unit<th>ratio<th>goal<th>goal is</tr>{rows}</table>{plots}{silent}</html>\n",
        escaped(&machine.to_string())
    )
}

fn row(row: &Measured) -> String {
    let verdict = row.verdict();
    let class = verdict.split(' ').next().unwrap_or_default();
    format!(
        "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td class={class}>{verdict}</tr>",
        escaped(&row.what),
        number(row.ours),
        number(row.peer),
        row.unit,
        number(row.ratio()),
        row.goal.map_or_else(String::new, |goal| escaped(&goal.to_string())),
    )
}

/// Text as HTML shows it.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
