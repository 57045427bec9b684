//! Writes a package's `src/bindings` from installed C headers, or checks that what is committed is what they give.
//!
//! # Place in the flow
//! `pmd-sys`, `hip-sys` and their like have a maintenance command called `regenerate`: a list of `Plan`s and a call of
//! `main`. A maintainer runs it after changing a plan; the verification suite `bindings` runs it with `--check`. No
//! build needs it:
//!
//! ```text
//! cargo run -p pmd-sys --features regenerate --bin regenerate            # write
//! cargo run -p pmd-sys --features regenerate --bin regenerate -- --check # compare, exit 1 when different
//! ```
//! The written files expect of their package a `LoadError` at its root, and a function `loader::symbol` that answers with
//! a function of the table or with the error that names it.
#![cfg(feature = "generate")]

mod difference;
mod plan;
mod rewrite;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io, panic};

use clap::Parser;

pub use plan::Plan;

/// The packages that hold libclang and the headers that it needs itself.
const CLANG_PACKAGES: &str = "libclang1-14 libclang-common-14-dev";

#[derive(Parser)]
#[command(about = "Regenerate the committed bindings, or check that they are current")]
struct Arguments {
    /// Compare with the committed files instead of writing them.
    #[arg(long)]
    check: bool,
}

/// What keeps the bindings from being generated or compared.
#[derive(Debug, thiserror::Error)]
enum RegenerateError {
    #[error("header {header} is not installed: apt-get install {packages}")]
    HeaderMissing { header: &'static str, packages: &'static str },
    #[error(
        "libclang cannot be loaded: apt-get install {CLANG_PACKAGES} (or point LIBCLANG_PATH at its folder)\n{reason}"
    )]
    ClangMissing { reason: String },
    #[error("bindgen cannot read {header}: apt-get install {CLANG_PACKAGES}\n{reason}")]
    Unreadable { header: &'static str, reason: bindgen::BindgenError },
    #[error("bindgen's output for {header} does not parse: {reason}")]
    Unparsable { header: &'static str, reason: syn::Error },
    #[error("{path}: {reason}", path = path.display())]
    File { path: PathBuf, reason: io::Error },
}

/// The command `regenerate` of the package in `folder` (its `CARGO_MANIFEST_DIR`), with the process's arguments.
///
/// The exit status is 0 when all files are (now) what the headers give, 1 when one differs, 3 when that cannot be told,
/// 2 for wrong arguments.
pub fn main(folder: impl AsRef<Path>, plans: &[Plan]) -> ExitCode {
    match run(&Arguments::parse(), &folder.as_ref().join("src/bindings"), plans) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("regenerate: {error}");
            ExitCode::from(3)
        }
    }
}

/// Handles every plan; true when all files are (now) what the headers give.
fn run(arguments: &Arguments, folder: &Path, plans: &[Plan]) -> Result<bool, RegenerateError> {
    require_libclang()?;
    let mut current = true;
    for plan in plans {
        let path = folder.join(plan.file);
        let generated = generate(plan)?;
        if arguments.check {
            current &= check(&path, plan, &generated)?;
        } else {
            write(&path, plan, &generated)?;
        }
    }
    Ok(current)
}

/// bindgen panics when it finds no libclang, so the library is loaded here first, where it is an error.
fn require_libclang() -> Result<(), RegenerateError> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let outcome = panic::catch_unwind(bindgen::clang_version);
    panic::set_hook(hook);
    outcome.map(|_| ()).map_err(|payload| RegenerateError::ClangMissing {
        reason: payload.downcast_ref::<String>().cloned().unwrap_or_default(),
    })
}

fn generate(plan: &Plan) -> Result<String, RegenerateError> {
    let header = plan.header;
    if !Path::new(plan.include).join(header).exists() {
        return Err(RegenerateError::HeaderMissing { header, packages: plan.packages });
    }
    let bindings =
        plan.builder().generate().map_err(|reason| RegenerateError::Unreadable { header, reason })?;
    rewrite::rewrite(&bindings.to_string(), plan)
        .map_err(|reason| RegenerateError::Unparsable { header, reason })
}

fn check(path: &Path, plan: &Plan, generated: &str) -> Result<bool, RegenerateError> {
    let committed =
        fs::read_to_string(path).map_err(|reason| RegenerateError::File { path: path.to_owned(), reason })?;
    let current = committed == generated;
    if current {
        println!("{}: current ({} lines)", plan.file, generated.lines().count());
    } else {
        println!("{}: differs from what {} gives", plan.file, plan.header);
        print!("{}", difference::difference(&committed, generated));
    }
    Ok(current)
}

fn write(path: &Path, plan: &Plan, generated: &str) -> Result<(), RegenerateError> {
    fs::write(path, generated).map_err(|reason| RegenerateError::File { path: path.to_owned(), reason })?;
    println!("{}: written ({} lines)", plan.file, generated.lines().count());
    Ok(())
}
