//! A directory inside one process, and what all directories share.

use std::sync::Arc;

use super::*;

const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_name_has_one_holder_and_goes_with_it() {
    let directory = InProcess::default();
    let held = directory.publish("kv/a", "1").expect("free");
    assert_eq!((held.name(), held.standing()), ("kv/a", Standing::Published));
    assert_eq!(directory.find("kv/a").expect("reached"), Some("1".to_owned()));
    let Err(MetadataError::Taken { name, value }) = directory.publish("kv/a", "2") else {
        panic!("two holders")
    };
    assert_eq!((&*name, &*value), ("kv/a", "1"));
    drop(held);
    assert_eq!(directory.find("kv/a").expect("reached"), None);
}

#[test]
fn numbers_are_claimed_once_each_and_again_when_they_are_free() {
    let directory = InProcess::default();
    let claim = || directory.claim("af/g/server/", 3, "host");
    let mut claims: Vec<Claim> = (0..3).map(|_| claim().expect("a number")).collect();
    assert_eq!(claims.iter().map(|claim| claim.number).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(matches!(claim(), Err(MetadataError::Full { count: 3, .. })));
    claims.remove(1);
    assert_eq!(claim().expect("the one that is free").number, 1);
}

#[test]
fn a_watch_tells_what_is_there_then_what_changes() {
    let directory = InProcess::default();
    let _other = directory.publish("af/x", "0").expect("free");
    let first = directory.publish("kv/a", "1").expect("free");
    let mut watch = directory.watch("kv/").expect("a watch");
    let set =
        |name: &str, value: &str| Some(Change::Set(Entry { name: name.to_owned(), value: value.to_owned() }));
    let mut next = || watch.next(Duration::ZERO).expect("reached");
    assert_eq!((next(), next()), (set("kv/a", "1"), None));
    let _second = directory.publish("kv/b", "2").expect("free");
    drop(first);
    assert_eq!(next(), Some(Change::Gone { name: "kv/a".to_owned() }));
    assert_eq!((next(), next()), (set("kv/b", "2"), None));
    let names: Vec<String> =
        directory.list("").expect("reached").into_iter().map(|entry| entry.name).collect();
    assert_eq!(names, ["af/x", "kv/b"]);
}

#[test]
fn who_waits_hears_of_it() {
    let directory = Arc::new(InProcess::default());
    let missing = directory.wait_for("kv/a", Duration::from_millis(1));
    assert!(matches!(missing, Err(MetadataError::Missing { .. })), "{missing:?}");
    let waiting = thread::spawn({
        let directory = Arc::clone(&directory);
        move || directory.wait_for("kv/a", SOON)
    });
    // Others whose names begin so are not it.
    let _longer = directory.publish("kv/ab", "0").expect("free");
    let held = directory.publish("kv/a", "1").expect("free");
    assert_eq!(waiting.join().expect("no panic").expect("in time"), "1");
    let successor = thread::spawn({
        let directory = Arc::clone(&directory);
        move || directory.publish_within("kv/a", "2", SOON)
    });
    drop(held);
    let held = successor.join().expect("no panic").expect("in time");
    assert_eq!((held.name(), directory.find("kv/a").expect("reached").as_deref()), ("kv/a", Some("2")));
    let late = directory.publish_within("kv/a", "3", Duration::ZERO);
    assert!(matches!(late, Err(MetadataError::Taken { .. })), "{late:?}");
}

#[test]
fn names_and_values_have_bounds() {
    let directory = InProcess::default();
    for name in ["", "a\nb", &"n".repeat(NAME_LIMIT + 1)] {
        assert!(matches!(directory.publish(name, ""), Err(MetadataError::Name { .. })));
        assert!(matches!(directory.wait_for(name, SOON), Err(MetadataError::Name { .. })));
    }
    let long = "v".repeat(VALUE_LIMIT + 1);
    let refused = directory.publish("a", &long);
    assert!(matches!(refused, Err(MetadataError::Value { length }) if length == long.len()));
    assert!(directory.publish(&"n".repeat(NAME_LIMIT), &"v".repeat(VALUE_LIMIT)).is_ok());
}

#[test]
fn a_picture_after_an_interruption_tells_what_was_missed_and_nothing_twice() {
    let entry = |name: &str, value: &str| Entry { name: name.to_owned(), value: value.to_owned() };
    let mut told = Told::default();
    told.picture([entry("a", "1"), entry("b", "1")]);
    assert_eq!(
        (told.take(), told.take()),
        (Some(Change::Set(entry("a", "1"))), Some(Change::Set(entry("b", "1"))))
    );
    told.picture([entry("b", "2"), entry("c", "1")]);
    told.set(entry("c", "1"));
    told.gone("d".to_owned());
    let rest: Vec<Change> = std::iter::from_fn(|| told.take()).collect();
    let gone = Change::Gone { name: "a".to_owned() };
    assert_eq!(rest, [gone, Change::Set(entry("b", "2")), Change::Set(entry("c", "1"))]);
}
