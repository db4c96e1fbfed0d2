//! `headroom advise`: what to change on this host, with its evidence; from the agent, or from a recording.

pub mod detail;
pub mod page;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::builder::PossibleValuesParser;
use collector_core::advice::Confidence;
use collector_core::api::suggestions::{AdviceLine, AdviceStatus, SuggestionKind, Suggestions};
use collector_core::engine::Engine;
use collector_core::pattern::Patterns;
use collector_core::recording::{self, Why};
use collector_core::text::shown_json;

use super::act::{Follow, follow};
use super::settings::Settings;
use super::terminal::{colour, width};
use crate::client::{Client, is_absent};
use crate::config::load::Effective;
use crate::exit::{Exit, Failure};

/// Path of advice as JSON.
pub const SUGGESTIONS: &str = "/api/v1/suggestions";

/// List what to change on this host, and why: evidence, what it would have saved, risk, commands
///
/// Asks the running agent, which judges what it sees now and the last days: history and journal. With an ID it shows one advice with all
/// its numbers, the commands to copy, and how each change is undone. Nothing is changed but with --apply, by the actuator (headroom act),
/// within its policy.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Of each advice:
  confidence   high, medium or low; with an ID, what makes it no surer
  risk         low: undone in place, without a restart, and nobody is made to wait; medium: it may slow somebody;
               high: it may stop somebody
  would have saved   OOM kills, stalls (summed over tasks), bytes or watts, in a period that is named, under an assumption that
               is named; absent if that is not known

Examples:
  List what to change, the surest first:
    headroom advise
  Show one with its evidence and the commands; a beginning of its id will do if no other begins so:
    headroom advise memory_limit_raise:docker/web
  List only what is sure, of one workload:
    headroom advise --min-confidence high --workload 'docker/*'
  Have the actuator do it, for an hour; first see what that would write:
    headroom advise memory_limit_raise:docker/web --apply --for 1h --dry-run
  See what became of advice that was followed:
    headroom advise --all
  See what could not be judged, and what is missing:
    headroom advise --lacking
  Print the first command of each, for a script; what belongs into a file is left out:
    headroom advise --json | jq -r '.advice[].actions[0].commands[0] // empty | select(.file == null).text'
")]
pub struct AdviseArgs {
    /// Id of an advice, or a beginning of it that no other has
    #[arg(value_name = "ID", conflicts_with_all = ["workload", "min_confidence", "all", "lacking"])]
    pub id: Option<String>,
    /// List what is about this workload; * matches any text
    #[arg(long, value_name = "NAME")]
    pub workload: Option<String>,
    /// List what is this sure at least
    #[arg(long, value_name = "CONFIDENCE", value_parser = PossibleValuesParser::new(Confidence::LABELS))]
    pub min_confidence: Option<String>,
    /// List what was followed, and what holds no more, too
    #[arg(long)]
    pub all: bool,
    /// List what could not be judged, and what is missing for it
    #[arg(long, conflicts_with_all = ["all", "min_confidence"])]
    pub lacking: bool,
    /// Judge at the end of a recording (headroom run --record) instead of asking the agent
    #[arg(long, value_name = "FILE")]
    pub replay: Option<PathBuf>,
    /// Print JSON: the answer of /api/v1/suggestions with what is listed; with an ID, that advice
    #[arg(long)]
    pub json: bool,
    /// Show times in UTC instead of local time
    #[arg(long)]
    pub utc: bool,
    #[command(flatten)]
    pub follow: Follow,
    #[command(flatten)]
    pub settings: Settings,
}

/// Fails if no advice, or more than one, has this id.
pub fn run(args: &AdviseArgs, effective: &Effective) -> Result<Exit, Failure> {
    let answer = match &args.replay {
        Some(recording) => recorded(recording, effective)?,
        None => ask(effective)?,
    };
    let (width, colour) = (width(), colour());
    if let Some(id) = &args.id {
        let line = answer.find(id).map_err(|why| {
            Failure::new(Exit::Failure, anyhow!("{why}")).hint("run `headroom advise --all` to list what there is")
        })?;
        match args.json {
            _ if args.follow.apply && line.state != AdviceStatus::Holds => {
                let error = anyhow!("{} holds no more: there is nothing to follow", line.advice.id);
                return Err(Failure::new(Exit::Aside, error));
            }
            json if args.follow.apply => return follow(&line.advice, &args.follow, json),
            true => print(line)?,
            false => super::print(&detail::one(line, answer.time, width, args.utc, colour))?,
        }
        return Ok(Exit::Success);
    }
    let filtered = args.workload.is_some() || args.min_confidence.is_some();
    let answer = picked(answer, args);
    match (args.json, args.lacking) {
        (true, _) => print(&answer),
        (false, true) => super::print(&page::lacking(&answer, width, colour)),
        (false, false) => super::print(&page::list(&answer, filtered, width, colour)),
    }?;
    Ok(Exit::Success)
}

