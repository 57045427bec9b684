//! Shows that every ordering and every barrier is needed: weakens one at a time and expects a loom model to fail.
//!
//! Run by the `weaken` suite. `finder` lists the ways to weaken a source, [`mutation`](crate::mutation) plants them in a
//! copy of pmd-core and tries each. A mutant that no model notices is a failure: either the ordering is stronger than it
//! must be, or the models do not look where it matters.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::catalogue::loom_cargo;
use crate::count::Tally;
use crate::mutation::plant::Fault;
use crate::mutation::sandbox::{Built, Sandbox};
use crate::mutation::verdict::{self, Verdict};
use crate::mutation::{left, patience, tabulate, try_all};
use crate::source::{is_test_file, is_test_name, rust_files};
use crate::suite::{Journal, Workspace};

use finder::Mutation;

mod finder;

/// Folders of pmd-core whose modules have models.
const MODELLED: [&str; 2] = ["src/ring", "src/queue"];

/// One ordering, weakened.
struct Mutant {
    /// The file, relative to the package.
    file: PathBuf,
    /// The module whose models must notice.
    module: String,
    mutation: Mutation,
}

impl Mutant {
    fn name(&self) -> String {
        let place = format!("pmd-core/{}:{}", self.file.display(), self.mutation.line);
        format!("{place:<44} {}", self.mutation.change)
    }
}

/// A loom model and how long it takes unchanged.
#[derive(Clone)]
struct Model {
    name: String,
    time: Duration,
}

/// The models of each module, the quickest first.
type Models = BTreeMap<String, Vec<Model>>;

/// Weakens each ordering of pmd-core's rings and queues in turn, and counts those that a model catches.
pub(crate) fn check(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    let deadline = Instant::now() + limit;
    try_each(workspace, journal, deadline).unwrap_or_else(|error| {
        journal.fail(format!("pmd-core cannot be copied or built: {error}"));
        Tally::default()
    })
}

fn try_each(workspace: &Workspace, journal: &mut Journal<'_>, deadline: Instant) -> io::Result<Tally> {
    let mutants = mutants(&workspace.root.join("pmd-core"))?;
    journal.line(format!("{} ways to weaken an ordering; building all of them", mutants.len()));
    let folder = tempfile::tempdir()?;
    let sandbox = Sandbox::new(workspace, folder.path(), "pmd-core-weakened", &["", "sys"])?;
    sandbox.plant(&faults(&mutants))?;
    let built = sandbox.build(loom_cargo(sandbox.workspace()).args(["--no-run"]), left(deadline))?;
    let binary = match built {
        Built::Binaries(mut binaries) => binaries.remove("pmd-core"),
        Built::Broken(why) => {
            journal.fail(format!("the models do not build: {why}"));
            return Ok(Tally::default());
        }
    };
    let Some(binary) = binary else {
        journal.fail("cargo built no models");
        return Ok(Tally::default());
    };
    let Some(models) = unchanged(&sandbox, &binary, journal, deadline)? else { return Ok(Tally::default()) };
    let attempt = |index: usize| {
        let models = models.get(&mutants[index].module).map_or(&[][..], Vec::as_slice);
        try_one(&sandbox, &binary, index + 1, models, deadline)
            .unwrap_or_else(|error| Verdict::Broken { why: error.to_string() })
    };
    let name = |index: usize| mutants[index].name();
    let verdicts = try_all(mutants.len(), deadline, attempt, |index, verdict| {
        (journal.watch())(Some(&format!("{}: {}", name(index), verdict.describe())));
    });
    Ok(tabulate(&verdicts, name, journal))
}

/// Every mutant of modules with models, by file and place.
fn mutants(package: &Path) -> io::Result<Vec<Mutant>> {
    let mut found = Vec::new();
    for folder in MODELLED.iter().map(|folder| package.join(folder)).filter(|folder| folder.is_dir()) {
        for path in rust_files(&folder)? {
            let file = path.strip_prefix(package).unwrap_or(&path).to_owned();
            if is_test_file(&file) {
                continue;
            }
            let module = module_of(&file);
            for mutation in finder::mutations(&fs::read_to_string(&path)?) {
                found.push(Mutant { file: file.clone(), module: module.clone(), mutation });
            }
        }
    }
    Ok(found)
}

/// The mutants as faults, by file, numbered from 1.
fn faults(mutants: &[Mutant]) -> BTreeMap<PathBuf, Vec<Fault>> {
    let mut faults: BTreeMap<PathBuf, Vec<Fault>> = BTreeMap::new();
    for (index, mutant) in mutants.iter().enumerate() {
        let Mutation { range, replacement, .. } = &mutant.mutation;
        let fault = Fault { number: index + 1, range: range.clone(), replacement: replacement.clone() };
        faults.entry(mutant.file.clone()).or_default().push(fault);
    }
    faults
}

