//! The command line: one file for each verb.

pub mod act;
pub mod advise;
pub mod check_config;
mod claim;
pub mod completions;
mod direct;
pub mod doctor;
pub mod explain;
mod follow;
pub mod forecast;
pub mod gpus;
pub mod guard;
mod help;
pub mod journal;
mod journald;
pub mod learned;
pub mod lease;
pub mod level;
mod listening;
pub mod log;
pub mod man;
pub mod mcp;
pub mod models;
mod moment;
#[cfg(test)]
mod names;
pub mod need;
mod pick;
mod rate;
pub mod replay;
pub mod report;
pub mod rules;
pub mod run;
mod sentence;
pub mod settings;
mod sheet;
mod state;
pub mod status;
mod terminal;
pub mod top;
pub mod wait;
mod work;
pub mod workloads;

use std::io::{ErrorKind, Write, stderr, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, FromArgMatches as _, Parser, Subcommand};

use crate::config::load::Effective;
use crate::exit::{Exit, Failure};
use settings::Settings;

/// How much headroom this host has, who is eating it, and what happened in the minute before the kill
///
/// `headroom run` is the agent. With eBPF, cgroup files and NVML it measures OOM kills, memory reclaim, page faults, block
/// IO, pressure and GPUs, charges each event to the workload that caused it, serves OpenMetrics, and raises alerts. The
/// other verbs show what it found. Only `act` changes anything on the host: a process of its own does it, within a policy that root
/// writes.
#[derive(Parser, Debug)]
#[command(
    name = "headroom",
    version,
    max_term_width = 100,
    after_help = "First steps:
  sudo headroom doctor          check what this host can measure, and what is missing
  sudo headroom run             start the agent and serve http://127.0.0.1:9843/metrics

When something is wrong:
  headroom status               the host on one screen: what is full, who is near a limit, what fires
  headroom top                  the same live, with charts, a table to sort, and what a recording shows
  headroom workloads            which workload is near its limit, stalls, or was killed
  headroom gpus                 which GPU is full, hot or slow, and who holds its memory
  headroom models               which model server waits, is full or slow, and what it holds
  headroom alerts               which alerts fire
  headroom incidents            which OOM kills and periods of pressure there were
  headroom explain              why the last one happened, and the minute before it
  headroom events --follow      new events as they happen
  headroom advise               what to change, with evidence, what it would have saved, and commands
  headroom forecast             what will be full, and when; whether one more of a workload fits

Before something starts:
  headroom level                how degraded the host is, 0 to 4, and what may still start
  headroom need MODEL           what a model needs: host memory, VRAM, and each assumption
  headroom admit …              whether that fits here now, who holds what, and what would make room
  headroom reserve …            keep that free until it is used
  headroom reservations         what is reserved for whom, and who waits
  headroom learned              what your work needed when it ran here
  headroom guard -- COMMAND     run a command once there is room for it
  headroom wait MODEL           wait until there is room for a model

To change something, within a policy and with an undo:
  headroom act set …            change a limit or a weight of a workload, for a time if you like
  headroom actions              what was changed, by whom and why; --undo takes one back

Configuration:
  headroom check-config         every setting, its value and its origin
  headroom rules                every alert rule and its condition

`headroom help VERB` shows flags, examples and exit codes of a verb; `headroom VERB --help-all` its settings, too.
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
    Report(report::ReportArgs),
    Doctor(doctor::DoctorArgs),
    Status(status::StatusArgs),
    Top(top::TopArgs),
    Workloads(workloads::WorkloadsArgs),
    Gpus(gpus::GpusArgs),
    Models(models::ModelsArgs),
    Forecast(forecast::ForecastArgs),
    Rules(rules::RulesArgs),
    Level(level::LevelArgs),
    Advise(advise::AdviseArgs),
    Alerts(journal::AlertsArgs),
    Incidents(journal::IncidentsArgs),
    Events(journal::EventsArgs),
    Explain(explain::ExplainArgs),
    CheckConfig(check_config::CheckConfigArgs),
    Completions(completions::CompletionsArgs),
    Need(need::NeedArgs),
    Admit(lease::AdmitArgs),
    Reserve(lease::ReserveArgs),
    Release(lease::ReleaseArgs),
    Touch(lease::TouchArgs),
    Evictable(lease::EvictableArgs),
    Reservations(lease::ReservationsArgs),
    Learned(learned::LearnedArgs),
    Guard(guard::GuardArgs),
    Wait(wait::WaitArgs),
    Man(man::ManArgs),
    Mcp(mcp::McpArgs),
    Act(act::ActArgs),
    Actions(act::ActionsArgs),
}

