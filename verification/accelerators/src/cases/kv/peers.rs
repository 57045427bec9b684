//! Other processes that hold our memory open, or whose memory we hold, and are killed.

use std::{sync::mpsc, thread};

use kv_api::{
    engine::{Engine, EngineError, RemoteCache},
    layout::CacheLayout,
    planner::Selection,
};
use pmd_host::transfer::WaitError;

use super::stage::{Place, address, cache, done, engine, outcome, patience, read};
use crate::{
    cases::{Case, case},
    child::{Child, answer, order},
    context::{Context, Outcome, pattern},
    fake::Counts,
};

pub(super) const CASES: &[Case] = &[
    case("kv::a_killed_peer_that_had_our_cache_open_takes_nothing_along", killed_puller),
    case("kv::a_killed_owner_fails_transfers_and_is_let_go_of", killed_owner),
];

const NAME: &str = "cache";
const SEED: u64 = 300;

fn layout() -> CacheLayout {
    CacheLayout::new(3, 2, 16, 16_384).expect("a layout")
}

fn content() -> Vec<u8> {
    pattern(SEED, layout().total_bytes() as usize)
}

/// The cache of the engine that listens at the address that the other process is told.
fn look_up(context: &Context, engine: &Engine, address: &str) -> RemoteCache {
    let peer = engine.connect(address.parse().expect("an address")).expect("connecting");
    engine.remote_cache(&peer, NAME, patience(context)).expect("a cache")
}

/// In the other process: pulls a cache, tells whether it is right, and pulls on until it is told or killed.
pub(super) fn pull(context: &Context) {
    let engine = engine(context, "puller");
    let remote = look_up(context, &engine, &order().expect("an address"));
    let room = cache(context, &engine, "room", layout(), Place::Device, &vec![0; content().len()]);
    let whole = remote.pull(&room, Selection::whole(&layout())).expect("a plan");
    done(context, &whole);
    answer(if read(context, &room) == content() { "right" } else { "wrong" });
    let (told, end) = mpsc::channel();
    thread::spawn(move || {
        let _ = order();
        told.send(())
    });
    while end.try_recv().is_err() {
        done(context, &whole);
    }
}

/// In the other process: offers a cache until it is told to end or killed.
pub(super) fn own(context: &Context) {
    let engine = engine(context, "owner");
    let _cache = cache(context, &engine, NAME, layout(), Place::Device, &content());
    answer(&address(&engine).to_string());
    let _ = order();
}

fn killed_puller(context: &Context) -> Outcome {
    let before = context.counts().ok();
    let prefill = engine(context, "prefill");
    let offered = cache(context, &prefill, NAME, layout(), Place::Device, &content());
    let puller = || {
        let mut child = Child::start(context, "kv-puller", &[]);
        child.tell(&address(&prefill).to_string());
        child
    };
    let mut first = puller();
    assert_eq!(first.hear(), "right");
    let second = puller();
    assert_eq!(second.hear(), "right");
    // Both pull now; one is killed at it.
    first.kill();
    prefill.wait_down(patience(context)).expect("told that the peer is gone");
    assert!(read(context, &offered) == content());
    // The other goes on, and one that comes later is served too.
    let third = puller();
    assert_eq!(third.hear(), "right");
    second.succeeds();
    third.succeeds();
    drop((offered, prefill));
    nothing_left(context, before, layout().total_bytes());
    Ok(())
}

fn killed_owner(context: &Context) -> Outcome {
    let before = context.counts().ok();
    let (mut killed, well) = (Child::start(context, "kv-owner", &[]), Child::start(context, "kv-owner", &[]));
    let decode = engine(context, "decode");
    let (one, two) = (look_up(context, &decode, &killed.hear()), look_up(context, &decode, &well.hear()));
    let room = |name| cache(context, &decode, name, layout(), Place::Device, &vec![0; content().len()]);
    let (lost, kept) = (room("lost"), room("kept"));
    let (from_one, from_two) = [(&one, &lost), (&two, &kept)]
        .map(|(remote, room)| remote.pull(room, Selection::whole(&layout())))
        .into();
    let (from_one, from_two) = (from_one.expect("a plan"), from_two.expect("a plan"));
    done(context, &from_one);
    assert!(read(context, &lost) == content());
    let mut under_way = from_one.post(None).expect("posting");
    killed.kill();
    // Whether the last one was quicker is chance; the one after is not.
    let _ = under_way.wait(None);
    match from_one.post(None).map(|mut transfer| transfer.wait(None)) {
        Ok(Err(WaitError::Failed(error))) => assert!(error.is_route_down(), "{error}"),
        Err(EngineError::Submit(_)) => {}
        other => panic!("{other:?}"),
    }
    decode.wait_down(patience(context)).expect("told that the owner is gone");
    // Another owner's memory stays open, and is pulled.
    assert!(outcome(context, &from_two).is_ok());
    assert!(read(context, &kept) == content());
    drop((from_one, one, lost));
    well.succeeds();
    drop((from_two, two, kept, decode));
    nothing_left(context, before, layout().total_bytes());
    Ok(())
}

/// No cache of `bytes` is left, nor anything that a peer has or had open, once what is freed later has been. What a crate
/// keeps for itself since its first use is less.
pub(in crate::cases) fn nothing_left(context: &Context, before: Option<Counts>, bytes: u64) {
    let Some(before) = before else { return };
    let is_left = |counts: Counts| {
        counts.allocated_bytes >= before.allocated_bytes + bytes
            || (counts.registered, counts.imported) != (before.registered, before.imported)
    };
    context.until("everything to be freed", || {
        context.finish(&*context.stream());
        context.counts().is_ok_and(|counts| !is_left(counts))
    });
}
