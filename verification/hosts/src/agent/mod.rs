//! `hosts agent`: an endpoint on a host of its own that does as it is told by lines, says by lines what came of it, and
//! ends with its input.
//!
//! Called by `main`. Cases that look closer than `kv` and `af` let one see start agents through [`Agent`] and order them
//! about; `endpoint` is what an agent does with pmd-host.
//!
//! | order | answer |
//! |---|---|
//! | `listen ADDRESS WISH [BOUND]` | `listens ADDRESS` |
//! | `connect ADDRESS WISH [BOUND]` | `linked LINK CHOICE`, or `refused WHY` |
//! | `relink ADDRESS` | the same, by the endpoint that has connected before |
//! | `submit COUNT` | `submitted`: so many transfers to the peer |
//! | `outcome` | `done COUNT`, `failed WHY` of the first that failed, or `pending` |
//! | `ask`, `asked` | `asking`, and `answered` or why not: a request to the peer |
//! | `state` | `lives`, or why the peer is down |
//! | `leave` | `left`: its endpoints are closed |
//!
//! WISH is a transport's name or `auto`; BOUND is the silence in milliseconds after which a peer is down. Unasked comes
//! `connected LINK CHOICE` and `down WHY`.

mod endpoint;
mod parent;

use std::{
    collections::HashMap,
    io::{self, BufRead, Write},
    process::ExitCode,
    time::Duration,
};

use self::endpoint::Member;
pub(crate) use self::parent::Agent;

/// What an agent says first.
const READY: &str = "ready";

/// Obeys until its input ends.
pub(crate) fn main() -> ExitCode {
    say(READY);
    let mut members = HashMap::new();
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        obey(&line, &mut members);
    }
    ExitCode::SUCCESS
}

fn say(text: &str) {
    let mut out = io::stdout().lock();
    // Whoever listened is gone, and the input ends next.
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn obey(line: &str, members: &mut HashMap<&'static str, Member>) {
    let words: Vec<&str> = line.split(' ').collect();
    let bound = || words.get(3).map(|text| Duration::from_millis(text.parse().expect("milliseconds")));
    match words[..] {
        ["listen", address, wish, ..] => {
            let member = Member::open(wish, Some(address), bound());
            say(&format!("listens {}", member.local_address()));
            members.insert("listens", member);
        }
        ["connect", address, wish, ..] => {
            let mut member = Member::open(wish, None, bound());
            say(&linked(member.connect(address)));
            members.insert("connects", member);
        }
        ["leave"] => {
            members.clear();
            say("left");
        }
        _ => {
            let member = members.get_mut("connects").expect("an endpoint that has connected");
            say(&ask_of(member, &words));
        }
    }
}

/// What the endpoint that has connected answers to an order.
fn ask_of(member: &mut Member, words: &[&str]) -> String {
    match words {
        ["relink", address] => linked(member.connect(address)),
        ["submit", count] => {
            member.submit(count.parse().expect("a count"));
            "submitted".into()
        }
        ["outcome"] => member.outcome(),
        ["ask"] => {
            member.ask();
            "asking".into()
        }
        ["asked"] => member.asked(),
        ["state"] => member.state(),
        _ => panic!("no such order: {words:?}"),
    }
}

fn linked(outcome: Result<String, String>) -> String {
    match outcome {
        Ok(choice) => format!("linked {choice}"),
        Err(why) => format!("refused {why}"),
    }
}
