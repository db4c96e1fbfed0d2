//! The newest incident, in short. The whole of it is an outcome, which the journal keeps.

/// Texts are those of the incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Newest {
    pub id: String,
    /// The name of its kind, such as `oom`.
    pub kind: &'static str,
    /// When it began, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// What it affects, if that is a workload.
    pub workload: Option<String>,
    pub title: String,
    /// The sentence of its cause.
    pub cause: String,
}
