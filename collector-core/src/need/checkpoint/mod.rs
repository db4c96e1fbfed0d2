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
