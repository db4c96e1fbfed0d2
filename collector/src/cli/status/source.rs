//! Where the picture comes from: the running agent, or without one the host's own files.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result};
use collector_core::api::status::{Health, Incident, Status, Unavailable};
use collector_core::api::workloads::Summary;
use serde::de::DeserializeOwned;

use super::picture::Picture;
use crate::cli::direct::Direct;
use crate::client::{Client, is_absent, is_forbidden};
use crate::config::Config;
use crate::config::load::Effective;
use crate::exit::Failure;
use crate::exposition::{Format, render};
use crate::http::WORKLOADS;
use crate::sink::journal::Reader;

/// Path of the host as JSON.
const STATUS: &str = "/api/v1/status";
const METRICS: &str = "/metrics";
/// Rates without an agent are over this time at least.
const APART: Duration = Duration::from_millis(200);

pub struct Source {
    config: Config,
    /// Times are shown in UTC.
    pub utc: bool,
    of: Of,
}

enum Of {
    Agent {
        client: Client,
        /// What it said first, until that is asked for.
        first: Option<Box<Status>>,
    },
    Files {
        direct: Box<Direct>,
        /// For an agent that starts meanwhile.
        client: Client,
        /// Why there is no agent to ask.
        why: String,
    },
}

impl Source {
    /// # Errors
    /// There is an agent that this user may not ask; or the host cannot be read.
    pub fn open(effective: &Effective) -> Result<Source, Failure> {
        let client = Client::of(effective)?;
        let config = effective.config.clone();
        let why = match ask::<Status>(&client, STATUS) {
            Ok(first) => {
                return Ok(Source { config, utc: false, of: Of::Agent { client, first: Some(Box::new(first)) } });
            }
            Err(why) if is_forbidden(&why) => return Err(why.into()),
            Err(why) if is_absent(&why) => "no agent".to_owned(),
            Err(why) => format!("the agent gives no status: {why:#}"),
        };
        let mut direct = Direct::with_host(&config, Arc::clone(&effective.rules))?;
        direct.read();
        direct.wait();
        sleep(APART);
        Ok(Source { config, utc: false, of: Of::Files { direct: Box::new(direct), client, why } })
    }

    pub fn status(&mut self) -> Result<Status> {
        match &mut self.of {
            Of::Agent { client, first } => first.take().map_or_else(|| ask(client, STATUS), |first| Ok(*first)),
            Of::Files { direct, why, .. } => Ok(unattended(Status::of(direct.read()), why)),
        }
    }

    pub fn picture(&mut self) -> Result<Picture> {
        self.look()?;
        let mut status = self.status()?;
        let Source { config, utc, of } = self;
        let (summary, agent) = match of {
            Of::Agent { client, .. } => (ask::<Summary>(client, WORKLOADS)?, true),
            Of::Files { direct, .. } => (Summary::of(direct.view()), false),
        };
        // What happened before the agent started is in the journal, if this user may read that.
        if status.incident.is_none() {
            status.incident = newest(config);
        }
        Ok(Picture { host: config.host_name(), agent, utc: *utc, status, workloads: summary.workloads })
    }

    /// Looks whether there is an agent by now.
    fn look(&mut self) -> Result<()> {
        let Of::Files { client, .. } = &self.of else { return Ok(()) };
        if let Ok(first) = ask::<Status>(client, STATUS) {
            let client = Client::at(client.addresses().to_vec())?;
            self.of = Of::Agent { client, first: Some(Box::new(first)) };
        }
        Ok(())
    }

    /// The page of all metrics.
    pub fn metrics(&mut self) -> Result<String> {
        match &mut self.of {
            Of::Agent { client, .. } => Ok(String::from_utf8_lossy(&client.page(METRICS)?).into_owned()),
            Of::Files { direct, .. } => Ok(render(direct.read(), Format::Text, self.config.metrics.cap()).text),
        }
    }
}

fn ask<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T> {
    serde_json::from_slice(&client.page(path)?).context("the answer is not from an agent of this version")
}

/// The status without an agent. What fires depends on how long it lasts, so nobody knows whether all is well.
pub(super) fn unattended(mut status: Status, why: &str) -> Status {
    if status.health == Some(Health::Healthy) {
        status.health = None;
    }
    let reason = format!("{why}: alerts, incidents, stalls and pinned memory are not known");
    status.unavailable.insert(0, Unavailable { source: "agent".to_owned(), reason });
    status
}

fn newest(config: &Config) -> Option<Incident> {
    let incident = Reader::open(&config.journal.dir).ok()?.last_incident().ok()??;
    Some(Incident {
        workload: incident.labels.get("workload").cloned(),
        kind: incident.kind.name().to_owned(),
        time: incident.time,
        title: incident.title,
        cause: incident.cause.sentence,
        id: incident.id,
    })
}
