//! What is inside of a block: tokens, heads, and how the two lie.
//!
//! Only caches that differ from their peers' need it: other block sizes, other tensor-parallel degrees, another order of
//! dimensions. The [`planner`](crate::planner) re-slices between two formats; where neither side has one, a block is
//! bytes.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::LayoutError;

/// How the tokens and heads of one block of one tensor lie.
///
/// The bytes of head `h` of token `t` begin at `t * token_stride + (h - heads.start) * head_stride` of the block and are
/// `head_bytes` long. Elements never overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "RawFormat", into = "RawFormat")]
pub struct TokenFormat {
    tokens: u32,
    heads: Heads,
    head_bytes: u32,
    token_stride: u64,
    head_stride: u64,
}

/// The heads that a process holds, of all that the model has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Heads {
    /// First head held.
    pub first: u32,
    /// Heads held.
    pub count: u32,
    /// Heads of the model.
    pub total: u32,
}

/// Which dimension of a block changes slowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum BlockOrder {
    /// `[token][head][dim]`.
    #[default]
    TokensFirst,
    /// `[head][token][dim]`.
    HeadsFirst,
}

impl Heads {
    /// All heads: no tensor parallelism.
    #[must_use]
    pub const fn all(total: u32) -> Self {
        Self { first: 0, count: total, total }
    }

    /// The latent vector of multi-head latent attention: one head, which every rank holds.
    #[must_use]
    pub const fn latent() -> Self {
        Self::all(1)
    }

    /// What rank `rank` of `degree` holds. With more ranks than heads each head is held by several.
    ///
    /// # Errors
    /// [`LayoutError::Ranks`] where the heads cannot be shared out evenly, or there is no such rank.
    pub const fn of_rank(rank: u32, degree: u32, total: u32) -> Result<Self, LayoutError> {
        let refused = Err(LayoutError::Ranks { rank, degree, heads: total });
        if total == 0 || rank >= degree {
            return refused;
        }
        if total.is_multiple_of(degree) {
            let count = total / degree;
            return Ok(Self { first: rank * count, count, total });
        }
        if degree.is_multiple_of(total) {
            return Ok(Self { first: rank / (degree / total), count: 1, total });
        }
        refused
    }

    /// The heads held.
    #[must_use]
    pub const fn range(self) -> Range<u32> {
        self.first..self.first + self.count
    }
}

impl TokenFormat {
    /// Blocks of `tokens` tokens without gaps; a head of a token has `head_bytes` bytes (head dimension x element size).
    ///
    /// # Errors
    /// [`LayoutError::Zero`], [`LayoutError::Heads`] for heads that the model does not have, [`LayoutError::TooLarge`].
    pub fn new(tokens: u32, heads: Heads, head_bytes: u32, order: BlockOrder) -> Result<Self, LayoutError> {
        let (token_stride, head_stride) = match order {
            BlockOrder::TokensFirst => {
                (u64::from(heads.count) * u64::from(head_bytes), u64::from(head_bytes))
            }
            BlockOrder::HeadsFirst => (u64::from(head_bytes), u64::from(tokens) * u64::from(head_bytes)),
        };
        Self { tokens, heads, head_bytes, token_stride, head_stride }.checked()
    }

    /// The same with strides of the caller's: K and V interleaved token by token, padding, and so on.
    ///
    /// # Errors
    /// [`LayoutError::Overlap`] where two elements would share bytes; [`LayoutError::TooLarge`].
    pub fn with_strides(self, token_stride: u64, head_stride: u64) -> Result<Self, LayoutError> {
        Self { token_stride, head_stride, ..self }.checked()
    }

    /// Tokens of a block.
    #[must_use]
    pub const fn tokens(&self) -> u32 {
        self.tokens
    }

    /// Heads held.
    #[must_use]
    pub const fn heads(&self) -> Heads {
        self.heads
    }

    /// Bytes of one head of one token.
    #[must_use]
    pub const fn head_bytes(&self) -> u32 {
        self.head_bytes
    }

    /// Bytes from one token to the next.
    #[must_use]
    pub const fn token_stride(&self) -> u64 {
        self.token_stride
    }

    /// Bytes from one head to the next.
    #[must_use]
    pub const fn head_stride(&self) -> u64 {
        self.head_stride
    }

    /// Bytes of a block's elements, without gaps between them.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.tokens as u64 * self.heads.count as u64 * self.head_bytes as u64
    }

    /// Bytes from a block's first element to the end of its last.
    #[must_use]
    pub const fn extent(&self) -> u64 {
        (self.tokens as u64 - 1) * self.token_stride
            + (self.heads.count as u64 - 1) * self.head_stride
            + self.head_bytes as u64
    }

    fn checked(self) -> Result<Self, LayoutError> {
        let Self { tokens, heads, head_bytes, token_stride, head_stride } = self;
        let sizes = [
            ("tokens per block", tokens),
            ("heads", heads.count),
            ("heads of the model", heads.total),
            ("bytes per head", head_bytes),
        ];
        if let Some((what, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(LayoutError::Zero { what });
        }
        if heads.first.checked_add(heads.count).is_none_or(|end| end > heads.total) {
            return Err(LayoutError::Heads { heads });
        }
        let span = |count: u32, stride: u64, element: u64| {
            stride.checked_mul(u64::from(count) - 1)?.checked_add(element).filter(|span| *span < 1 << 63)
        };
        let element = u64::from(head_bytes);
        let of_heads = span(heads.count, head_stride, element).ok_or(LayoutError::TooLarge)?;
        let of_tokens = span(tokens, token_stride, element).ok_or(LayoutError::TooLarge)?;
        span(tokens, token_stride, of_heads).ok_or(LayoutError::TooLarge)?;
        let apart = |count: u32, stride: u64, size: u64| count == 1 || stride >= size;
        let tokens_outside =
            apart(heads.count, head_stride, element) && apart(tokens, token_stride, of_heads);
        let heads_outside =
            apart(tokens, token_stride, element) && apart(heads.count, head_stride, of_tokens);
        if !tokens_outside && !heads_outside {
            return Err(LayoutError::Overlap { token_stride, head_stride });
        }
        Ok(self)
    }
}

/// Tokens, heads, bytes per head, token stride, head stride.
#[derive(Serialize, Deserialize)]
struct RawFormat(u32, Heads, u32, u64, u64);

impl TryFrom<RawFormat> for TokenFormat {
    type Error = LayoutError;

    fn try_from(raw: RawFormat) -> Result<Self, LayoutError> {
        let RawFormat(tokens, heads, head_bytes, token_stride, head_stride) = raw;
        Self { tokens, heads, head_bytes, token_stride, head_stride }.checked()
    }
}

impl From<TokenFormat> for RawFormat {
    fn from(format: TokenFormat) -> Self {
        let TokenFormat { tokens, heads, head_bytes, token_stride, head_stride } = format;
        Self(tokens, heads, head_bytes, token_stride, head_stride)
    }
}
