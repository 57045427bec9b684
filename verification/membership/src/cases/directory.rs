//! Entries, leases and watches.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use pmd_etcd::{Etcd, Options};
use pmd_host::metadata::{Change, Entry, Metadata, MetadataError, Standing};

use super::{LEASE, PATIENCE, next_change, until, until_standing};
use crate::{PUBLISH, server::Server};

fn set(name: &str, value: &str) -> Change {
    Change::Set(Entry { name: name.to_owned(), value: value.to_owned() })
}

fn gone(name: &str) -> Change {
    Change::Gone { name: name.to_owned() }
}

pub(super) fn one_holder() {
    let server = Server::start();
    let (one, other) = (server.directory(), server.directory());
    let held = one.publish("kv/a", "10.0.0.1:1").expect("a free name");
    assert_eq!((held.name(), held.standing()), ("kv/a", Standing::Published));
    assert_eq!(other.find("kv/a").expect("etcd answers").as_deref(), Some("10.0.0.1:1"));
    for directory in [&one, &other] {
        let Err(MetadataError::Taken { name, value }) = directory.publish("kv/a", "2") else {
            panic!("two holders")
        };
        assert_eq!((&*name, &*value), ("kv/a", "10.0.0.1:1"));
    }
    drop(held);
    let again = other.publish_within("kv/a", "2", PATIENCE).expect("free again");
    // Of one's own, at once.
    drop(again);
    let again = other.publish_within("kv/a", "", PATIENCE).expect("free again");
    assert_eq!(one.find("kv/a").expect("etcd answers").as_deref(), Some(""));
    let claims: Vec<_> = (0..4_usize)
        .map(|turn| [&one, &other][turn % 2].claim("af/g/server/", 4, "host").expect("a rank"))
        .collect();
    assert_eq!(claims.iter().map(|claim| claim.number).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert!(matches!(one.claim("af/g/server/", 4, "host"), Err(MetadataError::Full { count: 4, .. })));
    let names: Vec<String> =
        one.list("").expect("etcd answers").into_iter().map(|entry| entry.name).collect();
    let expected = ["af/g/server/0", "af/g/server/1", "af/g/server/2", "af/g/server/3", "kv/a"];
    assert_eq!(names, expected);
    // The end of a process that ends in order takes everything with it, before any lease runs out.
    drop((claims, again, other));
    until("an empty directory", || one.list("kv/").expect("etcd answers").is_empty());
}

pub(super) fn killed_process() {
    let server = Server::start();
    let here = server.directory();
    let mut watch = here.watch("kv/").expect("a watch");
    let _other = here.publish("kv/here", "1").expect("a free name");
    assert_eq!(next_change(watch.as_mut()), set("kv/here", "1"));
    let mut process = Command::new(std::env::current_exe().expect("this program"))
        .args([PUBLISH, &server.url().to_string(), "kv/there"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process");
    let mut said = String::new();
    BufReader::new(process.stdout.take().expect("piped")).read_line(&mut said).expect("text");
    assert_eq!(said, "published\n");
    assert_eq!(next_change(watch.as_mut()), set("kv/there", "a process"));
    process.kill().expect("a child");
    process.wait().expect("a child");
    assert_eq!(next_change(watch.as_mut()), gone("kv/there"));
    // Who lives has stayed all that time.
    assert_eq!(here.find("kv/here").expect("etcd answers").as_deref(), Some("1"));
}

pub(super) fn back_with_data() {
    let mut server = Server::start();
    let (one, other) = (server.directory(), server.directory());
    let held = one.publish("kv/a", "1").expect("a free name");
    let mut watch = other.watch("kv/").expect("a watch");
    assert_eq!(next_change(watch.as_mut()), set("kv/a", "1"));
    server.kill();
    until_standing(held.as_ref(), &Standing::Away);
    assert!(matches!(other.find("kv/a"), Err(MetadataError::Unreachable { .. })));
    assert!(matches!(other.publish("kv/b", "1"), Err(MetadataError::Unreachable { .. })));
    assert!(matches!(watch.next(Duration::ZERO), Err(MetadataError::Unreachable { .. })));
    server.start_again();
    until_standing(held.as_ref(), &Standing::Published);
    let joined = other.publish_within("kv/b", "2", PATIENCE).expect("a free name");
    assert_eq!(next_change(watch.as_mut()), set("kv/b", "2"));
    // What was there all the time is not told twice, and lives longer than a lease.
    assert!(matches!(watch.next(LEASE * 2), Ok(None)));
    assert_eq!((held.standing(), joined.standing()), (Standing::Published, Standing::Published));
}

pub(super) fn back_without_data() {
    let mut server = Server::start();
    let (one, other) = (server.directory(), server.directory());
    let held: Vec<_> =
        (0..3).map(|number| one.publish(&format!("kv/{number}"), "1").expect("a free name")).collect();
    let mut watch = other.watch("kv/").expect("a watch");
    for number in 0..3 {
        assert_eq!(next_change(watch.as_mut()), set(&format!("kv/{number}"), "1"));
    }
    server.empty();
    server.start_again();
    held.iter().for_each(|held| until_standing(held.as_ref(), &Standing::Published));
    until("all entries", || other.list("kv/").is_ok_and(|entries| entries.len() == 3));
}

pub(super) fn lease_ran_out() {
    let mut server = Server::start();
    let one = server.directory();
    let held = one.publish("kv/a", "1").expect("a free name");
    server.empty();
    until_standing(held.as_ref(), &Standing::Away);
    server.start_again();
    let other = server.directory();
    // Who is first cannot be known: either may have it, and the other hears of that.
    match other.publish("kv/a", "2") {
        Ok(taken) => {
            until_standing(held.as_ref(), &Standing::Taken { value: "2".to_owned() });
            drop(taken);
        }
        Err(MetadataError::Taken { value, .. }) => assert_eq!(value, "1"),
        Err(error) => panic!("{error}"),
    }
    until_standing(held.as_ref(), &Standing::Published);
    assert_eq!(other.find("kv/a").expect("etcd answers").as_deref(), Some("1"));
}

pub(super) fn not_there() {
    let mut server = Server::start();
    let short = Options { patience: Duration::from_millis(500), ..Options::default() };
    let here = Etcd::open(server.url(), short).expect("a thread");
    let missing = here.wait_for("kv/a", Duration::from_millis(10));
    assert!(matches!(missing, Err(MetadataError::Missing { .. })), "{missing:?}");
    // One member of two is enough, and the one that answers is found whichever it is.
    let both = format!("etcd://127.0.0.1:1,{}/cases", server.url().members[0]);
    let two = Etcd::open(both.parse().expect("a URL"), short).expect("a thread");
    assert_eq!(two.find("kv/a").expect("one answers"), None);
    server.kill();
    let away = here.wait_for("kv/a", Duration::from_millis(10));
    assert!(matches!(away, Err(MetadataError::Unreachable { .. })), "{away:?}");
    let error = here.publish("kv/a", "1").expect_err("nobody answers");
    assert!(error.to_string().contains(&server.url().to_string()), "{error}");
}
