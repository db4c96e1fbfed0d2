//! What servers of safetensors models (vLLM, SGLang, text-generation-inference) plan to take, from a model's dimensions and flags.

pub mod cache;
pub mod part;
pub mod sglang;
pub mod sglang_flag;
pub mod spread;
pub mod tgi;
pub mod vllm;
pub mod vllm_flag;

#[cfg(test)]
pub mod test {
    use crate::need::Need;

    /// All parts of this name.
    pub fn sum(need: &Need, what: &str) -> u64 {
        need.parts.iter().filter(|part| part.what == what).map(|part| part.amount).sum()
    }
}
