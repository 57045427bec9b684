use std::time::Duration;

use super::{Summary, percentile};

fn micros(values: impl IntoIterator<Item = u64>) -> Vec<Duration> {
    values.into_iter().map(Duration::from_micros).collect()
}

#[test]
fn percentiles_are_nearest_ranks() {
    let hundred = micros(1..=100);
    let of = |per_mille| percentile(&hundred, per_mille).unwrap().as_micros();
    assert_eq!((of(0), of(10), of(11), of(500), of(990), of(999), of(1000)), (1, 1, 2, 50, 99, 100, 100));
    assert_eq!(percentile(&micros([7]), 500), Some(Duration::from_micros(7)));
    assert_eq!(percentile(&[], 500), None);
}

#[test]
fn a_summary_does_not_depend_on_order_and_halves_round_trips() {
    let summary = Summary::new(micros((1..=1000).rev()), 2).unwrap();
    let expected = Summary {
        min_us: 0.5,
        p50_us: 250.0,
        p99_us: 495.0,
        p999_us: 499.5,
        max_us: 500.0,
        average_us: 250.25,
    };
    assert_eq!(summary, expected);
    let mut shuffled = micros(501..=1000);
    shuffled.extend(micros(1..=500));
    assert_eq!(Summary::new(shuffled, 2), Some(expected));
}

#[test]
fn nothing_has_no_summary() {
    assert_eq!(Summary::new(Vec::new(), 1), None);
}
