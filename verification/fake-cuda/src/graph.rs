//! What streams are asked to do, done at once or captured into graphs. Called by `api` for every operation of a stream.
//!
//! A capture begins in one stream, its origin, and goes over to others that wait for its events. Its graph runs in the
//! order in which it was captured, which is one of the orders that a device may choose. What may not be captured invalidates
//! the capture, as the driver does.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    thread::{self, ThreadId},
};

use fake_device::{Event, Stream};

use crate::{
    api::stream,
    code::{
        CAPTURE_INVALIDATED, CAPTURE_ISOLATION, CAPTURE_MERGE, CAPTURE_UNJOINED, CAPTURE_UNMATCHED,
        CAPTURE_UNSUPPORTED, CAPTURE_WRONG_THREAD, CAPTURED_EVENT, Code, INVALID_VALUE, code,
    },
    interpret::Program,
    kernel::Launch,
    state::{lock, runtime},
};

/// `CU_STREAM_CAPTURE_MODE_GLOBAL` and `.._RELAXED`; between them is the mode that looks at one thread only.
const GLOBAL: u32 = 0;
const RELAXED: u32 = 2;

thread_local! {
    /// Which captures forbid this thread what cannot be captured.
    static MODE: Cell<u32> = const { Cell::new(GLOBAL) };
}

/// One operation of a stream; in a graph it is done as often as the graph is launched.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Copy { to: u64, from: u64, size: u64 },
    Write { address: u64, value: u64 },
    Wait { address: u64, value: u64, condition: fn(u64, u64) -> bool },
    Launch { launch: Launch, width: u64, program: Option<Arc<Program>> },
    Host(HostCall),
}

/// A function of the program's, and what it is called with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostCall {
    pub(crate) run: fn(usize, usize),
    pub(crate) function: usize,
    pub(crate) argument: usize,
}

/// A capture that has not ended.
struct Capture {
    origin: usize,
    mode: u32,
    thread: ThreadId,
    invalid: bool,
    nodes: Vec<Node>,
    /// Operations of each stream that takes part, and how many of them another one has waited for.
    streams: BTreeMap<usize, (usize, usize)>,
}

/// Where an event was recorded that is in a graph.
#[derive(Clone, Copy)]
struct Recorded {
    capture: usize,
    stream: usize,
    operations: usize,
}

/// A graph that can be launched. Its launches happen one after the other, whichever streams they are in.
struct Executable {
    nodes: Vec<Node>,
    launched: Event,
}

/// What is captured, and what was.
struct Graphs {
    made: usize,
    captures: BTreeMap<usize, Capture>,
    /// The capture that a stream takes part in.
    capturing: BTreeMap<usize, usize>,
    graphs: BTreeMap<usize, Vec<Node>>,
    executables: BTreeMap<usize, Executable>,
    destroyed: BTreeSet<usize>,
    /// Events whose last recording is in a graph.
    recorded: BTreeMap<usize, Recorded>,
}

static GRAPHS: Mutex<Graphs> = Mutex::new(Graphs {
    made: 0,
    captures: BTreeMap::new(),
    capturing: BTreeMap::new(),
    graphs: BTreeMap::new(),
    executables: BTreeMap::new(),
    destroyed: BTreeSet::new(),
    recorded: BTreeMap::new(),
});

/// Does an operation, or captures it.
pub(crate) fn submit(handle: usize, node: Node) -> Result<(), Code> {
    let stream = stream::of(handle)?;
    let mut graphs = graphs();
    let Some(capture) = graphs.capture_of(handle) else {
        drop(graphs);
        return perform(&stream, node);
    };
    capture.check_valid()?;
    check(&node).inspect_err(|_| capture.invalid = true)?;
    capture.nodes.push(node);
    capture.streams.entry(handle).or_default().0 += 1;
    Ok(())
}

/// Whether an operation could be done now.
fn check(node: &Node) -> Result<(), Code> {
    match *node {
        Node::Copy { to, from, size } => runtime().prepare_copy(to, from, size, None).map(drop),
        Node::Write { address, .. } | Node::Wait { address, .. } => {
            runtime().prepare_word(address, true).map(drop)
        }
        Node::Launch { .. } | Node::Host(_) => Ok(()),
    }
    .map_err(code)
}

