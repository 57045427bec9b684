//! The commands with a pre-shared key: nobody else reads what they say, and who has another key or none is told so, once,
//! while the others go on.

use std::{fs, iter};

use interoperation::process::{Ended, PATIENCE, Process};

use super::{Case, af, case, kv};
use crate::{
    network::{Faults, Network},
    programs::{Context, Key, Programs, Shape, fetched},
};

pub(super) const CASES: &[Case] = &[
    case("keys::with_a_key_nobody_reads_a_cache_on_its_way", unread),
    case("keys::a_cache_is_fetched_through_losses", kv_losses),
    case("keys::a_cache_is_fetched_through_an_outage", kv_interrupted),
    case("keys::who_fetches_with_another_key_is_told_and_others_go_on", kv_refused),
    case("keys::a_model_runs_over_veth", af_over_veth),
    case("keys::a_model_runs_through_losses", af_losses),
    case("keys::a_model_runs_through_an_outage", af_interrupted),
    case("keys::a_worker_with_another_key_is_told_and_others_go_on", af_refused),
];

/// Sealing costs more than moving: fewer than without a key.
const TOKENS: u32 = 128;
const SHAPE: Shape = Shape { layers: 10, ..af::SHAPE };
/// Shorter than a packet, so that many packets hold it as a whole.
const SECRET: &[u8] = b"nobody else may read this";
/// Bytes of the cache that is made of it.
const SECRETS: usize = 2 << 20;

fn keyed(context: &Context) -> (Key, Context) {
    let key = Key::of(0x5a);
    let context = Context { programs: context.programs.keyed(&key), ..context.clone() };
    (key, context)
}

/// Whoever carries the packets finds what is moved, and who moves it, without a key and not with one.
fn unread(context: &Context) {
    let (_key, keyed) = keyed(context);
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    let content: Vec<u8> = iter::repeat_n(SECRET, SECRETS / SECRET.len()).flatten().copied().collect();
    fs::write(file.path(), &content).expect("a file that takes the cache");
    for (programs, is_read) in [(&context.programs, true), (&keyed.programs, false)] {
        let network = Network::switched(2, Faults::default(), context.seed).expect("hosts");
        network.switch().look_for(&[SECRET, b"kv fetch"]);
        let input = file.path().display().to_string();
        let _server = programs.serve_with(network.host(0), TOKENS, &["--input", &input]);
        let bytes = fetched(&programs.fetch(network.host(1), network.host(0)).finish());
        let found = network.switch().found();
        assert!(found.iter().all(|packets| (*packets > 0) == is_read), "{found:?}");
        assert!(network.switch().counts().bytes > bytes && bytes > content.len() as u64);
    }
}

fn kv_losses(context: &Context) {
    let (_key, keyed) = keyed(context);
    kv::through_losses(&keyed, TOKENS);
}

fn kv_interrupted(context: &Context) {
    let (_key, keyed) = keyed(context);
    kv::through_an_outage(&keyed, TOKENS);
}

fn kv_refused(context: &Context) {
    let network = Network::pair().expect("hosts");
    let (here, there) = (network.host(1), network.host(0));
    let (_key, keyed) = keyed(context);
    let mut server = keyed.programs.serve(there, TOKENS);
    for_strangers(context, |programs, said| {
        refused(&programs.fetch(here, there).finish(), "kv: ", said);
        assert!(server.is_running(), "the server ended");
    });
    fetched(&keyed.programs.fetch(here, there).finish());
}

fn af_over_veth(context: &Context) {
    let (_key, keyed) = keyed(context);
    af::between_two(&keyed, SHAPE);
}

fn af_losses(context: &Context) {
    let (_key, keyed) = keyed(context);
    af::through_losses(&keyed, SHAPE);
}

fn af_interrupted(context: &Context) {
    let (_key, keyed) = keyed(context);
    af::through_an_outage(&keyed, Shape { layers: 50, ..SHAPE });
}

/// Strangers come while there is a place for them.
fn af_refused(context: &Context) {
    let network = Network::switched(4, Faults::default(), context.seed).expect("hosts");
    let (_key, keyed) = keyed(context);
    let places = af::places(&network);
    let mut demo = keyed.programs.stage(&places, SHAPE);
    for_strangers(context, |programs, said| {
        for worker in programs.workers(&places, SHAPE) {
            refused(&worker.finish(), "af: ", said);
        }
        assert!(demo.servers.iter_mut().all(Process::is_running), "a server ended");
    });
    demo.workers = keyed.programs.workers(&places, SHAPE);
    demo.finish(PATIENCE);
}

/// Tries it with another key, and without any; with what must be said to those.
fn for_strangers(context: &Context, mut attempt: impl FnMut(&Programs, &str)) {
    let other = Key::of(0xa5);
    attempt(&context.programs.keyed(&other), "the peer has another pre-shared key");
    attempt(&context.programs, "the peer has a pre-shared key and this side has none");
}

/// The command has ended with an error that says so, and what to do about it, in a line.
fn refused(ended: &Ended, command: &str, said: &str) {
    assert_eq!(ended.status.code(), Some(1), "{}\n{}", ended.text(), ended.errors);
    let line = ended.errors.lines().last().unwrap_or_default();
    let is_clear = line.starts_with(command) && line.contains(said) && line.contains("--key-file");
    assert!(is_clear, "{}", ended.errors);
}
