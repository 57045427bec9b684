//! Writes the committed seeds, or compares them (`--check`): `cargo run --bin seeds [-- --check] [FOLDER]`.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let check = arguments.iter().any(|argument| argument == "--check");
    let folder = arguments.iter().find(|argument| !argument.starts_with("--"));
    let folder = folder.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds"), PathBuf::from);
    match if check { differing(&folder) } else { write(&folder).map(|()| Vec::new()) } {
        Ok(files) if files.is_empty() => ExitCode::SUCCESS,
        Ok(files) => {
            files.iter().for_each(|file| eprintln!("{} is not what the generator makes", file.display()));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}

/// Replaces every target's folder.
fn write(folder: &Path) -> io::Result<()> {
    for (target, seeds) in pmd_fuzz::seeds::all() {
        let folder = folder.join(target);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        for (name, bytes) in seeds {
            fs::write(folder.join(name), bytes)?;
        }
    }
    Ok(())
}

/// Files that are missing, that differ, or that the generator does not make.
fn differing(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut differing, mut made) = (Vec::new(), BTreeSet::new());
    for (target, seeds) in pmd_fuzz::seeds::all() {
        for (name, bytes) in seeds {
            let path = folder.join(target).join(name);
            if !fs::read(&path).is_ok_and(|committed| committed == bytes) {
                differing.push(path.clone());
            }
            made.insert(path);
        }
    }
    for target in fs::read_dir(folder)? {
        for file in fs::read_dir(target?.path())? {
            differing.extend(Some(file?.path()).filter(|path| !made.contains(path)));
        }
    }
    Ok(differing)
}
