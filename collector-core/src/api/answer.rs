//! What each read of the API answers from the view.

use serde::Serialize;

use super::alerts::Alerts;
use super::circuits::Circuits;
use super::coverage::Coverage;
use super::forecast::Question;
use super::gpus::Gpus;
use super::incidents::{Explained, Incidents, page};
use super::level::HostLevel;
use super::models::Models;
use super::openapi;
use super::problem::Problem;
use super::read::Read;
use super::report::Report;
use super::reservations::Reservations;
use super::status::Status;
use super::suggestions::Suggestions;
use super::window::History;
use super::workloads::{Detail, Summary};
use crate::view::View;

/// Columns of a page of text.
const WIDTH: usize = 100;

impl Read {
    /// The answer, as JSON or as text.
    pub fn answer(&self, view: &View) -> Result<Vec<u8>, Problem> {
        match self {
            Read::Status => json(&Status::of(view)),
            Read::Report => json(&Report::of(view)),
            Read::Workloads => json(&Summary::of(view)),
            Read::Workload(name) => json(&Detail::of(view, name)?),
            Read::Level => json(&HostLevel::of(view)),
            Read::Gpus => json(&Gpus::of(view)),
            Read::Models => json(&Models::of(view)),
            Read::Alerts(severity) => json(&Alerts::of(view, *severity)),
            Read::Incidents => json(&Incidents::of(view)),
            Read::Incident(id) => json(&Explained::of(view, id)?),
            Read::Explain(id) => Ok(page(&Explained::of(view, id)?.incident, WIDTH, false).into_bytes()),
            Read::History(query) => json(&History::of(view, query)?),
            // What rests on the history alone is read elsewhere.
            Read::Forecast(query) => Err(Question::of(view, query).unread("it is not kept here")),
            Read::Suggestions => json(&Suggestions::of(view)),
            Read::Reservations(viewer) => json(&Reservations::of(view, *viewer)),
            Read::Circuits => json(&Circuits::of(view)),
            Read::Coverage => json(&Coverage::of(view)),
            Read::Events => Err(Problem::new(403, "events are on the socket alone")),
            Read::OpenApi => Ok(openapi::json().to_vec()),
        }
    }
}

fn json(answer: &impl Serialize) -> Result<Vec<u8>, Problem> {
    serde_json::to_vec(answer).map_err(|error| Problem::new(500, format!("the answer cannot be written: {error}")))
}
