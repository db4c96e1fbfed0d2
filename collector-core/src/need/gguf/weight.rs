//! The bytes of a model's tensors, summed by where llama.cpp puts them: the input, each layer, the output. Names of
//! `LLM_TENSOR_NAMES` and `LLM_TENSOR_INFOS` in src/llama-arch.cpp (b11434).

use super::Error;
use crate::need::quantisation::Type;

/// `LLAMA_MAX_LAYERS`.
pub const MOST_LAYERS: usize = 512;

/// Bytes of some tensors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    pub bytes: u64,
    /// Of these, weights of experts, which `--cpu-moe` keeps on the CPU.
    pub experts: u64,
    /// Of these, what a CPU keeps repacked in anonymous memory. Only matrices are.
    pub repacked: u64,
    /// Of the repacked, experts.
    pub repacked_experts: u64,
}

impl Weight {
    pub fn add(&mut self, other: Weight) {
        for (sum, more) in [
            (&mut self.bytes, other.bytes),
            (&mut self.experts, other.experts),
            (&mut self.repacked, other.repacked),
            (&mut self.repacked_experts, other.repacked_experts),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    pub tensors: u64,
    /// Always on the CPU.
    pub input: Weight,
    /// Of the input, the embedding that is the output too if the model has no other.
    pub tied: Weight,
    pub layers: Vec<Weight>,
    pub output: Weight,
    /// There is a matrix for the output; without it the embedding is loaded twice.
    pub output_matrix: bool,
    /// Names that begin like these of a projector of images or sound.
    pub projector: Weight,
    /// The largest tensor of a layer.
    pub largest: u64,
    /// A type that this version does not know.
    pub unknown_type: Option<u32>,
    /// Where the last tensor ends, from the start of the data.
    pub end: u64,
    /// Rows of the embedding: the words that it has.
    pub rows: u64,
}

/// A tensor, as the header describes it.
pub struct Tensor<'a> {
    pub name: &'a str,
    pub shape: [u64; 4],
    pub kind: u32,
    pub offset: u64,
}

const INPUT: [&str; 4] =
    ["token_embd.weight", "position_embd.weight", "token_types.weight", "per_layer_token_embd.weight"];
/// Not of a layer, but placed with the first.
const FIRST: [&str; 7] = [
    "token_embd_norm.",
    "rope_freqs.",
    "rope_factors_long.",
    "rope_factors_short.",
    "per_layer_model_proj.",
    "per_layer_proj_norm.",
    "conv1d.",
];
const PROJECTOR: [&str; 5] = ["v.", "mm.", "a.", "resampler.", "model."];

impl Weights {
    /// Adds a tensor of whose shape the product does not overflow.
    pub fn add(&mut self, tensor: &Tensor) -> Result<(), Error> {
        self.tensors += 1;
        let malformed = || Error::Malformed { what: "the size of a tensor", at: 0 };
        let elements = tensor.shape.iter().try_fold(1u64, |all, dim| all.checked_mul(*dim)).ok_or_else(malformed)?;
        let Some(kind) = Type::of(tensor.kind) else {
            self.unknown_type = Some(tensor.kind);
            return Ok(());
        };
        if kind.bytes(tensor.shape[0]).is_none() {
            return Err(malformed());
        }
        let bytes = kind.bytes(elements).ok_or_else(malformed)?;
        self.end = self.end.max(tensor.offset.checked_add(bytes).ok_or_else(malformed)?);
        let matrix = tensor.shape[1] > 1;
        let repacked = if kind.repacked && matrix && tensor.shape[1].is_multiple_of(8) { bytes } else { 0 };
        let weight = Weight { bytes, repacked, ..Weight::default() };
        self.place(tensor, weight)
    }

    fn place(&mut self, tensor: &Tensor, weight: Weight) -> Result<(), Error> {
        if INPUT.contains(&tensor.name) {
            // Rows of it are gathered, which a repacked matrix cannot do.
            self.input.add(Weight { repacked: 0, ..weight });
            if tensor.name == INPUT[0] {
                self.tied = weight;
                self.rows = tensor.shape[1];
            }
        } else if let Some((layer, name)) = of_layer(tensor.name) {
            let experts = name.starts_with("ffn_") && name.contains("exps.");
            self.largest = self.largest.max(weight.bytes);
            let part = |amount| if experts { amount } else { 0 };
            let weight = Weight { experts: part(weight.bytes), repacked_experts: part(weight.repacked), ..weight };
            self.layer(layer)?.add(weight);
        } else if FIRST.iter().any(|first| tensor.name.starts_with(first)) {
            self.layer(0)?.add(weight);
        } else if PROJECTOR.iter().any(|first| tensor.name.starts_with(first)) {
            self.projector.add(weight);
        } else {
            self.output_matrix |= tensor.name == "output.weight";
            self.output.add(weight);
        }
        Ok(())
    }