fn print(answer: &impl serde::Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(answer).context("write JSON")?;
    super::print(&(shown_json(&json).into_owned() + "\n"))
}

fn ask(effective: &Effective) -> Result<Suggestions, Failure> {
    let body = Client::of(effective)?.page(SUGGESTIONS).map_err(|error| match is_absent(&error) {
        true => Failure::from(error).hint(
            "advice needs an agent that has watched the host: systemctl start headroom; or a recording: --replay FILE",
        ),
        false => Failure::from(error),
    })?;
    Ok(serde_json::from_slice(&body).context("the answer is not from an agent of this version")?)
}

/// As the agent that recorded it would say at the end.
fn recorded(path: &Path, effective: &Effective) -> Result<Suggestions, Failure> {
    let name = path.display();
    let file = File::open(path).with_context(|| format!("open {name}"))?;
    let mut engine = Engine::with(effective.rules.clone());
    for sample in recording::samples(BufReader::new(file)) {
        match sample {
            Ok(sample) => drop(engine.apply(&sample)),
            Err(error) if matches!(error.why, Why::Cut) => tracing::warn!("{name}:{error}"),
            Err(error) => Err(anyhow!("{name}:{error}"))?,
        }
    }
    Ok(Suggestions::of(engine.view()))
}

/// Only what is to be listed, of advice and of what could not be judged.
fn picked(mut answer: Suggestions, args: &AdviseArgs) -> Suggestions {
    let patterns = args.workload.as_ref().map(|pattern| Patterns::new(std::slice::from_ref(pattern)));
    let least = args.min_confidence.as_deref().and_then(Confidence::of);
    let about = |workload: Option<&str>| {
        patterns.as_ref().is_none_or(|patterns| workload.is_some_and(|name| patterns.matches(name)))
    };
    let sure = |confidence: Option<Confidence>| least.is_none_or(|least| confidence.is_some_and(|sure| sure >= least));
    let listed = |line: &AdviceLine| args.all || line.state == AdviceStatus::Holds;
    answer.advice.retain(|line| listed(line) && about(line.workload.as_deref()) && sure(Some(line.advice.confidence)));
    answer.suggestions.retain(|it| {
        let workload = it.labels.get("workload").map(String::as_str);
        about(workload) && (it.kind == SuggestionKind::Alert || sure(it.confidence))
    });
    answer.lacking.retain(|it| patterns.is_none() || about(page::workload(&it.lacking.object)));
    answer
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser, Debug)]
    struct Verb {
        #[command(flatten)]
        args: AdviseArgs,
    }

    fn parsed(arguments: &[&str]) -> Result<AdviseArgs, clap::Error> {
        Verb::try_parse_from(["advise"].iter().chain(arguments)).map(|verb| verb.args)
    }

    #[test]
    fn what_is_listed_is_by_workload_confidence_and_state() {
        let names = |arguments: &[&str]| {
            let answer = picked(page::tests::answer(), &parsed(arguments).unwrap());
            answer.advice.iter().map(|line| line.workload.clone().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["docker/web", "docker/cache"]);
        assert_eq!(names(&["--all"]), ["docker/web", "docker/cache", "db.service", "old.service"]);
        assert_eq!(names(&["--min-confidence", "high"]), ["docker/web"]);
        assert_eq!(names(&["--workload", "*cache"]), ["docker/cache"]);
        let lacking = |arguments: &[&str]| picked(page::tests::answer(), &parsed(arguments).unwrap()).lacking.len();
        assert_eq!([lacking(&["--lacking"]), lacking(&["--lacking", "--workload", "docker/*"])], [2, 1]);
    }

    #[test]
    fn an_id_is_all_that_is_picked() {
        assert!(parsed(&["a", "--all"]).is_err() && parsed(&["--min-confidence", "certain"]).is_err());
        assert_eq!(parsed(&["a:b", "--json"]).unwrap().id.as_deref(), Some("a:b"));
        assert!(parsed(&["--apply"]).is_err() && parsed(&["a:b", "--dry-run"]).is_err());
        assert!(parsed(&["a:b", "--apply", "--replay", "f"]).is_err());
        assert!(parsed(&["a:b", "--apply", "--dry-run", "--for", "1h"]).unwrap().follow.apply);
    }
}
