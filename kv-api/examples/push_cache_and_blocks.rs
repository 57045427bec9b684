//! LLM-DataDist: a prompt cluster pushes three blocks, layer by layer, and a row to a decoder, which checks them. Run it
//! twice, in any order: `cargo run --example push_cache_and_blocks -- prompt`, and the same with `decoder`.
mod datadist_support;

use clap::Parser;
use datadist_support::*;
use kv_api::datadist::LlmRole;

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Role::Prompt => prompt(&arguments),
        Role::Decoder => decoder(&arguments),
    }
}

fn prompt(arguments: &Arguments) -> Outcome<()> {
    let process = arguments.start(PROMPT, LlmRole::Prompt, false, true)?;
    arguments.link(&process, DECODER)?;
    process.push_rows_4_to_7(DECODER)?;
    arguments.unlink(&process, DECODER)?;
    arguments.connect_control()?.tell()?;
    process.finish()
}

/// Listens, registers its cache, and waits until everything is there.
fn decoder(arguments: &Arguments) -> Outcome<()> {
    let process = arguments.start(DECODER, LlmRole::Decoder, true, false)?;
    arguments.await_control()?.hear()?;
    process.verify(4..8)?;
    process.finish()
}
