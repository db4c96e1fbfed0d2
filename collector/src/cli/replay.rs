//! `headroom replay`: feeds a recording through the engine of the agent.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write, stdout};
use std::path::PathBuf;

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
  Replay a damaged recording:
    headroom replay --skip-broken incident.jsonl
")]
pub struct ReplayArgs {
    /// The recording: one sample as JSON on each line
    #[arg(value_name = "FILE")]
    pub recording: PathBuf,
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
                return Err(failure.hint("--skip-broken skips such lines"));
            }
        }
    }
    if args.events {
        for outcome in engine.finish() {
            write_event(&mut out, engine.view().time, &outcome)?;
        }
    }
    if skipped > 0 {
        tracing::warn!("skipped {skipped} lines of {name} that are not samples");
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

#[derive(serde::Serialize)]
struct Event<'a> {
    /// Nanoseconds since the Unix epoch.
    time: u64,
    #[serde(flatten)]
    outcome: &'a Outcome,
}
