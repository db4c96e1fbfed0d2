//! The evidence of slowness: facts of the last minute beside what was usual before, and who else used the host. Knows neither how it is
//! gathered nor what follows from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::view::slow::Fact;

/// What is known of a workload that is slow, and of its host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = SlowEvidence)]
pub struct Slow {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// The model server, if it is about one, and the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The time that is judged, in nanoseconds since the Unix epoch: it began at the earliest then, and a minute ago at the earliest.
    pub from: u64,
    pub until: u64,
    /// For how many seconds before that facts are known. What is longer ago counts less.
    pub usual_seconds: f64,
    /// Facts by name: see docs/incidents.md.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, Pair>,
    /// Workloads that used most CPU, did most IO, or grew most in that time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<Neighbour>,
    /// CPUs of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u64>,
    /// The busiest disk, and the link that is used most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disk: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// GPUs that the workload holds memory of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<String>,
    /// Other workloads that hold memory of these, those with most first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gpu_others: Vec<String>,
    /// Why their clocks are reduced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clock_reasons: Vec<String>,
    /// Errors (XIDs) that they reported in that time or in the minute before.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub xids: Vec<u64>,
}

/// A fact in the time that is judged, and before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = SlowFact)]
pub struct Pair {
    /// On average.
    pub now: f64,
    /// What was usual; absent if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<f64>,
}

/// Another workload of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = SlowNeighbour)]
pub struct Neighbour {
    pub workload: String,
    /// CPUs that it used, and in the minute before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus_before: Option<f64>,
    /// Bytes that it read and wrote per second, and in the minute before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_bytes_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_before: Option<f64>,
    /// Growth of its memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth_bytes: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
}

impl Slow {
    /// What its GPUs said before, while it was slow, stays: when that is over they may say it no more.
    pub(crate) fn keep(&mut self, before: Slow) {
        fn keep<T: PartialEq>(now: &mut Vec<T>, before: Vec<T>) {
            let gone: Vec<T> = before.into_iter().filter(|it| !now.contains(it)).collect();
            now.extend(gone);
        }
        keep(&mut self.clock_reasons, before.clock_reasons);
        keep(&mut self.gpu_others, before.gpu_others);
        keep(&mut self.xids, before.xids);
    }

    pub fn pair(&self, fact: Fact) -> Option<Pair> {
        self.facts.get(fact.name()).copied()
    }

    /// The value on average in the time that is judged.
    pub fn now(&self, fact: Fact) -> Option<f64> {
        self.pair(fact).map(|pair| pair.now)
    }
}
