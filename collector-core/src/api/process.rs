//! The processes of a workload: part of the answer of `/api/v1/workloads/NAME`. They are not in the view: who answers reads them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Processes {
    /// How many there are; absent if they could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Those with most memory, resident and in swap: at most 50.
    pub largest: Vec<Process>,
    /// Why not all were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// A process. Command lines are not told: they hold secrets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Process {
    pub pid: u32,
    /// Its name, which it chooses itself; what cannot be shown is escaped.
    pub comm: String,
    /// Memory in RAM, what it shares with others included; absent for a thread of the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    /// Memory in swap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap_bytes: Option<u64>,
}

impl Process {
    pub fn held(&self) -> u64 {
        self.resident_bytes.unwrap_or(0).saturating_add(self.swap_bytes.unwrap_or(0))
    }
}

impl Processes {
    /// What is not known, and why.
    pub fn unknown(why: impl Into<String>) -> Processes {
        Processes { missing: Some(why.into()), ..Processes::default() }
    }
}
