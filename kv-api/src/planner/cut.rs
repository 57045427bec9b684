//! How the tokens of one block are cut into pieces that are contiguous on both sides.

use super::Side;
use crate::layout::{CacheLayout, Heads, TokenFormat};

/// What the two sides' blocks have in common, and how far apart it lies in each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// Heads that both sides hold.
    heads: u32,
    /// Bytes of one head of one token; of a whole block where neither side says what is in it.
    element: u64,
    /// Tokens of a whole block here and there.
    tokens: Ends<u32>,
    token_stride: Ends<u64>,
    head_stride: Ends<u64>,
    /// Where the first common head begins within a token.
    offset: Ends<u64>,
}

/// One value for each side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends<T> {
    pub(super) local: T,
    pub(super) remote: T,
}

/// One dimension of what moves.
#[derive(Clone, Copy, Debug)]
struct Dimension {
    count: u32,
    stride: Ends<u64>,
}

/// Tokens of one block, as pieces: `outer.count` times `inner.count` of `length` bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Folded {
    outer: Dimension,
    inner: Dimension,
    length: u64,
}

impl Cut {
    /// The caches were found to agree in what can be compared.
    pub(super) fn new(local: Side<'_>, remote: Side<'_>) -> Self {
        let sides = Ends { local: Shape::of(local.layout), remote: Shape::of(remote.layout) };
        let first = sides.local.heads.first.max(sides.remote.heads.first);
        let end = sides.local.heads.range().end.min(sides.remote.heads.range().end);
        let offset = |shape: &Shape| u64::from(first - shape.heads.first) * shape.head_stride;
        Self {
            heads: end.saturating_sub(first),
            element: sides.local.element,
            tokens: sides.each(|shape| shape.tokens),
            token_stride: sides.each(|shape| shape.token_stride),
            head_stride: sides.each(|shape| shape.head_stride),
            offset: sides.each(offset),
        }
    }

    pub(super) const fn tokens(&self) -> Ends<u32> {
        self.tokens
    }

    /// Bytes of `tokens` tokens.
    pub(super) const fn bytes(&self, tokens: u64) -> u64 {
        tokens * self.heads as u64 * self.element
    }

    /// Bytes from a block's beginning to what moves of one of its tokens, on both sides.
    pub(super) const fn start(&self, token: Ends<u32>) -> Ends<u64> {
        Ends {
            local: self.offset.local + token.local as u64 * self.token_stride.local,
            remote: self.offset.remote + token.remote as u64 * self.token_stride.remote,
        }
    }

    /// Cuts `tokens` tokens into the longest pieces that are contiguous on both sides. Pieces that are neighbours at the
    /// peer follow each other, because they can be gathered into one work request.
    pub(super) fn fold(&self, tokens: u32) -> Folded {
        let of_tokens = Dimension { count: tokens, stride: self.token_stride };
        let of_heads = Dimension { count: self.heads, stride: self.head_stride };
        let tokens_inside = self.heads == 1 || tokens > 1 && of_tokens.stride.remote < of_heads.stride.remote;
        let (mut outer, mut inner) =
            if tokens_inside { (of_heads, of_tokens) } else { (of_tokens, of_heads) };
        let mut length = self.element;
        if inner.merges(length) {
            length *= u64::from(inner.count);
            inner.count = 1;
            if outer.merges(length) {
                length *= u64::from(outer.count);
                outer.count = 1;
            }
        }
        Folded { outer, inner, length }
    }
}

impl Dimension {
    /// Whether pieces of `length` bytes that are apart in this dimension touch on both sides.
    fn merges(&self, length: u64) -> bool {
        self.count == 1 || self.stride == (Ends { local: length, remote: length })
    }
}

impl Folded {
    pub(super) const fn length(&self) -> u64 {
        self.length
    }

    pub(super) const fn pieces(&self) -> u64 {
        self.outer.count as u64 * self.inner.count as u64
    }

    /// Offsets of every piece from the first.
    #[inline]
    pub(super) fn for_each(&self, mut piece: impl FnMut(Ends<u64>)) {
        for outer in 0..u64::from(self.outer.count) {
            for inner in 0..u64::from(self.inner.count) {
                piece(Ends {
                    local: outer * self.outer.stride.local + inner * self.inner.stride.local,
                    remote: outer * self.outer.stride.remote + inner * self.inner.stride.remote,
                });
            }
        }
    }
}

impl<T> Ends<T> {
    fn each<R>(&self, change: impl Fn(&T) -> R) -> Ends<R> {
        Ends { local: change(&self.local), remote: change(&self.remote) }
    }
}

/// What is in a block: one token of one head of all its bytes, where the layout does not say.
struct Shape {
    tokens: u32,
    heads: Heads,
    element: u64,
    token_stride: u64,
    head_stride: u64,
}

impl Shape {
    fn of(layout: &CacheLayout) -> Self {
        let bytes = layout.block_bytes();
        let opaque =
            Self { tokens: 1, heads: Heads::all(1), element: bytes, token_stride: bytes, head_stride: bytes };
        layout.format().map_or(opaque, |format: &TokenFormat| Self {
            tokens: format.tokens(),
            heads: format.heads(),
            element: u64::from(format.head_bytes()),
            token_stride: format.token_stride(),
            head_stride: format.head_stride(),
        })
    }
}
