//! Shows that every ordering in the rings is needed: weakens one at a time and expects a loom model to fail.
//!
//! Run by the `weaken` suite. `finder` lists the ways to weaken a source, `sandbox` builds and runs the models of
//! a copy of pmd-core, `verdict` reads what came of it. A mutant that no model notices is a failure: either the
//! ordering is stronger than it must be, or the models do not look where it matters.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::count::Tally;
use crate::source::{is_test_file, is_test_name, rust_files};
use crate::suite::{Journal, Workspace};

use finder::Mutation;
use sandbox::{Built, Sandbox};
use verdict::Verdict;

mod finder;
mod sandbox;
mod verdict;

/// Copies that are built and run at the same time.
const WORKERS: usize = 2;

/// A model of a mutant may take this long, and this many times as long as it takes unchanged.
const LEAST_TIME: Duration = Duration::from_secs(30);
const TIMES_UNCHANGED: u32 = 20;

/// One ordering, weakened.
struct Mutant {
    /// The file, relative to the package.
    file: PathBuf,
    /// The module whose models must notice.
    module: String,
    mutation: Mutation,
}

impl Mutant {
    fn place(&self) -> String {
        format!("pmd-core/{}:{}", self.file.display(), self.mutation.line)
    }
}

/// A loom model and how long it takes unchanged.
#[derive(Clone)]
struct Model {
    name: String,
    time: Duration,
}

/// The models of each module of `ring`, the quickest first.
type Models = BTreeMap<String, Vec<Model>>;

/// Weakens each ordering of pmd-core's rings in turn, and counts those that a model catches.
pub(crate) fn check(workspace: &Workspace, journal: &mut Journal<'_>, limit: Duration) -> Tally {
    let deadline = Instant::now() + limit;
    try_all(workspace, journal, deadline).unwrap_or_else(|error| {
        journal.fail(format!("pmd-core cannot be copied or built: {error}"));
        Tally::default()
    })
}

fn try_all(workspace: &Workspace, journal: &mut Journal<'_>, deadline: Instant) -> io::Result<Tally> {
    let mutants = mutants(&workspace.root.join("pmd-core"))?;
    journal.line(format!("{} ways to weaken an ordering; building the models unchanged", mutants.len()));
    let folder = tempfile::tempdir()?;
    let sandboxes: Vec<Sandbox> = (0..WORKERS)
        .map(|worker| Sandbox::new(workspace, folder.path(), &format!("pmd-core-{worker}")))
        .collect::<io::Result<_>>()?;
    let Some(models) = unchanged(&sandboxes[0], journal, deadline)? else { return Ok(Tally::default()) };
    let verdicts = in_parallel(&sandboxes, &mutants, &models, deadline, journal);
    Ok(tabulate(&mutants, &verdicts, journal))
}

/// Every mutant of the rings, by file and place.
fn mutants(package: &Path) -> io::Result<Vec<Mutant>> {
    let mut found = Vec::new();
    for path in rust_files(&package.join("src/ring"))? {
        let file = path.strip_prefix(package).unwrap_or(&path).to_owned();
        if is_test_file(&file) {
            continue;
        }
        let module = module_of(&file);
        for mutation in finder::mutations(&fs::read_to_string(&path)?) {
            found.push(Mutant { file: file.clone(), module: module.clone(), mutation });
        }
    }
    Ok(found)
}

/// `src/ring/packet/producer.rs` belongs to `ring::packet`; `src/ring/mod.rs` to `ring`.
fn module_of(file: &Path) -> String {
    let parts: Vec<String> =
        file.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    match parts.get(2).map(String::as_str) {
        None | Some("mod") => "ring".to_owned(),
        Some(module) => format!("ring::{module}"),
    }
}

/// Runs every model of the unchanged copy: a model that fails as it is cannot show anything.
fn unchanged(sandbox: &Sandbox, journal: &mut Journal<'_>, deadline: Instant) -> io::Result<Option<Models>> {
    let binary = match sandbox.build(left(deadline))? {
        Built::Binary(binary) => binary,
        Built::Broken(why) => {
            journal.fail(format!("the unchanged models do not build: {why}"));
            return Ok(None);
        }
    };
    let list = sandbox.run(&binary, &[], left(deadline))?;
    let mut models = Models::new();
    for name in
        list.stdout.lines().filter_map(|line| line.strip_suffix(": test")).filter(|name| is_model(name))
    {
        let start = Instant::now();
        let ended = sandbox.run(&binary, &[name.to_owned()], left(deadline))?;
        if !ended.succeeded() {
            journal.output(&ended.output);
            journal.fail(format!("{name} fails with nothing weakened: {}", ended.describe()));
            return Ok(None);
        }
        let model = Model { name: name.to_owned(), time: start.elapsed() };
        journal.line(format!("{name}: {:.1} s unchanged", model.time.as_secs_f64()));
        let module: Vec<&str> = name.split("::").take(2).collect();
        models.entry(module.join("::")).or_default().push(model.clone());
        models.entry("ring".to_owned()).or_default().push(model);
    }
    models.values_mut().for_each(|of_module| of_module.sort_by_key(|model| model.time));
    Ok(Some(models))
}

/// Whether a test of pmd-core is a loom model of the rings.
fn is_model(test: &str) -> bool {
    test.starts_with("ring::") && test.split("::").any(is_test_name)
}

