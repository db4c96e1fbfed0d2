//! `headroom status`: the host on one screen, or as JSON or metrics; and whether the agent works.

mod degraded;
mod part;
mod picture;
mod screen;
mod source;
mod watch;

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use collector_core::text::shown_json;
use hyper::StatusCode;

use super::settings::Settings;
use super::terminal::{self, colour};
use crate::client::{Answer, Client};
use crate::config::load::Effective;
use crate::exit::Failure;
use crate::http::HEALTHY;
use picture::Picture;
use screen::Size;
use source::Source;

/// How long the agent may take for its answer. It takes none on an idle host; one that is out of memory must not lose its agent, too.
const PATIENCE: Duration = Duration::from_secs(2);

/// Show the host on one screen: health, memory, CPU, disks, GPUs, workloads, alerts, the last incident
///
/// Asks the running agent over its socket, or at its address with --listen. Without an agent it reads the host's own files,
/// which needs no privileges, and says what it then cannot know. It changes nothing on the host.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Health:
  healthy   no alert fires, and no number is near a threshold
  moderate  an alert for information fires, or the condition of a warning holds but has not lasted, or
            a number is where the warning would not resolve yet (the rule's clear)
  warning   a warning fires
  critical  a critical alert fires
Thresholds are those of the rules: `headroom rules` lists them.

On the screen:
  Memory    what cannot be had without swapping; page cache that the kernel drops is available
  CPU       share of all CPUs that is busy; like Waiting and IO, of the last ten seconds
  Waiting   share of time in which some task waited for memory, IO or a CPU, and in which all did (PSI)
  GPU       BUSY: anything ran on it; PCIE: share of the link in use, to the GPU and from it
  WORKLOAD  services and containers; those nearest to their limit, or to the host's memory, come first.
            CPU 1.00 is one full CPU. `headroom workloads` lists all
  Last      the newest incident: `headroom explain` tells all about it
  Advice    how much there is to change, of high and medium confidence: `headroom advise` lists it
A line is yellow or red while a warning or a critical alert about it fires.

Examples:
  Show the host, and again every two seconds until Ctrl-C:
    headroom status --watch
  Print why it is not healthy, for a script:
    headroom status --json | jq -r '.health, .reasons[]'
  Print all metrics, as a scrape of /metrics would:
    headroom status --prometheus
  Restart an agent that hangs, in a container:
    livenessProbe: { exec: { command: [headroom, status, --alive] } }
")]
pub struct StatusArgs {
    /// Print JSON: the answer of /api/v1/status, with values in bytes, ratios and their own units
    #[arg(long)]
    pub json: bool,
    /// Print all metrics in the Prometheus text format
    #[arg(long, conflicts_with = "json")]
    pub prometheus: bool,
    /// Draw it again every SECONDS, or 2, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2", value_parser = seconds,
          conflicts_with_all = ["json", "prometheus"])]
    pub watch: Option<Duration>,
    /// Print nothing; exit with 0 if the agent answers and takes readings, else with 1
    #[arg(long, conflicts_with_all = ["json", "prometheus", "watch"])]
    pub alive: bool,
    /// Show times in UTC instead of local time
    #[arg(long)]
    pub utc: bool,
    #[command(flatten)]
    pub settings: Settings,
}

pub fn run(args: &StatusArgs, effective: &Effective) -> Result<(), Failure> {
    if args.alive {
        return alive(effective);
    }
    let mut source = Source::open(effective)?;
    source.utc = args.utc;
    if args.prometheus {
        return super::print(&source.metrics()?);
    }
    if args.json {
        let json = serde_json::to_string_pretty(&source.status()?).context("write JSON")?;
        return super::print(&(shown_json(&json).into_owned() + "\n"));
    }
    if let Some(interval) = args.watch {
        return watch::watch(source, interval, |picture| draw(picture, 0));
    }
    super::print(&draw(&source.picture()?, 1))
}

/// The picture as it fits the terminal, without the last `spare` of its lines.
fn draw(picture: &Picture, spare: usize) -> String {
    let height = terminal::height().map(|height| height.saturating_sub(spare));
    screen::screen(picture, Size { width: terminal::width(), height }, colour())
}

fn alive(effective: &Effective) -> Result<(), Failure> {
    let Answer { status, body } = Client::of(effective)?.get_within(HEALTHY, PATIENCE)?;
    match status {
        StatusCode::OK => Ok(()),
        status => {
            Err(anyhow!("{}", String::from_utf8_lossy(&body).trim()).context(format!("HTTP status {status}")).into())
        }
    }
}

fn seconds(text: &str) -> anyhow::Result<Duration> {
    let seconds: f64 = text.trim_end_matches('s').parse().context("not a number of seconds")?;
    anyhow::ensure!((0.2..=3600.0).contains(&seconds), "from 0.2 to 3600 seconds");
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_bounded() {
        assert_eq!(seconds("2").unwrap(), Duration::from_secs(2));
        assert_eq!(seconds("0.5s").unwrap(), Duration::from_millis(500));
        for wrong in ["0", "-1", "nan", "inf", "1e9", "soon", ""] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
