//! An incident: an event worth explaining, with its evidence. Knows neither how the evidence is gathered nor where incidents
//! go.

pub mod cause;
mod culprit;
mod document;
mod evidence;
mod gpu;
mod history;
mod latency;
mod leak;
mod line;
pub mod page;
pub mod ran_out;
pub mod shape;
mod slow;
mod starved;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use document::document;
pub use evidence::{Change, Consumer, Evidence, Figures, Held, Host, Limit, Source, Storm, Task, Victim, What};
pub use gpu::{Holder, LostGpu};
pub use history::{History, Lines};
pub use latency::{Slowdown, Slower, duration};
pub use leak::{Leak, LeakProcess};
pub use slow::{Neighbour, Pair, Slow};
pub use starved::{Starved, StarvedGpu};

/// Reported when it begins, and again under the same id once it is complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Incident {
    /// Unique on this host. Ids sort by time.
    pub id: String,
    pub kind: Kind,
    /// Nanoseconds since the Unix epoch.
    pub time: u64,
    /// Nothing more will be added.
    pub complete: bool,
    /// What it affects: the labels of an alert about it (`workload`, `namespace`, `gpu`, …), without empty ones.
    pub labels: BTreeMap<String, String>,
    /// One sentence: what happened.
    pub title: String,
    /// The cause, as far as the evidence shows it.
    #[serde(default)]
    pub cause: Cause,
    #[serde(default)]
    pub evidence: Evidence,
}

/// What the first rule that applies says about an incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Cause {
    /// The name of the rule, or `not_known`.
    pub rule: String,
    pub sentence: String,
    pub next: String,
    /// The numbers behind the sentence. Their names end in the unit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<String, f64>,
}

/// The kind of an incident. Rules refer to its name in `event`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The OOM killer killed a process.
    Oom,
    /// Tasks waited long for memory.
    MemoryPressure,
    /// Tasks waited long for IO.
    IoPressure,
    /// A GPU no longer answers.
    GpuLost,
    /// A process ended another workload's process while memory was short.
    Killed,
    /// A model server answers more slowly than usual at like load.
    Latency,
    /// A workload's GPU idles because of the host.
    GpuStarved,
    /// What a workload holds rises all the time though it does not work more.
    Leak,
}

impl Incident {
    /// An incident without evidence, title and cause.
    pub fn new(kind: Kind, id: String, time: u64) -> Incident {
        let (labels, title, cause) = (BTreeMap::new(), String::new(), Cause::default());
        Incident { id, kind, time, complete: false, labels, title, cause, evidence: Evidence::default() }
    }
}

impl Kind {
    pub const ALL: [Kind; 8] = [
        Kind::Oom,
        Kind::MemoryPressure,
        Kind::IoPressure,
        Kind::GpuLost,
        Kind::Killed,
        Kind::Latency,
        Kind::GpuStarved,
        Kind::Leak,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Kind::Oom => "oom",
            Kind::MemoryPressure => "memory_pressure",
            Kind::IoPressure => "io_pressure",
            Kind::GpuLost => "gpu_lost",
            Kind::Killed => "killed",
            Kind::Latency => "latency",
            Kind::GpuStarved => "gpu_starved",
            Kind::Leak => "leak",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_of_an_older_version_is_read() {
        let text = r#"{"id":"1","kind":"oom","time":5,"complete":true,"labels":{"workload":"/a"},"title":"t"}"#;
        let incident: Incident = serde_json::from_str(text).unwrap();
        let wanted = Incident {
            complete: true,
            labels: [("workload".to_owned(), "/a".to_owned())].into(),
            title: "t".to_owned(),
            ..Incident::new(Kind::Oom, "1".to_owned(), 5)
        };
        assert_eq!(incident, wanted);
    }

    #[test]
    fn an_incident_survives_json() {
        let mut incident = Incident::new(Kind::GpuLost, "1".to_owned(), 5);
        let evidence = &mut incident.evidence;
        evidence.scope = Some(crate::signal::oom::Scope::Memcg);
        evidence.kills = vec![Victim { pid: 7, comm: "python".to_owned(), ..Victim::default() }];
        evidence.limit = Some(Limit { bytes: Some(1), used_bytes: Some(1), ..Limit::default() });
        evidence.storm = Some(Storm { waited_seconds: Some(0.5), ..Storm::default() });
        evidence.gpu = Some(LostGpu { xids: vec![79], ..LostGpu::default() });
        let change =
            Change { time: 1, since: None, what: What::Limit, of: "/a".to_owned(), before: None, after: Some(5) };
        evidence.changes = vec![change];
        evidence.history.ago = vec![1.5, 0.5];
        evidence.history.host = [("memory_bytes".to_owned(), vec![None, Some(2.5)])].into();
        let text = serde_json::to_string(&incident).unwrap();
        assert_eq!(serde_json::from_str::<Incident>(&text).unwrap(), incident, "{text}");
    }
}
