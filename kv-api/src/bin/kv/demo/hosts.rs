//! `kv serve` and `kv fetch`: the demo's two processes, started by hand, on two hosts or on one.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use clap::Args;

use super::{content::Source, decode, prefill::Prefill, protocol::DecodeSays, summary, table};
use crate::{
    Outcome,
    failure::chain,
    options::{Common, PATIENCE, Place},
};

/// `kv serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Address and port to listen on. Whoever reaches it can read and write the cache: use a trusted network.
    #[arg(long, default_value = "127.0.0.1:7700", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// End when the first peer has gone.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    place: Place,
}

/// `kv fetch`.
#[derive(Debug, Args)]
pub(crate) struct FetchArguments {
    /// Where `kv serve` listens.
    #[arg(value_name = "ADDRESS:PORT")]
    address: SocketAddr,
    /// Write what arrived to this file.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON object as the last line instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    place: Place,
}

/// Serves one cache until it is interrupted, or with `--once` until the first peer has gone.
pub(crate) fn serve(arguments: &ServeArguments) -> Outcome {
    let config = arguments.common.endpoint("kv serve", Some(arguments.listen));
    let prefill = Prefill::open(&arguments.source, config, arguments.place)?;
    println!("{}", prefill.summary());
    println!("listening on {}", prefill.address());
    // Whoever starts the command and reads this from a pipe waits for it.
    let _ = io::stdout().flush();
    if arguments.once {
        let (engine, stop) = (prefill.engine().clone(), prefill.stopper());
        thread::spawn(move || {
            while engine.wait_down(PATIENCE).is_err() {}
            stop();
        });
    }
    // A peer that goes in the middle of a push is no reason to leave the others.
    prefill.run(|failure| {
        eprintln!("kv: a push failed: {}", chain(&failure));
        Ok(())
    })
}

/// Gets a served cache in every way there is, verifies each, and tells.
pub(crate) fn fetch(arguments: &FetchArguments) -> Outcome {
    let rows = Arc::new(Mutex::new(Vec::new()));
    let found = Arc::clone(&rows);
    let say = move |said| {
        if let DecodeSays::Row(row) = said {
            found.lock().unwrap_or_else(PoisonError::into_inner).push(row);
        }
    };
    let config = arguments.common.endpoint("kv fetch", None);
    let (place, output) = (arguments.place, arguments.output.as_deref());
    let fetched = decode::fetch(arguments.address, config, place, output, Box::new(say));
    // What was measured until a failure is worth telling.
    let rows = rows.lock().unwrap_or_else(PoisonError::into_inner);
    if arguments.json {
        println!("{}", summary("fetch", &arguments.address.to_string(), &rows));
    } else {
        println!("{}", table(&rows));
    }
    fetched
}
