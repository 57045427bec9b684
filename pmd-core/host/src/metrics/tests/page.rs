//! The text, read back.

use super::parser::{Parsed, parse};
use crate::metrics::{Histogram, Page, Value};

fn read(page: &Page) -> Parsed {
    parse(page.as_str()).unwrap_or_else(|error| panic!("{error} in\n{}", page.as_str()))
}

#[test]
fn every_kind_of_family_is_read_back() {
    let mut page = Page::default();
    page.counter("pmd_test", "Counts.").sample(&[("kind", "a")], 1_u64).sample(&[("kind", "b")], u64::MAX);
    page.gauge("pmd_test_depth", "Depth.").sample(&[], 2.5);
    page.gauge("pmd_test_none", "Nothing yet.");
    let mut histogram = Histogram::default();
    [5, 1500, 1500, 40_000_000_000].into_iter().for_each(|nanoseconds| histogram.record(nanoseconds));
    page.histogram("pmd_test_seconds", "Durations.").durations(&[("of", "x")], &histogram, 0);
    let parsed = read(&page);
    assert_eq!(parsed.0.len(), 4);
    assert_eq!(parsed.value("pmd_test_total", &[("kind", "a")]), 1.0);
    assert!(page.as_str().contains("pmd_test_total{kind=\"b\"} 18446744073709551615\n"));
    assert_eq!(parsed.value("pmd_test_depth", &[]), 2.5);
    let bucket = |bound| parsed.value("pmd_test_seconds_bucket", &[("le", bound), ("of", "x")]);
    assert_eq!((bucket("0.000001023"), bucket("0.000002047"), bucket("+Inf")), (1.0, 3.0, 4.0));
    assert_eq!(parsed.value("pmd_test_seconds_count", &[]), 4.0);
    assert_eq!(parsed.value("pmd_test_seconds_sum", &[]), 40.000_003_005);
}

#[test]
fn what_could_break_a_line_is_escaped() {
    let name = "a\\b\"c\nd{e},=";
    let mut page = Page::default();
    page.gauge("pmd_test", "Help with \\ and \n and \".").sample(&[("peer", name)], 1_u64);
    let parsed = read(&page);
    assert_eq!(parsed.value("pmd_test", &[("peer", name)]), 1.0);
    assert_eq!(parsed.0["pmd_test"].help, "Help with \\ and \n and \".");
}

#[test]
fn numbers_are_as_the_format_writes_them() {
    let written = |value: Value| value.to_string();
    assert_eq!(written(f64::INFINITY.into()), "+Inf");
    assert_eq!(written(f64::NEG_INFINITY.into()), "-Inf");
    assert_eq!(written(f64::NAN.into()), "NaN");
    assert_eq!(written(1e-9.into()), "0.000000001");
    assert_eq!((written(true.into()), written(7_usize.into())), ("1".into(), "7".into()));
}
