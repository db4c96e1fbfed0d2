//! `headroom replay`: a recording, fed through the same engine as the live samples were.

use std::path::PathBuf;

use anyhow::anyhow;

use super::exit::Failure;
use super::settings::Settings;
use crate::config::Config;

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
    /// Print the events (OOM kills, stalls, slow or failed IO, …) as JSON lines instead of the metrics
    #[arg(long)]
    pub events: bool,
    /// See there
    #[command(flatten)]
    pub settings: Settings,
}

/// Replays the recording.
pub fn run(args: &ReplayArgs, config: Config) -> Result<(), Failure> {
    let _ = (args, config);
    Err(anyhow!("replay: not built yet").into())
}
