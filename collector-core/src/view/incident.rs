//! The newest incidents as plain data: in short for lists, and each as a whole in JSON. The journal has all of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Incidents that are kept, and bytes of their JSON. The oldest go first.
const KEPT: usize = 100;
const BYTES: usize = 2 << 20;

/// An incident in short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IncidentLine {
    pub id: String,
    /// Such as `oom`.
    pub kind: String,
    /// When it began, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// Nothing more will be added.
    pub complete: bool,
    /// What it affects: the labels of an alert about it, without empty ones.
    pub labels: BTreeMap<String, String>,
    /// What happened, in one sentence.
    pub title: String,
    /// Its cause, in one sentence.
    pub cause: String,
    /// What to do next.
    pub next: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    pub line: IncidentLine,
    /// Who did it, if it was another workload than the one that suffered.
    pub culprit: Option<Culprit>,
    /// All of it.
    pub json: Box<str>,
}

/// A workload that made another one suffer, by the cause of an incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Culprit {
    /// The cause.
    pub rule: String,
    /// What the two share.
    pub shared: Shared,
    pub victim: String,
    pub by: String,
    /// What it used of that: CPUs, bytes per second, or bytes.
    pub used: Option<f64>,
    /// The disk that both use, if it is about IO and that is known.
    pub disk: Option<String>,
    /// For how long the victim waited, in seconds, if that is known.
    pub waited: Option<f64>,
    pub kills: u64,
}

/// What two workloads share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shared {
    Cpu,
    Io,
    /// A memory limit above both.
    Limit,
    /// The memory of the host.
    Memory,
}

/// By id.
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    kept: VecDeque<Arc<Kept>>,
    bytes: usize,
    /// How many there was no room for any more.
    dropped: u64,
}

impl Incidents {
    /// The newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Kept> {
        self.kept.iter().rev().map(|kept| &**kept)
    }

    pub fn newest(&self) -> Option<&Kept> {
        self.iter().next()
    }

    pub fn find(&self, id: &str) -> Option<&Kept> {
        self.iter().find(|kept| kept.line.id == id)
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Keeps an incident as it is now.
    pub(crate) fn keep(&mut self, incident: Kept) {
        self.bytes += incident.json.len();
        let place = self.kept.partition_point(|other| other.line.id < incident.line.id);
        match self.kept.get_mut(place).filter(|other| other.line.id == incident.line.id) {
            Some(before) => {
                self.bytes -= before.json.len();
                *before = Arc::new(incident);
            }
            None => self.kept.insert(place, Arc::new(incident)),
        }
        // One stays, however large it is.
        while self.kept.len() > KEPT || (self.bytes > BYTES && self.kept.len() > 1) {
            let Some(oldest) = self.kept.pop_front() else { return };
            self.bytes -= oldest.json.len();
            self.dropped += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(id: usize, bytes: usize) -> Kept {
        let line = IncidentLine { id: format!("{id:06}"), time: id as u64, ..IncidentLine::default() };
        Kept { line, culprit: None, json: "x".repeat(bytes).into() }
    }

    fn ids(incidents: &Incidents) -> Vec<u64> {
        incidents.iter().map(|kept| kept.line.time).collect()
    }

    #[test]
    fn the_newest_are_kept_in_number_and_in_bytes() {
        let mut incidents = Incidents::default();
        (0..KEPT + 5).for_each(|id| incidents.keep(incident(id, 10)));
        assert_eq!((ids(&incidents).len(), incidents.dropped(), incidents.bytes), (KEPT, 5, KEPT * 10));
        assert_eq!(incidents.newest().unwrap().line.time, KEPT as u64 + 4);
        incidents.keep(incident(1000, BYTES - 20));
        assert_eq!((ids(&incidents).len(), incidents.dropped()), (3, 103));
        incidents.keep(incident(1001, 2 * BYTES));
        assert_eq!((ids(&incidents), incidents.bytes), (vec![1001], 2 * BYTES));
    }

    #[test]
    fn one_that_is_told_again_keeps_its_place_and_older_ones_come_before_it() {
        let mut incidents = Incidents::default();
        for (id, bytes) in [(5, 10), (7, 10), (5, 30), (6, 1)] {
            incidents.keep(incident(id, bytes));
        }
        assert_eq!((ids(&incidents), incidents.bytes, incidents.dropped()), (vec![7, 6, 5], 41, 0));
        assert_eq!(incidents.find("000005").unwrap().json.len(), 30);
        assert_eq!(incidents.find("5"), None);
    }
}