fn perform(stream: &Stream, node: Node) -> Result<(), Code> {
    match node {
        Node::Copy { to, from, size } => {
            let copy = runtime().prepare_copy(to, from, size, None).map_err(code)?;
            stream.post(move || {
                copy.run();
                Ok(())
            });
        }
        Node::Write { address, value } => {
            stream.write_word(runtime().prepare_word(address, true).map_err(code)?, value);
        }
        Node::Wait { address, value, condition } => {
            let word = runtime().prepare_word(address, true).map_err(code)?;
            stream.wait_word(word, move |word| condition(word, value));
        }
        Node::Launch { launch, width, program } => stream.post(move || {
            let ended = program.map_or_else(|| launch.run(width), |program| launch.interpret(&program));
            ended.map_err(i64::from)
        }),
        Node::Host(HostCall { run, function, argument }) => stream.post(move || {
            run(function, argument);
            Ok(())
        }),
    }
    Ok(())
}

pub(crate) fn begin(handle: usize, mode: u32) -> Result<(), Code> {
    let mut graphs = graphs();
    if graphs.capturing.contains_key(&handle) {
        return Err(INVALID_VALUE);
    }
    let capture = graphs.number();
    graphs.capturing.insert(handle, capture);
    let streams = BTreeMap::from([(handle, (0, 0))]);
    let thread = thread::current().id();
    let fresh = Capture { origin: handle, mode, thread, invalid: false, nodes: Vec::new(), streams };
    graphs.captures.insert(capture, fresh);
    Ok(())
}

/// Ends a capture; the graph's handle.
pub(crate) fn end(handle: usize) -> Result<usize, Code> {
    let mut graphs = graphs();
    let number = *graphs.capturing.get(&handle).ok_or(INVALID_VALUE)?;
    let capture = graphs.captures.get(&number).ok_or(INVALID_VALUE)?;
    if capture.origin != handle {
        return Err(CAPTURE_UNMATCHED);
    }
    if capture.mode != RELAXED && capture.thread != thread::current().id() {
        return Err(CAPTURE_WRONG_THREAD);
    }
    graphs.capturing.retain(|_, of| *of != number);
    let capture = graphs.captures.remove(&number).ok_or(INVALID_VALUE)?;
    capture.check_valid()?;
    let joined = |(stream, (all, waited)): (&usize, &(usize, usize))| *stream == handle || waited >= all;
    if !capture.streams.iter().all(joined) {
        return Err(CAPTURE_UNJOINED);
    }
    let graph = graphs.number();
    graphs.graphs.insert(graph, capture.nodes);
    Ok(graph)
}

/// What `CUstreamCaptureStatus` says: 0 not, 1 active, 2 invalidated.
pub(crate) fn status(handle: usize) -> u32 {
    graphs().capture_of(handle).map_or(0, |capture| 1 + u32::from(capture.invalid))
}

/// Refuses what may not be asked of a stream that is captured, and invalidates the capture.
pub(crate) fn check_not_capturing(handle: usize) -> Result<(), Code> {
    match graphs().capture_of(handle) {
        None => Ok(()),
        Some(capture) => {
            capture.invalid = true;
            Err(CAPTURE_UNSUPPORTED)
        }
    }
}

/// Refuses what this thread may not do while something is captured, and invalidates what it would have broken.
pub(crate) fn check_safe() -> Result<(), Code> {
    let (ours, this) = (MODE.get(), thread::current().id());
    if ours == RELAXED {
        return Ok(());
    }
    let mut broken = Ok(());
    for capture in graphs().captures.values_mut() {
        let same = capture.thread == this && capture.mode != RELAXED;
        if same || ours == GLOBAL && capture.mode == GLOBAL {
            capture.invalid = true;
            broken = Err(CAPTURE_UNSUPPORTED);
        }
    }
    broken
}

/// Sets the thread's mode; the earlier one.
pub(crate) fn exchange_mode(mode: u32) -> Result<u32, Code> {
    if mode > RELAXED { Err(INVALID_VALUE) } else { Ok(MODE.replace(mode)) }
}

/// Notes in whose turn an event was recorded; whether in a graph.
pub(crate) fn note_record(event: usize, handle: usize) -> Result<bool, Code> {
    let mut graphs = graphs();
    let Some(&capture) = graphs.capturing.get(&handle) else {
        graphs.recorded.remove(&event);
        return Ok(false);
    };
    let Some(found) = graphs.captures.get(&capture) else { return Ok(false) };
    found.check_valid()?;
    let operations = found.streams.get(&handle).map_or(0, |(all, _)| *all);
    graphs.recorded.insert(event, Recorded { capture, stream: handle, operations });
    Ok(true)
}