/// Parses the arguments, runs the verb and returns its exit code.
pub fn main() -> ExitCode {
    let (command, arguments) = help::asked(command(), std::env::args_os().collect());
    let parsed = command.try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return ill_formed(&error),
    };
    // The panic hook has printed its message by now, and unwinding has detached the eBPF programs.
    let outcome = catch_unwind(AssertUnwindSafe(|| verb(&cli.verb)))
        .unwrap_or_else(|_| Err(anyhow::anyhow!("panic: this is a bug in headroom").into()));
    match outcome {
        Ok(code) => code.into(),
        Err(failure) => {
            // If stderr is closed there is nowhere to report it.
            let _ = writeln!(stderr(), "{failure}");
            let guards = matches!(cli.verb, Verb::Guard(_));
            // A code that the command may have, too, would say that it ran.
            let exit = if guards && failure.exit.code() < Exit::Late.code() { Exit::Failed } else { failure.exit };
            exit.code().into()
        }
    }
}

/// Wrong arguments exit with 2 (for a guard, whose command may exit with that, with 125), `--help` and `--version` with 0.
fn ill_formed(error: &clap::Error) -> ExitCode {
    // If the stream is closed there is nowhere to print.
    let _ = error.print();
    let guards = std::env::args_os().nth(1).is_some_and(|verb| verb == "guard");
    match error.exit_code() {
        0 => Exit::Success.code().into(),
        _ if guards => Exit::Failed.code().into(),
        _ => Exit::Usage.code().into(),
    }
}

/// The exit code.
fn verb(verb: &Verb) -> Result<u8, Failure> {
    let done = match verb {
        Verb::Run(args) => {
            let effective = args.settings.load()?;
            log::start(&effective.config)?;
            run::run(args, &effective)
        }
        Verb::Replay(args) => replay::run(args, begin(&args.settings)?),
        Verb::Report(args) => report::run(args, &begin(&args.settings)?),
        Verb::Doctor(args) => doctor::run(args, begin(&args.settings)?.config),
        Verb::Status(args) => status::run(args, &begin(&args.settings)?),
        Verb::Top(args) => top::run(args, &args.settings.load()?),
        Verb::Workloads(args) => workloads::run(args, &begin(&args.settings)?),
        Verb::Gpus(args) => gpus::run(args, &begin(&args.settings)?),
        Verb::Models(args) => models::run(args, &begin(&args.settings)?),
        Verb::Level(args) => return level::run(args, &begin(&args.settings)?).map(Exit::code),
        Verb::Advise(args) => return advise::run(args, &begin(&args.settings)?).map(Exit::code),
        Verb::Forecast(args) => return forecast::run(args, &begin(&args.settings)?),
        Verb::Rules(args) => rules::run(args, &begin(&args.settings)?.rules),
        Verb::Alerts(args) => journal::alerts(args, &begin(&args.settings)?.config),
        Verb::Incidents(args) => journal::incidents(args, &begin(&args.settings)?.config),
        Verb::Events(args) if args.exec.is_some() => return follow::run(args, &begin(&args.settings)?),
        Verb::Events(args) => journal::events(args, &begin(&args.settings)?.config),
        Verb::Explain(args) => explain::run(args, &begin(&args.settings)?.config),
        Verb::CheckConfig(args) => check_config::run(args),
        Verb::Completions(args) => completions::run(args),
        Verb::Need(args) => need::run(args, &args.settings.load()?),
        Verb::Admit(args) => return lease::admit(args, &begin(&args.settings)?),
        Verb::Reserve(args) => return lease::reserve(args, &begin(&args.settings)?),
        Verb::Release(args) => lease::release(args, &begin(&args.settings)?),
        Verb::Touch(args) => lease::touch(args, &begin(&args.settings)?),
        Verb::Evictable(args) => lease::evictable(args, &begin(&args.settings)?),
        Verb::Reservations(args) => lease::reservations(args, &begin(&args.settings)?),
        Verb::Learned(args) => learned::run(args, &begin(&args.settings)?),
        Verb::Guard(args) => return guard::run(args),
        Verb::Wait(args) => wait::run(args),
        Verb::Man(args) => man::run(args),
        Verb::Mcp(args) => mcp::run(args),
        Verb::Act(args) => return act::run(args).map(Exit::code),
        Verb::Actions(args) => return act::actions(args).map(Exit::code),
    };
    done.map(|()| Exit::Success.code())
}

/// Loads the configuration, and lets messages be told as sentences.
fn begin(settings: &Settings) -> Result<Effective, Failure> {
    let effective = settings.load()?;
    log::say(&effective.config)?;
    Ok(effective)
}

fn command() -> clap::Command {
    Cli::command()
}

/// Writes to stdout. A closed pipe (`| head`) is not an error; a full disk is.
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
