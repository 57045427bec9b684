//! Pages that are made up, so that every figure is known.

use std::time::{Duration, Instant};

use super::{
    page::Samples,
    rates::Process,
    scrape::Scrape,
    table::{Row, bytes, table},
};

fn page(incarnation: &str, [written, done, at_most_1us, all]: [u64; 4]) -> String {
    format!(
        "# HELP pmd_endpoint_info x\n# TYPE pmd_endpoint_info gauge\n\
         pmd_endpoint_info{{name=\"a \\\"b\\\"\",incarnation=\"{incarnation}\"}} 1\n\
         pmd_lane_transfer_bytes_total{{transport=\"shm\",lane=\"0\",direction=\"read\"}} 0\n\
         pmd_lane_transfer_bytes_total{{transport=\"shm\",lane=\"0\",direction=\"write\"}} {written}\n\
         pmd_lane_transfers_total{{transport=\"shm\",lane=\"0\",result=\"done\"}} {done}\n\
         pmd_lane_transfers_total{{transport=\"shm\",lane=\"0\",result=\"failed\"}} 3\n\
         pmd_lane_active_transfers{{transport=\"shm\",lane=\"0\"}} 7\n\
         pmd_lane_transfer_duration_seconds_bucket{{direction=\"write\",le=\"0.000001023\"}} {at_most_1us}\n\
         pmd_lane_transfer_duration_seconds_bucket{{direction=\"write\",le=\"0.000002047\"}} {all}\n\
         pmd_lane_transfer_duration_seconds_bucket{{direction=\"write\",le=\"+Inf\"}} {all}\n\
         pmd_peer_info{{peer=\"p\",connection=\"2\",transport=\"shm\"}} 1\n\
         pmd_peer_transfer_bytes_total{{peer=\"p\",connection=\"2\",direction=\"write\"}} {written}\n\
         pmd_peer_keep_alive_misses_total{{peer=\"p\",connection=\"2\"}} 4\n\
         pmd_peer_failed_completions_total{{peer=\"p\",connection=\"2\",syndrome=\"retry_exceeded\"}} 5\n\
         pmd_peer_failed_completions_total{{peer=\"p\",connection=\"2\",syndrome=\"flushed\"}} 50\n\
         pmd_lane_failed_completions_total{{lane=\"0\",syndrome=\"receiver_not_ready_exceeded\"}} 6\n\
         pmd_lane_receiver_not_ready_total{{lane=\"0\",way=\"heard\"}} 2\n\
         pmd_lane_receiver_not_ready_total{{lane=\"0\",way=\"said\"}} 1\n\
         pmd_registered_bytes{{transport=\"shm\",path=\"mapped\"}} 4096 1700000000\n"
    )
}

fn scrape(text: &str, at: Instant) -> Scrape {
    Scrape { at, samples: Samples::parse(text).expect("a page") }
}

#[test]
fn rates_are_the_difference_over_the_time() {
    let start = Instant::now();
    let old = scrape(&page("1", [1000, 10, 5, 10]), start);
    let new = scrape(&page("1", [5_001_000, 20, 10, 20]), start + Duration::from_secs(2));
    let process = Process::between("here", Some(&old), &new);
    assert_eq!(process.name, "a \"b\"");
    assert_eq!((process.flow.write_bytes_per_s, process.flow.read_bytes_per_s), (2_500_000.0, 0.0));
    assert_eq!((process.flow.transfers_per_s, process.flow.transfers), (5.0, 20));
    assert_eq!((process.flow.failed_transfers, process.flow.active_transfers), (3, 7));
    assert_eq!((process.p50_us, process.p99_us), (Some(1.023), Some(2.047)));
    assert_eq!((process.peers.len(), process.registered_bytes), (1, 4096));
    let peer = &process.peers[0];
    assert_eq!((peer.flow.write_bytes_per_s, peer.keep_alive_misses), (2_500_000.0, 4));
    assert_eq!((peer.flow.retry_exceeded, peer.flow.receiver_not_ready_exceeded), (5, 0));
    assert_eq!((process.flow.retry_exceeded, process.flow.receiver_not_ready_exceeded), (0, 6));
    assert_eq!(process.receiver_not_ready, 3);
    let text = table(&[Row::Process(process)]);
    assert!(
        text.contains("2.5 MB") && text.contains("p #2") && text.contains("4 keep-alives missed"),
        "{text}"
    );
    let given_up =
        ["  5 given up without an answer  4 keep", "  6 given up without a receive  3 waits for a receive\n"];
    assert!(given_up.iter().all(|remark| text.contains(remark)), "{text}");
}

