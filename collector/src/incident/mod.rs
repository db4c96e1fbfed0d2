//! An incident: a fact worth explaining, with its evidence. Knows neither how the evidence is gathered nor where incidents
//! go.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One incident. Told when it begins, and once more when all that belongs to it has come in, under the same id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// What it is asked for by: unique on this host, and sorted as incidents are in time.
    pub id: String,
    /// What sort of fact it is.
    pub kind: Kind,
    /// When it happened, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Whether nothing more will be added to it.
    pub complete: bool,
    /// Whom it befell: the labels of an alert about it (`workload`, `namespace`, `gpu`, …), those without a value left out.
    pub labels: BTreeMap<String, String>,
    /// What happened, in a sentence.
    pub title: String,
}

/// What sort of fact an incident is; its name is what a rule's `event` refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The OOM killer killed.
    Oom,
    /// Tasks waited for memory, for long.
    MemoryPressure,
    /// Tasks waited for IO, for long.
    IoPressure,
    /// A GPU no longer answers.
    GpuLost,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Oom, Kind::MemoryPressure, Kind::IoPressure, Kind::GpuLost];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Oom => "oom",
            Kind::MemoryPressure => "memory_pressure",
            Kind::IoPressure => "io_pressure",
            Kind::GpuLost => "gpu_lost",
        }
    }
}
