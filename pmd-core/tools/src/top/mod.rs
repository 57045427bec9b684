//! `pmd top`: what processes move at this moment, from the metrics that they serve.
//!
//! ```text
//!  kv serve --metrics 9490, af ..., anything with PMD_METRICS     GET /metrics, now and an interval later
//!     pmd-host's metrics server  <---------------------------------  scrape: bounded in time and size
//!                                                                    page: samples;  rates: the difference
//!                                                                    table, or one JSON object
//! ```
//! Without an address it looks at the ports of this host that processes choose from when they are told the default one.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    thread,
    time::Duration,
};

use clap::Args;
use pmd_host::metrics::{MetricsAddress, PORTS};
use serde::Serialize;
use thiserror::Error;

use self::{
    rates::Process,
    scrape::{Scrape, ScrapeError, scrape},
    table::Row,
};
use crate::{
    Failure,
    outcome::{self, Outcome, explain},
};

mod page;
mod rates;
mod scrape;
mod table;
#[cfg(test)]
mod tests;

/// Arguments of `pmd top`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where processes serve metrics: a port of this host, or ADDRESS:PORT. By default whichever answer on this host's
    /// ports 9490 to 9521.
    #[arg(value_name = "ADDRESS")]
    addresses: Vec<MetricsAddress>,
    /// Seconds between two looks.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS", value_parser = seconds)]
    interval: f64,
    /// Look twice, print one table, and leave.
    #[arg(long)]
    once: bool,
    /// Print a JSON object for each look instead of a table.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let parsed = text.parse().ok().filter(|seconds| (0.05..=3600.0).contains(seconds));
    parsed.ok_or_else(|| "between 0.05 and 3600 seconds".to_owned())
}

/// Why there is nothing to show.
#[derive(Debug, Error)]
pub(crate) enum TopError {
    #[error(
        "no process serves metrics on {first} or the {others} ports after it: start one with --metrics or PMD_METRICS, or \
         name the address"
    )]
    Nobody { first: MetricsAddress, others: u16 },
    #[error("{address}")]
    Named { address: SocketAddr, source: ScrapeError },
}

impl Failure for TopError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Named { source: ScrapeError::Unreachable(_), .. } | Self::Nobody { .. } => Outcome::NotHere,
            Self::Named { .. } => Outcome::Failed,
        }
    }
}

/// The JSON object.
#[derive(Serialize)]
struct Report<'a> {
    op: &'static str,
    interval_s: f64,
    processes: Vec<&'a Process>,
    /// Addresses that do not answer any more, or were named and do not.
    gone: Vec<&'a str>,
}

/// Looks, and looks again, until it is interrupted or nobody reads; with `--once` until there is a table.
pub(crate) fn run(arguments: &Arguments) -> Result<Outcome, TopError> {
    let interval = Duration::from_secs_f64(arguments.interval);
    let mut watch = Watch::new(arguments);
    watch.look(arguments.once)?;
    let terminal = io::stdout().is_terminal();
    loop {
        thread::sleep(interval);
        let rows = watch.look(arguments.once)?;
        let text = if arguments.json { json(&rows, arguments.interval) } else { table::table(&rows) };
        // From the top of an empty screen.
        let clear = if terminal && !arguments.json && !arguments.once { "\x1b[H\x1b[2J" } else { "" };
        let mut out = io::stdout().lock();
        let written = write!(out, "{clear}{text}").and_then(|()| out.flush());
        if arguments.once || written.is_err() {
            return Ok(Outcome::Done);
        }
    }
}

fn json(rows: &[Row], interval_s: f64) -> String {
    let processes = rows.iter().filter_map(|row| match row {
        Row::Process(process) => Some(process),
        Row::Gone { .. } => None,
    });
    let gone = rows.iter().filter_map(|row| match row {
        Row::Gone { address, .. } => Some(address.as_str()),
        Row::Process(_) => None,
    });
    let report = Report { op: "top", interval_s, processes: processes.collect(), gone: gone.collect() };
    outcome::json_line(&report)
}

/// The addresses, and what each told last.
struct Watch {
    addresses: Vec<SocketAddr>,
    named: bool,
    last: HashMap<SocketAddr, Scrape>,
}

impl Watch {
    fn new(arguments: &Arguments) -> Self {
        let named = !arguments.addresses.is_empty();
        let addresses = if named {
            arguments.addresses.iter().map(|address| address.0).collect()
        } else {
            MetricsAddress::default().candidates().collect()
        };
        Self { addresses, named, last: HashMap::new() }
    }

    /// Asks everybody. Where `needed`, at least one has to answer, and everybody who was named.
    fn look(&mut self, needed: bool) -> Result<Vec<Row>, TopError> {
        let mut rows = Vec::new();
        for &address in &self.addresses {
            let old = self.last.remove(&address);
            match scrape(address) {
                Ok(new) => {
                    rows.push(Row::Process(Process::between(&address.to_string(), old.as_ref(), &new)));
                    self.last.insert(address, new);
                }
                // A process that ended between two looks is told, once where it was not named.
                Err(source) if needed && self.named && old.is_none() => {
                    return Err(TopError::Named { address, source });
                }
                Err(error) if self.named || old.is_some() => {
                    rows.push(Row::Gone { address: address.to_string(), reason: explain(&error) });
                }
                Err(_) => {}
            }
        }
        if needed && rows.is_empty() {
            return Err(TopError::Nobody { first: MetricsAddress::default(), others: PORTS - 1 });
        }
        Ok(rows)
    }
}
