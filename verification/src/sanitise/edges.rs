//! Makes the thread sanitiser see what std's locks order where they wait: `edges.c` beside this file, compiled for the
//! names that the toolchain's library has for them, and the linker's arguments that send their callers there.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::process::Task;

const SOURCE: &str = include_str!("edges.c");

/// Longest that compiling may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Each function: as `edges.c` calls it, and the parts of its mangled name in their order, the last of which ends it.
const FUNCTIONS: [(&str, &[&str]); 7] = [
    ("MUTEX_LOCK", &["3std", "5mutex", "5futex", "5Mutex", "14lock_contended"]),
    ("RWLOCK_READ", &["3std", "6rwlock", "5futex", "6RwLock", "14read_contended"]),
    ("RWLOCK_WRITE", &["3std", "6rwlock", "5futex", "6RwLock", "15write_contended"]),
    ("CONDVAR_WAIT", &["3std", "7condvar", "5futex", "7Condvar", "4wait"]),
    ("CONDVAR_WAIT_TIMEOUT", &["3std", "7condvar", "5futex", "7Condvar", "12wait_timeout"]),
    ("ONCE_CALL", &["3std", "4once", "5futex", "4Once", "4call"]),
    ("SCOPE_END", &["3std", "6scoped", "9ScopeData", "29decrement_num_running_threads"]),
];

/// Compiles the edges into `folder`.
///
/// # Returns
/// The compiler's flags that link them.
///
/// # Errors
/// What is missing or does not work, in a line.
pub(super) fn flags(folder: &Path) -> Result<Vec<String>, String> {
    let library = standard_library(folder)?;
    let symbols = output(Task::new("readelf", folder).args(["--symbols", "--wide"]).args([&library]))?;
    let names = FUNCTIONS.map(|(function, parts)| Some((function, find(&symbols, parts)?)));
    let mut known = Vec::new();
    for (name, (function, _)) in names.into_iter().zip(FUNCTIONS) {
        known.push(name.ok_or_else(|| {
            format!("{library} has no function for {function}: mend verification/src/sanitise/edges.rs for this toolchain")
        })?);
    }
    let (source, object) = (folder.join("edges.c"), folder.join("edges.o"));
    fs::write(&source, SOURCE).map_err(|error| format!("{}: {error}", source.display()))?;
    let compile = Task::new("cc", folder).args(["-c", "-O1", "-fexceptions", "-Wall", "-Wextra", "-Werror"]);
    let compile = compile.args(known.iter().map(|(function, name)| format!("-D{function}={name}")));
    output(compile.args([&source]).args(["-o"]).args([&object]))?;
    let wraps = known.iter().map(|(_, name)| format!("-Clink-arg=-Wl,--wrap={name}"));
    Ok(std::iter::once(format!("-Clink-arg={}", object.display())).chain(wraps).collect())
}

/// The path of the library that programs are linked with.
fn standard_library(folder: &Path) -> Result<String, String> {
    let libraries = output(Task::new("rustc", folder).args(["--print", "target-libdir"]))?;
    let libraries = Path::new(libraries.trim());
    let entries = fs::read_dir(libraries).map_err(|error| format!("{}: {error}", libraries.display()))?;
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
    let name = names.into_iter().find(|name| name.starts_with("libstd-") && name.ends_with(".rlib"));
    let name = name.ok_or_else(|| format!("{} has no libstd", libraries.display()))?;
    Ok(libraries.join(name).display().to_string())
}

/// The symbol with these parts, from a table as readelf prints it.
fn find(symbols: &str, parts: &[&str]) -> Option<String> {
    let functions = symbols.lines().filter(|line| line.contains(" FUNC ") && line.contains(" GLOBAL "));
    let mut names = functions.filter_map(|line| line.split_whitespace().last());
    names.find(|name| has(name, parts)).map(str::to_owned)
}

/// Whether a mangled name has these parts in their order, the last at its end.
fn has(name: &str, parts: &[&str]) -> bool {
    let Some((last, others)) = parts.split_last() else { return false };
    let Some(mut rest) = name.strip_suffix(last) else { return false };
    others.iter().all(|part| {
        let found = rest.split_once(part);
        rest = found.map_or("", |(_, rest)| rest);
        found.is_some()
    })
}

/// What a command prints.
fn output(task: Task) -> Result<String, String> {
    let line = task.line();
    let ended = task.limit(LIMIT).run(&mut |_| ()).map_err(|error| format!("{line}: {error}"))?;
    match ended.succeeded() {
        true => Ok(ended.stdout),
        false => Err(format!("{line}: {}: {}", ended.describe(), ended.stderr.trim())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "  807: 0000000000000000   333 FUNC    LOCAL  DEFAULT  762 _RNvMCsj_3std7condvar5futexNtB2_7Condvar4wait\n\
         3339: 0000000000000000   345 FUNC    GLOBAL DEFAULT  756 _RNvMNtCsj_3std4sync6rwlock5futexNtB2_6RwLock15write_contended\n\
         3323: 0000000000000000   231 FUNC    GLOBAL DEFAULT  750 _RNvMNtCsj_3std4sync5mutex5futexNtB2_5Mutex14lock_contended\n";

    #[test]
    fn a_function_is_found_by_the_parts_of_its_name() {
        let name = |at: usize| find(TABLE, FUNCTIONS[at].1);
        assert_eq!(name(0).as_deref(), Some("_RNvMNtCsj_3std4sync5mutex5futexNtB2_5Mutex14lock_contended"));
        assert_eq!(
            name(2).as_deref(),
            Some("_RNvMNtCsj_3std4sync6rwlock5futexNtB2_6RwLock15write_contended")
        );
        assert_eq!(name(1), None, "another function of the same lock");
        assert_eq!(name(3), None, "one that other objects cannot call");
        assert!(
            !has("_R5Mutex3std14lock_contended", &["3std", "5Mutex", "14lock_contended"]),
            "in another order"
        );
    }

    #[test]
    fn every_function_is_wrapped_by_the_source() {
        for (function, _) in FUNCTIONS {
            assert!(SOURCE.contains(&format!("({function})")), "{function}");
        }
    }
}
