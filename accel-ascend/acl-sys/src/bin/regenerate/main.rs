//! Writes `src/bindings/acl.rs` from `include/acl`, or checks that what is committed is what it gives.
//!
//! A maintainer runs it after changing the header or [`plan`]; the verification suite runs it with `--check`. All but
//! the plan is `pmd-sys`'s command of the same name.
//!
//! ```text
//! cargo run -p acl-sys --features regenerate --bin regenerate            # write
//! cargo run -p acl-sys --features regenerate --bin regenerate -- --check # compare, exit 1 when different
//! ```

#[path = "../../../../../pmd-core/sys/src/bin/regenerate/command.rs"]
mod command;
#[path = "../../../../../pmd-core/sys/src/bin/regenerate/difference.rs"]
mod difference;
mod plan;
#[path = "../../../../../pmd-core/sys/src/bin/regenerate/rewrite.rs"]
mod rewrite;

fn main() -> std::process::ExitCode {
    command::main()
}
