//! What the agent tells: each report of an incident, as its log has it at once, and the incident with its evidence, from the
//! journal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use collector::sink::journal::Reader;
use collector_core::alert::Alert;
use collector_core::incident::Incident;
use serde_json::Value;

use crate::receiver::Receiver;
use crate::tail::Tail;

/// What a report says about the cause.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    pub cause: String,
    pub sentence: String,
}

/// An incident: what was said first and last, and the incident as it is in the journal now.
#[derive(Clone, Debug)]
pub struct Told {
    pub first: Said,
    pub last: Said,
    /// The cause in the last alert about it that a receiver got.
    pub delivered: Option<String>,
    pub incident: Incident,
}

/// Follows the agent in this folder.
pub struct Listener {
    directory: PathBuf,
    log: Mutex<Log>,
    receiver: Receiver,
}

struct Log {
    tail: Tail,
    /// By id: all reports in order.
    reports: BTreeMap<String, Vec<Said>>,
}

impl Listener {
    pub fn new(directory: &Path, receiver: Receiver) -> Listener {
        let log = Log { tail: Tail::new(directory.join("log")), reports: BTreeMap::new() };
        Listener { directory: directory.to_owned(), log: Mutex::new(log), receiver }
    }

    /// Incidents that began since this time, the oldest first.
    pub fn incidents(&self, since: u64) -> Vec<Told> {
        let (log, delivered) = (self.read_on(), self.delivered());
        let journal = self.journal();
        let stored = journal.and_then(|journal| journal.incidents(1000).ok()).unwrap_or_default();
        let told = stored.into_iter().filter(|it| it.time >= since).filter_map(|incident| {
            let reports = log.reports.get(&incident.id)?;
            let (first, last) = (reports.first()?.clone(), reports.last()?.clone());
            Some(Told { first, last, delivered: delivered.get(&incident.id).cloned(), incident })
        });
        told.collect()
    }

    /// By incident: the cause in the last alert that fired for it and was delivered.
    fn delivered(&self) -> BTreeMap<String, String> {
        let alerts = self.receiver.requests().into_iter().flat_map(|request| request.alerts());
        let firing = alerts.filter(|alert| alert["state"] == "firing");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let causes = firing.filter_map(|alert| {
            let incident = &alert["incident"];
            Some((text(&incident["id"])?, text(&incident["cause"]["rule"])?))
        });
        causes.collect()
    }

    /// Alerts that fired since this time.
    pub fn alerts(&self, since: u64) -> Vec<Alert> {
        let stored = self.journal().and_then(|journal| journal.alerts(1000).ok()).unwrap_or_default();
        stored.into_iter().filter(|it| it.time >= since).map(|it| it.alert).collect()
    }

    fn journal(&self) -> Option<Reader> {
        Reader::open(&self.directory.join("journal")).ok()
    }

    fn read_on(&self) -> MutexGuard<'_, Log> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        for line in log.tail.lines() {
            if let Some((id, said)) = report(&line) {
                log.reports.entry(id).or_default().push(said);
            }
        }
        log
    }
}

/// The report of an incident in a line of the log.
fn report(line: &[u8]) -> Option<(String, Said)> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let field = |name: &str| line["fields"][name].as_str().or(line[name].as_str()).map(str::to_owned);
    let (id, cause, message) = (field("incident")?, field("cause")?, field("message")?);
    let sentence = message.split_once(": ").map_or("", |(_, sentence)| sentence).to_owned();
    Some((id, Said { cause, sentence }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_in_the_log_is_found() {
        let line = br#"{"level":"INFO","fields":{"message":"incident 7 is complete: /a: grew","incident":"7","kind":"oom","cause":"spike"}}"#;
        let said = Said { cause: "spike".to_owned(), sentence: "/a: grew".to_owned() };
        assert_eq!(report(line), Some(("7".to_owned(), said)));
        assert_eq!(report(br#"{"fields":{"message":"ready"}}"#), None);
        assert_eq!(report(b"no JSON"), None);
    }
}
