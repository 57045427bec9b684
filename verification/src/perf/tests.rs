//! Reads what the programs print, sums up, and draws; no program is run here.

use std::collections::BTreeSet;

use pmd_page::{Axis, Line, Plot};
use serde_json::json;

use super::{
    copy::{CopyLoop, median, permutation},
    cost,
    machine::{self, Machine},
    nixl,
    program::{Peer, ProgramError, iperf_figure, ucx_figure},
    report::{self, Curves},
    rows::{self, Goal},
    table::{self, Measured},
};

fn machine() -> Machine {
    Machine { processor: "A < B".into(), cores: 2, kernel: "6.1".into(), load: "0.10".into() }
}

fn measured() -> Vec<Measured> {
    let missing = ProgramError::Missing { program: "iperf3".into(), hint: "install it".into() };
    let mut rows = rows::all().into_iter();
    let (first, second) = (rows.next().expect("a row"), rows.next().expect("another"));
    vec![Measured::new(&first, &[3.0, 1.0, 2.0], &[4.0]), Measured::failed(&second, missing)]
}

#[test]
fn rows_have_names_of_their_own_and_peers() {
    let rows = rows::all();
    let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
    assert_eq!(names.len(), rows.len());
    let packages: BTreeSet<&str> = rows.iter().filter_map(|row| row.peer.package()).collect();
    assert_eq!(packages.into_iter().collect::<Vec<_>>(), ["iperf3", "ucx-utils"]);
}

#[test]
fn ucx_figures_are_read_from_the_last_line() {
    let latency = "[thread 0]  100000  0.1 0.2 0.3\nFinal:   200000   0.181   0.183   0.190   41.5   42.0  5400000  5500000\n";
    assert_eq!(ucx_figure(latency, false), Some(0.181));
    assert_eq!(ucx_figure(latency, true), Some(42.0 * 1_048_576.0 / 1e9));
    assert_eq!(ucx_figure("no such line", false), None);
}

#[test]
fn iperf_figures_are_the_receivers() {
    let report = json!({ "end": { "sum_sent": { "bits_per_second": 9e9 }, "sum_received": { "bits_per_second": 8e9 } } });
    assert_eq!(iperf_figure(&report.to_string()), Some(1.0));
    assert_eq!(iperf_figure("{}"), None);
}

#[test]
fn medians_and_permutations() {
    assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(&[4.0, 1.0]), 2.5);
    assert!(median(&[]).is_nan());
    let order = permutation(1000);
    assert_ne!(order, (0..1000).collect::<Vec<_>>());
    assert_eq!(order.into_iter().collect::<BTreeSet<_>>().len(), 1000);
}

#[test]
fn a_copy_takes_time() {
    let copy = CopyLoop { blocks: 4, block_bytes: 4096 };
    assert!(copy.microseconds() > 0.0 && copy.gigabytes() > 0.0);
    assert_eq!(Peer::CopyTime(copy).line(), "memcpy of 4 x 4096 bytes");
}

#[test]
fn the_table_says_ratios_goals_and_reasons() {
    let text = table::render(&measured());
    let row = text.lines().nth(1).expect("a row");
    assert!(row.starts_with("8 B write") && row.contains(" 0.50 ") && row.ends_with("met"), "{row}");
    assert!(
        text.contains("missing") && text.ends_with("write-4k: iperf3 is not on this machine: install it\n"),
        "{text}"
    );
    let object = table::json(&machine(), 3, &measured());
    assert_eq!((&object["rows"][0]["ratio"], &object["verified"]), (&json!(0.5), &json!(false)));
    assert_eq!(object["rows"][1]["result"], "missing");
}

#[test]
fn goals_are_bounds_on_ratios() {
    assert!(Goal::AtMost(1.0).is_met(1.0) && !Goal::AtMost(1.0).is_met(1.01));
    assert!(Goal::AtLeast(0.95).is_met(0.95) && !Goal::AtLeast(0.95).is_met(0.94));
    assert!(!Goal::AtMost(1.0).is_met(f64::NAN) && !Goal::AtLeast(1.0).is_met(f64::NAN));
}

#[test]
fn nixl_rows_need_verified_cases() {
    let case = |verified| {
        let side = |p50| json!({ "p50_us": p50 });
        let both = json!({ "PMD": side(10.0), "UCX": side(50.0) });
        json!({ "cases": [{ "blocks": 4096, "block_size": 16384, "write": both, "read": both, "verified": verified }] })
    };
    let rows = nixl::rows(&case(true));
    assert_eq!(rows.len(), 4);
    assert_eq!((rows[0].name.as_str(), rows[0].ratio(), rows[0].verdict()), ("nixl-write-16k", 0.2, "met"));
    assert_eq!(rows[2].verdict(), "failed");
    assert!(nixl::rows(&case(false)).iter().all(|row| row.error.is_some()));
}

#[test]
fn cost_rows_are_sums_of_posting_and_polling() {
    let figures = json!({ "8-1-ours-post": 60.0, "8-1-ours-poll": 40.0, "8-1-ibv_wr-post": 150.0, "8-1-ibv_wr-poll": 50.0 });
    let rows = cost::rows(&json!({ "instructions": figures, "ns": {} }));
    assert_eq!(rows.len(), 16);
    let row = rows.iter().find(|row| row.name == "cost-8-1-wr-instr").expect("a row");
    assert_eq!((row.ours, row.peer, row.verdict()), (100.0, 200.0, "met"));
    assert_eq!(
        rows.iter().filter(|row| row.error.is_some()).count(),
        15,
        "figures that are not there are said"
    );
}

#[test]
fn the_processor_is_named() {
    assert_eq!(machine::processor("vendor_id : X\nmodel name\t: Some CPU @ 2 GHz\n"), "Some CPU @ 2 GHz");
    assert_eq!(machine::processor(""), "unknown");
}

#[test]
fn the_page_holds_table_curves_and_errors() {
    let line = Line::new("ours & theirs", vec![(8.0, 0.2), (4096.0, 0.5)]);
    let (across, up) = (Axis::bytes("bytes"), Axis::logarithmic("us"));
    let plot = Plot { title: "Latency".to_owned(), across, up, lines: vec![line] };
    let curves = Curves::of(vec![plot], vec!["UCX: <none>".into()]);
    let page = report::page(&machine(), &measured(), &curves).html();
    for part in ["A &lt; B", "<td class=good>met", "ours &amp; theirs", "UCX: &lt;none&gt;", "Latency"] {
        assert!(page.contains(part), "{part} in {page}");
    }
    assert!(page.contains("<p class=bad>iperf3 is not on this machine"), "{page}");
}

#[test]
fn results_of_a_sweep_become_points() {
    let object =
        json!({ "results": [{ "size": 8, "p50_us": 0.2 }, { "size": 16 }, { "size": 32, "p50_us": 0.3 }] });
    assert_eq!(report::points(&object, "p50_us"), [(8.0, 0.2), (32.0, 0.3)]);
}
