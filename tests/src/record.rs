//! Searches and sums over what an agent recorded.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use collector_core::engine::Engine;
use collector_core::incident::Incident;
use collector_core::outcome::Outcome;
use collector_core::sample::{Lost, Reading, Sample};
use collector_core::signal::block;
use collector_core::signal::cgroup::Reading as Change;
use collector_core::signal::oom::{Kill, Reading as Oom};
use collector_core::stage::Stage;

/// The incidents that a record makes, each as reported first and last.
pub fn incidents(samples: &[Sample]) -> Vec<Incident> {
    let mut engine = Engine::new();
    let mut outcomes: Vec<Outcome> = samples.iter().flat_map(|sample| engine.apply(sample)).collect();
    outcomes.extend(engine.finish());
    let incident = |outcome: Outcome| match outcome {
        Outcome::Incident(it) => Some(*it),
        _ => None,
    };
    outcomes.into_iter().filter_map(incident).collect()
}

/// Records lost at a stage.
pub fn lost(samples: &[Sample], stage: Stage) -> u64 {
    let count = |sample: &Sample| match &sample.reading {
        Reading::Lost(Lost { stage: at, count }) if *at == stage => *count,
        _ => 0,
    };
    samples.iter().map(count).sum()
}

/// Cgroups created and removed as reported by the kernel, not found by a walk: of these cgroups, and of all others.
pub fn reported(samples: &[Sample], ours: &HashSet<u64>, memory: u64) -> [u64; 4] {
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

/// OOM kills of a process.
pub fn kills_of(samples: &[Sample], pid: u32) -> Vec<&Kill> {
    let kill = |sample| match sample {
        &Sample { reading: Reading::Oom(Oom::Kill(ref kill)), .. } if kill.pid == pid => Some(kill),
        _ => None,
    };
    samples.iter().filter_map(kill).collect()
}

/// Bytes that were written for each cgroup, by its id; `None` is for nobody's.
pub fn written(samples: &[Sample]) -> HashMap<Option<u64>, u64> {
    let mut written = HashMap::new();
    for sample in samples {
        if let Reading::Block(block::Reading::Workload { cgroup, operation: block::Operation::Write, bytes, .. }) =
            &sample.reading
        {
            *written.entry(cgroup.map(|id| id.id)).or_default() += bytes;
        }
    }
    written
}

/// Single IOs of a device, such as `/dev/sda`.
pub fn ios_of<'a>(samples: &'a [Sample], device: &Path) -> Vec<&'a block::Io> {
    let number = fs::metadata(device).unwrap().rdev();
    let number = block::Device { major: libc::major(number), minor: libc::minor(number) };
    let io = |sample: &'a Sample| match &sample.reading {
        Reading::Block(block::Reading::Io(io)) if io.device == number => Some(io),
        _ => None,
    };
    samples.iter().filter_map(io).collect()
}
