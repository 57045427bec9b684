//! Buckets and quantiles.

use proptest::prelude::*;

use crate::metrics::{Histogram, HistogramCells, Summary};

fn of(durations: impl IntoIterator<Item = u64>) -> Histogram {
    let mut histogram = Histogram::default();
    durations.into_iter().for_each(|duration| histogram.record(duration));
    histogram
}

#[test]
fn an_empty_histogram_tells_zeros() {
    assert_eq!(Histogram::default().summary(), Summary::default());
    assert_eq!(Histogram::default().quantile(0.5), 0);
}

#[test]
fn short_durations_are_exact() {
    let summary = of(1..=10).summary();
    let wanted = Summary { count: 10, mean: 5, minimum: 1, p50: 5, p90: 9, p99: 10, maximum: 10 };
    assert_eq!(summary, wanted);
}

#[test]
fn endless_durations_have_a_bucket_too() {
    let histogram = of([u64::MAX, 1 << 41, 7]);
    assert_eq!(histogram.quantile(1.0), u64::MAX);
    assert_eq!(histogram.quantile(0.0), 7);
    assert_eq!(histogram.summary().maximum, u64::MAX);
}

#[test]
fn merging_is_recording_both() {
    let (mut left, right) = (of((0..500).map(|n| n * 37)), of((0..300).map(|n| n * 1013)));
    left.merge(&right);
    let both = of((0..500).map(|n| n * 37).chain((0..300).map(|n| n * 1013)));
    assert_eq!(left.summary(), both.summary());
    assert_eq!(left.count(), 800);
}

proptest! {
    #[test]
    fn quantiles_are_at_most_a_sixteenth_too_high(
        mut durations in prop::collection::vec(0u64..1 << 40, 1..200),
        share in 0.0f64..=1.0,
    ) {
        let told = of(durations.iter().copied()).quantile(share);
        durations.sort_unstable();
        let rank = ((share * durations.len() as f64).ceil() as usize).max(1);
        let exact = durations[rank - 1];
        prop_assert!(told >= exact && told - exact <= exact / 16, "{} told for {}", told, exact);
    }
}

#[test]
fn cells_hold_what_was_recorded() {
    let (cells, mut plain) = (HistogramCells::default(), Histogram::default());
    assert_eq!(cells.read(), plain);
    for nanoseconds in (0..2000).map(|n| n * n * 37) {
        cells.record(nanoseconds);
        plain.record(nanoseconds);
    }
    assert_eq!(cells.read(), plain);
}

#[test]
fn bounds_cut_at_octaves_and_their_parts() {
    let histogram = of([0, 15, 16, 1023, 1024, 1279, 1280, 2047, 2048, u64::MAX]);
    let whole: Vec<_> = histogram.up_to(10, 12, 0).collect();
    assert_eq!(whole, [(1023, 4), (2047, 8), (4095, 9)]);
    let quarters: Vec<_> = histogram.up_to(10, 11, 2).collect();
    assert_eq!(quarters, [(1023, 4), (1279, 6), (1535, 7), (1791, 7), (2047, 8)]);
}
