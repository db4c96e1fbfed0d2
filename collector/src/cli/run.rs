//! `headroom run`: starts the agent.

use std::path::PathBuf;
use std::sync::Arc;

use super::settings::Settings;
use crate::agent::{self, Options};
use crate::config::load::Effective;
use crate::exit::Failure;

/// Run the agent: measure this host, serve metrics, raise alerts
///
/// Attaches the eBPF programs, reads counters every tick, serves /metrics, evaluates the alert rules, and writes the
/// journal. Runs in the foreground until SIGTERM or Ctrl-C, and then detaches everything. SIGHUP makes it read rules,
/// receivers with their secrets, limits of [level], [admission] and [guard], and the level of the log again; the log names changes that
/// need a restart. Needs root, or the capabilities that `headroom doctor` names.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = after())]
pub struct RunArgs {
    /// Record every sample to FILE as JSON lines, for `headroom replay`; replaces FILE
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Most bytes of the recording: at half of them it goes on in FILE.2, and so by turns
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30, value_parser = clap::value_parser!(u64).range(1 << 20..))]
    pub record_max_bytes: u64,
    #[command(flatten)]
    pub settings: Settings,
}

pub fn run(args: &RunArgs, effective: &Effective) -> Result<(), Failure> {
    let settings = args.settings.clone();
    let read: agent::Read = Arc::new(move || settings.load());
    let (record, record_max_bytes) = (args.record.clone(), args.record_max_bytes);
    agent::run(effective, &Options { record, record_max_bytes, read: Some(read), log: Some(super::log::renew) })
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
