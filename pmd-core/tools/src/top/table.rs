//! The table of `pmd top`: a line for each process, one below it for each of its peers, and below that their rails.

use std::fmt::Write;

use super::rates::{Flow, Process, Rail};

/// What is known of an address that was looked at.
pub(super) enum Row {
    Process(Process),
    /// A process that answered before, or was named, and does not answer: why.
    Gone {
        address: String,
        reason: String,
    },
}

const HEAD: &str = "ADDRESS                PROCESS / PEER       VIA     READ/s   WRITE/s  TRANS/s     WR/s    MSG/s  ACTIVE  \
                    QUEUED  FAILED   P50 us   P99 us";

/// All rows under the heading.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!("{HEAD}\n");
    for row in rows {
        // Writing to a string does not fail.
        let _ = match row {
            Row::Gone { address, reason } => writeln!(text, "{address:<22} {reason}"),
            Row::Process(process) => write_process(&mut text, process),
        };
    }
    text
}

fn write_process(text: &mut String, process: &Process) -> std::fmt::Result {
    let Process { address, name, flow, p50_us, p99_us, peers, .. } = process;
    write!(text, "{address:<22} {:<20} {:<5} ", short(name, 20), "")?;
    write_flow(text, flow)?;
    let time = |microseconds: Option<f64>| microseconds.map_or("-".to_owned(), |us| format!("{us:.0}"));
    let mut remarks = retries(flow);
    remarks.push((process.receiver_not_ready, "waits for a receive"));
    writeln!(text, " {:>8} {:>8}{}", time(*p50_us), time(*p99_us), remark(&remarks))?;
    for peer in peers {
        let label = format!("  {} #{}", short(&peer.name, 13), peer.connection);
        write!(text, "{:<22} {label:<20} {:<5} ", "", peer.transport)?;
        write_flow(text, &peer.flow)?;
        let mut remarks = retries(&peer.flow);
        remarks.push((peer.keep_alive_misses, "keep-alives missed"));
        writeln!(text, "{}", remark(&remarks))?;
        peer.rails.iter().try_for_each(|rail| write_rail(text, rail))?;
    }
    Ok(())
}

/// Requests that were given up.
fn retries(flow: &Flow) -> Vec<(u64, &'static str)> {
    vec![
        (flow.retry_exceeded, "given up without an answer"),
        (flow.receiver_not_ready_exceeded, "given up without a receive"),
    ]
}

/// What has happened at all, behind the columns.
fn remark(remarks: &[(u64, &str)]) -> String {
    let happened = remarks.iter().filter(|(count, _)| *count > 0);
    happened.map(|(count, what)| format!("  {count} {what}")).collect()
}

fn write_rail(text: &mut String, rail: &Rail) -> std::fmt::Result {
    let Rail { rail, state, bytes_per_s, bytes: moved, chunks, lives } = rail;
    let label = format!("    rail {} {}", short(rail, 3), short(state, 9));
    let (speed, moved) = (bytes(*bytes_per_s), bytes(*moved as f64));
    writeln!(text, "{:<22} {label:<26} {speed}/s, {moved} in {chunks} chunks, opened {lives} times", "")
}

fn write_flow(text: &mut String, flow: &Flow) -> std::fmt::Result {
    write!(
        text,
        "{:>8} {:>9} {:>8.0} {:>8.0} {:>8.0} {:>7} {:>7} {:>7}",
        bytes(flow.read_bytes_per_s),
        bytes(flow.write_bytes_per_s),
        flow.transfers_per_s,
        flow.work_requests_per_s,
        flow.messages_per_s,
        flow.active_transfers,
        flow.outstanding_work_requests,
        flow.failed_transfers,
    )
}

/// Three digits and a decimal prefix.
pub(super) fn bytes(amount: f64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut amount, mut unit) = (amount, 0);
    while amount >= 999.5 && unit + 1 < units.len() {
        amount /= 1000.0;
        unit += 1;
    }
    let digits = if unit == 0 || amount >= 99.95 { 0 } else { 1 };
    format!("{amount:.digits$} {}", units[unit])
}

/// At most so many characters, and none that would move the cursor: a name is what a peer says it is.
fn short(name: &str, limit: usize) -> String {
    name.chars().map(|character| if character.is_control() { '?' } else { character }).take(limit).collect()
}
