//! What was learned as it is listed, for those whose work it was: the answer of `GET /api/v1/learned`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::book::Entry;
use super::peak::Peak;

const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Learned {
    /// Work that was measured, the last that ran first.
    pub learned: Vec<LearnedNeed>,
}

/// What one piece of work needed. Amounts are in bytes, the most of all its runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LearnedNeed {
    pub id: u64,
    /// What was started: the program, its model or script, and the beginning of a digest of its settings.
    pub name: String,
    pub uid: u32,
    /// The model of the GPUs that it used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu_model: Option<String>,
    /// Runs that were measured.
    pub times: u64,
    /// Nanoseconds since the Unix epoch.
    pub last: u64,
    /// Seconds until it had started, at most.
    pub settled_seconds: u64,
    /// The OOM killer ended the last run: until another counts, nothing of this stands in place of an estimate.
    #[serde(default)]
    pub killed: bool,
    /// Host memory that cannot be reclaimed, at any time.
    pub memory: u64,
    /// The same once it had started.
    pub memory_running: u64,
    /// Files in memory.
    pub files: u64,
    /// Pinned, as far as the kernel counts it by process; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<u64>,
    /// The kernel's own peak of its cgroup, page cache included; absent if it had none of its own, or no peak during a run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<u64>,
    /// Of each GPU, in the order of its own, at any time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub vram: Vec<u64>,
}

impl Learned {
    pub fn of<'a>(entries: impl Iterator<Item = &'a Entry>) -> Learned {
        let mut learned: Vec<LearnedNeed> = entries.map(LearnedNeed::of).collect();
        learned.sort_by_key(|one| (std::cmp::Reverse(one.last), one.id));
        Learned { learned }
    }
}

impl LearnedNeed {
    fn of(entry: &Entry) -> LearnedNeed {
        let Entry { id, uid, work, gpu, times, peaks, settled_ns, last, killed, .. } = entry;
        let gpus = peaks.vram.keys().max().map_or(0, |last| last + 1);
        LearnedNeed {
            id: *id,
            name: work.name.clone(),
            uid: *uid,
            gpu_model: gpu.clone(),
            times: *times,
            last: *last,
            settled_seconds: settled_ns.div_ceil(SECOND),
            killed: *killed,
            memory: peaks.hard.most(),
            memory_running: peaks.hard.running,
            files: peaks.soft,
            pinned: peaks.pinned.filter(|bytes| *bytes > 0),
            cgroup: peaks.cgroup,
            vram: (0..gpus).map(|own| peaks.vram.get(&own).copied().map_or(0, Peak::most)).collect(),
        }
    }
}
