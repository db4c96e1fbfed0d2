//! `headroom alerts`, `incidents` and `events`: what the journal says, with or without an agent that runs.

use std::fmt::Write as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

use super::print;
use super::settings::Settings;
use crate::alert::{Alert, State};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::sink::journal::Reader;
use crate::sink::journal::read::Event;

/// How often `events -f` looks.
const LOOK: Duration = Duration::from_millis(500);

/// Events that are read in one go.
const PAGE: usize = 1000;

/// Say which alerts fire, or which there were
///
/// Reads the journal: it needs no agent that runs, and after one has ended shows what fired then.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  What fires now:
    headroom alerts
  What fired and resolved of late, and who was told:
    headroom alerts --all
  The names of what fires, for a script:
    headroom alerts --json | jq -r '.[].alert'
")]
pub struct AlertsArgs {
    /// Show all of late, those that resolved included, and what became of each on its way to each receiver
    #[arg(long)]
    pub all: bool,
    /// How many of these
    #[arg(long, value_name = "N", default_value_t = 100, requires = "all")]
    pub limit: usize,
    /// Print one JSON array instead of text
    #[arg(long)]
    pub json: bool,
    /// See there
    #[command(flatten)]
    pub settings: Settings,
}

/// List the incidents of late: OOM kills, pressure and the like, each with what explains it
///
/// Reads the journal: it needs no agent that runs.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  What happened, the newest last:
    headroom incidents
  The last one in full:
    headroom incidents --limit 1 --json
")]
pub struct IncidentsArgs {
    /// How many, of the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// Print one JSON array, with all the evidence, instead of text
    #[arg(long)]
    pub json: bool,
    /// See there
    #[command(flatten)]
    pub settings: Settings,
}

/// List the events of late: alerts, incidents, OOM kills, stalls, slow or failed IO
///
/// Reads the journal: it needs no agent that runs, unless new ones are to come.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  What happened, the newest last:
    headroom events
  And what happens from now on:
    headroom events --follow
  Every slow IO, for a script:
    headroom events --json --limit 100000 | jq 'select(.slow_io)'
")]
pub struct EventsArgs {
    /// Go on with new ones as they come, until stopped
    #[arg(short, long)]
    pub follow: bool,
    /// How many, of the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: usize,
    /// Print a JSON line for each instead of text
    #[arg(long)]
    pub json: bool,
    /// See there
    #[command(flatten)]
    pub settings: Settings,
}

/// The journal that the configuration names.
pub fn open(config: &Config) -> Result<Reader, Failure> {
    let dir: &Path = &config.journal.dir;
    Reader::open(dir).map_err(|error| {
        let missing = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let hint = match missing {
            Some(std::io::ErrorKind::NotFound) => {
                "`headroom run` makes it; if it is elsewhere, say where with `journal.dir` or --journal-dir"
            }
            Some(std::io::ErrorKind::PermissionDenied) => "try it as root, or as a user who may read it",
            _ => "an agent that starts sets a broken journal aside and begins a new one",
        };
        Failure::new(Exit::Failure, error).hint(hint)
    })
}

/// Shows alerts.
pub fn alerts(args: &AlertsArgs, config: &Config) -> Result<(), Failure> {
    let reader = open(config)?;
    if !args.all {
        let firing = reader.firing()?;
        if args.json {
            return print(&json(&firing)?);
        }
        return match firing.is_empty() {
            true => print("nothing fires\n"),
            false => print(&firing.iter().map(|alert| line(alert, alert.started)).collect::<String>()),
        };
    }
    let told = reader.alerts(args.limit)?;
    if args.json {
        return print(&json(&told)?);
    }
    let mut text = String::new();
    for told in &told {
        text += &line(&told.alert, told.time);
        let deliveries: Vec<_> = told.deliveries.iter().map(|it| format!("{} {}", it.sink, it.state)).collect();
        if !deliveries.is_empty() {
            let _ = writeln!(text, "{:<32}{}", "", deliveries.join(", "));
        }
    }
    print(if text.is_empty() { "there was no alert\n" } else { &text })
}

/// Lists incidents.
pub fn incidents(args: &IncidentsArgs, config: &Config) -> Result<(), Failure> {
    let incidents = open(config)?.incidents(args.limit)?;
    if args.json {
        return print(&json(&incidents)?);
    }
    let line = |incident: &crate::incident::Incident| {
        format!("{}  {:<16} {:<16} {}\n", time(incident.time), incident.id, incident.kind.name(), incident.title)
    };
    let text: String = incidents.iter().map(line).collect();
    print(if text.is_empty() { "there was no incident\n" } else { &text })
}

