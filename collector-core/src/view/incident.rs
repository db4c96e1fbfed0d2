//! The newest incidents as plain data: in short for lists, and each as a whole in JSON. The journal has all of them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

/// Incidents that are kept, and bytes of their JSON. The oldest go first.
const KEPT: usize = 100;
const BYTES: usize = 2 << 20;

/// Texts are those of the incident.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Ids sort by time.
    pub id: String,
    /// The name of its kind, such as `oom`.
    pub kind: &'static str,
    /// When it began, in nanoseconds since the Unix epoch.
    pub time: u64,
    pub complete: bool,
    pub labels: BTreeMap<String, String>,
    pub title: String,
    /// The sentence of its cause.
    pub cause: String,
    /// What to do.
    pub next: String,
    /// All of it.
    pub json: Box<str>,
}

/// By id.
#[derive(Clone, Debug, Default)]
pub struct Incidents {
    kept: VecDeque<Arc<Incident>>,
    bytes: usize,
    /// How many there was no room for any more.
    dropped: u64,
}

impl Incidents {
    /// The newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Incident> {
        self.kept.iter().rev().map(|incident| &**incident)
    }

    pub fn newest(&self) -> Option<&Incident> {
        self.iter().next()
    }

    pub fn find(&self, id: &str) -> Option<&Incident> {
        self.iter().find(|incident| incident.id == id)
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Keeps an incident as it is now.
    pub(crate) fn keep(&mut self, incident: Incident) {
        self.bytes += incident.json.len();
        let place = self.kept.partition_point(|other| other.id < incident.id);
        match self.kept.get_mut(place).filter(|other| other.id == incident.id) {
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

    fn incident(id: usize, bytes: usize) -> Incident {
        Incident {
            id: format!("{id:06}"),
            kind: "oom",
            time: id as u64,
            complete: false,
            labels: BTreeMap::new(),
            title: String::new(),
            cause: String::new(),
            next: String::new(),
            json: "x".repeat(bytes).into(),
        }
    }

    fn ids(incidents: &Incidents) -> Vec<u64> {
        incidents.iter().map(|incident| incident.time).collect()
    }

    #[test]
    fn the_newest_are_kept_in_number_and_in_bytes() {
        let mut incidents = Incidents::default();
        (0..KEPT + 5).for_each(|id| incidents.keep(incident(id, 10)));
        assert_eq!((ids(&incidents).len(), incidents.dropped(), incidents.bytes), (KEPT, 5, KEPT * 10));
        assert_eq!(incidents.newest().unwrap().time, KEPT as u64 + 4);
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
