//! The command: what is common to all crates of bindings, whose `main` has a plan of its own.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io, panic};

use clap::Parser;

use crate::plan::{self, Plan};
use crate::{difference, rewrite};

#[derive(Parser)]
#[command(about = "Regenerate the bindings, or check that they are current")]
struct Arguments {
    /// Compare with the committed files instead of writing them.
    #[arg(long)]
    check: bool,
}

/// What keeps the bindings from being generated or compared.
#[derive(Debug, thiserror::Error)]
enum RegenerateError {
    #[error("header {0} is not installed: apt-get install {packages}", packages = plan::HEADER_PACKAGES)]
    HeaderMissing(&'static str),
    #[error(
        "libclang cannot be loaded: apt-get install {packages} (or point LIBCLANG_PATH at its folder)\n{reason}",
        packages = plan::CLANG_PACKAGES
    )]
    ClangMissing { reason: String },
    #[error("bindgen cannot read {header}: apt-get install {packages}\n{reason}", packages = plan::CLANG_PACKAGES)]
    Unreadable { header: &'static str, reason: bindgen::BindgenError },
    #[error("bindgen's output for {header} does not parse: {reason}")]
    Unparsable { header: &'static str, reason: syn::Error },
    #[error("{path}: {reason}", path = path.display())]
    File { path: PathBuf, reason: io::Error },
}

pub(crate) fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("regenerate: {error}");
            ExitCode::from(3)
        }
    }
}

/// Handles every library of the plan; true when all files are (now) what the headers give.
fn run(arguments: &Arguments) -> Result<bool, RegenerateError> {
    require_libclang()?;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bindings");
    let mut current = true;
    for plan in plan::PLANS {
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
    let header = Path::new(plan::INCLUDE).join(plan.header);
    if !header.exists() {
        return Err(RegenerateError::HeaderMissing(plan.header));
    }
    let bindings = plan
        .builder()
        .generate()
        .map_err(|reason| RegenerateError::Unreadable { header: plan.header, reason })?;
    rewrite::rewrite(&bindings.to_string(), plan)
        .map_err(|reason| RegenerateError::Unparsable { header: plan.header, reason })
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
