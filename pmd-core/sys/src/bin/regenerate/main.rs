//! Writes `src/bindings` from the installed rdma-core headers, or checks that what is committed is what they give.
//!
//! A maintainer runs it after changing [`plan`]; the verification suite runs it with `--check`. No build needs it:
//!
//! ```text
//! cargo run -p pmd-sys --features regenerate --bin regenerate            # write
//! cargo run -p pmd-sys --features regenerate --bin regenerate -- --check # compare, exit 1 when different
//! ```
//! The crates that bind accelerators' runtimes have the same command with plans of their own.

mod command;
mod difference;
mod plan;
mod rewrite;

fn main() -> std::process::ExitCode {
    command::main()
}
