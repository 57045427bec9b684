//! Which part of a cache moves, as C programs say it. Called by transfers and streams.

use kv_api::planner::{BlockMap, BlockRun, LayerMap, Selection, TokenSpan};

use crate::{
    boundary::{array, reference},
    status::Failure,
};

/// Which part of a cache moves: layers, and blocks or tokens of every tensor of them. Blocks are said in one way of
/// three: two tables, two runs, or spans of tokens; where all are NULL, every block goes to the block of the same number.
/// Write `pmd_kv_selection selection = {0};` and then what you want.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_kv_selection {
    /// First layer, at the sending side.
    pub first_layer: u32,
    /// One past the last layer; 0 for all from the first on.
    pub end_layer: u32,
    /// What is added to a layer's number at the sending side to give its number at the receiving side.
    pub layer_shift: i32,
    /// Blocks where the bytes come from; may repeat. Block `source[i]` goes to block `destination[i]`.
    pub source: *const u32,
    /// Blocks where they go, none twice. NULL exactly where `source` is.
    pub destination: *const u32,
    /// Entries of both.
    pub count: usize,
    /// Two tables of equal steps, in place of `source` and `destination`.
    pub runs: *const pmd_kv_block_runs,
    /// Tokens, whatever blocks each side cuts them into. Both caches say what is in a block.
    pub tokens: *const pmd_kv_tokens,
}

/// Block numbers at one distance.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_kv_block_run {
    /// First number.
    pub first: u32,
    /// From one to the next.
    pub step: u32,
    /// How many.
    pub count: u32,
}

/// Which run goes to which; both have as many blocks.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_kv_block_runs {
    /// Where the bytes come from.
    pub source: pmd_kv_block_run,
    /// Where they go.
    pub destination: pmd_kv_block_run,
}

/// A sequence's tokens on one side.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_kv_token_span {
    /// The sequence's blocks, in the order of its tokens. On the receiving side none twice.
    pub blocks: *const u32,
    /// How many blocks.
    pub count: usize,
    /// First token that moves, counted from the beginning of the first block.
    pub first: u64,
}

/// Which tokens go where.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_kv_tokens {
    /// Where the tokens come from.
    pub source: pmd_kv_token_span,
    /// Where they go.
    pub destination: pmd_kv_token_span,
    /// How many.
    pub count: u64,
}

/// What a selection stands for; everything where there is none.
///
/// # Safety
/// `selection` is null or points to a selection whose tables have their counts.
pub(super) unsafe fn selection_at<'a>(
    selection: *const pmd_kv_selection,
    layers: u32,
) -> Result<Selection<'a>, Failure> {
    // SAFETY: the caller's promise.
    let Some(selection) = (unsafe { selection.as_ref() }) else {
        return Ok(Selection { layers: (0..layers).into(), blocks: BlockMap::Identity });
    };
    let end = if selection.end_layer == 0 { layers } else { selection.end_layer };
    // SAFETY: the caller's promise.
    let blocks = unsafe { blocks_of(selection)? };
    let beyond = || {
        Failure::argument(format!("layer {} and a shift of {}", selection.first_layer, selection.layer_shift))
    };
    let destination = selection.first_layer.checked_add_signed(selection.layer_shift).ok_or_else(beyond)?;
    Ok(Selection { layers: LayerMap { source: selection.first_layer..end, destination }, blocks })
}

/// # Safety
/// As [`selection_at`].
unsafe fn blocks_of<'a>(selection: &pmd_kv_selection) -> Result<BlockMap<'a>, Failure> {
    let pmd_kv_selection { source, destination, count, runs, tokens, .. } = *selection;
    let tables = !source.is_null() || !destination.is_null();
    if usize::from(tables) + usize::from(!runs.is_null()) + usize::from(!tokens.is_null()) > 1 {
        return Err(Failure::argument("a selection has tables, runs or tokens, and only one of them"));
    }
    // SAFETY: the caller's promise, for each of the three.
    unsafe {
        if tables {
            let source = array(source, count, "the table of sources")?;
            let destination = array(destination, count, "the table of destinations")?;
            Ok(BlockMap::Table { source, destination })
        } else if !runs.is_null() {
            let pmd_kv_block_runs { source, destination } = *reference(runs, "the runs")?;
            Ok(BlockMap::Strided { source: run(source), destination: run(destination) })
        } else if !tokens.is_null() {
            let tokens = reference(tokens, "the tokens")?;
            let source = span(&tokens.source, "the blocks that tokens come from")?;
            let destination = span(&tokens.destination, "the blocks that tokens go to")?;
            Ok(BlockMap::Tokens { source, destination, count: tokens.count })
        } else {
            Ok(BlockMap::Identity)
        }
    }
}

const fn run(run: pmd_kv_block_run) -> BlockRun {
    let pmd_kv_block_run { first, step, count } = run;
    BlockRun { first, step, count }
}

/// # Safety
/// The blocks have their count.
unsafe fn span<'a>(span: &pmd_kv_token_span, what: &'static str) -> Result<TokenSpan<'a>, Failure> {
    // SAFETY: the caller's promise.
    Ok(TokenSpan { blocks: unsafe { array(span.blocks, span.count, what)? }, first: span.first })
}
