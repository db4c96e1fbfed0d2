//! An incident: a fact worth explaining, with its evidence. Knows neither how the evidence is gathered nor where incidents
//! go.

pub mod cause;
mod document;
mod evidence;
pub mod page;
pub mod shape;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use document::document;
pub use evidence::{
    Change, Consumer, Evidence, Figures, Held, History, Holder, Host, Limit, Lines, LostGpu, Source, Storm, Task,
    Victim, What,
};

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
    /// Why, as far as the evidence says.
    #[serde(default)]
    pub cause: Cause,
    /// What is known of it.
    #[serde(default)]
    pub evidence: Evidence,
}

/// Why something happened, as one rule sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cause {
    /// The rule's name; `not_known` if none applies.
    pub rule: String,
    /// The cause in a sentence.
    pub sentence: String,
    /// What to do next.
    pub next: String,
    /// The numbers that it rests on, by names that end in their unit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<String, f64>,
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

impl Incident {
    /// One of which nothing more is known, nor told, yet.
    pub fn new(kind: Kind, id: String, time: u64) -> Incident {
        let (labels, title, cause) = (BTreeMap::new(), String::new(), Cause::default());
        Incident { id, kind, time, complete: false, labels, title, cause, evidence: Evidence::default() }
    }
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::Oom, Kind::MemoryPressure, Kind::IoPressure, Kind::GpuLost];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Oom => "oom",
            Kind::MemoryPressure => "memory_pressure",
            Kind::IoPressure => "io_pressure",
            Kind::GpuLost => "gpu_lost",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_version_wrote_is_still_read() {
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
    fn it_survives_being_written() {
        let mut incident = Incident::new(Kind::GpuLost, "1".to_owned(), 5);
        let evidence = &mut incident.evidence;
        evidence.scope = Some(crate::signal::oom::Scope::Memcg);
        evidence.kills = vec![Victim { pid: 7, comm: "python".to_owned(), ..Victim::default() }];
        evidence.limit = Some(Limit { bytes: Some(1), used_bytes: Some(1), ..Limit::default() });
        evidence.storm = Some(Storm { waited_seconds: Some(0.5), ..Storm::default() });
        evidence.gpu = Some(LostGpu { xids: vec![79], ..LostGpu::default() });
        let change = Change { time: 1, what: What::Limit, of: "/a".to_owned(), before: None, after: Some(5) };
        evidence.changes = vec![change];
        evidence.history.ago = vec![1.5, 0.5];
        evidence.history.host = [("memory_bytes".to_owned(), vec![None, Some(2.5)])].into();
        let text = serde_json::to_string(&incident).unwrap();
        assert_eq!(serde_json::from_str::<Incident>(&text).unwrap(), incident, "{text}");
    }
}
