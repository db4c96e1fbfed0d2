//! `headroom explain`: prints one incident as a page, with its cause and the minute before it.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use collector_core::api::incidents::{Explained, LAST, page};
use collector_core::engine::Engine;
use collector_core::incident::Incident;
use collector_core::outcome::Outcome;
use collector_core::recording::{self, Why};

use super::settings::Settings;
use super::terminal::{colour, width};
use crate::config::Config;
use crate::exit::{Exit, Failure};

/// Explain an incident: what happened, why, what to do next, and the minute before
///
/// An incident is an OOM kill, a period of memory or IO pressure, or a lost GPU. The page names the killed process and
/// its memory, the limit that was hit, the largest workloads at that time, and shows the last minute second by second.
///
/// Reads the journal, so it works without a running agent.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  Explain the last incident:
    headroom explain
  Explain one that `headroom incidents` lists:
    headroom explain 20261121T144105.123456
  Print only the cause, for a script:
    headroom explain --json 20261121T1441 | jq -r .cause.sentence
  Explain the last incident of a recording (`headroom run --record FILE`):
    headroom explain --replay FILE
")]
pub struct ExplainArgs {
    /// Id of the incident, or a unique prefix of it, or `last`
    #[arg(value_name = "ID", default_value = "last")]
    pub id: String,
    /// Read incidents from a recording instead of this host's journal
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Print the incident as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

/// Fails if no incident, or more than one, has this id.
pub fn run(args: &ExplainArgs, config: &Config) -> Result<(), Failure> {
    let incident = match &args.replay {
        Some(recording) => find(&recorded(recording)?, &args.id).cloned(),
        None => from_journal(config, &args.id)?.ok_or_else(|| absent(&args.id)),
    };
    let incident = incident.map_err(|why| {
        Failure::new(Exit::Failure, anyhow!("{why}"))
            .hint("run `headroom incidents` to list the incidents in this host's journal")
    })?;
    let text = if args.json {
        serde_json::to_string_pretty(&Explained::new(incident)).context("write JSON")? + "\n"
    } else {
        page(&incident, width(), colour())
    };
    super::print(&text)
}

fn from_journal(config: &Config, id: &str) -> Result<Option<Incident>, Failure> {
    let reader = super::journal::open(config)?;
    Ok(if id == LAST { reader.last_incident()? } else { reader.incident(id)? })
}

fn absent(id: &str) -> String {
    if id == LAST { "no incident is recorded".to_owned() } else { format!("there is no incident {id}") }
}

/// The incidents of a recording, each in its last state.
fn recorded(path: &Path) -> Result<Vec<Incident>, Failure> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("open {name}"))?;
    let (mut engine, mut incidents) = (Engine::new(), Vec::new());
    for sample in recording::samples(BufReader::new(file)) {
        match sample {
            Ok(sample) => engine.apply(&sample).into_iter().for_each(|outcome| take(&mut incidents, outcome)),
            Err(error) if matches!(error.why, Why::Cut) => tracing::warn!("{name}:{error}"),
            Err(error) => Err(anyhow!("{name}:{error}"))?,
        }
    }
    engine.finish().into_iter().for_each(|outcome| take(&mut incidents, outcome));
    Ok(incidents)
}

fn take(incidents: &mut Vec<Incident>, outcome: Outcome) {
    let Outcome::Incident(incident) = outcome else { return };
    match incidents.iter_mut().find(|known| known.id == incident.id) {
        Some(known) => *known = *incident,
        None => incidents.push(*incident),
    }
}

fn find<'a>(incidents: &'a [Incident], id: &str) -> Result<&'a Incident, String> {
    if id == LAST {
        return incidents.iter().max_by(|one, two| one.id.cmp(&two.id)).ok_or_else(|| absent(id));
    }
    let mut found = incidents.iter().filter(|incident| incident.id.starts_with(id));
    match (found.next(), found.next()) {
        (Some(incident), None) => Ok(incident),
        (Some(one), Some(two)) => Err(format!("more than one incident begins with {id}: {}, {}, …", one.id, two.id)),
        _ => Err(absent(id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::incident::Kind;

    #[test]
    fn an_incident_is_found_by_its_unique_prefix() {
        let incidents = ["20261121T1", "20261122T1", "20261122T2"];
        let incidents = incidents.map(|id| Incident::new(Kind::Oom, id.to_owned(), 1));
        let found = |id| find(&incidents, id).map(|incident| &*incident.id);
        assert_eq!(found("last"), Ok("20261122T2"));
        assert_eq!(found("20261121"), Ok("20261121T1"));
        assert!(found("20261122").unwrap_err().starts_with("more than one incident begins with 20261122"));
        assert_eq!(found("2027").unwrap_err(), "there is no incident 2027");
        assert_eq!(find(&[], "last").unwrap_err(), "no incident is recorded");
    }
}
