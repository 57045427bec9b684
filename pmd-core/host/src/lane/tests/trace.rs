//! The spans of transfers, as a subscriber sees them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, OnceLock},
};

use pmd_core::wire::Syndrome;
use tracing::{
    Dispatch, Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::with_default,
};

use super::*;
use crate::transfer::{CancelOutcome, Trace};

/// A span as it was told.
#[derive(Clone, Debug, Default)]
struct Told {
    name: &'static str,
    /// Name of the span in which it began.
    parent: &'static str,
    fields: BTreeMap<&'static str, String>,
    is_closed: bool,
}

impl Told {
    /// These fields, those that were never told empty.
    fn told<const N: usize>(&self, names: [&str; N]) -> [&str; N] {
        names.map(|name| self.fields.get(name).map_or("", String::as_str))
    }
}

impl Visit for Told {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }
}

#[derive(Debug, Default)]
struct Notes {
    spans: Vec<Told>,
    /// Those that were entered, innermost last.
    entered: Vec<u64>,
}

/// Notes every span up to a level.
#[derive(Clone)]
struct Recorder {
    level: LevelFilter,
    notes: Arc<Mutex<Notes>>,
}

impl Recorder {
    fn of(level: LevelFilter) -> Self {
        Self { level, notes: Arc::default() }
    }

    /// Does something, and hears of it, as nobody else does.
    ///
    /// While `tracing` knows of one subscriber only, it takes the word of the thread that comes first to a place in the code
    /// for all: of another test's, which has none. Hence there is always a second one, which wants nothing.
    fn hears<T>(&self, work: impl FnOnce() -> T) -> T {
        static SECOND: OnceLock<Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| Dispatch::new(Self::of(LevelFilter::OFF)));
        with_default(self.clone(), work)
    }

    fn transfers(&self) -> Vec<Told> {
        let notes = self.notes.lock().unwrap();
        notes.spans.iter().filter(|span| span.name == "transfer").cloned().collect()
    }
}

fn index(id: &Id) -> usize {
    id.into_u64() as usize - 1
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut notes = self.notes.lock().unwrap();
        let around = notes.entered.last().filter(|_| attributes.is_contextual());
        let parent = around.map_or("", |id| notes.spans[*id as usize - 1].name);
        let mut told = Told { name: attributes.metadata().name(), parent, ..Told::default() };
        attributes.record(&mut told);
        notes.spans.push(told);
        Id::from_u64(notes.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut notes = self.notes.lock().unwrap();
        let told = &mut notes.spans[index(span)];
        assert!(!told.is_closed);
        values.record(told);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, span: &Id) {
        self.notes.lock().unwrap().entered.push(span.into_u64());
    }

    fn exit(&self, _: &Id) {
        self.notes.lock().unwrap().entered.pop();
    }

    fn try_close(&self, id: Id) -> bool {
        self.notes.lock().unwrap().spans[index(&id)].is_closed = true;
        true
    }
}

const FIELDS: [&str; 5] = ["direction", "bytes", "entries", "outcome", "landed"];

#[test]
fn a_subscriber_sees_what_a_transfer_moved_and_how_it_ended() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let recorder = Recorder::of(LevelFilter::DEBUG);
    let done = recorder.hears(|| tracing::debug_span!("caller").in_scope(|| submit(&route, &list(70))));
    assert_eq!(recorder.transfers()[0].told(FIELDS), ["Write", "1120", "70", "", ""]);
    // The lane tells the subscriber of whoever submitted, not its own thread's.
    assert_eq!(rig.finish(&done), Ok(Outcome { bytes: 1120 }));
    let [span] = &recorder.transfers()[..] else { panic!("one transfer") };
    assert_eq!(span.told(FIELDS), ["Write", "1120", "70", "done", "70"]);
    assert_eq!((span.parent, span.is_closed), ("caller", true));
    assert_eq!(span.told(["over", "error"]), [route.id().to_string().as_str(), ""]);
}

#[test]
fn transfers_that_stop_or_fail_say_so() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let recorder = Recorder::of(LevelFilter::DEBUG);
    let submit = |route: &Route, count| recorder.hears(|| submit(route, &list(count)));
    let cancelled = submit(&route, 3);
    assert_eq!(rig.driver.cancel(&cancelled), CancelOutcome::Cancelled);
    rig.net.script(0, |script| script.poison = Some((0x100, Syndrome::RemoteAccess)));
    let failed = submit(&route, 2);
    let error = rig.finish(&failed).unwrap_err().to_string();
    let [first, second] = &recorder.transfers()[..] else { panic!("two transfers") };
    assert_eq!(first.told(["outcome", "landed", "error"]), ["cancelled", "0", ""]);
    assert_eq!(second.told(["outcome", "landed", "error"]), ["failed", "0", error.as_str()]);
    assert!(first.is_closed && second.is_closed);
}

#[test]
fn nobody_who_wants_none_gets_or_pays_for_one() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let recorder = Recorder::of(LevelFilter::INFO);
    let (transfer, trace) = recorder.hears(|| (submit(&route, &list(1)), Trace::begin(&list(1), &"nothing")));
    assert_eq!(rig.finish(&transfer), Ok(Outcome { bytes: 16 }));
    assert!(recorder.transfers().is_empty());
    assert_eq!(format!("{trace:?}"), "Trace(None)");
    assert_eq!(size_of::<Trace>(), size_of::<usize>());
}
