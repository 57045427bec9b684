//! What is said, and what fails; valgrind is not run here.

use std::collections::BTreeMap;

use super::*;

fn counts(counts: &[(&str, u64)]) -> BTreeMap<String, u64> {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

#[test]
fn sums_are_divided_by_operations() {
    let sums = counts(&[("post", 3501), ("poll", 10)]);
    let found = by_operation("post 100\npoll 4\n", &sums).expect("two counts");
    assert_eq!(found, counts(&[("post", 3501), ("poll", 250)]));
}

#[test]
fn a_subject_without_a_count_is_an_error() {
    for said in ["poll 4\n", "post 0\n", "post many\n"] {
        let error = by_operation(said, &counts(&[("post", 3500)])).expect_err("no count");
        assert!(matches!(error, CountError::NotCounted { .. }), "{error}");
    }
}

#[test]
fn a_block_among_many_costs_no_more() {
    let flat = [("plan-block-of-1", 20_000), ("plan-block-of-1k", 2000), ("plan-block-of-1m", 2100)];
    assert_eq!(steep(&counts(&flat)), [""; 0]);
    let steep_ones = [("plan-block-of-1", 20_000), ("plan-block-of-1k", 2000), ("plan-block-of-1m", 2101)];
    assert_eq!(
        steep(&counts(&steep_ones)),
        ["steep: plan-block-of-1m 21.01 is more than plan-block-of-1k 20.00 and 5 %"]
    );
}

#[test]
fn lines_say_what_to_do() {
    let compared =
        |verdict| line(&Compared { name: "post".into(), count: Some(3500), baseline: Some(4200), verdict });
    assert_eq!(compared(Verdict::Good), "ok post 35.00 (baseline 42.00)");
    assert!(
        compared(Verdict::Better)
            .starts_with("ok post 35.00, below the baseline's 42.00: keep it with cargo")
    );
    assert_eq!(compared(Verdict::Worse), "worse: post 35.00, above the baseline's 42.00");
    for verdict in [Verdict::Worse, Verdict::New, Verdict::Gone] {
        assert!(!compared(verdict).starts_with("ok "));
    }
}

#[test]
fn a_baseline_that_is_none_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("baseline");
    assert!(matches!(check(&file), Err(CountError::System { .. })));
    fs::write(&file, "post\n").expect("written");
    assert!(matches!(check(&file), Err(CountError::Baseline { .. })));
}

#[test]
fn the_committed_baseline_is_one() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("BASELINE");
    let baseline = Baseline::parse(&fs::read_to_string(file).expect("a file")).expect("a baseline");
    let families = FAMILIES.iter().flatten();
    families.for_each(|name| assert!(baseline.counts.contains_key(*name), "{name}"));
    assert_eq!(steep(&baseline.counts), [""; 0]);
    assert_eq!(Baseline::parse(&baseline.to_string()), Ok(baseline));
}