#[test]
fn rails_are_told_below_their_peer() {
    let rails = |moved: u64| {
        let of = "peer=\"p\",connection=\"2\",transport=\"tcp\",rail";
        format!(
            "pmd_rail_state{{{of}=\"0\",state=\"down\"}} 0\npmd_rail_state{{{of}=\"0\",state=\"up\"}} 1\n\
             pmd_rail_state{{{of}=\"1\",state=\"quieting\"}} 1\npmd_rail_state{{{of}=\"1\",state=\"up\"}} 0\n\
             pmd_rail_bytes_total{{{of}=\"0\"}} {moved}\npmd_rail_bytes_total{{{of}=\"1\"}} 7\n\
             pmd_rail_chunks_total{{{of}=\"0\"}} 12\npmd_rail_lives_total{{{of}=\"1\"}} 3\n\
             pmd_rail_bytes_total{{peer=\"q\",connection=\"3\",rail=\"0\"}} 99\n"
        )
    };
    let start = Instant::now();
    let old = scrape(&(page("1", [0; 4]) + &rails(0)), start);
    let new = scrape(&(page("1", [0; 4]) + &rails(5_000_000)), start + Duration::from_secs(2));
    let process = Process::between("here", Some(&old), &new);
    let [first, second] = &process.peers[0].rails[..] else { panic!("{process:?}") };
    assert_eq!((first.rail.as_str(), first.state.as_str(), first.bytes_per_s), ("0", "up", 2_500_000.0));
    assert_eq!((first.bytes, first.chunks, first.lives), (5_000_000, 12, 0));
    assert_eq!((second.state.as_str(), second.bytes, second.lives), ("quieting", 7, 3));
    let text = table(&[Row::Process(process)]);
    assert!(text.contains("rail 0 up") && text.contains("2.5 MB/s, 5.0 MB in 12 chunks"), "{text}");
    assert!(text.contains("rail 1 quieting") && text.contains("opened 3 times"), "{text}");
}

#[test]
fn another_incarnation_at_the_same_address_has_no_rates_yet() {
    let start = Instant::now();
    let old = scrape(&page("1", [9000, 10, 5, 10]), start);
    let new = scrape(&page("2", [10, 1, 1, 1]), start + Duration::from_secs(1));
    let process = Process::between("here", Some(&old), &new);
    assert_eq!((process.flow.write_bytes_per_s, process.flow.bytes), (0.0, 10));
}

#[test]
fn what_is_no_page_is_told_by_its_line() {
    for text in ["a{b=\"c} 1", "a{b=c} 1", "a one", "{", "a"] {
        let error = Samples::parse(&format!("b 1\n{text}\n")).expect_err(text);
        assert_eq!(error.to_string(), format!("line 2 is no sample: {text:?}"));
    }
}

#[test]
fn amounts_have_three_digits() {
    let written: Vec<_> =
        [0.0, 999.0, 1000.0, 99_949.0, 123_456_789.0, 5e12].into_iter().map(bytes).collect();
    assert_eq!(written, ["0 B", "999 B", "1.0 kB", "99.9 kB", "123 MB", "5.0 TB"]);
}

#[test]
fn a_name_cannot_move_the_cursor() {
    let text = page("1", [0; 4]).replace("a \\\"b\\\"", "\u{1b}[2Jx\\n");
    let process = Process::between("here", None, &scrape(&text, Instant::now()));
    let drawn = table(&[Row::Process(process)]);
    assert!(!drawn.contains('\u{1b}') && drawn.contains("?[2Jx?"), "{drawn}");
}
