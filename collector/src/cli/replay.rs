//! `headroom replay`: feeds a recording through the engine that also takes the live samples.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write, stdout};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};

use super::settings::Settings;
use crate::config::load::Effective;
use crate::engine::Engine;
use crate::exit::{Exit, Failure};
use crate::exposition::{self, Format};
use crate::outcome::Outcome;
use crate::recording::{self, Why};

/// Feed a recording through the engine and print the metrics at its end
///
/// Reads what `headroom run --record` wrote. Needs no privileges and no eBPF: a recording can be looked at on any
/// machine. The same recording always gives the same metrics.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  The metrics as they stood at the end of the recording:
    headroom replay incident.jsonl
  What happened, event by event:
    headroom replay --events incident.jsonl
  A recording that was cut off while it was written:
    headroom replay --skip-broken incident.jsonl
")]
pub struct ReplayArgs {
    /// The recording: a JSON line a sample
    #[arg(value_name = "FILE")]
    pub recording: PathBuf,
    /// Skip the lines that are not samples, and say how many there were, instead of stopping at the first
    #[arg(long)]
    pub skip_broken: bool,
    /// Print the events (OOM kills, stalls, slow or failed IO, alerts, …) as JSON lines instead of the metrics
    #[arg(long)]
    pub events: bool,
    /// See there
    #[command(flatten)]
    pub settings: Settings,
}

/// Replays the recording.
///
/// # Errors
/// At the first line that is not a sample, unless such lines are skipped. A last line that was cut off only gives a warning:
/// that is how the recording of a killed agent ends.
pub fn run(args: &ReplayArgs, Effective { config, rules, .. }: Effective) -> Result<(), Failure> {
    let name = args.recording.display();
    let file = File::open(&args.recording).with_context(|| format!("open {name}"))?;
    let mut out = BufWriter::new(stdout().lock());
    let mut engine = Engine::with(rules);
    let mut skipped = 0u64;
    for sample in recording::samples(BufReader::new(file)) {
        match sample {
            Ok(sample) => {
                for outcome in engine.apply(&sample) {
                    if args.events {
                        write_event(&mut out, sample.time, &outcome)?;
                    }
                }
            }
            Err(error) if matches!(error.why, Why::Cut) => tracing::warn!("{name}:{error}"),
            Err(error) if args.skip_broken && matches!(error.why, Why::Parse(_)) => skipped += 1,
            Err(error) => {
                let failure = Failure::new(Exit::Failure, anyhow!("{name}:{error}"));
                return Err(failure.hint("--skip-broken goes on without such lines"));
            }
        }
    }
    if args.events {
        for outcome in engine.finish() {
            write_event(&mut out, engine.view().time, &outcome)?;
        }
    }
    if skipped > 0 {
        tracing::warn!("{skipped} lines of {name} are no samples");
    }
    if !args.events {
        let metrics = exposition::render(engine.view(), Format::OpenMetrics, config.metrics.max_series);
        out.write_all(metrics.text.as_bytes()).context("write the metrics")?;
    }
    out.flush().context("write to standard output")?;
    Ok(())
}

fn write_event(out: &mut impl Write, time: u64, outcome: &Outcome) -> anyhow::Result<()> {
    serde_json::to_writer(&mut *out, &Event { time, outcome }).context("write an event")?;
    writeln!(out).context("write an event")
}

/// An event as a JSON line.
#[derive(serde::Serialize)]
struct Event<'a> {
    /// Nanoseconds since the Unix epoch.
    time: u64,
    #[serde(flatten)]
    outcome: &'a Outcome,
}
