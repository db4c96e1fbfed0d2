//! The command line: one file a verb.

pub mod check_config;
pub mod completions;
pub mod doctor;
pub mod explain;
pub mod journal;
pub mod log;
pub mod man;
pub mod replay;
pub mod rules;
pub mod run;
pub mod settings;
pub mod workloads;

use std::io::{ErrorKind, Write, stderr, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, Subcommand};

use crate::config::load::Effective;
use crate::exit::{Exit, Failure};
use settings::Settings;

/// How much headroom this host has, who is eating it, and what happened in the minute before the kill
///
/// Headroom watches the kernel's OOM kills, reclaim and compaction stalls, page faults and block IO with eBPF, charges
/// each to the cgroup that caused it, and serves the result as OpenMetrics.
#[derive(Parser, Debug)]
#[command(
    name = "headroom",
    version,
    max_term_width = 100,
    after_help = "Examples:
  headroom doctor               what this host can measure, and what is missing for the rest
  headroom run                  serve http://127.0.0.1:9843/metrics
  headroom workloads            who is here, and what each holds of its limit
  headroom alerts               what fires
  headroom events --follow      what happens
  headroom explain              the last incident: what happened, why, and the minute before
  headroom check-config         every setting, its value and where it is from
  headroom help run             flags, examples and exit codes of a verb
"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Run(run::RunArgs),
    Replay(replay::ReplayArgs),
    Doctor(doctor::DoctorArgs),
    Workloads(workloads::WorkloadsArgs),
    Rules(rules::RulesArgs),
    Alerts(journal::AlertsArgs),
    Incidents(journal::IncidentsArgs),
    Events(journal::EventsArgs),
    Explain(explain::ExplainArgs),
    CheckConfig(check_config::CheckConfigArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// Parses the arguments, runs the verb, and gives its exit code.
pub fn main() -> ExitCode {
    // Arguments that are wrong, `--help` and `--version` end here, with 2 and 0.
    let cli = Cli::parse();
    // The panic's own message is on stderr by then, and unwinding has detached what was attached.
    let outcome = catch_unwind(AssertUnwindSafe(|| verb(&cli.verb)))
        .unwrap_or_else(|_| Err(anyhow::anyhow!("this is a bug in headroom").into()));
    match outcome {
        Ok(()) => Exit::Success.code().into(),
        Err(failure) => {
            // Nobody is left to tell if stderr is gone.
            let _ = writeln!(stderr(), "{failure}");
            failure.exit.code().into()
        }
    }
}

fn verb(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Run(args) => run::run(args, &begin(&args.settings)?),
        Verb::Replay(args) => replay::run(args, begin(&args.settings)?),
        Verb::Doctor(args) => doctor::run(args, begin(&args.settings)?.config),
        Verb::Workloads(args) => workloads::run(args, &begin(&args.settings)?.config),
        Verb::Rules(args) => rules::run(args, &begin(&args.settings)?.rules),
        Verb::Alerts(args) => journal::alerts(args, &begin(&args.settings)?.config),
        Verb::Incidents(args) => journal::incidents(args, &begin(&args.settings)?.config),
        Verb::Events(args) => journal::events(args, &begin(&args.settings)?.config),
        Verb::Explain(args) => explain::run(args, &begin(&args.settings)?.config),
        Verb::CheckConfig(args) => check_config::run(args),
        Verb::Completions(args) => completions::run(args),
        Verb::Man(args) => man::run(args),
    }
}

/// Loads the configuration and starts the log.
fn begin(settings: &Settings) -> Result<Effective, Failure> {
    let effective = settings.load()?;
    log::start(&effective.config)?;
    Ok(effective)
}

fn command() -> clap::Command {
    Cli::command()
}

/// Writes to stdout. A reader that has seen enough (`| head`) is no failure; a full disk is.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("write to stdout")?,
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
