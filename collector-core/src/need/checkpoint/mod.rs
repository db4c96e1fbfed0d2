//! A model as Hugging Face's libraries save it: the dimensions of `config.json`, and the tensors of its safetensors files. Bytes in:
//! who opens files is the client.

pub mod attention;
pub mod config;
pub mod entry;
pub mod index;
pub mod layer;

use super::safetensors::tensor::Weights;
use config::Config;

/// All that is known of a model before it starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    pub config: Config,
    pub weights: Weights,
    /// The weights are the bytes of files whose tensors were not read, such as pickles.
    pub by_length: bool,
}

#[cfg(test)]
pub mod test {
    use super::Checkpoint;
    use super::attention::Row;
    use super::config::Config;
    use super::layer::Layer;
    use crate::need::safetensors::tensor::Weights;

    /// Llama-3-8B: 8 030 261 248 parameters of 16 bits.
    pub fn llama_8b() -> Checkpoint {
        let config = Config {
            kind: "llama".to_owned(),
            layers: vec![Layer::Full; 32],
            row: Row { heads: 8, size: 256, latent: false, index: 0 },
            hidden: 4096,
            vocabulary: 128_256,
            inner: 14336,
            context: Some(131_072),
            ..Config::default()
        };
        let floats = 8_030_261_248;
        let embeddings = 2 * 128_256 * 4096;
        let bytes = 2 * floats;
        let weights = Weights { tensors: 291, bytes, floats, float_bytes: bytes, embeddings, largest_file: 5 << 30 };
        Checkpoint { config, weights, by_length: false }
    }
}
