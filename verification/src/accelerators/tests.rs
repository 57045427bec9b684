//! Folders of stand-ins, and how commands find them.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    options: Options,
}

#[test]
fn a_stand_in_has_every_name_of_its_runtime_and_nothing_else_is_beside_it() {
    let target = tempfile::tempdir().expect("a folder");
    let workspace = Workspace { root: "/w".into(), target: target.path().to_owned(), incremental: true };
    for runtime in Runtime::ALL {
        // The second time it is there already.
        for _ in 0..2 {
            let folder = install(&workspace, runtime).expect("links");
            let mut names: Vec<_> = std::fs::read_dir(&folder)
                .expect("the folder")
                .map(|entry| entry.expect("an entry").file_name().into_string().expect("text"))
                .collect();
            names.sort();
            let mut wanted = runtime.loaded().to_vec();
            wanted.sort_unstable();
            assert_eq!(names, wanted);
            let link = std::fs::read_link(folder.join(wanted[0])).expect("a link");
            assert_eq!(link, target.path().join("debug").join(runtime.built()));
        }
    }
}

#[test]
fn the_suite_links_what_it_builds_and_runs_everything_over_it() {
    let target = tempfile::tempdir().expect("a folder");
    let workspace = Workspace { root: "/".into(), target: target.path().to_owned(), incremental: true };
    let steps = steps(&workspace);
    let ended = steps[1].task.run(&mut |_| {}).expect("a shell");
    assert!(ended.succeeded(), "{}", ended.output);
    for runtime in Runtime::ALL {
        for name in runtime.loaded() {
            let link = std::fs::read_link(runtime.folder(&workspace).join(name)).expect("a link");
            assert_eq!(link, target.path().join("debug").join(runtime.built()));
        }
        let path = format!("LD_LIBRARY_PATH={} ", runtime.folder(&workspace).display());
        let over: Vec<String> =
            steps.iter().map(|step| step.task.line()).filter(|line| line.contains(&path)).collect();
        let device = format!("--device fake-{}", runtime.name());
        assert!(over.iter().any(|line| line.contains("demo") && line.contains(&device)), "{over:?}");
        assert!(over.iter().filter(|line| line.contains("--accelerator")).count() >= 2, "{over:?}");
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let workspace = Workspace { root: "/w".into(), target: "/proc/no".into(), incremental: true };
    let failed = install(&workspace, Runtime::Cuda).expect_err("no folder");
    assert!(failed.to_string().contains("/proc/no/stand-ins/cuda"), "{failed}");
}

#[test]
fn stand_ins_come_before_what_the_environment_has() {
    let folders = ["/t/cuda".into(), "/t/rocm".into()];
    assert_eq!(library_path(&folders, None), "/t/cuda:/t/rocm");
    assert_eq!(library_path(&folders, Some("".as_ref())), "/t/cuda:/t/rocm");
    assert_eq!(library_path(&folders[..1], Some("/usr/local/lib".as_ref())), "/t/cuda:/usr/local/lib");
}

#[test]
fn a_runtime_must_be_named() {
    let line = |words: &[&str]| Line::try_parse_from(words.iter().copied());
    assert!(line(&["x", "--", "true"]).is_err());
    assert!(line(&["x", "--with", "opencl", "--", "true"]).is_err());
    let options =
        line(&["x", "--with", "cuda", "--with", "ascend", "--", "kv", "demo"]).expect("right").options;
    assert_eq!(options.with, [Runtime::Cuda, Runtime::Ascend]);
    assert_eq!(options.command, ["kv", "demo"]);
}
