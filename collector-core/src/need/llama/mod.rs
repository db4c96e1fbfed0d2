//! What a llama-server needs for a GGUF model: weights, cache, buffers, by device.

pub mod architecture;
pub mod cache;
pub mod compute;
pub mod estimate;
pub mod place;
pub mod setting;
pub mod shape;
pub mod variable;

#[cfg(test)]
mod tests;
