//! LLM-DataDist: a decoder pulls from a prompt cluster; then they change places, so that the decoder listens, and the
//! prompt cluster links with it and pushes. Run it twice, in any order: `cargo run --example switch_roles -- prompt`,
//! and the same with `decoder`.
mod datadist_support;

use clap::Parser;
use datadist_support::*;
use kv_api::datadist::{LlmRole, Options};

fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    match arguments.role {
        Role::Prompt => prompt(&arguments),
        Role::Decoder => decoder(&arguments),
    }
}

fn prompt(arguments: &Arguments) -> Outcome<()> {
    let process = arguments.start(PROMPT, LlmRole::Prompt, true, true)?;
    let mut control = arguments.await_control()?;
    control.hear()?;
    // No address to listen at: a client from now on.
    process.datadist.set_role(LlmRole::Decoder, &Options::new())?;
    arguments.link(&process, DECODER)?;
    process.push_rows_4_to_7(DECODER)?;
    arguments.unlink(&process, DECODER)?;
    control.tell()?;
    process.finish()
}

fn decoder(arguments: &Arguments) -> Outcome<()> {
    let process = arguments.start(DECODER, LlmRole::Decoder, false, false)?;
    arguments.link(&process, PROMPT)?;
    process.pull_rows_0_to_3(PROMPT)?;
    process.verify(0..4)?;
    arguments.unlink(&process, PROMPT)?;
    process.datadist.set_role(LlmRole::Prompt, &arguments.listening(DECODER))?;
    let mut control = arguments.connect_control()?;
    control.tell()?;
    control.hear()?;
    process.verify(4..8)?;
    process.finish()
}
