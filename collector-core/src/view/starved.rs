//! How much of its GPU each job usually uses, and what it uses now. Decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::starved::Settings;

/// GPUs that a job has for itself or shares, by uuid.
#[derive(Clone, Debug, Default)]
pub struct Starved {
    /// As of the start.
    pub settings: Settings,
    pub gpus: BTreeMap<Arc<str>, Job>,
}

/// A job on one GPU, at the end of the last part of a window. Utilization is a share of 0 to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The GPU's number.
    pub gpu: Arc<str>,
    /// Absent where several workloads share it: whose utilization it is cannot be told.
    pub workload: Option<Arc<str>>,
    pub state: State,
    /// In the last window.
    pub now: Option<f32>,
    /// Median of the windows before.
    pub usual: Option<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Several workloads hold memory of this GPU.
    Shared,
    /// The job was not seen for long enough.
    Learning,
    /// It uses so little of the GPU that nothing can be said.
    Idle,
    Usual,
    /// Low, as it is by itself now and then, or because it has less to do.
    Phase,
    /// Low since then, in nanoseconds since the Unix epoch. Whether the host is to blame is not said here.
    Low(u64),
}

impl State {
    pub const LABELS: [&str; 6] = ["shared", "learning", "idle", "usual", "phase", "low"];

    /// The label `state`.
    pub fn label(self) -> &'static str {
        match self {
            State::Shared => "shared",
            State::Learning => "learning",
            State::Idle => "idle",
            State::Usual => "usual",
            State::Phase => "phase",
            State::Low(_) => "low",
        }
    }
}
