//! The newest incidents: the answers of `/api/v1/incidents`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::incident::{self, Incident};
use crate::rule::runbook::checks;
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

/// An incident, with what to check next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    #[serde(flatten)]
    pub incident: Incident,
    /// The steps of the runbook for incidents of this kind.
    #[serde(default)]
    pub checks: Vec<Check>,
}

/// Something to check.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// A command, or a PromQL query.
    pub run: String,
    /// What that shows.
    pub shows: String,
}

/// The id that stands for the newest incident.
pub const LAST: &str = "last";

impl Explained {
    pub fn new(incident: Incident) -> Explained {
        let checks = checks(incident.kind).into_iter().map(|[run, shows]| Check { run, shows });
        Explained { checks: checks.collect(), incident }
    }

    /// An incident by its id, or the newest.
    pub fn of(view: &View, id: &str) -> Result<Explained, Problem> {
        let missing = || match (id, view.incidents.iter().count()) {
            (LAST, 0) => Problem::unknown("there is no incident"),
            (id, count) => Problem::unknown(format!(
                "there is no incident {id:?} among the {count} newest: headroom explain reads the journal"
            )),
        };
        let kept = if id == LAST { view.incidents.newest() } else { view.incidents.find(id) };
        let incident = serde_json::from_str(&kept.ok_or_else(missing)?.json);
        let broken = |error| Problem::new(500, format!("the incident cannot be read: {error}"));
        incident.map(Explained::new).map_err(broken)
    }
}

/// The page of an incident for so many columns, as `headroom explain` prints it.
pub fn page(incident: &Incident, width: usize, colour: bool) -> String {
    let mut checks = checks(incident.kind);
    // The page is what that prints.
    checks.retain(|[run, _]| !run.starts_with("headroom explain"));
    incident::page::page(incident, &checks, width, colour)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::test::engine;
    use crate::incident::Kind;

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
        let explained = Explained::of(engine.view(), "1-a").unwrap();
        assert_eq!(explained.incident, past[0]);
        assert!(explained.checks.iter().any(|check| check.run == "headroom incidents"), "{:?}", explained.checks);
        let json = serde_json::to_string(&explained).unwrap();
        assert_eq!(serde_json::from_str::<Explained>(&json).unwrap(), explained);
        assert_eq!(serde_json::from_str::<Incident>(&json).unwrap(), past[0], "who knows no more reads the incident");
        assert_eq!(Explained::of(engine.view(), LAST).unwrap().incident.id, "2-b");
        for id in ["1", "1-A", "1-a ", "\u{202e}"] {
            assert_eq!(Explained::of(engine.view(), id).unwrap_err().status, 404, "{id}");
        }
    }
}
