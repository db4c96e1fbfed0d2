//! Writes outcomes and samples: log, recording, journal. `deliver` sends alerts to receivers.

pub mod database;
pub mod history;
pub mod journal;
mod learned;
pub mod lease;
pub mod log;
pub mod record;

use std::time::{Duration, UNIX_EPOCH};

/// The files that the agent writes in the journal's folder; so do names that begin with one of these.
pub const FILES: [&str; 3] = [journal::file::FILE, history::file::FILE, lease::FILE];

/// Formats a time in nanoseconds since the Unix epoch as RFC 3339.
pub fn rfc3339(time: u64) -> String {
    humantime::format_rfc3339_nanos(UNIX_EPOCH + Duration::from_nanos(time)).to_string()
}

#[cfg(test)]
pub(crate) mod test {
    //! Alerts and incidents for tests.

    use std::collections::BTreeMap;

    use collector_core::alert::{Alert, Severity, State};
    use collector_core::incident::Incident;

    pub(crate) fn alert(name: &str, fired: u64) -> Alert {
        Alert {
            alert: name.into(),
            severity: Severity::Warning,
            labels: BTreeMap::from([("workload".to_owned(), "w".to_owned())]),
            state: State::Firing,
            started: fired,
            fired,
            resolved: None,
            value: Some(0.5),
            summary: "it is so".to_owned(),
            action: "do this".to_owned(),
            incident: None,
            cause: None,
            updated: None,
        }
    }

    pub(crate) fn incident(id: &str) -> Incident {
        let text = format!(
            r#"{{"id": "{id}", "kind": "oom", "time": 5, "complete": false, "labels": {{}}, "title": "it was killed"}}"#
        );
        serde_json::from_str(&text).unwrap()
    }
}
