//! What servers of safetensors models (vLLM, SGLang, text-generation-inference) plan to take, from a model's dimensions and flags.

pub mod cache;
pub mod part;
pub mod sglang;
pub mod sglang_flag;
pub mod tgi;
pub mod vllm;
pub mod vllm_flag;

#[cfg(test)]
pub mod test {
    use crate::need::Need;
    use crate::need::checkpoint::Checkpoint;
    use crate::need::checkpoint::attention::Row;
    use crate::need::checkpoint::config::Config;
    use crate::need::checkpoint::layer::Layer;
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
            element: Some(2),
            ..Config::default()
        };
        let floats = 8_030_261_248;
        let embeddings = 2 * 128_256 * 4096;
        let bytes = 2 * floats;
        let weights = Weights { tensors: 291, bytes, floats, float_bytes: bytes, embeddings, largest_file: 5 << 30 };
        Checkpoint { config, weights, by_length: false }
    }

    /// All parts of this name.
    pub fn sum(need: &Need, what: &str) -> u64 {
        need.parts.iter().filter(|part| part.what == what).map(|part| part.amount).sum()
    }
}
