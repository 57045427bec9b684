//! LLM-DataDist: a decoder pulls three blocks and a row from a prompt cluster, and checks them. Run it twice, in any
//! order: `cargo run --example pull_cache_and_blocks -- prompt`, and the same with `decoder`.
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

/// Listens, registers its cache, and waits until the decoder has what it wants.
fn prompt(arguments: &Arguments) -> Outcome<()> {
    let process = arguments.start(PROMPT, LlmRole::Prompt, true, true)?;
    arguments.await_control()?.hear()?;
    process.finish()
}

fn decoder(arguments: &Arguments) -> Outcome<()> {
    let process = arguments.start(DECODER, LlmRole::Decoder, false, false)?;
    arguments.link(&process, PROMPT)?;
    process.pull_rows_0_to_3(PROMPT)?;
    process.verify(0..4)?;
    arguments.unlink(&process, PROMPT)?;
    arguments.connect_control()?.tell()?;
    process.finish()
}
