//! Runs worlds of so many nodes, one after the other, and prints what came of them. `verification simulate` starts it.

use std::{process::ExitCode, time::Instant};

use clap::Parser;
use serde_json::json;
use simulate::{PeerMemory, Run, Settings, not_flat, run, table};

/// Simulates the rendezvous, rails and credits of many nodes.
#[derive(Debug, Parser)]
#[command(name = "simulate", version)]
struct Options {
    /// Nodes of each world, half of them workers and half servers; several are a list with commas.
    #[arg(long, value_delimiter = ',', default_value = "16,64,256,2000", value_parser = clap::value_parser!(u32).range(4..=20_000))]
    nodes: Vec<u32>,
    /// What chance begins with.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Servers that each worker links with; as many as there are at most.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    links: u32,
    /// Rails of each link.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    rails: u16,
    /// Prints one object as the last line.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut runs = Vec::new();
    for nodes in &options.nodes {
        let begin = Instant::now();
        let base = Settings::new(*nodes & !1, options.seed);
        let links = options.links.min(base.shape().servers);
        let run = run(Settings { links, rails: options.rails, ..base });
        let verdict = if run.violations.is_empty() { "ok" } else { "FAILED" };
        let seconds = begin.elapsed().as_secs_f64();
        println!("{verdict} {} nodes: {} events in {seconds:.1} s", run.settings.nodes, run.events);
        run.violations.iter().for_each(|violation| println!("  {violation}"));
        runs.push(run);
    }
    let growing = not_flat(&runs);
    let flat = if growing.is_empty() { "ok" } else { "FAILED" };
    println!("{flat} what should not grow with the number of nodes does not\n");
    growing.iter().for_each(|violation| println!("  {violation}"));
    print!("{}", table(&runs));
    println!("\n{}", queues());
    let verified = growing.is_empty() && runs.iter().all(|run| run.violations.is_empty());
    if options.json {
        let runs: Vec<_> = runs.iter().map(Run::json).collect();
        println!("{}", json!({ "verified": verified, "runs": runs }));
    }
    if verified { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn queues() -> String {
    let PeerMemory { queues, messages, rail, control } = PeerMemory::of_defaults();
    format!(
        "A peer at one end, by the driver's constants: queues {queues} B, messages {messages} B, \
         each rail {rail} B, the control connection's reading {control} B."
    )
}
