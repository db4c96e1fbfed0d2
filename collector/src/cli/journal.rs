//! `headroom alerts`, `incidents` and `events`: read from the journal, with or without a running agent.

use std::fmt::Write as _;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Context as _;
use collector_core::alert::{Alert, State};
use collector_core::incident::Incident;
use collector_core::text::{shown, shown_json};
use serde::Serialize;

use super::pick::{Pick, workload};
use super::print;
use super::sentence::sentence;
use super::settings::Settings;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::sink::journal::Reader;
use crate::sink::journal::read::Event;

/// How often `events --follow` reads the journal.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Events in one read.
const PAGE: usize = 1000;

/// List alerts that fire; with --all, recent alerts and their deliveries
///
/// Reads the journal, so it works without a running agent. After the agent has stopped it shows the alerts that fired
/// at that moment.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  List alerts that fire now:
    headroom alerts
  List recent alerts, resolved ones included, with the delivery to each receiver:
    headroom alerts --all
  Those of a workload since this morning:
    headroom alerts --all --workload docker/vllm --since 2026-11-20T08:00
  Print the names of the firing alerts, for a script:
    headroom alerts --json | jq -r '.[].alert'
")]
pub struct AlertsArgs {
    /// List recent alerts, resolved ones included, and the state of each delivery: pending, delivered, refused or dropped
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub pick: Pick,
    /// Print a JSON array instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

/// List recent incidents: OOM kills, kills by others under memory pressure, memory and IO pressure, lost GPUs
///
/// `headroom explain ID` shows one of them in full. Reads the journal, so it works without a running agent.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  List incidents, the newest last:
    headroom incidents
  Those of the last two hours:
    headroom incidents --since 2h
  Print the last one with all its evidence:
    headroom incidents --limit 1 --json
")]
pub struct IncidentsArgs {
    #[command(flatten)]
    pub pick: Pick,
    /// Print a JSON array with all evidence instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

/// List recent events: alerts, incidents, changes of levels, OOM kills, kills by others, stalls, slow or failed IO
///
/// Reads the journal, so it works without a running agent; with --follow, new events need one. With --exec it follows the agent's socket
/// instead, which is for everybody: alerts, incidents, changes of levels, and which of one's own reservations are to be given up.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  List events, the newest last:
    headroom events
  Print new events as they happen:
    headroom events --follow
  Let a cached model go when its room is wanted:
    headroom events --follow --kind eviction --exec '[ $EVENT_STATE != asked ] || { ./unload && headroom release $EVENT_RESERVATION; }'
  Select every slow IO, for a script:
    headroom events --json --limit 100000 | jq 'select(.slow_io)'
")]
pub struct EventsArgs {
    /// Print new events as they happen, until interrupted
    #[arg(short, long)]
    pub follow: bool,
    /// Run this command line for each new event, one after the other, by /bin/sh
    ///
    /// The event is JSON at its standard input; EVENT_KIND and EVENT_ID say which it is, and for an eviction EVENT_STATE (asked, ended,
    /// spared), EVENT_RESERVATION, EVENT_CLAIM, EVENT_UNTIL (seconds since the Unix epoch), EVENT_HOST_BYTES and EVENT_VRAM_BYTES. A
    /// signal ends a command that runs, and then this. The exit code is 1 if a command failed, otherwise 0.
    #[arg(long, value_name = "COMMAND", requires = "follow", conflicts_with_all = ["json", "limit", "since", "workload", "utc"])]
    pub exec: Option<String>,
    /// Run it only for events of this kind: alert, incident, level or eviction
    #[arg(long, value_name = "KIND", requires = "exec", value_parser = ["alert", "incident", "level", "eviction"])]
    pub kind: Vec<String>,
    /// End a command that runs for longer
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "5m", requires = "exec")]
    pub exec_timeout: Duration,
    #[command(flatten)]
    pub pick: Pick,
    /// Print one JSON line for each event instead of text
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

/// Opens the journal that the configuration names.
pub fn open(config: &Config) -> Result<Reader, Failure> {
    let dir: &Path = &config.journal.dir;
    Reader::open(dir).map_err(|error| {
        let missing = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        let hint = match missing {
            Some(std::io::ErrorKind::NotFound) => {
                "`headroom run` creates the journal; set `journal.dir` or --journal-dir if it is in another folder"
            }
            Some(std::io::ErrorKind::PermissionDenied) => {
                "run this command as root, or as a user with read permission for the journal"
            }
            _ => "restart the agent: it renames a broken journal and creates a new one",
        };
        Failure::new(Exit::Failure, error).hint(hint)
    })
}

pub fn alerts(args: &AlertsArgs, config: &Config) -> Result<(), Failure> {
    let (reader, pick) = (open(config)?, &args.pick);
    let wants = |alert: &Alert| pick.wants(alert.labels.get("workload").map(String::as_str));
    if !args.all {
        let mut firing = reader.firing()?;
        // What fires now happens now, whenever it began.
        firing.retain(wants);
        firing.drain(..firing.len().saturating_sub(pick.limit));
        if args.json {
            return print(&json(&firing)?);
        }
        return match firing.is_empty() {
            true if pick.workload.is_some() => print("no alert of such a workload fires\n"),
            true => print("no alert fires\n"),
            false => print(&firing.iter().map(|alert| line(alert, alert.started, pick)).collect::<String>()),
        };
    }
    let stored = reader.alerts_where(pick.from(), pick.limit, wants)?;
    if args.json {
        return print(&json(&stored)?);
    }
    let mut text = String::new();
    for stored in &stored {
        text += &line(&stored.alert, stored.time, pick);
        let deliveries: Vec<_> = stored.deliveries.iter().map(|it| format!("{} {}", it.sink, it.state)).collect();
        if !deliveries.is_empty() {
            let _ = writeln!(text, "{:<32}{}", "", deliveries.join(", "));
        }
    }
    print(if text.is_empty() { "no alert is recorded\n" } else { &text })
}

pub fn incidents(args: &IncidentsArgs, config: &Config) -> Result<(), Failure> {
    let pick = &args.pick;
    let wants = |incident: &Incident| pick.wants(incident.labels.get("workload").map(String::as_str));
    let incidents = open(config)?.incidents_where(pick.from(), pick.limit, wants)?;
    if args.json {
        return print(&json(&incidents)?);
    }
    let line = |incident: &Incident| {
        let Incident { id, title, .. } = incident;
        format!("{}  {id:<16} {:<16} {}\n", pick.moment(incident.time), incident.kind.name(), shown(title))
    };
    let text: String = incidents.iter().map(line).collect();
    print(if text.is_empty() { "no incident is recorded\n" } else { &text })
}

pub fn events(args: &EventsArgs, config: &Config) -> Result<(), Failure> {
    let (mut reader, pick) = (open(config)?, &args.pick);
    let from = pick.from();
    let wants = |event: &Event| event.time >= from && pick.wants(event.what.values().find_map(workload));
    // Before the first look: what is written during it comes later.
    let mut last = reader.last_id()?;
    let mut events = reader.events_where(from, pick.limit, wants)?;
    if events.is_empty() && !args.follow {
        return print(if args.json { "" } else { "no event is recorded\n" });
    }
    loop {
        for event in &events {
            last = last.max(event.id);
            if !wants(event) {
                continue;
            }
            print(&match args.json {
                true => shown_json(&serde_json::to_string(event).context("write JSON")?).into_owned() + "\n",
                false => told(event, pick),
            })?;
        }
        if !args.follow {
            return Ok(());
        }
        if events.len() < PAGE {
            sleep(POLL_INTERVAL);
        }
        events = match reader.events_after(last, PAGE) {
            Ok(events) => events,
            // The agent renamed a broken journal, or somebody removed it: the agent creates a new one.
            Err(_) => {
                reader = open(config)?;
                Vec::new()
            }
        };
    }
}

fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(shown_json(&serde_json::to_string_pretty(value).context("write JSON")?).into_owned() + "\n")
}

