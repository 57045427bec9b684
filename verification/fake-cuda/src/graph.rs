//! What streams are asked to do, done at once or captured into graphs. Called by `api` for every operation of a stream.
//!
//! A graph is the list of one stream's operations: captures do not spread to other streams.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use fake_device::Stream;

use crate::{
    api::stream,
    code::{CAPTURE_UNSUPPORTED, Code, INVALID_VALUE, code},
    interpret::Program,
    kernel::Launch,
    state::{lock, runtime},
};

/// One operation of a stream; in a graph it is done as often as the graph is launched.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Copy { to: u64, from: u64, size: u64 },
    Write { address: u64, value: u64 },
    Wait { address: u64, value: u64, condition: fn(u64, u64) -> bool },
    Launch { launch: Launch, width: u64, program: Option<Arc<Program>> },
}

/// What is captured, and what was.
struct Graphs {
    made: usize,
    /// By stream.
    capturing: BTreeMap<usize, Vec<Node>>,
    /// Graphs and what was made of them, by handle.
    graphs: BTreeMap<usize, Vec<Node>>,
    /// Events whose last recording is in a graph.
    captured: BTreeSet<usize>,
}

static GRAPHS: Mutex<Graphs> = Mutex::new(Graphs {
    made: 0,
    capturing: BTreeMap::new(),
    graphs: BTreeMap::new(),
    captured: BTreeSet::new(),
});

/// Does an operation, or captures it.
pub(crate) fn submit(handle: usize, node: Node) -> Result<(), Code> {
    let stream = stream::of(handle)?;
    if let Some(nodes) = graphs().capturing.get_mut(&handle) {
        nodes.push(node);
        return Ok(());
    }
    perform(&stream, node)
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
    }
    Ok(())
}

pub(crate) fn begin(handle: usize) -> Result<(), Code> {
    let mut graphs = graphs();
    if graphs.capturing.contains_key(&handle) {
        return Err(INVALID_VALUE);
    }
    graphs.capturing.insert(handle, Vec::new());
    Ok(())
}

/// Ends a capture; the graph's handle.
pub(crate) fn end(handle: usize) -> Result<usize, Code> {
    let mut graphs = graphs();
    let nodes = graphs.capturing.remove(&handle).ok_or(INVALID_VALUE)?;
    Ok(graphs.insert(nodes))
}

pub(crate) fn is_capturing(handle: usize) -> bool {
    graphs().capturing.contains_key(&handle)
}

/// What may not be asked of a stream that is captured.
pub(crate) fn check_not_capturing(handle: usize) -> Result<(), Code> {
    if is_capturing(handle) { Err(CAPTURE_UNSUPPORTED) } else { Ok(()) }
}

/// Notes in whose turn an event was recorded; whether in a graph.
pub(crate) fn note_record(event: usize, handle: usize) -> bool {
    let mut graphs = graphs();
    let captured = graphs.capturing.contains_key(&handle);
    if captured {
        graphs.captured.insert(event)
    } else {
        graphs.captured.remove(&event)
    };
    captured
}

pub(crate) fn is_captured(event: usize) -> bool {
    graphs().captured.contains(&event)
}

/// What is launched of a graph, by a handle of its own.
pub(crate) fn instantiate(graph: usize) -> Result<usize, Code> {
    let mut graphs = graphs();
    let nodes = graphs.graphs.get(&graph).cloned().ok_or(INVALID_VALUE)?;
    Ok(graphs.insert(nodes))
}

pub(crate) fn launch(graph: usize, handle: usize) -> Result<(), Code> {
    let nodes = graphs().graphs.get(&graph).cloned().ok_or(INVALID_VALUE)?;
    nodes.into_iter().try_for_each(|node| submit(handle, node))
}

pub(crate) fn destroy(graph: usize) -> Result<(), Code> {
    graphs().graphs.remove(&graph).map(drop).ok_or(INVALID_VALUE)
}

/// Graphs that there are.
pub(crate) fn count() -> u64 {
    graphs().graphs.len() as u64
}

impl Graphs {
    fn insert(&mut self, nodes: Vec<Node>) -> usize {
        self.made += 1;
        let handle = 0x20_0000 + 16 * self.made;
        self.graphs.insert(handle, nodes);
        handle
    }
}

fn graphs() -> MutexGuard<'static, Graphs> {
    lock(&GRAPHS)
}
