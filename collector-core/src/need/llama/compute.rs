//! The buffers of one computation. llama.cpp finds their size by building the graph (`sched_reserve` in src/llama-context.cpp); here
//! are the tensors that live at its peak, fitted to what its estimator (b11434) prints for the models of docs/need.md.

use super::architecture::Cache;
use super::cache::Cells;
use super::setting::Settings;
use super::shape::Shape;

/// What the graph depends on.
#[derive(Clone, Copy, Debug)]
pub struct Graph<'a> {
    pub shape: &'a Shape,
    pub settings: &'a Settings,
    pub cells: Cells,
    /// Tokens computed at once.
    pub tokens: u64,
}

/// Which part of the graph runs on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// All but the input, which comes from the host.
    Offloaded,
    /// Some layers; the output too or not.
    Layers { output: bool },
    /// The host's part where all layers are on GPUs; the experts stay or not.
    Inputs { experts: bool },
}

impl Graph<'_> {
    /// Bytes at the peak of this part.
    pub fn bytes(&self, part: Part) -> u64 {
        let shape = self.shape;
        let wide = 4 * self.tokens;
        let logits = if shape.architecture.cache == Cache::Nothing { 0 } else { wide.saturating_mul(shape.vocabulary) };
        let input = wide.saturating_mul(4 * shape.embedding);
        let work = self.work();
        let mask = self.mask();
        let more = wide.saturating_mul(shape.indexer + shape.per_layer + shape.per_layer / 2);
        // Six floats an element of the embedding, of which the host has two if the input comes from there.
        let all = input / 4 * 6;
        let sum = match part {
            Part::Offloaded if self.is_dense() => logits.max(work).saturating_add(input),
            Part::Whole | Part::Offloaded => logits.max(work).saturating_add(all),
            Part::Layers { output: true } => logits.max(work.saturating_add(input)),
            Part::Layers { output: false } => work.saturating_add(all),
            Part::Inputs { experts } => input.saturating_add(if experts { self.experts() } else { 0 }),
        };
        sum.saturating_add(mask).saturating_add(more)
    }

    /// The widest of what one layer computes.
    fn work(&self) -> u64 {
        let shape = self.shape;
        let wide = 4 * self.tokens;
        let scores = match self.settings.flash_attention {
            true => 0,
            false => wide.saturating_mul(self.cells.full).saturating_mul(shape.heads + 1),
        };
        // Gate, up and down at once; of experts half of them twice.
        [
            wide.saturating_mul(3 * shape.feed_forward),
            self.experts(),
            wide.saturating_mul(10 * shape.inner),
            wide.saturating_mul(shape.compressed),
            scores,
            self.converted(),
        ]
        .into_iter()
        .fold(0, u64::max)
    }

    fn experts(&self) -> u64 {
        (6 * self.tokens).saturating_mul(self.shape.routed)
    }

    /// Flash attention does not read keys and values of f32: it gets a copy of one layer's in f16.
    fn converted(&self) -> u64 {
        if self.settings.key.name != "f32" || !self.settings.flash_attention {
            return 0;
        }
        let widest = self.shape.layers.iter().map(|layer| layer.key + layer.value).max().unwrap_or(0);
        (2 * widest).saturating_mul(self.cells.full)
    }

    /// The mask of attention: two bytes for each token and cell; without flash attention four, and a copy.
    fn mask(&self) -> u64 {
        let cells = self.cells.masked(self.shape);
        match (cells, self.settings.flash_attention) {
            // Without a cache each token attends to the others.
            (0, _) => (4 * self.tokens).saturating_mul(self.tokens),
            (cells, true) => (2 * self.tokens).saturating_mul(cells),
            (cells, false) => (5 * self.tokens).saturating_mul(cells),
        }
    }

    /// Nothing but attention and a feed-forward part.
    pub fn is_dense(&self) -> bool {
        let shape = self.shape;
        shape.routed == 0
            && shape.compressed == 0
            && shape.per_layer == 0
            && shape.window == 0
            && shape.layers.iter().all(|layer| layer.state == 0)
            && !shape.architecture.bound
    }
}
