//! `kv serve` and `kv fetch`: the demo's two processes, started by hand, on two hosts or on one.

use std::{
    io::{self, Write},
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use clap::Args;
use kv_api::{engine::Engine, environment};
use pmd_host::metadata::Publication;
use serde_json::json;

use super::{
    content::Source,
    decode::{self, Whence},
    prefill::Prefill,
    protocol::{DecodeSays, Rail},
    summary, table,
};
use crate::{
    Outcome,
    failure::{Failure, chain},
    options::{Common, PATIENCE, Place, Rails},
};

/// `kv serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Address and port to listen on. Whoever reaches it can read and write the cache: use a trusted network, or --key-file.
    #[arg(long, default_value = "127.0.0.1:7700", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Publish where this process listens in a directory: etcd://host:2379. Etcd may go away later.
    #[arg(long, value_name = "URL")]
    metadata: Option<String>,
    /// Name to be found by there; that of the launcher's rank if not given.
    #[arg(long, value_name = "NAME", requires = "metadata")]
    name: Option<String>,
    /// End when the first peer has gone.
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    rails: Rails,
    #[command(flatten)]
    place: Place,
}

/// `kv fetch`.
#[derive(Debug, Args)]
pub(crate) struct FetchArguments {
    /// Where `kv serve` listens, or with --metadata its name.
    #[arg(value_name = "ADDRESS:PORT or NAME")]
    whence: String,
    /// The directory in which the name is looked up: etcd://host:2379.
    #[arg(long, value_name = "URL")]
    metadata: Option<String>,
    /// Write what arrived to this file.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print one JSON object as the last line instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    rails: Rails,
    #[command(flatten)]
    place: Place,
}

/// Serves one cache until it is interrupted, or with `--once` until the first peer has gone.
pub(crate) fn serve(arguments: &ServeArguments) -> Outcome {
    let mut config = arguments.common.endpoint("kv serve", Some(arguments.listen));
    arguments.rails.apply(&mut config);
    let prefill = Prefill::open(&arguments.source, config, arguments.place)?;
    println!("{}", prefill.summary());
    let _published = publish(arguments, prefill.engine())?;
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

/// Makes the engine findable, if that was asked for, as long as the value is held.
fn publish(arguments: &ServeArguments, engine: &Engine) -> Result<Option<Box<dyn Publication>>, Failure> {
    let Some(url) = &arguments.metadata else { return Ok(None) };
    let of_launch = || environment::name()?.ok_or(Failure::NoName);
    let name = arguments.name.clone().map_or_else(of_launch, Ok::<_, Failure>)?;
    let directory = environment::directory_at(url)?;
    Ok(Some(engine.publish(directory.as_ref(), &name, PATIENCE)?))
}

/// Where the served cache is.
fn whence(arguments: &FetchArguments) -> Result<Whence, Failure> {
    let given = &arguments.whence;
    match &arguments.metadata {
        Some(url) => Ok(Whence::Name { directory: environment::directory_at(url)?, name: given.clone() }),
        None => {
            let address = given.parse().map_err(|_| Failure::NotAnAddress { given: given.clone() })?;
            Ok(Whence::Address(address))
        }
    }
}

/// Gets a served cache in every way there is, verifies each, and tells.
pub(crate) fn fetch(arguments: &FetchArguments) -> Outcome {
    let whence = whence(arguments)?;
    let said = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let found = Arc::clone(&said);
    let say = move |said| {
        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
        match said {
            DecodeSays::Row(row) => found.0.push(row),
            DecodeSays::Rails(rails) => found.1 = rails,
            DecodeSays::Step(_) | DecodeSays::Done => {}
        }
    };
    let mut config = arguments.common.endpoint("kv fetch", None);
    arguments.rails.apply(&mut config);
    let (place, output) = (arguments.place, arguments.output.as_deref());
    let fetched = decode::fetch(&whence, config, place, output, Box::new(say));
    // What was measured until a failure is worth telling.
    let said = said.lock().unwrap_or_else(PoisonError::into_inner);
    let (rows, rails) = &*said;
    if arguments.json {
        let mut object = summary("fetch", &arguments.whence, rows);
        object["rails"] = json!(rails);
        println!("{object}");
    } else {
        println!("{}", table(rows));
        for Rail { rail, state, lives, bytes, chunks } in rails {
            println!("rail {rail}: {state}, {bytes} bytes pulled in {chunks} chunks, opened {lives} times");
        }
    }
    fetched
}
