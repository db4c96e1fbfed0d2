//! Adding up what an agent recorded.

use std::collections::HashSet;

use collector::sample::{Lost, Reading, Sample};
use collector::signal::cgroup::Reading as Change;

/// How much was lost at a stage.
pub fn lost(samples: &[Sample], stage: &str) -> u64 {
    let count = |sample: &Sample| match &sample.reading {
        Reading::Lost(Lost { stage: at, count }) if at == stage => *count,
        _ => 0,
    };
    samples.iter().map(count).sum()
}

/// Births and deaths that the kernel told of, not the walk: of these cgroups, and of all others.
pub fn told(samples: &[Sample], ours: &HashSet<u64>, memory: u64) -> [u64; 4] {
    let mut counts = [0; 4];
    let mut walking = false;
    for sample in samples {
        let Reading::Cgroup(change) = &sample.reading else { continue };
        let (id, death) = match change {
            Change::Walk => {
                walking = true;
                continue;
            }
            Change::Walked => {
                walking = false;
                continue;
            }
            Change::Born { id, .. } if !walking => (id, 0),
            Change::Died { id } => (id, 1),
            _ => continue,
        };
        let foreign = id.hierarchy != memory || !ours.contains(&id.id);
        counts[2 * usize::from(foreign) + death] += 1;
    }
    counts
}
