//! Bytes of the cache of a model on each GPU: of one token, and of the one request that must fit before a server starts. Sums of
//! `max_memory_usage_bytes` in vllm/v1/kv_cache_interface.py.

use crate::need::checkpoint::config::Config;
use crate::need::checkpoint::layer::Layer;

/// The type of keys and values, as `--kv-cache-dtype` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// That of the model.
    #[default]
    Model,
    /// So many bytes an element.
    Bytes(u64),
    /// A byte an element, and two scales of 32 bits a head and token.
    Scaled,
    /// Half a byte an element, and a scale for each 16 of them.
    Half,
    /// DeepSeek's mixed layout: 656 bytes a token.
    Mixed,
}

impl Kind {
    /// Names of vLLM's `CacheDType` and of SGLang.
    pub fn of(name: &str) -> Option<Kind> {
        Some(match name {
            "auto" => Kind::Model,
            "half" | "float16" | "fp16" | "bfloat16" | "bf16" => Kind::Bytes(2),
            "float" | "float32" | "fp32" => Kind::Bytes(4),
            "fp8" | "fp8_e4m3" | "fp8_e5m2" | "fp8_inc" | "fp8_e4m3fn" => Kind::Bytes(1),
            "int8_per_token_head" | "fp8_per_token_head" => Kind::Scaled,
            "nvfp4" | "fp4_e2m1" => Kind::Half,
            "fp8_ds_mla" => Kind::Mixed,
            _ => return None,
        })
    }
}

/// How the cache is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cache {
    pub kind: Kind,
    /// Bytes of an element of the model's own type.
    pub element: u64,
    /// GPUs that share heads.
    pub tensor: u64,
    /// GPUs that share layers.
    pub pipeline: u64,
    /// Tokens of a block.
    pub block: u64,
    /// Tokens that are computed at a time: a window grows by them.
    pub batch: u64,
    /// Layers with a window keep all tokens.
    pub whole_window: bool,
}

impl Cache {
    /// Bytes that a token adds to one layer with attention, on each GPU.
    pub fn row(&self, config: &Config) -> u64 {
        let row = config.row;
        let heads = if row.latent { 1 } else { row.heads.div_ceil(self.tensor).max(1).min(row.heads) };
        let elements = heads.saturating_mul(row.size);
        let bytes = match self.kind {
            Kind::Model => elements.saturating_mul(self.element),
            Kind::Bytes(bytes) => elements.saturating_mul(bytes),
            Kind::Scaled => elements.saturating_add(heads.saturating_mul(8)),
            Kind::Half => elements / 2 + elements.div_ceil(16),
            Kind::Mixed if row.latent => 656,
            Kind::Mixed => elements,
        };
        bytes.saturating_add(row.index)
    }

    /// Bytes of a request of this many tokens, on each GPU.
    pub fn request(&self, config: &Config, tokens: u64) -> u64 {
        let blocks = |tokens: u64| tokens.div_ceil(self.block);
        let row = self.row(config).saturating_mul(self.block);
        // States are kept in 32 bits at most, and divided as heads are.
        let state = config.state.unwrap_or(0).saturating_mul(4).div_ceil(self.tensor);
        let layer = |layer: &Layer| match *layer {
            Layer::Window(window) if !self.whole_window => {
                let held = (window - 1).saturating_add(self.batch);
                // A window need not begin where a block does.
                let more = if held < tokens { blocks(held) + 1 } else { blocks(tokens) + 1 };
                row.saturating_mul(more)
            }
            Layer::Full | Layer::Window(_) => row.saturating_mul(blocks(tokens)),
            Layer::Both => row.saturating_mul(blocks(tokens)).saturating_add(state),
            Layer::Recurrent => state,
            Layer::Nothing => 0,
        };
        config.layers.iter().map(layer).fold(0, u64::saturating_add).div_ceil(self.pipeline)
    }

