//! `headroom run`: starts the agent.

use std::path::PathBuf;

use super::settings::Settings;
use crate::agent::{self, Options};
use crate::config::load::Effective;
use crate::exit::Failure;

/// Run the agent: measure this host, serve metrics, raise alerts
///
/// Attaches the eBPF programs, reads counters every tick, serves /metrics, evaluates the alert rules, and writes the
/// journal. Runs in the foreground until SIGTERM or Ctrl-C, and then detaches everything. Needs root, or the
/// capabilities that `headroom doctor` names.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = after())]
pub struct RunArgs {
    /// Record every sample to FILE as JSON lines, for `headroom replay`; replaces FILE
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    #[command(flatten)]
    pub settings: Settings,
}

pub fn run(args: &RunArgs, effective: &Effective) -> Result<(), Failure> {
    agent::run(effective, &Options { record: args.record.clone() })
}

fn after() -> String {
    format!(
        "Examples:
  Serve on 127.0.0.1:9843, with /etc/headroom/headroom.toml if it exists:
    headroom run
  Listen on all addresses and read counters every five seconds:
    headroom run --listen 0.0.0.0:9843 --tick 5s
  Record everything, and replay it on another machine:
    headroom run --record incident.jsonl
    headroom replay incident.jsonl
  Do not attach the page fault probes (every setting has such a variable):
    HEADROOM_KERNEL_DISABLE=fault headroom run

Exit status:
{}",
        crate::exit::table()
    )
}
