//! What a period had of each GPU.

use std::sync::Arc;

use crate::tier::FIGURES;

/// A GPU, or a MIG device of one, in a period.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    pub uuid: Arc<str>,
    /// Its number; of a MIG device the GPU's and its own: `0:1`.
    pub gpu: Arc<str>,
    pub model: Arc<str>,
    /// Oldest first.
    pub quarters: Vec<Known>,
}

/// A quarter of an hour of a GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// When it began, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// For how many seconds of it anything is known.
    pub seconds: u16,
    /// Minimum, mean and maximum of each figure.
    pub values: [[Option<f32>; 3]; FIGURES],
}
