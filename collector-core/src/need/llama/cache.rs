//! Bytes that a model keeps for the tokens of its sequences, layer by layer. From llama.cpp's src/llama-kv-cache.cpp,
//! llama-kv-cache-iswa.cpp, llama-kv-cache-dsa.cpp and llama-memory-recurrent.cpp (b11434).

use super::setting::Settings;
use super::shape::{Layer, Shape};

/// Caches are padded to this many tokens (`GGML_PAD(n_ctx, 256)` in src/llama-context.cpp).
const PADDING: u64 = 256;

/// Tokens for which there is room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cells {
    /// In each stream.
    pub full: u64,
    /// The same, in layers with a window.
    pub window: u64,
    pub streams: u64,
    pub sequences: u64,
}

impl Cells {
    pub fn of(shape: &Shape, settings: &Settings) -> Cells {
        let (sequences, unified) = settings.sequences();
        let context = pad(settings.context.unwrap_or(shape.context));
        let full = if unified { context } else { pad(context / sequences) };
        let beside = if unified { sequences } else { 1 };
        let window = shape.window.saturating_mul(beside).saturating_add(micro_batch(settings, context));
        let window = if settings.full_window { full } else { pad(full.min(window)) };
        Cells { full, window, streams: if unified { 1 } else { sequences }, sequences }
    }

    /// Tokens of one stream that all kinds of caches have room for: each kind has a mask.
    pub fn masked(&self, shape: &Shape) -> u64 {
        let any = |kind: fn(&Layer) -> bool| shape.layers.iter().any(|layer| layer.key > 0 && kind(layer));
        let full = if any(|layer| !layer.window) { self.full } else { 0 };
        let window = if any(|layer| layer.window) { self.window } else { 0 };
        full.saturating_add(window)
    }

    /// Of a layer, for all sequences.
    pub fn bytes(&self, shape: &Shape, layer: &Layer, settings: &Settings) -> u64 {
        let cells = if layer.window { self.window } else { self.full };
        // Values lie transposed without flash attention, and then all layers are as wide as the widest.
        let widest = || shape.layers.iter().map(|layer| layer.value).max().unwrap_or(0);
        let value = if settings.flash_attention || layer.value == 0 { layer.value } else { widest() };
        let row = settings.key.row(layer.key) + settings.value.row(value) + settings.key.row(layer.indexer);
        let kept = row.saturating_mul(cells).saturating_mul(self.streams);
        kept.saturating_add(layer.state.saturating_mul(4).saturating_mul(self.sequences))
    }
}

/// Tokens that are computed at once.
pub fn micro_batch(settings: &Settings, context: u64) -> u64 {
    settings.micro_batch.min(settings.batch).min(context)
}

pub fn pad(tokens: u64) -> u64 {
    tokens.max(1).next_multiple_of(PADDING)
}
