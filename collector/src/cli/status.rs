//! `headroom status`: whether the agent works.

use std::time::Duration;

use anyhow::anyhow;
use hyper::StatusCode;

use super::settings::Settings;
use crate::client::{Answer, Client};
use crate::config::load::Effective;
use crate::exit::Failure;
use crate::http::HEALTHY;

/// How long the agent may take for its answer. It takes none on an idle host; one that is out of memory must not lose its agent, too.
const PATIENCE: Duration = Duration::from_secs(2);

/// Say whether the agent works: for now with --alive only
///
/// Asks the agent over its socket, so that neither TLS, passwords nor a crowd at its address matter; at its address only with
/// --listen, or if there is no socket. Prints nothing if it works; else the message on stderr says what is wrong. A fuller report without --alive does not exist yet.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  Restart an agent that hangs, in a container:
    livenessProbe: { exec: { command: [headroom, status, --alive] } }
  See whether there is one:
    headroom status --alive && echo it works
")]
pub struct StatusArgs {
    /// Exit with 0 if the agent answers and takes readings, else with 1
    #[arg(long, required = true)]
    pub alive: bool,
    #[command(flatten)]
    pub settings: Settings,
}

pub fn run(_: &StatusArgs, effective: &Effective) -> Result<(), Failure> {
    let Answer { status, body } = Client::of(effective)?.get_within(HEALTHY, PATIENCE)?;
    match status {
        StatusCode::OK => Ok(()),
        status => {
            Err(anyhow!("{}", String::from_utf8_lossy(&body).trim()).context(format!("HTTP status {status}")).into())
        }
    }
}