fn line(alert: &Alert, at: u64, pick: &Pick) -> String {
    let state = match alert.state {
        State::Firing => alert.severity.label(),
        State::Resolved => "resolved",
    };
    let labels: Vec<_> = alert.labels.values().map(String::as_str).collect();
    let of = if labels.is_empty() { String::new() } else { format!(" ({})", labels.join(", ")) };
    // An older version may have written names as they were.
    shown(&format!("{}  {state:<10}{}{of}: {}", pick.moment(at), alert.alert, alert.summary)).into_owned() + "\n"
}

/// An event as one line.
fn told(event: &Event, pick: &Pick) -> String {
    let mut text = pick.moment(event.time);
    for (kind, what) in &event.what {
        let _ = write!(text, "  {kind:<18} {}", sentence(kind, what));
    }
    shown(&text).into_owned() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::test::alert;
    use serde_json::{Value, json};

    const UTC: Pick = Pick { limit: 100, since: None, workload: None, utc: true };

    fn event(what: Value) -> String {
        let Value::Object(what) = what else { panic!("{what}") };
        told(&Event { id: 1, time: 1_700_000_000_000_000_000, what }, &UTC)
    }

    #[test]
    fn an_event_is_a_line_with_its_title_or_its_fields() {
        let io =
            json!({"slow_io": {"workload": "a.service", "device": "sda", "io": {"bytes": 4096, "time": 1}, "x": null}});
        assert_eq!(event(io), "2023-11-14T22:13:20Z  slow_io            device=sda bytes=4096 workload=a.service\n");
        let incident = json!({"incident": {"id": "i-1", "title": "it was killed", "time": 5}});
        assert_eq!(event(incident), "2023-11-14T22:13:20Z  incident           i-1: it was killed\n");
        let alert = json!({"alert": {"alert": "Hot", "state": "firing", "summary": "it is hot"}});
        assert_eq!(event(alert), "2023-11-14T22:13:20Z  alert              Hot firing: it is hot\n");
    }

    #[test]
    fn names_of_an_older_journal_neither_control_a_terminal_nor_add_fields_or_lines() {
        let stall = json!({"stall": {"comm": "a\u{1b}[2J\r\n\u{202e}", "workload": "x kills=9 \"y"}});
        let line = event(stall);
        assert!(line.ends_with(" comm=a\\x1b[2J\\x0d\\x0a\\xe2\\x80\\xae workload=\"x kills=9 \\\"y\"\n"), "{line}");
        let incident = event(json!({"incident": {"id": "i-1", "title": "\n\u{9b}2J\u{200b}"}}));
        assert_eq!(incident, "2023-11-14T22:13:20Z  incident           i-1: \\x0a\\xc2\\x9b2J\\xe2\\x80\\x8b\n");
        let mut hot = alert("Hot", 1_700_000_000_000_000_000);
        hot.summary = "a\u{1b}]0;b\u{7}".into();
        assert!(super::line(&hot, hot.fired, &UTC).ends_with("a\\x1b]0;b\\x07\n"));
        assert!(super::json(&hot).unwrap().contains(r"a\u001b]0;b\u0007"));
    }

    #[test]
    fn an_alert_is_a_line_with_its_label_values() {
        let alert = alert("Hot", 1_700_000_000_000_000_000);
        assert_eq!(line(&alert, alert.fired, &UTC), "2023-11-14T22:13:20Z  warning   Hot (w): it is so\n");
    }

    #[test]
    fn a_missing_journal_is_an_error_with_its_path_and_a_hint() {
        let mut config = Config::default();
        config.journal.dir = "/nowhere/at/all".into();
        let failure = open(&config).err().unwrap().to_string();
        assert!(failure.contains("open the journal /nowhere/at/all/journal.db"), "{failure}");
        assert!(failure.contains("No such file") && failure.contains("--journal-dir"), "{failure}");
    }
}
