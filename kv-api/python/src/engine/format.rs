//! What is in a block, from Python: tokens and heads. Called by `Engine` and `Cache`.

use kv_api::layout::{BlockOrder, CacheLayout, Heads, TokenFormat as Format};
use pyo3::{exceptions::PyValueError, prelude::*};

use crate::error;

/// What is in a block: `tokens` tokens of the heads of one tensor-parallel rank, a head of a token `head_bytes` bytes.
/// Caches with one exchange tokens with caches of other block sizes, other ranks and another order.
#[pyclass(frozen, eq, module = "pmd_kv")]
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TokenFormat(Format);

#[pymethods]
impl TokenFormat {
    /// `heads` is how many the model has, `rank` of `ranks` whose heads these are; `order` is "tokens" where the token
    /// changes slowest, or "heads".
    #[new]
    #[pyo3(signature = (tokens, heads, head_bytes, *, rank=0, ranks=1, order="tokens"))]
    fn new(
        py: Python<'_>,
        tokens: u32,
        heads: u32,
        head_bytes: u32,
        rank: u32,
        ranks: u32,
        order: &str,
    ) -> PyResult<Self> {
        let order = match order {
            "tokens" => BlockOrder::TokensFirst,
            "heads" => BlockOrder::HeadsFirst,
            other => {
                return Err(PyValueError::new_err(format!("order {other:?}: \"tokens\" or \"heads\"")));
            }
        };
        let format = Heads::of_rank(rank, ranks, heads)
            .and_then(|heads| Format::new(tokens, heads, head_bytes, order));
        format.map(Self).map_err(|problem| error::plain(py, "LayoutError", &problem))
    }

    /// Tokens of a block.
    #[getter]
    fn tokens(&self) -> u32 {
        self.0.tokens()
    }

    /// The heads held: the first, and the one after the last.
    #[getter]
    fn heads(&self) -> (u32, u32) {
        let heads = self.0.heads().range();
        (heads.start, heads.end)
    }

    /// Bytes of one head of one token.
    #[getter]
    fn head_bytes(&self) -> u32 {
        self.0.head_bytes()
    }

    /// Bytes of a block.
    #[getter]
    fn block_bytes(&self) -> u64 {
        self.0.extent()
    }

    fn __repr__(&self) -> String {
        format!("<{:?}>", self.0)
    }
}

/// A layout whose blocks are bytes, or tokens.
///
/// # Errors
/// `LayoutError`; `ValueError` unless it is said how large a block is.
pub(super) fn layout(
    py: Python<'_>,
    (layers, tensors_per_layer, blocks): (u32, u32, u32),
    block_bytes: Option<u64>,
    format: Option<&TokenFormat>,
) -> PyResult<CacheLayout> {
    let layout = match (format, block_bytes) {
        (Some(TokenFormat(format)), None) => {
            CacheLayout::of_tokens(layers, tensors_per_layer, blocks, *format)
        }
        (Some(TokenFormat(format)), Some(bytes)) if bytes == format.extent() => {
            CacheLayout::of_tokens(layers, tensors_per_layer, blocks, *format)
        }
        (Some(TokenFormat(format)), Some(bytes)) => {
            let message =
                format!("blocks of {bytes} bytes, and a format whose blocks have {}", format.extent());
            return Err(PyValueError::new_err(message));
        }
        (None, Some(bytes)) => CacheLayout::new(layers, tensors_per_layer, blocks, bytes),
        (None, None) => return Err(PyValueError::new_err("give block_bytes or a format")),
    };
    layout.map_err(|problem| error::plain(py, "LayoutError", &problem))
}
