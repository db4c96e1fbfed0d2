//! `headroom replay`: feeds a recording through the engine of the agent.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write, stdout};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use collector_core::engine::Engine;
use collector_core::outcome::Outcome;
use collector_core::recording::{self, Why};

use super::settings::Settings;
use crate::config::load::Effective;
use crate::exit::{Exit, Failure};
use crate::exposition::{self, Format};

/// Replay a recording and print its final metrics or its events
///
/// Reads a file of `headroom run --record` and feeds it through the agent's engine. Needs no privileges and no eBPF, so
/// it works on any machine. The same recording always gives the same output.
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
    #[command(flatten)]
    pub settings: Settings,
}

/// Fails at the first line that is not a sample, unless such lines are skipped. A last line that was cut off only gives a
/// warning: the recording of a killed agent ends like that.
pub fn run(args: &ReplayArgs, Effective { config, rules, .. }: Effective) -> Result<(), Failure> {
    let mut out = BufWriter::new(stdout().lock());
    let mut engine = Engine::with(rules);
    for path in ordered(&args.recordings)? {
        play(args, path, &mut engine, &mut out)?;
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

fn play(args: &ReplayArgs, path: &Path, engine: &mut Engine, out: &mut impl Write) -> Result<(), Failure> {
    let name = path.display();
    let mut skipped = 0u64;
    for sample in recording::samples(BufReader::new(open(path)?)) {
        match sample {
            Ok(sample) => {
                for outcome in engine.apply(&sample) {
                    if args.events && !matches!(outcome, Outcome::History(_) | Outcome::Learned(_) | Outcome::Answer(_))
                    {
                        write_event(out, sample.time, &outcome)?;
                    }
                }
            }
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
