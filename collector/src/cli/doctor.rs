//! `headroom doctor`: what this host can and cannot measure, and why.

use anyhow::anyhow;

use super::exit::Failure;
use super::settings::Settings;
use crate::config::Config;

/// Say what this host can and cannot measure, and why
///
/// Looks at the kernel, its BTF, the capabilities, the cgroup mode, and tries every probe. Nothing stays attached.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  What works here, and what is missing for the rest:
    sudo headroom doctor
  The probes that failed, for a script:
    headroom doctor --json | jq '.probes[] | select(.state == \"failed\")'
")]
pub struct DoctorArgs {
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// See there
    #[command(flatten)]
    pub settings: Settings,
}

/// Looks at the host.
pub fn run(args: &DoctorArgs, config: Config) -> Result<(), Failure> {
    let _ = (args, config);
    Err(anyhow!("doctor: not built yet").into())
}
