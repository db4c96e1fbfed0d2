//! Asks the running agent for all that there is to show. Knows paths; neither how often it is asked nor what is drawn.

use anyhow::{Context as _, Result};
use collector_core::api::incidents::Incidents;
use collector_core::api::problem::Problem;
use collector_core::api::status::{self, Status};
use collector_core::api::window::History;
use collector_core::api::workloads::{Detail, Summary};
use hyper::StatusCode;
use serde::de::DeserializeOwned;

use super::answer::{Answers, Wish};
use super::track::Track;
use crate::client::{Client, encoded};
use crate::http::WORKLOADS;

const STATUS: &str = "/api/v1/status";
const HISTORY: &str = "/api/v1/history";
const INCIDENTS: &str = "/api/v1/incidents";
const MODELS: &str = crate::cli::models::MODELS;
const SUGGESTIONS: &str = crate::cli::advise::SUGGESTIONS;
const RESERVATIONS: &str = "/api/v1/reservations";
/// The list of incidents is asked for when the newest one changes, and once in as many looks.
const SELDOM: u32 = 5;

pub struct Agent {
    client: Client,
    looks: u32,
    /// When the agent started, as it said.
    started: u64,
    newest: Option<status::Incident>,
    incidents: Incidents,
    now: Summary,
    before: Option<Summary>,
    host: Track,
    workload: (String, Track),
}

impl Agent {
    pub fn new(client: Client) -> Agent {
        Agent {
            client,
            looks: 0,
            started: 0,
            newest: None,
            incidents: Incidents::default(),
            now: Summary::default(),
            before: None,
            host: Track::default(),
            workload: (String::new(), Track::default()),
        }
    }

    pub fn ask(&mut self, wish: &Wish) -> Result<Answers> {
        let status: Status = ask(&self.client, STATUS)?;
        if status.started != self.started {
            self.forget(status.started);
        }
        let workloads: Summary = ask(&self.client, WORKLOADS)?;
        self.take(workloads);
        self.looks += 1;
        if self.looks % SELDOM == 1 || status.incident != self.newest {
            self.incidents = ask(&self.client, INCIDENTS)?;
            self.newest = status.incident.clone();
        }
        let window = self.host.wanted(status.time);
        self.host.add(&ask(&self.client, &format!("{HISTORY}?window_seconds={window}"))?);
        Ok(Answers {
            workload: match &wish.workload {
                Some(name) => Some((name.clone(), self.track(name, status.time)?)),
                None => None,
            },
            processes: match &wish.workload {
                Some(name) => {
                    let detail = find::<Detail>(&self.client, &format!("{WORKLOADS}/{}", encoded(name)))?.ok();
                    detail.and_then(|detail| Some((name.clone(), detail.processes?)))
                }
                None => None,
            },
            incident: match &wish.incident {
                Some(id) => {
                    let path = format!("{INCIDENTS}/{}", encoded(id));
                    Some((id.clone(), find(&self.client, &path)?.map(Box::new)))
                }
                None => None,
            },
            reservations: match wish.reservations {
                true => Some(find(&self.client, RESERVATIONS)?),
                false => None,
            },
            models: match wish.models {
                true => Some(find(&self.client, MODELS)?),
                false => None,
            },
            advice: match wish.advice {
                true => Some(find(&self.client, SUGGESTIONS)?),
                false => None,
            },
            workloads: self.now.clone(),
            before: self.before.clone(),
            incidents: self.incidents.incidents.clone(),
            left_out: self.incidents.left_out,
            host: self.host.clone(),
            played: None,
            status,
        })
    }

    /// Of several answers of one tick the last one is shown, but rates are since the tick before.
    fn take(&mut self, workloads: Summary) {
        let same = workloads.measured == self.now.measured;
        let before = std::mem::replace(&mut self.now, workloads);
        if !same {
            self.before = before.measured.map(|_| before);
        }
    }

    /// Another agent answers: nothing that the one before said goes on.
    fn forget(&mut self, started: u64) {
        self.started = started;
        self.looks = 0;
        self.now = Summary::default();
        self.before = None;
        self.host = Track::default();
        self.workload = Default::default();
    }

    fn track(&mut self, name: &str, now: u64) -> Result<Result<Track, String>> {
        if self.workload.0 != name {
            self.workload = (name.to_owned(), Track::default());
        }
        let window = self.workload.1.wanted(now);
        let path = format!("{HISTORY}?window_seconds={window}&workload={}", encoded(name));
        let history: Result<History, String> = find(&self.client, &path)?;
        Ok(history.map(|history| {
            self.workload.1.add(&history);
            self.workload.1.clone()
        }))
    }
}

fn ask<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T> {
    parse(&client.page(path)?)
}

/// The same of something that may not exist; then what the agent says about that.
fn find<T: DeserializeOwned>(client: &Client, path: &str) -> Result<Result<T, String>> {
    let answer = client.get(path)?;
    if answer.status == StatusCode::NOT_FOUND {
        let problem: Option<Problem> = serde_json::from_slice(&answer.body).ok();
        return Ok(Err(problem.map_or_else(|| "the agent does not know it".to_owned(), |problem| problem.detail)));
    }
    anyhow::ensure!(answer.status == StatusCode::OK, "HTTP status {}", answer.status);
    parse(&answer.body).map(Ok)
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body).context("the answer is not from an agent of this version")
}

#[cfg(test)]
mod tests {
    use collector_core::api::workloads::Line;

    use super::*;
    use crate::cli::rate::Before;

    #[test]
    fn rates_stay_while_nothing_was_read_again() {
        const SECOND: u64 = 1_000_000_000;
        let mut agent = Agent::new(Client::at(Vec::new()).unwrap());
        // Ticks are five seconds apart; events between them move the time of an answer.
        let mut rate = |second: u64, cpu: f64| {
            let line = Line { workload: "a".to_owned(), cpu_seconds: Some(cpu), ..Line::default() };
            let measured = Some(second / 5 * 5 * SECOND);
            agent.take(Summary { time: second * SECOND, measured, workloads: vec![line] });
            Before::of(agent.before.as_ref(), &agent.now).rates(&agent.now.workloads[0]).cpu
        };
        assert_eq!([5, 6, 9].map(|second| rate(second, 1.0)), [None; 3], "there was one tick");
        assert_eq!([10, 12, 14].map(|second| rate(second, 6.0)), [Some(1.0); 3]);
        assert_eq!([15, 16].map(|second| rate(second, 6.0)), [Some(0.0); 2], "it is idle");
        assert_eq!([20, 24].map(|second| rate(second, 16.0)), [Some(2.0); 2]);
    }
}