/// Lists events, and goes on if that is wanted.
pub fn events(args: &EventsArgs, config: &Config) -> Result<(), Failure> {
    let mut reader = open(config)?;
    let mut events = reader.last_events(args.limit)?;
    if events.is_empty() && !args.follow {
        return print(if args.json { "" } else { "there was no event\n" });
    }
    let mut last = reader.last_id()?;
    loop {
        for event in &events {
            last = last.max(event.id);
            print(&match args.json {
                true => serde_json::to_string(event).context("write JSON")? + "\n",
                false => sentence(event),
            })?;
        }
        if !args.follow {
            return Ok(());
        }
        if events.len() < PAGE {
            sleep(LOOK);
        }
        events = match reader.events_after(last, PAGE) {
            Ok(events) => events,
            // The agent set the journal aside, or somebody removed it: a new one comes.
            Err(_) => {
                reader = open(config)?;
                Vec::new()
            }
        };
    }
}

fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value).context("write JSON")? + "\n")
}

/// `2026-11-21T14:55:13Z`.
fn time(ns: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_nanos(ns)).to_string()
}

fn line(alert: &Alert, at: u64) -> String {
    let state = match alert.state {
        State::Firing => alert.severity.label(),
        State::Resolved => "resolved",
    };
    let labels: Vec<_> = alert.labels.values().map(String::as_str).collect();
    let of = if labels.is_empty() { String::new() } else { format!(" ({})", labels.join(", ")) };
    format!("{}  {state:<10}{}{of}: {}\n", time(at), alert.alert, alert.summary)
}

/// An event in a line: the words of those that have some, the fields of the others.
fn sentence(event: &Event) -> String {
    let mut text = time(event.time);
    for (kind, what) in &event.what {
        let _ = write!(text, "  {kind:<18}");
        let words = ["title", "summary"].iter().find_map(|name| what.get(name)?.as_str());
        match words {
            Some(words) => {
                let names = ["id", "alert", "state"].iter().filter_map(|name| what.get(name)?.as_str());
                let _ = write!(text, " {}: {words}", names.collect::<Vec<_>>().join(" "));
            }
            None => fields(what, &mut text),
        }
    }
    text.push('\n');
    text
}

/// Every field with a value, those of nested objects among them: ` name=value name=value`.
fn fields(value: &Value, text: &mut String) {
    let Value::Object(object) = value else { return };
    for (name, value) in object {
        match value {
            Value::Null => {}
            Value::Object(_) => fields(value, text),
            Value::Array(items) if items.is_empty() => {}
            Value::String(word) => drop(write!(text, " {name}={word}")),
            // When it was, begins the line.
            Value::Number(_) if name == "time" => {}
            other => drop(write!(text, " {name}={other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test::alert;
    use serde_json::json;

    fn event(what: Value) -> String {
        let Value::Object(what) = what else { panic!("{what}") };
        sentence(&Event { id: 1, time: 1_700_000_000_000_000_000, what })
    }

    #[test]
    fn an_event_is_a_line_of_words_or_of_fields() {
        let io =
            json!({"slow_io": {"workload": "a.service", "device": "sda", "io": {"bytes": 4096, "time": 1}, "x": null}});
        assert_eq!(event(io), "2023-11-14T22:13:20Z  slow_io            device=sda bytes=4096 workload=a.service\n");
        let incident = json!({"incident": {"id": "i-1", "title": "it was killed", "time": 5}});
        assert_eq!(event(incident), "2023-11-14T22:13:20Z  incident           i-1: it was killed\n");
        let alert = json!({"alert": {"alert": "Hot", "state": "firing", "summary": "it is hot"}});
        assert_eq!(event(alert), "2023-11-14T22:13:20Z  alert              Hot firing: it is hot\n");
    }

    #[test]
    fn an_alert_is_a_line_with_whom_it_befell() {
        let alert = alert("Hot", 1_700_000_000_000_000_000);
        assert_eq!(line(&alert, alert.fired), "2023-11-14T22:13:20Z  warning   Hot (w): it is so\n");
    }

    #[test]
    fn without_a_journal_it_says_where_none_is_and_what_makes_one() {
        let mut config = Config::default();
        config.journal.dir = "/nowhere/at/all".into();
        let failure = open(&config).err().unwrap().to_string();
        assert!(failure.contains("the journal /nowhere/at/all/journal.db"), "{failure}");
        assert!(failure.contains("No such file") && failure.contains("--journal-dir"), "{failure}");
    }
}
