//! The newest incidents: the answers of `/api/v1/incidents`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::view::View;
pub use crate::view::incident::IncidentLine;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Incidents {
    /// Time in nanoseconds since the Unix epoch.
    pub time: u64,
    /// The newest first: at most 100, and 2 MiB as a whole. Those before the agent's start are here too, as far as it read them
    /// from its journal.
    pub incidents: Vec<IncidentLine>,
    /// How many older ones the agent saw that are not here any more. `headroom incidents` reads them from the journal.
    pub left_out: u64,
}

impl Incidents {
    pub fn of(view: &View) -> Incidents {
        let incidents = view.incidents.iter().map(|kept| kept.line.clone()).collect();
        Incidents { time: view.time, incidents, left_out: view.incidents.dropped() }
    }
}

/// All of an incident, as JSON: an [`Incident`](crate::incident::Incident).
pub fn whole(view: &View, id: &str) -> Result<Vec<u8>, Problem> {
    let missing = || {
        let count = view.incidents.iter().count();
        Problem::unknown(format!(
            "there is no incident {id:?} among the {count} newest: headroom explain reads the journal"
        ))
    };
    view.incidents.find(id).map(|incident| incident.json.as_bytes().to_vec()).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test::engine;
    use crate::incident::{Incident, Kind};

    fn incident(id: &str, time: u64) -> Incident {
        let mut incident = Incident::new(Kind::Oom, id.to_owned(), time);
        incident.title = format!("title {id}");
        incident.cause.sentence = format!("cause {id}");
        incident.evidence.history.ago = vec![1.5];
        incident
    }

    #[test]
    fn incidents_from_before_the_start_are_listed_and_each_is_found_whole() {
        let mut engine = engine();
        let past = [incident("1-a", 1), incident("2-b", 2)];
        engine.remember(&past);
        let newer = Incident { complete: true, ..incident("2-b", 2) };
        engine.remember(&[newer, incident("0-c", 0)]);
        let Incidents { incidents, left_out, .. } = Incidents::of(engine.view());
        let lines: Vec<_> = incidents.iter().map(|line| (&*line.id, &*line.title, line.complete)).collect();
        let expected = [("2-b", "title 2-b", false), ("1-a", "title 1-a", false), ("0-c", "title 0-c", false)];
        assert_eq!((lines.as_slice(), left_out), (&expected[..], 0), "what was there already is newer");
        let whole_: Incident = serde_json::from_slice(&whole(engine.view(), "1-a").unwrap()).unwrap();
        assert_eq!(whole_, past[0]);
        for id in ["1", "1-A", "1-a ", "\u{202e}"] {
            assert_eq!(whole(engine.view(), id).unwrap_err().status, 404, "{id}");
        }
    }
}
