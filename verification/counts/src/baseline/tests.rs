//! Files, and counts beside them.

use super::*;

fn toolchain() -> Toolchain {
    let [compiler, valgrind, library, processor] =
        ["rustc 1.95.0 (59807616e 2026-04-14)", "valgrind-3.19.0", "glibc 2.36", "x86_64"].map(str::to_owned);
    Toolchain { compiler, valgrind, library, processor }
}

fn counts(counts: &[(&str, u64)]) -> Counts {
    counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}

fn baseline() -> Baseline {
    Baseline { toolchain: toolchain(), counts: counts(&[("post", 3550), ("transfer", 100_000)]) }
}

fn verdicts(found: &[(&str, u64)], toolchain: &Toolchain) -> Vec<Verdict> {
    baseline().compare(&counts(found), toolchain).iter().map(|compared| compared.verdict).collect()
}

#[test]
fn what_is_written_is_read() {
    let text = baseline().to_string();
    assert!(text.contains("\ncompiler rustc 1.95.0 (59807616e 2026-04-14)\n"), "{text}");
    assert!(text.contains("\npost 35.50\n"), "{text}");
    assert_eq!(Baseline::parse(&text), Ok(baseline()));
}

#[test]
fn files_that_are_none_are_told_why() {
    let text = baseline().to_string();
    assert_eq!(
        Baseline::parse(&text.replace("library", "# library")),
        Err(ParseError::Missing { key: "library" })
    );
    for wrong in ["post", "post many", "post 35", "post 35.5", "post 35.505", "post -1.00", "post +1.00"] {
        let error = Baseline::parse(&format!("{wrong}\n{text}")).expect_err("no count");
        assert_eq!(error, ParseError::Line { line: 1, text: wrong.to_owned() });
    }
}

#[test]
fn a_count_may_waver_and_not_rise() {
    let same = toolchain();
    assert_eq!(verdicts(&[("post", 4050), ("transfer", 110_000)], &same), [Verdict::Good; 2]);
    assert_eq!(verdicts(&[("post", 4051), ("transfer", 110_001)], &same), [Verdict::Worse; 2]);
    assert_eq!(verdicts(&[("post", 3050), ("transfer", 90_000)], &same), [Verdict::Good; 2]);
    assert_eq!(verdicts(&[("post", 3049), ("transfer", 89_999)], &same), [Verdict::Better; 2]);
    assert!(Verdict::Worse.is_failure() && !Verdict::Better.is_failure() && !Verdict::Good.is_failure());
}

#[test]
fn counts_come_and_go_by_blessing_only() {
    let found = verdicts(&[("poll", 1), ("transfer", 100_000)], &toolchain());
    assert_eq!(found, [Verdict::New, Verdict::Gone, Verdict::Good]);
    assert!(Verdict::New.is_failure() && Verdict::Gone.is_failure());
}

#[test]
fn another_toolchain_has_more_room_and_another_processor_all() {
    let compiler = Toolchain { compiler: "rustc 1.96.0".into(), ..toolchain() };
    assert_eq!(baseline().tolerance(&compiler), Some(OTHER));
    assert_eq!(verdicts(&[("post", 4550), ("transfer", 130_000)], &compiler), [Verdict::Good; 2]);
    assert_eq!(verdicts(&[("post", 4700), ("transfer", 130_001)], &compiler), [Verdict::Worse; 2]);
    let processor = Toolchain { processor: "aarch64".into(), ..toolchain() };
    assert_eq!(baseline().tolerance(&processor), None);
    assert_eq!(verdicts(&[("post", 9999), ("transfer", 1)], &processor), [Verdict::Good; 2]);
}
