//! `headroom run`: the agent itself.

use std::path::PathBuf;

use super::settings::Settings;
use crate::agent::{self, Options};
use crate::config::load::Effective;
use crate::exit::Failure;

/// Measure this host and serve what is found, until told to stop
///
/// Attaches the eBPF programs, reads their counters every tick, and serves /metrics. SIGTERM or Ctrl-C detaches
/// everything and ends it. Needs root, or the capabilities that `headroom doctor` names.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = after())]
pub struct RunArgs {
    /// Write every sample to FILE, a JSON line each, for `headroom replay`
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// See there
    #[command(flatten)]
    pub settings: Settings,
}

/// Runs the agent until it is told to stop.
pub fn run(args: &RunArgs, effective: &Effective) -> Result<(), Failure> {
    agent::run(effective, &Options { record: args.record.clone() })
}

fn after() -> String {
    format!(
        "Examples:
  Serve on 127.0.0.1:9843, with the settings of /etc/headroom/headroom.toml if it exists:
    headroom run
  On every address, reading the counters every five seconds:
    headroom run --listen 0.0.0.0:9843 --tick 5s
  Keep everything that was seen, and look at it again elsewhere:
    headroom run --record incident.jsonl
    headroom replay incident.jsonl
  Without the page fault probes (every key has such a variable):
    HEADROOM_KERNEL_DISABLE=fault headroom run

Exit status:
{}",
        crate::exit::table()
    )
}
