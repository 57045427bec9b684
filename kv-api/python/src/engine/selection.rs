//! What moves, from Python: block tables, ranges, tokens; layers. Called by `remote`.

use kv_api::planner::{BlockMap, BlockRun, LayerMap, TokenSpan};
use pyo3::{exceptions::PyValueError, prelude::*, types::PyRange};

use crate::indices;

/// Blocks of both sides, or none for all: tables, or `range` objects.
pub(super) type Both<'py> = Option<(Bound<'py, PyAny>, Bound<'py, PyAny>)>;

/// How many tokens, from the first of both sides or from one of each.
#[derive(FromPyObject)]
pub(super) enum Tokens {
    /// How many.
    Count(u64),
    /// First of the source, first of the destination, how many.
    From(u64, u64, u64),
}

/// Blocks as Python named them, read.
pub(super) enum Blocks {
    All,
    Tables(Vec<u32>, Vec<u32>),
    Runs(BlockRun, BlockRun),
    Tokens { source: (Vec<u32>, u64), destination: (Vec<u32>, u64), count: u64 },
}

impl Blocks {
    /// Reads what a call was given. `sizes` are the blocks of source and destination.
    ///
    /// # Errors
    /// `TypeError` and `ValueError`, as [`indices::of`].
    pub(super) fn read(
        blocks: Both<'_>,
        tokens: Option<Tokens>,
        (sources, destinations): (u32, u32),
    ) -> PyResult<Self> {
        if let Some(tokens) = tokens {
            let (first_source, first_destination, count) = match tokens {
                Tokens::Count(count) => (0, 0, count),
                Tokens::From(source, destination, count) => (source, destination, count),
            };
            let (source, destination) = match blocks {
                Some((source, destination)) => (indices::of(&source)?, indices::of(&destination)?),
                None => ((0..sources).collect(), (0..destinations).collect()),
            };
            let (source, destination) = ((source, first_source), (destination, first_destination));
            return Ok(Self::Tokens { source, destination, count });
        }
        let Some((source, destination)) = blocks else { return Ok(Self::All) };
        match (run(&source)?, run(&destination)?) {
            (Some(source), Some(destination)) => Ok(Self::Runs(source, destination)),
            _ => Ok(Self::Tables(indices::of(&source)?, indices::of(&destination)?)),
        }
    }

    /// As the planner takes them.
    pub(super) fn map(&self) -> BlockMap<'_> {
        match self {
            Self::All => BlockMap::Identity,
            Self::Tables(source, destination) => BlockMap::Table { source, destination },
            Self::Runs(source, destination) => {
                BlockMap::Strided { source: *source, destination: *destination }
            }
            Self::Tokens { source, destination, count } => {
                BlockMap::Tokens { source: span(source), destination: span(destination), count: *count }
            }
        }
    }
}

/// Layers of the source, half-open, and where the first of them goes; all, and where they are, unless said.
pub(super) fn layers(layers: Option<(u32, u32)>, to_layer: Option<u32>, all: u32) -> LayerMap {
    let (first, end) = layers.unwrap_or((0, all));
    LayerMap { source: first..end, destination: to_layer.unwrap_or(first) }
}

/// A `range` that rises, whose length does not matter then; none for other objects.
fn run(object: &Bound<'_, PyAny>) -> PyResult<Option<BlockRun>> {
    if !object.is_instance_of::<PyRange>() {
        return Ok(None);
    }
    let number = |name| -> PyResult<u32> {
        let number: i64 = object.getattr(name)?.extract()?;
        u32::try_from(number).map_err(|_| PyValueError::new_err(format!("{number} is no block number")))
    };
    let count = u32::try_from(object.len()?).map_err(|_| PyValueError::new_err("a range of that many"))?;
    if count == 0 || object.getattr("step")?.extract::<i64>()? < 0 {
        return Ok(None);
    }
    Ok(Some(BlockRun { first: number("start")?, step: number("step")?, count }))
}

const fn span((blocks, first): &(Vec<u32>, u64)) -> TokenSpan<'_> {
    TokenSpan { blocks: blocks.as_slice(), first: *first }
}
