//! The last alerts, incidents and changes of levels, for those who follow the agent. Whoever adds one never waits. Knows neither sockets nor the journal.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use collector_core::api::incidents::IncidentLine;
use collector_core::api::reservations::Viewer;
use collector_core::lease::Notice;
use collector_core::outcome::Outcome;
use tokio::sync::watch;

use crate::mutex::lock;

/// Events that are kept, and bytes of them. The oldest go first.
pub const KEPT: usize = 1000;
const BYTES: usize = 2 << 20;

#[derive(Debug, PartialEq, Eq)]
pub struct Event {
    /// As in the journal: ids increase, also over restarts.
    pub id: u64,
    /// `alert`, `incident`, `level` or `eviction`.
    pub kind: &'static str,
    /// JSON: an alert, an incident in short, a change of a level, or what is wanted of a lease.
    pub data: Box<str>,
    /// The user who may see it; absent if everybody may.
    pub uid: Option<u32>,
}

#[derive(Debug)]
pub struct Events {
    ring: Mutex<Ring>,
    /// The id of the newest.
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    kept: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The id of the newest event that is not kept any more.
    gone: u64,
}

/// What follows an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Event(Arc<Event>),
    /// Nothing yet up to this id.
    None(u64),
    /// Something that is not kept any more.
    Gone,
}

impl Default for Events {
    fn default() -> Events {
        Events { ring: Mutex::default(), newest: watch::Sender::new(0) }
    }
}

impl Events {
    /// Adds an alert, an incident, a change of a level, or what is wanted of a lease; others are no events.
    pub fn add(&self, id: u64, outcome: &Outcome) {
        let mut uid = None;
        let (kind, data) = match outcome {
            Outcome::Alert(alert) => ("alert", serde_json::to_string(&**alert)),
            Outcome::Incident(incident) => ("incident", serde_json::to_string(&IncidentLine::of(incident))),
            Outcome::Level(change) => ("level", serde_json::to_string(&**change)),
            Outcome::Lease(change) => {
                let Some(notice) = Notice::of(change) else { return };
                uid = Some(notice.uid);
                ("eviction", serde_json::to_string(&notice))
            }
            _ => return,
        };
        // Strings and numbers only: serialization cannot fail.
        let Ok(data) = data else { return };
        let mut ring = lock(&self.ring);
        ring.bytes += data.len();
        ring.kept.push_back(Arc::new(Event { id, kind, data: data.into(), uid }));
        while ring.kept.len() > KEPT || (ring.bytes > BYTES && ring.kept.len() > 1) {
            let Some(oldest) = ring.kept.pop_front() else { break };
            ring.bytes -= oldest.data.len();
            ring.gone = oldest.id;
        }
        drop(ring);
        self.newest.send_replace(id);
    }

    /// The journal has events until this one, which are not kept here.
    pub fn begin(&self, last: u64) {
        let mut ring = lock(&self.ring);
        ring.gone = ring.gone.max(last);
        self.newest.send_modify(|newest| *newest = (*newest).max(last));
    }

    /// What follows the event with this id, of what this viewer may see.
    pub fn after(&self, id: u64, viewer: Viewer) -> Next {
        let ring = lock(&self.ring);
        if id < ring.gone {
            return Next::Gone;
        }
        let place = ring.kept.partition_point(|event| event.id <= id);
        let mut seen = ring.kept.range(place..).filter(|event| event.uid.is_none_or(|uid| viewer.sees(uid)));
        let newest = ring.kept.back().map_or(ring.gone, |event| event.id).max(id);
        seen.next().map_or(Next::None(newest), |event| Next::Event(event.clone()))
    }

    /// The id of the newest that is not kept any more: what follows it is.
    pub fn gone(&self) -> u64 {
        lock(&self.ring).gone
    }

    /// The id of the newest, and later ones.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test::{alert, incident};

    fn add(events: &Events, ids: impl Iterator<Item = u64>) {
        ids.for_each(|id| events.add(id, &Outcome::Alert(Box::new(alert("Hot", id)))));
    }

    fn next(events: &Events, id: u64) -> Option<u64> {
        match events.after(id, Viewer::Stranger) {
            Next::Event(event) => Some(event.id),
            Next::None(_) => None,
            Next::Gone => panic!("gone"),
        }
    }

    #[test]
    fn what_follows_an_event_is_known_for_the_last_thousand() {
        let events = Events::default();
        assert_eq!(events.after(0, Viewer::All), Next::None(0));
        add(&events, (10..).step_by(10).take(KEPT + 5));
        assert_eq!(events.gone(), 50);
        assert_eq!([next(&events, 50), next(&events, 55), next(&events, 60)], [Some(60), Some(60), Some(70)]);
        assert_eq!([49, 0].map(|id| events.after(id, Viewer::All)), [Next::Gone, Next::Gone]);
        let last = 10 * (KEPT as u64 + 5);
        assert_eq!((next(&events, last - 10), next(&events, last), next(&events, u64::MAX)), (Some(last), None, None));
        assert_eq!(*events.newest().borrow(), last);
    }

    #[test]
    fn large_events_push_older_ones_out() {
        let events = Events::default();
        for id in 1..=9 {
            let mut alert = alert("Hot", id);
            alert.summary = "x".repeat(BYTES / 4);
            events.add(id, &Outcome::Alert(Box::new(alert)));
        }
        assert_eq!((events.gone(), next(&events, 6)), (6, Some(7)));
    }

    #[test]
    fn an_incident_comes_in_short_and_what_is_before_the_start_is_gone() {
        let events = Events::default();
        events.begin(7);
        assert_eq!([6, 7].map(|id| events.after(id, Viewer::All)), [Next::Gone, Next::None(7)]);
        events.add(8, &Outcome::Incident(Box::new(incident("i-1"))));
        let Next::Event(event) = events.after(7, Viewer::Stranger) else { panic!("one") };
        let line: IncidentLine = serde_json::from_str(&event.data).unwrap();
        assert_eq!((event.kind, &*line.id), ("incident", "i-1"));
    }
}
