//! Shapes of the KV caches of well-known models, as their published configurations give them.
//!
//! Used by the `kv` command to size a realistic cache; an engine describes its own with [`CacheLayout`], and what is in
//! a block with [`TokenFormat`].

use thiserror::Error;

use crate::layout::{BlockOrder, CacheLayout, Heads, LayoutError, TokenFormat};

/// Cache geometry of a model: what one token occupies in one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Name as given to `--model`.
    pub name: &'static str,
    /// Transformer layers that have a cache.
    pub layers: u32,
    /// Tensors a layer: 2 where K and V are apart, 1 for multi-head latent attention.
    pub tensors_per_layer: u32,
    /// Elements of one token in one tensor: KV heads x head dimension, or latent rank + rotary dimension.
    pub elements_per_token: u32,
    /// KV heads; 1 for a latent vector, which is the same on every rank.
    pub heads: u32,
    /// Bytes of an element (bf16: 2).
    pub element_bytes: u32,
    /// Tokens a block holds by default.
    pub block_tokens: u32,
}

/// The models that `--model` knows.
pub const GEOMETRIES: [Geometry; 6] = [
    // MLA: kv_lora_rank 512 + qk_rope_head_dim 64, one joined tensor a layer.
    Geometry::latent("deepseek-v3", 61, 576),
    Geometry::latent("kimi-k2", 61, 576),
    // GQA: num_key_value_heads x head_dim, K and V apart.
    Geometry::grouped("llama-3-70b", 80, 8, 128),
    Geometry::grouped("llama-3-8b", 32, 8, 128),
    Geometry::grouped("qwen-3-235b", 94, 4, 128),
    Geometry::grouped("qwen-3-32b", 64, 8, 128),
];

impl Geometry {
    const fn latent(name: &'static str, layers: u32, elements_per_token: u32) -> Self {
        Self {
            name,
            layers,
            tensors_per_layer: 1,
            elements_per_token,
            heads: 1,
            element_bytes: 2,
            block_tokens: 64,
        }
    }

    const fn grouped(name: &'static str, layers: u32, heads: u32, head_dimension: u32) -> Self {
        Self {
            name,
            layers,
            tensors_per_layer: 2,
            elements_per_token: heads * head_dimension,
            heads,
            element_bytes: 2,
            block_tokens: 16,
        }
    }

    /// Finds a geometry by name.
    ///
    /// # Errors
    /// [`UnknownModel`] lists the names there are.
    pub fn named(name: &str) -> Result<Self, UnknownModel> {
        let found = GEOMETRIES.iter().find(|geometry| geometry.name == name);
        found.copied().ok_or_else(|| UnknownModel { name: name.to_owned() })
    }

    /// Bytes of one block of one tensor.
    #[must_use]
    pub const fn block_bytes(&self) -> u64 {
        self.block_tokens as u64 * self.elements_per_token as u64 * self.element_bytes as u64
    }

    /// Layout of a cache that holds `tokens` tokens, rounded up to whole blocks.
    ///
    /// # Errors
    /// [`LayoutError`] for zero tokens or a cache beyond the address space.
    pub fn layout(&self, tokens: u32) -> Result<CacheLayout, LayoutError> {
        CacheLayout::new(
            self.layers,
            self.tensors_per_layer,
            tokens.div_ceil(self.block_tokens),
            self.block_bytes(),
        )
    }

    /// What one of `degree` tensor-parallel ranks keeps in its blocks of `block_tokens` tokens.
    ///
    /// # Errors
    /// [`LayoutError::Ranks`] where the heads cannot be shared out evenly. A latent vector is the same on every rank.
    pub fn format_of_rank(
        &self,
        rank: u32,
        degree: u32,
        order: BlockOrder,
    ) -> Result<TokenFormat, LayoutError> {
        let head_bytes = self.elements_per_token / self.heads * self.element_bytes;
        TokenFormat::new(self.block_tokens, Heads::of_rank(rank, degree, self.heads)?, head_bytes, order)
    }

    /// Layout of the cache of one rank that holds `tokens` tokens, rounded up to whole blocks, and says what is in them.
    ///
    /// # Errors
    /// As [`Geometry::layout`] and [`Geometry::format_of_rank`].
    pub fn layout_of_rank(
        &self,
        tokens: u32,
        rank: u32,
        degree: u32,
        order: BlockOrder,
    ) -> Result<CacheLayout, LayoutError> {
        let format = self.format_of_rank(rank, degree, order)?;
        let blocks = tokens.div_ceil(self.block_tokens);
        CacheLayout::of_tokens(self.layers, self.tensors_per_layer, blocks, format)
    }
}

/// No such model.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown model {name:?}; known: {known}", known = GEOMETRIES.map(|geometry| geometry.name).join(", "))]
pub struct UnknownModel {
    /// The name that was given.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_costs_what_the_published_configurations_say() {
        let bytes_per_token = |name: &str| {
            let geometry = Geometry::named(name).unwrap();
            let layout = geometry.layout(geometry.block_tokens).unwrap();
            layout.total_bytes() / u64::from(geometry.block_tokens)
        };
        assert_eq!(bytes_per_token("deepseek-v3"), 61 * 1152);
        assert_eq!(bytes_per_token("llama-3-70b"), 80 * 2 * 8 * 128 * 2);
    }

    #[test]
    fn tokens_round_up_to_blocks() {
        let layout = Geometry::named("llama-3-8b").unwrap().layout(17).unwrap();
        assert_eq!(layout.blocks(), 2);
    }

    #[test]
    fn an_unknown_model_lists_the_known_ones() {
        let message = Geometry::named("gpt-9").unwrap_err().to_string();
        assert!(message.contains("deepseek-v3") && message.contains("llama-3-70b"), "{message}");
    }
}