/// `src/ring/packet/producer.rs` belongs to `ring::packet`; `src/ring/mod.rs` to `ring`. Everything below `queue` has
/// its models together.
fn module_of(file: &Path) -> String {
    let parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    match (parts.get(1).map(String::as_str), parts.get(2).map(String::as_str)) {
        (Some("ring"), Some(module)) if module != "mod" => format!("ring::{module}"),
        (folder, _) => folder.unwrap_or_default().to_owned(),
    }
}

/// Runs every model with nothing switched on: a model that fails as it is cannot show anything.
fn unchanged(
    sandbox: &Sandbox,
    binary: &Path,
    journal: &mut Journal<'_>,
    deadline: Instant,
) -> io::Result<Option<Models>> {
    let list = sandbox.run(binary, &[], 0, left(deadline))?;
    let mut models = Models::new();
    for name in list.stdout.lines().filter_map(|line| line.strip_suffix(": test")) {
        let Some(module) = modelled(name) else { continue };
        let start = Instant::now();
        let ended = sandbox.run(binary, &[name], 0, left(deadline))?;
        if !ended.succeeded() {
            journal.output(&ended.output);
            journal.fail(format!("{name} fails with nothing weakened: {}", ended.describe()));
            return Ok(None);
        }
        let model = Model { name: name.to_owned(), time: start.elapsed() };
        journal.line(format!("{name}: {:.1} s unchanged", model.time.as_secs_f64()));
        models.entry(module).or_default().push(model);
    }
    models.values_mut().for_each(|of_module| of_module.sort_by_key(|model| model.time));
    Ok(Some(models))
}

/// The module that a loom model is of, `ring::spsc` for `ring::spsc::model::..`; none for another test.
fn modelled(test: &str) -> Option<String> {
    let parts: Vec<&str> = test.split("::").collect();
    let model = parts.iter().position(|part| is_test_name(part) && part.starts_with("model"))?;
    let module = parts[..model].join("::");
    let is_modelled = MODELLED.iter().any(|folder| folder.strip_prefix("src/") == parts.first().copied());
    is_modelled.then_some(module)
}

/// Runs the models of a mutant's module until one fails.
fn try_one(
    sandbox: &Sandbox,
    binary: &Path,
    number: usize,
    models: &[Model],
    deadline: Instant,
) -> io::Result<Verdict> {
    if models.is_empty() {
        return Ok(Verdict::Broken { why: "its module has no model".to_owned() });
    }
    for model in models {
        let limit = patience(model.time, deadline);
        let ended = sandbox.run(binary, &[&model.name], number, limit)?;
        if let Some(verdict) = verdict::read(&model.name, &ended) {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Survived)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_a_module_with_models() {
        for (file, module) in [
            ("src/ring/spsc.rs", "ring::spsc"),
            ("src/ring/spsc/mod.rs", "ring::spsc"),
            ("src/ring/packet/producer.rs", "ring::packet"),
            ("src/ring/mod.rs", "ring"),
            ("src/queue/completion.rs", "queue"),
            ("src/queue/lines/mod.rs", "queue"),
        ] {
            assert_eq!(module_of(Path::new(file)), module);
        }
    }

    #[test]
    fn models_are_known_by_their_path() {
        assert_eq!(modelled("ring::spsc::model::a_value_arrives").as_deref(), Some("ring::spsc"));
        assert_eq!(modelled("queue::model::an_entry_arrives").as_deref(), Some("queue"));
        assert_eq!(modelled("ring::credits::tests::a_credit"), None);
        assert_eq!(modelled("wire::model::a_value_arrives"), None);
    }

    #[test]
    fn mutants_are_found_in_the_product_and_not_in_its_models() {
        let package = tempfile::tempdir().expect("a temporary folder");
        let ring = package.path().join("src/ring/spsc");
        fs::create_dir_all(&ring).expect("a folder");
        for file in ["mod.rs", "model.rs", "tests.rs"] {
            fs::write(ring.join(file), "\nfn a() { x.load(Ordering::Acquire); }").expect("a file");
        }
        let found = mutants(package.path()).expect("files");
        let places: Vec<&Path> = found.iter().map(|mutant| mutant.file.as_path()).collect();
        assert_eq!(places, [Path::new("src/ring/spsc/mod.rs")]);
        assert!(found[0].name().starts_with("pmd-core/src/ring/spsc/mod.rs:2 "), "{}", found[0].name());
        assert_eq!(faults(&found)[Path::new("src/ring/spsc/mod.rs")][0].number, 1);
    }
}
