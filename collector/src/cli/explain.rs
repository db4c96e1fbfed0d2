//! `headroom explain`: an incident as a page, with its cause and the minute before it.

use std::fs::File;
use std::io::{BufReader, IsTerminal, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::settings::Settings;
use crate::config::Config;
use crate::engine::Engine;
use crate::exit::{Exit, Failure};
use crate::incident::{Incident, page};
use crate::outcome::Outcome;
use crate::recording::{self, Why};

/// What stands for the newest.
const LAST: &str = "last";
/// How wide a page is where nobody says.
const WIDTH: usize = 100;

/// Explain an incident: what happened, why, what to do next, and the minute before
///
/// An incident is an OOM kill, a time of pressure on memory or IO, or a lost GPU. The page shows who was killed and what
/// it held, whose limit was hit, who held most then, and the last minute second by second.
///
/// Reads the journal: it needs no agent that runs.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  The last incident:
    headroom explain
  One of those that `headroom incidents` lists:
    headroom explain 20261121T144105.123456
  Its cause, for a script:
    headroom explain --json 20261121T1441 | jq -r .cause.sentence
  The last one of a recording (`headroom run --record FILE`):
    headroom explain --replay FILE
")]
pub struct ExplainArgs {
    /// Which: its id, or the beginning of it that no other has; or `last`
    #[arg(value_name = "ID", default_value = "last")]
    pub id: String,
    /// Explain what is in a recording, instead of what this host's agent saw
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Print the incident as a JSON object
    #[arg(long)]
    pub json: bool,
    /// See there
    #[command(flatten)]
    pub settings: Settings,
}

/// Finds the incident and prints it.
///
/// # Errors
/// If there is none of that id, or several.
pub fn run(args: &ExplainArgs, config: &Config) -> Result<(), Failure> {
    let incident = match &args.replay {
        Some(recording) => find(&recorded(recording)?, &args.id).cloned(),
        None => written(config, &args.id)?.ok_or_else(|| absent(&args.id)),
    };
    let incident = incident.map_err(|why| {
        Failure::new(Exit::Failure, anyhow!("{why}")).hint("`headroom incidents` lists those of this host's journal")
    })?;
    let text = if args.json {
        serde_json::to_string_pretty(&incident).context("write JSON")? + "\n"
    } else {
        let out = stdout();
        let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        page::page(&incident, width(), colour)
    };
    super::print(&text)
}

/// The incident of the journal that is meant.
fn written(config: &Config, id: &str) -> Result<Option<Incident>, Failure> {
    let reader = super::journal::open(config)?;
    Ok(if id == LAST { reader.last_incident()? } else { reader.incident(id)? })
}

fn absent(id: &str) -> String {
    if id == LAST { "there was no incident".to_owned() } else { format!("there is no incident {id}") }
}

/// The incidents of a recording, each as it was told last.
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

/// The incident that is meant.
///
/// # Errors
/// Why none is.
fn find<'a>(incidents: &'a [Incident], id: &str) -> Result<&'a Incident, String> {
    if id == LAST {
        return incidents.iter().max_by(|one, two| one.id.cmp(&two.id)).ok_or_else(|| absent(id));
    }
    let mut found = incidents.iter().filter(|incident| incident.id.starts_with(id));
    match (found.next(), found.next()) {
        (Some(incident), None) => Ok(incident),
        (Some(one), Some(two)) => Err(format!("several incidents begin with {id}: {}, {}, …", one.id, two.id)),
        _ => Err(absent(id)),
    }
}

/// How wide the terminal is.
fn width() -> usize {
    terminal_size::terminal_size().map_or(WIDTH, |(width, _)| width.0.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::Kind;

    #[test]
    fn an_incident_is_found_by_what_it_alone_begins_with() {
        let incidents = ["20261121T1", "20261122T1", "20261122T2"];
        let incidents = incidents.map(|id| Incident::new(Kind::Oom, id.to_owned(), 1));
        let found = |id| find(&incidents, id).map(|incident| &*incident.id);
        assert_eq!(found("last"), Ok("20261122T2"));
        assert_eq!(found("20261121"), Ok("20261121T1"));
        assert!(found("20261122").unwrap_err().starts_with("several incidents begin with 20261122"));
        assert_eq!(found("2027").unwrap_err(), "there is no incident 2027");
        assert_eq!(find(&[], "last").unwrap_err(), "there was no incident");
    }
}
