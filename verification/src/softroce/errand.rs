//! What a guest is sent to do: the scripts of `verification/softroce`, what they are to know, and the work itself.
//! Made by `softroce`, carried by `machine` into a guest and by `host` into a folder of this machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::plan::Step;

/// The path along which programs are found, before the caller's own.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where two guests find the folder that they share.
const SHARED: &str = "/run/shared";

/// The scripts, by name.
const SCRIPTS: [(&str, &str); 3] = [
    ("main", include_str!("../../softroce/main")),
    ("library", include_str!("../../softroce/library")),
    ("guard", include_str!("../../softroce/guard")),
];

/// The addresses of both devices, of a network that RFC 2544 keeps for tests.
pub(super) const ADDRESSES: [&str; 2] = ["198.18.7.1", "198.18.7.2"];

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Work {
    /// Steps, one by one, each reported.
    Plan(Vec<Step>),
    /// A command in a folder.
    Command {
        /// The folder.
        folder: PathBuf,
        /// The command's words.
        words: Vec<String>,
    },
}

/// Which soft-RoCE devices there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Devices {
    /// Two over a pair of links.
    Pair,
    /// One over the network card, with this one of the addresses.
    Single(usize),
}

impl Work {
    /// How long all of it may take.
    pub(super) fn limit(&self) -> Duration {
        match self {
            Self::Plan(steps) => steps.iter().map(|step| step.limit).sum(),
            Self::Command { .. } => Duration::MAX,
        }
    }
}

/// The files of an errand, by name below its folder.
pub(super) fn files(work: &Work, devices: Devices) -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> =
        SCRIPTS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    files.push(("settings".to_owned(), settings(devices)));
    match work {
        Work::Plan(steps) => {
            let numbered = || steps.iter().enumerate();
            let line =
                |(number, step): (usize, &Step)| format!("{number} {} {}\n", step.limit.as_secs(), step.name);
            files.push(("plan".to_owned(), numbered().map(line).collect()));
            files.extend(numbered().map(|(number, step)| (format!("steps/{number}"), step.script.clone())));
        }
        Work::Command { folder, words } => {
            files.push(("command".to_owned(), command(folder, words)));
        }
    }
    files
}

fn settings(devices: Devices) -> String {
    let (topology, own) = match devices {
        Devices::Pair => ("pair", 0),
        Devices::Single(own) => ("single", own),
    };
    let mut text = format!("TOPOLOGY={topology}\nSHARED={SHARED}\n");
    let path = std::env::var("PATH").unwrap_or_default();
    let exported = [
        ("PATH", format!("{SYSTEM_PATH}:{path}")),
        ("ADDRESS", ADDRESSES[own].to_owned()),
        ("PEER", ADDRESSES[1 - own].to_owned()),
    ];
    for (name, value) in exported {
        writeln!(text, "export {name}={}", quote(&value)).expect("a string takes every line");
    }
    text
}

fn command(folder: &Path, words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("cd {} && {}\n", quote(&folder.to_string_lossy()), words.join(" "))
}

/// A word as the shell takes it.
pub(super) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content<'a>(files: &'a [(String, String)], name: &str) -> &'a str {
        &files.iter().find(|(found, _)| found == name).expect(name).1
    }

    #[test]
    fn a_plan_names_its_steps_in_order() {
        let step = |name: &str, seconds| Step {
            name: name.to_owned(),
            limit: Duration::from_secs(seconds),
            script: format!("echo {name}\n"),
            fault: None,
        };
        let work = Work::Plan(vec![step("a", 5), step("b/c", 70)]);
        assert_eq!(work.limit(), Duration::from_secs(75));
        let files = files(&work, Devices::Pair);
        assert_eq!(content(&files, "plan"), "0 5 a\n1 70 b/c\n");
        assert_eq!(content(&files, "steps/1"), "echo b/c\n");
        assert!(content(&files, "settings").contains("TOPOLOGY=pair\n"));
    }

    #[test]
    fn each_of_two_guests_knows_the_other() {
        let work =
            Work::Command { folder: "/it's here".into(), words: vec!["echo".to_owned(), "a b".to_owned()] };
        let files = files(&work, Devices::Single(1));
        assert_eq!(content(&files, "command"), "cd '/it'\\''s here' && 'echo' 'a b'\n");
        assert!(
            content(&files, "settings")
                .contains("ADDRESS='198.18.7.2'\nexport PEER='198.18.7.1'\n".trim_start_matches("export "))
        );
    }
}