    /// Bytes that a token adds where it is kept by all layers that keep tokens, on each GPU.
    pub fn token(&self, config: &Config) -> u64 {
        let keeps = |layer: &&Layer| !matches!(layer, Layer::Recurrent | Layer::Nothing);
        let layers = u64::try_from(config.layers.iter().filter(keeps).count()).unwrap_or(u64::MAX);
        self.row(config).saturating_mul(layers).div_ceil(self.pipeline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::need::checkpoint::attention::Row;

    const CACHE: Cache =
        Cache { kind: Kind::Model, element: 2, tensor: 1, pipeline: 1, block: 16, batch: 2048, whole_window: false };

    fn model(layers: Vec<Layer>, heads: u64, size: u64) -> Config {
        Config { layers, row: Row { heads, size, latent: false, index: 0 }, ..Config::default() }
    }

    /// Bytes a token of models that everybody runs, as published.
    #[test]
    fn tokens_have_the_published_bytes() {
        let full = |count| vec![Layer::Full; count];
        for (layers, heads, size, bytes) in [
            (32, 8, 256, 131_072), // Llama-3.1-8B
            (80, 8, 256, 327_680), // Llama-3-70B
            (28, 4, 256, 57_344),  // Qwen2.5-7B
        ] {
            assert_eq!(CACHE.token(&model(full(layers), heads, size)), bytes);
        }
        let latent = Row { heads: 1, size: 576, latent: true, index: 0 };
        let deepseek = Config { layers: full(61), row: latent, ..Config::default() };
        assert_eq!(CACHE.token(&deepseek), 70_272);
        assert_eq!(Cache { tensor: 8, ..CACHE }.token(&deepseek), 70_272, "each GPU keeps the latent vector whole");
        assert_eq!(Cache { kind: Kind::Mixed, ..CACHE }.row(&deepseek), 656);
    }

    #[test]
    fn heads_are_divided_as_far_as_there_are_any() {
        let llama = model(vec![Layer::Full; 32], 8, 256);
        let bytes = |tensor| Cache { tensor, ..CACHE }.token(&llama);
        assert_eq!([bytes(2), bytes(8), bytes(16)], [65_536, 16_384, 16_384]);
        assert_eq!(Cache { pipeline: 2, ..CACHE }.token(&llama), 65_536);
        assert_eq!(Cache { kind: Kind::Bytes(1), ..CACHE }.token(&llama), 65_536);
        assert_eq!(Cache { kind: Kind::Scaled, ..CACHE }.row(&llama), 8 * 256 + 8 * 8);
        assert_eq!(Cache { kind: Kind::Half, ..CACHE }.row(&llama), 8 * (128 + 16));
    }

    #[test]
    fn a_request_holds_what_each_kind_of_layer_keeps() {
        let layers = vec![Layer::Full, Layer::Window(1024), Layer::Recurrent, Layer::Nothing];
        let mixed = Config { state: Some(1000), ..model(layers, 1, 2) };
        // A block has 16 tokens of 4 bytes; a window of 1024 grows by 2048 tokens, and a block more.
        assert_eq!(CACHE.request(&mixed, 16_384), 64 * 1024 + 64 * (192 + 1) + 4000);
        assert_eq!(CACHE.request(&mixed, 100), 64 * 7 + 64 * (7 + 1) + 4000);
        assert_eq!(Cache { whole_window: true, ..CACHE }.request(&mixed, 16_384), 2 * 64 * 1024 + 4000);
        // The published 32.00 GiB / 4.84 of 158 656 tokens.
        assert_eq!(CACHE.request(&model(vec![Layer::Full; 32], 8, 256), 32_768), 4 << 30);
    }

    #[test]
    fn nothing_overflows() {
        let huge = Config { state: Some(u64::MAX), ..model(vec![Layer::Both; 1024], u64::MAX, u64::MAX) };
        for kind in [Kind::Model, Kind::Scaled, Kind::Half, Kind::Mixed] {
            let cache = Cache { kind, element: u64::MAX, batch: u64::MAX, ..CACHE };
            assert!(cache.request(&huge, u64::MAX) >= cache.row(&huge));
        }
    }
}
