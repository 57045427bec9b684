//! The exported file, read back.

use serde_json::Value;

use super::{fetch, part, server_stamps, worker_stamps};
use crate::trace::{Recorder, RecorderConfig, ServerRecorder};

fn export(worker: &Recorder) -> Value {
    let mut file = Vec::new();
    worker.write_chrome_trace("worker \"0\"", &mut file).expect("memory takes everything");
    serde_json::from_slice(&file).expect("valid JSON")
}

fn spans(file: &Value) -> Vec<(&str, u64, f64, f64)> {
    let events = file["traceEvents"].as_array().expect("a list");
    let spans = events.iter().filter(|event| event["ph"] == "X");
    let number = |value: &Value| value.as_f64().expect("a number");
    spans
        .map(|event| {
            let name = event["name"].as_str().expect("a name");
            (name, event["tid"].as_u64().expect("a row"), number(&event["ts"]), number(&event["dur"]))
        })
        .collect()
}

#[test]
fn each_server_has_a_row_in_the_workers_clock() {
    let (worker, server) =
        (Recorder::new(RecorderConfig::default()), ServerRecorder::new(RecorderConfig::default()));
    let (first, second) = (worker.add_peer("server 0"), worker.add_peer("server 1"));
    let from = server.add_peer("worker 0");
    // 28 ns on the wire, so 14 each way: received at 144 of the worker's clock.
    worker.complete(7, [part(first, 1, worker_stamps(200)), part(second, 2, worker_stamps(190))].into_iter());
    server.complete(from, 1, server_stamps(1_000_144));
    fetch(&worker, first, &server, from);

    let file = export(&worker);
    let wanted = [
        ("request", 1, 0.1, 0.105),
        ("event", 1, 0.1, 0.01),
        ("post", 1, 0.11, 0.02),
        ("outbound", 1, 0.13, 0.014),
        ("queue", 1, 0.144, 0.01),
        ("compute", 1, 0.154, 0.03),
        ("respond", 1, 0.184, 0.002),
        ("inbound", 1, 0.186, 0.014),
        ("complete", 1, 0.2, 0.005),
        ("request", 2, 0.1, 0.095),
        ("event", 2, 0.1, 0.01),
        ("post", 2, 0.11, 0.02),
        ("complete", 2, 0.19, 0.005),
    ];
    assert_eq!(spans(&file), wanted);
    let offsets = &file["otherData"]["offsets"];
    assert_eq!((&offsets[0]["offset_ns"], &offsets[0]["uncertainty_ns"]), (&1_000_000.into(), &14.into()));
    assert_eq!((&offsets[1]["peer"], &offsets[1]["offset_ns"]), (&"server 1".into(), &Value::Null));
}

#[test]
fn rows_and_process_are_named() {
    let worker = Recorder::new(RecorderConfig::default());
    worker.add_peer("server 0");
    let file = export(&worker);
    let named: Vec<_> = file["traceEvents"].as_array().expect("a list").iter().collect();
    assert_eq!(named.len(), 2);
    assert_eq!(
        (&named[0]["name"], &named[0]["args"]["name"]),
        (&"process_name".into(), &"worker \"0\"".into())
    );
    assert_eq!((&named[1]["tid"], &named[1]["args"]["name"]), (&1.into(), &"server 0".into()));
}

#[test]
fn a_writer_that_fails_is_told() {
    let worker = Recorder::new(RecorderConfig::default());
    let mut full = [0u8; 4];
    let error = worker.write_chrome_trace("worker", &mut full[..]).expect_err("no room");
    assert_eq!(error.kind(), std::io::ErrorKind::WriteZero);
}