/// Notes that a stream waits for an event; whether in a graph.
pub(crate) fn note_wait(event: usize, handle: usize) -> Result<bool, Code> {
    let mut graphs = graphs();
    let (ours, recorded) = (graphs.capturing.get(&handle).copied(), graphs.recorded.get(&event).copied());
    match (ours, recorded) {
        (None, None) => return Ok(false),
        // What was recorded in a graph that is complete has not happened in any stream.
        (_, Some(recorded)) if !graphs.captures.contains_key(&recorded.capture) => {
            graphs.capture_of(handle).into_iter().for_each(|capture| capture.invalid = true);
            return Err(CAPTURED_EVENT);
        }
        (Some(_), None) => {
            graphs.capture_of(handle).into_iter().for_each(|capture| capture.invalid = true);
            return Err(CAPTURE_ISOLATION);
        }
        (Some(ours), Some(recorded)) if ours != recorded.capture => {
            graphs.capture_of(handle).into_iter().for_each(|capture| capture.invalid = true);
            return Err(CAPTURE_MERGE);
        }
        (_, Some(recorded)) => {
            graphs.capturing.insert(handle, recorded.capture);
            let Some(capture) = graphs.captures.get_mut(&recorded.capture) else { return Ok(true) };
            capture.check_valid()?;
            capture.streams.entry(handle).or_default();
            if recorded.stream != handle
                && let Some((_, waited)) = capture.streams.get_mut(&recorded.stream)
            {
                *waited = recorded.operations.max(*waited);
            }
        }
    }
    Ok(true)
}

pub(crate) fn is_captured(event: usize) -> bool {
    graphs().recorded.contains_key(&event)
}

/// What is launched of a graph, by a handle of its own.
pub(crate) fn instantiate(graph: usize, device: u32) -> Result<usize, Code> {
    let mut graphs = graphs();
    let nodes = graphs.graphs.get(&graph).cloned().ok_or(INVALID_VALUE)?;
    let launched = runtime().create_event(device).map_err(code)?;
    let executable = graphs.number();
    graphs.executables.insert(executable, Executable { nodes, launched });
    Ok(executable)
}

pub(crate) fn launch(executable: usize, handle: usize) -> Result<(), Code> {
    let stream = stream::of(handle)?;
    let graphs = graphs();
    let found = graphs.executables.get(&executable).ok_or(INVALID_VALUE);
    let Executable { nodes, launched } = found.inspect_err(|_| graphs.note_misuse(executable))?;
    let (nodes, launched) = (nodes.clone(), launched.clone());
    let captured = graphs.capturing.contains_key(&handle);
    drop(graphs);
    if captured {
        return nodes.into_iter().try_for_each(|node| submit(handle, node));
    }
    stream.wait_event(&launched);
    let done = nodes.into_iter().try_for_each(|node| perform(&stream, node));
    stream.record(&launched);
    done
}

pub(crate) fn destroy_executable(executable: usize) -> Result<(), Code> {
    let mut graphs = graphs();
    let Some(removed) = graphs.executables.remove(&executable) else {
        graphs.note_misuse(executable);
        return Err(INVALID_VALUE);
    };
    graphs.destroyed.insert(executable);
    runtime().destroy_event(removed.launched.handle()).map_err(code)
}

pub(crate) fn destroy(graph: usize) -> Result<(), Code> {
    let mut graphs = graphs();
    if graphs.graphs.remove(&graph).is_none() {
        graphs.note_misuse(graph);
        return Err(INVALID_VALUE);
    }
    graphs.destroyed.insert(graph);
    Ok(())
}

/// Graphs that there are.
pub(crate) fn count() -> u64 {
    let graphs = graphs();
    (graphs.graphs.len() + graphs.executables.len()) as u64
}

impl Capture {
    fn check_valid(&self) -> Result<(), Code> {
        if self.invalid { Err(CAPTURE_INVALIDATED) } else { Ok(()) }
    }
}

impl Graphs {
    fn number(&mut self) -> usize {
        self.made += 1;
        0x20_0000 + 16 * self.made
    }

    fn capture_of(&mut self, handle: usize) -> Option<&mut Capture> {
        let number = self.capturing.get(&handle)?;
        self.captures.get_mut(number)
    }

    fn note_misuse(&self, handle: usize) {
        if self.destroyed.contains(&handle) {
            runtime().misuse(&format!("graph {handle:#x} was destroyed"));
        }
    }
}

fn graphs() -> MutexGuard<'static, Graphs> {
    lock(&GRAPHS)
}
