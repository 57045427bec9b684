//! Finds the sources of the workspace.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Every `.rs` file under a folder, in order of path; build outputs and hidden folders are left out.
pub(crate) fn rust_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() && !path.is_symlink() && !is_left_out(&path) {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Names of modules and files that hold tests.
const TEST_NAMES: [&str; 4] = ["model", "models", "test", "tests"];

/// Whether a file's or a module's name says that it holds tests: `model`, `tests`, `spsc_model`.
pub(crate) fn is_test_name(name: &str) -> bool {
    name.split('_').any(|word| TEST_NAMES.contains(&word))
}

/// Whether a file or one of its folders holds tests; the path is relative to the workspace or to a package.
pub(crate) fn is_test_file(file: &Path) -> bool {
    file.with_extension("").iter().any(|part| is_test_name(&part.to_string_lossy()))
}

fn is_left_out(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || name == "target" || name.starts_with("target-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_test_files_are_known() {
        assert!(["model", "models", "tests", "spsc_model"].iter().all(|name| is_test_name(name)));
        assert!(!["spsc", "slot", "remodel", "latest"].iter().any(|name| is_test_name(name)));
        assert!(is_test_file(Path::new("a/src/b/tests.rs")) && is_test_file(Path::new("a/tests/b.rs")));
        assert!(!is_test_file(Path::new("a/src/b/mod.rs")));
    }

    #[test]
    fn finds_sources_and_leaves_out_build_outputs() {
        let root = tempfile::tempdir().expect("a temporary folder");
        for folder in ["src/deep", "target/debug", "target-loom", ".git"] {
            fs::create_dir_all(root.path().join(folder)).expect("a folder");
        }
        for file in
            ["src/b.rs", "src/deep/a.rs", "src/c.txt", "target/debug/d.rs", "target-loom/e.rs", ".git/f.rs"]
        {
            fs::write(root.path().join(file), "").expect("a file");
        }
        let found = rust_files(root.path()).expect("the folder can be read");
        assert_eq!(found, [root.path().join("src/b.rs"), root.path().join("src/deep/a.rs")]);
    }
}