/// Shares the mutants among the copies.
fn in_parallel(
    sandboxes: &[Sandbox],
    mutants: &[Mutant],
    models: &Models,
    deadline: Instant,
    journal: &mut Journal<'_>,
) -> Vec<Verdict> {
    let next = AtomicUsize::new(0);
    let (sender, verdicts) = channel();
    let mut found = vec![Verdict::NotTried; mutants.len()];
    thread::scope(|scope| {
        for sandbox in sandboxes {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || work(sandbox, mutants, models, deadline, next, &sender));
        }
        drop(sender);
        for (index, verdict) in verdicts {
            let mutant: &Mutant = &mutants[index];
            journal.line(format!("{}: {}: {}", mutant.place(), mutant.mutation.change, verdict.describe()));
            found[index] = verdict;
        }
    });
    found
}

/// One worker: takes mutants until there is none left or the time is over.
fn work(
    sandbox: &Sandbox,
    mutants: &[Mutant],
    models: &Models,
    deadline: Instant,
    next: &AtomicUsize,
    verdicts: &Sender<(usize, Verdict)>,
) {
    while Instant::now() < deadline {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(mutant) = mutants.get(index) else { return };
        let models = models.get(&mutant.module).map_or(&[][..], Vec::as_slice);
        let verdict = try_one(sandbox, mutant, models, deadline)
            .unwrap_or_else(|error| Verdict::Broken { why: error.to_string() });
        if verdicts.send((index, verdict)).is_err() {
            return;
        }
    }
}

/// Builds one mutant, runs the models of its module until one fails, and puts the source back.
fn try_one(sandbox: &Sandbox, mutant: &Mutant, models: &[Model], deadline: Instant) -> io::Result<Verdict> {
    if models.is_empty() {
        return Ok(Verdict::Broken { why: format!("{} has no model", mutant.module) });
    }
    let source = sandbox.read(&mutant.file)?;
    sandbox.write(&mutant.file, &mutant.mutation.apply(&source))?;
    let verdict = build_and_run(sandbox, models, deadline);
    sandbox.write(&mutant.file, &source)?;
    verdict
}

fn build_and_run(sandbox: &Sandbox, models: &[Model], deadline: Instant) -> io::Result<Verdict> {
    let binary = match sandbox.build(left(deadline))? {
        Built::Binary(binary) => binary,
        Built::Broken(why) => return Ok(Verdict::Broken { why }),
    };
    for model in models {
        let limit = (model.time * TIMES_UNCHANGED).max(LEAST_TIME).min(left(deadline));
        let ended = sandbox.run(&binary, std::slice::from_ref(&model.name), limit)?;
        if let Some(verdict) = verdict::read(&model.name, &ended) {
            return Ok(verdict);
        }
    }
    Ok(Verdict::Survived)
}

/// Writes the table of all mutants, and fails for each that was not caught.
fn tabulate(mutants: &[Mutant], verdicts: &[Verdict], journal: &mut Journal<'_>) -> Tally {
    let mut tally = Tally::default();
    journal.line("");
    for (mutant, verdict) in mutants.iter().zip(verdicts) {
        let line = format!("{:<44} {:<44} {}", mutant.place(), mutant.mutation.change, verdict.describe());
        journal.line(line);
        tally.passed += usize::from(verdict.is_caught());
        tally.failed += usize::from(!verdict.is_caught());
    }
    for (mutant, verdict) in mutants.iter().zip(verdicts).filter(|(_, verdict)| !verdict.is_caught()) {
        journal.fail(format!("{}: {}: {}", mutant.place(), mutant.mutation.change, verdict.describe()));
    }
    tally
}

fn left(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_belongs_to_the_module_below_ring() {
        for (file, module) in [
            ("src/ring/spsc.rs", "ring::spsc"),
            ("src/ring/spsc/mod.rs", "ring::spsc"),
            ("src/ring/packet/producer.rs", "ring::packet"),
            ("src/ring/mod.rs", "ring"),
        ] {
            assert_eq!(module_of(Path::new(file)), module);
        }
    }

    #[test]
    fn models_of_the_rings_are_known_by_their_path() {
        assert!(is_model("ring::spsc::model::a_value_arrives"));
        assert!(!is_model("queue::model::a_value_arrives"));
        assert!(!is_model("ring::spsc::a_value_arrives"));
    }

    #[test]
    fn mutants_are_found_in_the_product_and_not_in_its_models() {
        let package = tempfile::tempdir().expect("a temporary folder");
        let ring = package.path().join("src/ring/spsc");
        fs::create_dir_all(&ring).expect("a folder");
        for file in ["mod.rs", "model.rs", "tests.rs"] {
            fs::write(ring.join(file), "\nfn a() { x.load(Ordering::Acquire); }").expect("a file");
        }
        let found: Vec<String> = mutants(package.path()).expect("files").iter().map(Mutant::place).collect();
        assert_eq!(found, ["pmd-core/src/ring/spsc/mod.rs:2"]);
    }

    #[test]
    fn a_mutant_that_is_not_caught_fails_the_suite() {
        let mutant = |line| Mutant {
            file: "src/ring/a.rs".into(),
            module: "ring::a".to_owned(),
            mutation: Mutation {
                range: 0..0,
                replacement: "",
                line,
                change: "Release -> Relaxed".to_owned(),
            },
        };
        let caught = Verdict::Caught { model: "m".to_owned(), says: "no".to_owned() };
        let mut watch = |_: Option<&str>| ();
        let mut journal = Journal::new(&mut watch);
        let tally = tabulate(&[mutant(1), mutant(2)], &[caught, Verdict::Survived], &mut journal);
        assert_eq!((tally.passed, tally.failed), (1, 1));
        let problem = journal.problem.expect("a problem");
        assert!(problem.starts_with("pmd-core/src/ring/a.rs:2: Release -> Relaxed: SURVIVED"), "{problem}");
    }
}
