//! What fault lists say.

use std::time::Duration;

use pmd_core::wire::Syndrome;

use super::{Fault, FaultError, Plan};

fn attempts(list: &str, count: usize) -> Vec<Vec<Fault>> {
    let plan = Plan::parse(list).expect("a list");
    (0..count).map(|_| plan.attempt()).collect()
}

#[test]
fn an_empty_list_is_none() {
    let plan = Plan::parse(" , ").expect("nothing");
    assert!(plan.attempt().is_empty() && !plan.drops_completion() && !plan.repeats_doorbell());
}

#[test]
fn counts_ranges_and_steps_hit_where_they_say() {
    let hit = attempts("retry-exceeded@2,no-answer@3..5, delay=250@/4", 6);
    let delay = Fault::Delay(Duration::from_micros(250));
    let expected = [
        vec![],
        vec![Fault::Syndrome(Syndrome::RetryExceeded)],
        vec![Fault::NoAnswer],
        vec![Fault::NoAnswer, delay],
        vec![],
        vec![],
    ];
    assert_eq!(hit, expected);
}

#[test]
fn attempts_completions_and_doorbells_are_counted_apart() {
    let plan = Plan::parse("drop-cqe@2,twice@1,no-receive@1").expect("a list");
    assert_eq!(plan.attempt(), [Fault::NoReceive]);
    assert_eq!([plan.drops_completion(), plan.drops_completion()], [false, true]);
    assert_eq!([plan.repeats_doorbell(), plan.repeats_doorbell()], [true, false]);
    assert!(!plan.governs_link());
}

#[test]
fn syndromes_are_given_by_code() {
    let codes = attempts("syndrome=0x22@1,syndrome=16@1,syndrome=0x7f@1", 1);
    let expected = [Syndrome::RemoteAborted, Syndrome::BadResponse, Syndrome::Unknown(0x7f)];
    assert_eq!(codes[0], expected.map(Fault::Syndrome));
}

#[test]
fn what_is_not_understood_is_named() {
    let refused = |list: &str| Plan::parse(list).expect_err(list);
    let text = |text: &str| text.to_owned();
    assert_eq!(refused("flood@1"), FaultError::Unknown { text: text("flood") });
    assert_eq!(refused("twice=2@1"), FaultError::Unknown { text: text("twice=2") });
    assert_eq!(refused("twice"), FaultError::Never { text: text("twice") });
    assert_eq!(refused("delay=@1"), FaultError::Number { text: text("") });
    assert_eq!(refused("syndrome=0x100@1"), FaultError::Number { text: text("0x100") });
    assert_eq!(refused("twice@1..x"), FaultError::Number { text: text("x") });
    for never in ["0", "0..3", "3..3", "/0"] {
        assert_eq!(refused(&format!("twice@{never}")), FaultError::Empty { text: text(never) });
    }
}
