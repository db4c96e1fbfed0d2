//! Adding up what an agent recorded.

use collector::sample::{Lost, Reading, Sample};

/// How much was lost at a stage.
pub fn lost(samples: &[Sample], stage: &str) -> u64 {
    let count = |sample: &Sample| match &sample.reading {
        Reading::Lost(Lost { stage: at, count }) if at == stage => *count,
        _ => 0,
    };
    samples.iter().map(count).sum()
}
