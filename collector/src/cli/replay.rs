//! `headroom replay`: feeds a recording through the engine of the agent.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write, stdout};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, anyhow};
use collector_core::engine::Engine;
use collector_core::outcome::Outcome;
use collector_core::recording::{self, Why};
use collector_core::rule::Rules;
use collector_core::sample::Sample;
use collector_core::what_if::{Change, WhatIf};

use super::settings::Settings;
use crate::config::load::Effective;
use crate::exit::{Exit, Failure};
use crate::exposition::{self, Format};

/// Replay a recording and print its final metrics, its events, or what would have been otherwise
///
/// Reads a file of `headroom run --record` and feeds it through the agent's engine. Needs no privileges and no eBPF, so
/// it works on any machine. The same recording always gives the same output.
///
/// With --what-if it says what would have become of each OOM kill, of waits for memory and of requests for room if a limit had been
/// another one, if there had been more swap, or if something had not run; under which assumptions, and what the recording does not show.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  Print the metrics as they were at the end of the recording:
    headroom replay incident.jsonl
  Print every event:
    headroom replay --events incident.jsonl
  Replay a recording that went on in a second file:
    headroom replay incident.jsonl incident.jsonl.2
  Replay a damaged recording:
    headroom replay --skip-broken incident.jsonl
  Whether a larger limit would have averted the kill, or a neighbour that did not run:
    headroom replay incident.jsonl --what-if 'limit docker/web 20GiB'
    headroom replay incident.jsonl --what-if 'without docker/batch'
")]
pub struct ReplayArgs {
    /// The recording: one sample as JSON on each line. Several files, none of them a pipe, are one recording, in the order of their first samples
    #[arg(value_name = "FILE", required = true)]
    pub recordings: Vec<PathBuf>,
    /// Skip lines that are not samples and report their number, instead of stopping at the first
    #[arg(long)]
    pub skip_broken: bool,
    /// Print events (OOM kills, stalls, slow or failed IO, incidents, alerts) as JSON lines instead of metrics
    #[arg(long)]
    pub events: bool,
    /// Say what would have been if: limit WORKLOAD SIZE|none, swap SIZE, low WORKLOAD SIZE, without WORKLOAD, start SIZE [in WORKLOAD]
    #[arg(long, value_name = "CHANGE", conflicts_with = "events", value_parser = Change::parse)]
    pub what_if: Option<Change>,
    /// With --what-if: print JSON
    #[arg(long, requires = "what_if")]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
}

/// Fails at the first line that is not a sample, unless such lines are skipped. A last line that was cut off only gives a
/// warning: the recording of a killed agent ends like that.
pub fn run(args: &ReplayArgs, Effective { config, rules, .. }: Effective) -> Result<(), Failure> {
    let mut out = BufWriter::new(stdout().lock());
    if let Some(change) = &args.what_if {
        return suppose(args, change, &rules);
    }
    let mut engine = Engine::with(rules);
    for path in ordered(&args.recordings)? {
        play(args, path, &mut |sample| {
            for outcome in engine.apply(sample) {
                if args.events && !matches!(outcome, Outcome::History(_) | Outcome::Learned(_) | Outcome::Answer(_)) {
                    write_event(&mut out, sample.time, &outcome)?;
                }
            }
            Ok(())
        })?;
    }
    if args.events {
        for outcome in engine.finish() {
            write_event(&mut out, engine.view().time, &outcome)?;
        }
    } else {
        let metrics = exposition::render(engine.view(), Format::OpenMetrics, config.metrics.cap());
        out.write_all(metrics.text.as_bytes()).context("write the metrics")?;
    }
    out.flush().context("write to standard output")?;
    Ok(())
}

/// The files by the time of their first samples. One without a sample comes first, so that it is complained about.
fn ordered(paths: &[PathBuf]) -> Result<Vec<&PathBuf>, Failure> {
    // What is read from a pipe is gone.
    if let [only] = paths {
        return Ok(vec![only]);
    }
    let mut dated = Vec::new();
    for path in paths {
        let first = recording::samples(BufReader::new(open(path)?)).find_map(Result::ok);
        dated.push((first.map(|sample| sample.time), path));
    }
    dated.sort_by_key(|(time, _)| *time);
    Ok(dated.into_iter().map(|(_, path)| path).collect())
}

fn open(path: &Path) -> Result<File, Failure> {
    Ok(File::open(path).with_context(|| format!("open {}", path.display()))?)
}

/// Feeds one file to `fold`.
fn play(args: &ReplayArgs, path: &Path, fold: &mut dyn FnMut(&Sample) -> anyhow::Result<()>) -> Result<(), Failure> {
    let name = path.display();
    let mut skipped = 0u64;
    for sample in recording::samples(BufReader::new(open(path)?)) {
        match sample {
            Ok(sample) => fold(&sample)?,
            Err(error) if matches!(error.why, Why::Cut) => tracing::warn!("{name}:{error}"),
            Err(error) if args.skip_broken && matches!(error.why, Why::Parse(_)) => skipped += 1,
            Err(error) => {
                let failure = Failure::new(Exit::Failure, anyhow!("{name}:{error}"));
                return Err(failure.hint("--skip-broken skips such lines"));
            }
        }
    }
    if skipped > 0 {
        tracing::warn!("skipped {skipped} lines of {name} that are not samples");
    }
    Ok(())
}

/// Two engines fold the recording: one as it is, and one as it would have been.
fn suppose(args: &ReplayArgs, change: &Change, rules: &Arc<Rules>) -> Result<(), Failure> {
    let mut judge = WhatIf::new(change.clone());
    let [mut engine, mut other] = [rules, rules].map(|rules| Engine::with(rules.clone()));
    for path in ordered(&args.recordings)? {
        play(args, path, &mut |sample| {
            let otherwise = judge.alter(sample).map(|altered| other.apply(&altered)).unwrap_or_default();
            let told = engine.apply(sample);
            judge.see(sample, engine.view(), &told, &otherwise);
            Ok(())
        })?;
    }
    let told = engine.finish();
    judge.told(engine.view(), &told);
    let report = judge.finish(engine.view());
    let text = match args.json {
        true => serde_json::to_string_pretty(&report).context("write JSON")? + "\n",
        false => report.text(),
    };
    super::print(&text)
}

fn write_event(out: &mut impl Write, time: u64, outcome: &Outcome) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, &Event { time, outcome }).context("write an event")?;
    writeln!(out).context("write an event")
}

#[derive(serde::Serialize)]
struct Event<'a> {
    /// Nanoseconds since the Unix epoch.
    time: u64,
    #[serde(flatten)]
    outcome: &'a Outcome,
}