    fn layer(&mut self, layer: usize) -> Result<&mut Weight, Error> {
        if layer >= MOST_LAYERS {
            return Err(Error::TooMany { what: "layers" });
        }
        if self.layers.len() <= layer {
            self.layers.resize(layer + 1, Weight::default());
        }
        Ok(&mut self.layers[layer])
    }

    /// Adds what another file of the same model has.
    pub fn join(&mut self, other: &Weights) {
        self.tensors += other.tensors;
        self.input.add(other.input);
        if other.tied.bytes > 0 {
            (self.tied, self.rows) = (other.tied, other.rows);
        }
        for (layer, weight) in other.layers.iter().enumerate() {
            if self.layers.len() <= layer {
                self.layers.resize(layer + 1, Weight::default());
            }
            self.layers[layer].add(*weight);
        }
        self.output.add(other.output);
        self.output_matrix |= other.output_matrix;
        self.projector.add(other.projector);
        self.largest = self.largest.max(other.largest);
        self.unknown_type = self.unknown_type.or(other.unknown_type);
    }

    /// What belongs to none of the first layers, nor to the input or the output.
    pub fn beyond(&self, layers: usize) -> Weight {
        self.layers.iter().skip(layers).fold(self.projector, |mut sum, weight| {
            sum.add(*weight);
            sum
        })
    }

    /// All tensors once.
    pub fn sum(&self) -> u64 {
        let all = self.layers.iter().chain([&self.input, &self.output, &self.projector]);
        all.fold(0, |sum, weight| sum.saturating_add(weight.bytes))
    }
}

/// `blk.N.` and the rest of the name.
fn of_layer(name: &str) -> Option<(usize, &str)> {
    let (layer, rest) = name.strip_prefix("blk.")?.split_once('.')?;
    Some((layer.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, kind: u32, shape: [u64; 4]) -> Tensor<'_> {
        Tensor { name, shape, kind, offset: 0 }
    }

    #[test]
    fn tensors_are_summed_by_where_they_go() {
        let mut weights = Weights::default();
        for (name, kind, shape) in [
            ("token_embd.weight", 12, [256, 16, 1, 1]),
            ("blk.1.attn_q.weight", 1, [256, 4, 1, 1]),
            ("blk.1.ffn_up_exps.weight", 12, [256, 8, 2, 1]),
            ("blk.1.attn_norm.weight", 0, [256, 1, 1, 1]),
            ("rope_freqs.weight", 0, [64, 1, 1, 1]),
            ("output_norm.weight", 0, [256, 1, 1, 1]),
            ("v.patch_embd.weight", 0, [2, 1, 1, 1]),
        ] {
            weights.add(&tensor(name, kind, shape)).unwrap();
        }
        assert_eq!((weights.input.bytes, weights.tied.bytes, weights.input.repacked), (2304, 2304, 0));
        assert_eq!((weights.tied.repacked, weights.output_matrix, weights.rows), (2304, false, 16));
        let layer = weights.layers[1];
        assert_eq!((layer.bytes, layer.experts, layer.repacked), (2048 + 2304 + 1024, 2304, 2304));
        assert_eq!((weights.layers[0].bytes, weights.output.bytes, weights.projector.bytes), (256, 1024, 8));
        assert_eq!((weights.sum(), weights.tensors, weights.largest), (2304 + 5376 + 256 + 1024 + 8, 7, 2304));
        assert_eq!([0, 1, 2].map(|layers| weights.beyond(layers).bytes), [8 + 256 + 5376, 8 + 5376, 8]);
        let mut twice = weights.clone();
        twice.join(&weights);
        assert_eq!((twice.sum(), twice.tied.bytes), (2 * weights.sum(), 2304));
    }

    #[test]
    fn impossible_tensors_are_refused() {
        let mut weights = Weights::default();
        let mut add = |name: &str, kind, shape| weights.add(&tensor(name, kind, shape));
        assert!(add("output.weight", 0, [u64::MAX, 2, 1, 1]).is_err());
        assert!(add("output.weight", 0, [u64::MAX, 1, 1, 1]).is_err(), "of f32");
        assert!(add("output.weight", 12, [100, 256, 1, 1]).is_err(), "rows are no whole blocks");
        assert_eq!(add("blk.512.attn_q.weight", 0, [1, 1, 1, 1]), Err(Error::TooMany { what: "layers" }));
        assert_eq!(add("blk.99999999999999999999.x", 0, [1, 1, 1, 1]), Ok(()), "is no layer");
        assert_eq!(add("output.weight", 99, [1, 1, 1, 1]), Ok(()));
        assert_eq!(weights.unknown_type, Some(99));
    }
}
