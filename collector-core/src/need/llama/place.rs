//! Which device has which layer. From `llama_model_base::load_tensors` in llama.cpp's src/llama-model.cpp (b11434).

use super::setting::Settings;
use super::shape::Shape;

/// The device of each layer and of the output; `None` is the CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    pub layers: Vec<Option<u32>>,
    pub output: Option<u32>,
}

impl Placement {
    /// The last `--gpu-layers` of all layers and the output are on GPUs, in order, in proportion to the shares.
    pub fn of(shape: &Shape, settings: &Settings, gpus: u32) -> Placement {
        let slots = u64::try_from(shape.layers.len()).unwrap_or(0) + 1;
        let offloaded = if gpus == 0 { 0 } else { settings.gpu_layers.unwrap_or(slots).min(slots) };
        let start = slots - offloaded;
        let shares: Vec<u64> = (0..gpus).map(|gpu| settings.share(gpu)).collect();
        let total: u64 = shares.iter().sum::<u64>().max(1);
        let device = |slot: u64| {
            let slot = slot.checked_sub(start)?;
            let mut before = 0;
            let find = |share: &u64| {
                before += share;
                // The GPU's share ends behind this slot.
                u128::from(slot) * u128::from(total) < u128::from(before) * u128::from(offloaded)
            };
            let gpu = shares.iter().position(find).unwrap_or(shares.len() - 1);
            u32::try_from(gpu).ok()
        };
        let mut layers: Vec<Option<u32>> = (0..slots).map(device).collect();
        let output = layers.pop().flatten();
        Placement { layers, output }
    }
}
