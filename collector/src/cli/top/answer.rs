//! What there is to show at one moment: the answers of the API, from an agent or built from the view of a recording.

use collector_core::api::incidents::{Explained, IncidentLine, Incidents};
use collector_core::api::models::Models;
use collector_core::api::problem::Problem;
use collector_core::api::process::Processes;
use collector_core::api::reservations::{Reservations, Viewer};
use collector_core::api::status::Status;
use collector_core::api::suggestions::Suggestions;
use collector_core::api::window::{History, Query, USUAL};
use collector_core::api::workloads::Summary;
use collector_core::incident::Incident;
use collector_core::view::View;

use super::track::Track;

/// What is looked at besides the host and the list of workloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// A workload, by its name.
    pub workload: Option<String>,
    /// An incident, by its id.
    pub incident: Option<String>,
    /// What is reserved.
    pub reservations: bool,
    /// Model servers.
    pub models: bool,
    /// What to change.
    pub advice: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Answers {
    pub status: Status,
    pub workloads: Summary,
    /// An earlier reading, for rates.
    pub before: Option<Summary>,
    /// The newest first.
    pub incidents: Vec<IncidentLine>,
    /// How many incidents are not in the list any more.
    pub left_out: u64,
    pub host: Track,
    /// The workload that was wished for; why there is none, if there is none.
    pub workload: Option<(String, Result<Track, String>)>,
    /// Its processes.
    pub processes: Option<(String, Processes)>,
    /// The same of the incident.
    pub incident: Option<(String, Result<Box<Incident>, String>)>,
    /// What is reserved, if it was wished for; why that is not known, if it is not.
    pub reservations: Option<Result<Reservations, String>>,
    /// Model servers, in the same way.
    pub models: Option<Result<Models, String>>,
    /// What to change, in the same way.
    pub advice: Option<Result<Suggestions, String>>,
    /// Where a recording is.
    pub played: Option<Played>,
}

/// Where a recording is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Played {
    /// The share (0 to 1) of the file that was read.
    pub share: f64,
    pub speed: f64,
    pub paused: bool,
    pub ended: bool,
    /// What was wrong with the file so far.
    pub trouble: Option<String>,
}

impl Answers {
    pub fn of(view: &View, before: Option<Summary>, wish: &Wish) -> Answers {
        let Incidents { incidents, left_out, .. } = Incidents::of(view);
        let track = |workload: Option<&str>| {
            let query = Query { seconds: USUAL, workload: workload.map(Into::into), series: None, points: None };
            History::of(view, &query).map(|history| Track::of(&history)).map_err(|problem| problem.detail)
        };
        let named = |name: &String| (name.clone(), track(Some(name)));
        let explained = |id: &String| (id.clone(), whole(view, id));
        Answers {
            status: Status::of(view),
            workloads: Summary::of(view),
            before,
            incidents,
            left_out,
            host: track(None).unwrap_or_default(),
            workload: wish.workload.as_ref().map(named),
            processes: None,
            incident: wish.incident.as_ref().map(explained),
            models: wish.models.then(|| Ok(Models::of(view))),
            advice: wish.advice.then(|| Ok(Suggestions::of(view))),
            reservations: wish.reservations.then(|| Ok(Reservations::of(view, Viewer::All))),
            played: None,
        }
    }
}

fn whole(view: &View, id: &str) -> Result<Box<Incident>, String> {
    Explained::of(view, id).map(|explained| Box::new(explained.incident)).map_err(|Problem { detail, .. }| detail)
}
