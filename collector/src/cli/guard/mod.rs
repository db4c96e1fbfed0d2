//! `headroom guard`: runs a command once there is room for it: claim, start, attend, report, release. Each of these is a file of its own.

mod child;
mod gate;
mod killed;
mod scope;
pub(in crate::cli) mod signal;
mod spare;
mod start;
mod status;
mod tree;
mod unit;

use std::io::{Write as _, stderr};
use std::time::Duration;

use anyhow::anyhow;
use clap::ValueEnum;
use collector_core::lease::{Claim, Decision, Priority, Verdict};
use collector_core::need::Need;
use collector_core::text::shown_lines;

use self::child::How;
use self::start::Started;
use super::claim::{self, Claimed};
use super::need::{Environment, Own, Wants, wanted};
use super::settings::Settings;
use super::work::work;
use crate::client::Client;
use crate::clock;
use crate::config::load::Effective;
use crate::exit::{Exit, Failure};

/// Run a command once there is room for it, and keep that room until it uses it
///
/// Claims what the command needs from the agent: what you declare, or what its command line and its model's file say. It waits for
/// room if told to, runs the command, and releases what it claimed when that ends. The command has the guard's terminal and standard
/// input, gets the signals that the guard gets, and its exit code is the guard's.
///
/// The command gets a systemd scope of its own if the guard runs in a login session or in a scope of a user. Elsewhere, such as in
/// a service or a container, a scope would lift the limits there: it then stays where it is, and its process and all that this
/// starts count.
///
/// A unit that fails three times within ten minutes for the same cause may not start for a minute, then twice as long each time;
/// see --status. Where no agent answers, guard.no_agent says whether the command runs.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Exit status: that of the command, 128 and its number if a signal ended it, or
  124  there was no room, and none within --wait
  125  headroom failed, or its arguments are wrong: the command was not started
  126  the command cannot be executed
  127  there is no such command

Examples:
  Start a server when its model fits, waiting for five minutes at most:
    headroom guard --wait 5m -- llama-server -m model.gguf -c 32768 -ngl 99
  Declare what it needs:
    headroom guard --memory 18G --vram 20G -- python3 train.py
  Try once with less if the OOM killer kills it:
    headroom guard --memory 18G --smaller 'python3 train.py --batch 8' -- python3 train.py --batch 16
  In a service (KillMode=mixed, so that a stop reaches the command once):
    ExecStart=headroom guard --unit %n --vram 20G -- vllm serve /models/m
  Which units may not start, and until when:
    headroom guard --status
")]
pub struct GuardArgs {
    #[command(flatten)]
    pub wants: Wants,
    /// How much it matters: background, low, normal, high, critical, or 0 to 4
    #[arg(long, value_name = "PRIORITY", default_value_t = Priority::Normal)]
    pub priority: Priority,
    /// Wait for room for so long, such as 5m
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub wait: Duration,
    /// What failures and starts are counted by [default: the name of the program and of its script]
    #[arg(long, value_name = "NAME")]
    pub unit: Option<String>,
    /// A whole command line to run once instead, if the OOM killer kills the command
    #[arg(long, value_name = "COMMAND")]
    pub smaller: Option<String>,
    /// Whether to run it if no agent answers [default: guard.no_agent]
    #[arg(long, value_enum, value_name = "POLICY")]
    pub no_agent: Option<NoAgent>,
    /// Do not start it where it fits tightly: what is mapped would be read again and again
    #[arg(long)]
    pub strict: bool,
    /// Give it no scope of its own
    #[arg(long)]
    pub no_scope: bool,
    /// Say only what is wrong
    #[arg(long)]
    pub quiet: bool,
    /// List the units that failed or started lately, and whether they may start
    #[arg(long, conflicts_with_all = ["command", "smaller"])]
    pub status: bool,
    /// With --status, print JSON
    #[arg(long, requires = "status")]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
    /// The command and its arguments
    #[arg(value_name = "COMMAND", trailing_var_arg = true, required_unless_present = "status")]
    pub command: Vec<String>,
}

/// What to do where no agent answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum NoAgent {
    /// Go on, with a warning
    Allow,
    /// Fail
    Deny,
}

pub(super) fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

/// Returns the exit code.
///
/// # Errors
/// If the command could not be started. All exit codes are then those of a wrapper.
pub fn run(args: &GuardArgs) -> Result<u8, Failure> {
    guarded(args).map_err(|failure| match failure.exit {
        Exit::Late | Exit::NotExecutable | Exit::NotFound => failure,
        _ => Failure { exit: Exit::Failed, ..failure },
    })
}

fn guarded(args: &GuardArgs) -> Result<u8, Failure> {
    let effective = args.settings.load()?;
    let client = Client::of(&effective)?;
    if args.status {
        return status::run(&client, args.json).map(|()| Exit::Success.code());
    }
    if !std::env::args().any(|argument| argument == "--")
        && let Some(flag) = args.command.iter().find(|flag| Own::of::<GuardArgs>("guard").has(flag))
    {
        return Err(misplaced(flag, &args.command));
    }
    let smaller = args.smaller.as_deref().map(words).transpose()?;
    for command in [Some(&args.command), smaller.as_ref()].into_iter().flatten() {
        start::find(command)?;
    }
    let guard = Guard { args, effective: &effective, client: &client };
    let mut started = guard.attempt(&args.command)?;
    told(&started);
    if let (Some(_), Some(command), false) = (&started.kill, &smaller, started.end.asked) {
        say(format_args!("trying once more with: {}", command.join(" ")));
        started = guard.attempt(command)?;
        told(&started);
    }
    let how = started.end.how;
    if let How::Killed(signal @ (libc::SIGHUP | libc::SIGINT | libc::SIGTERM)) = how {
        // A shell that runs a script stops it only if the signal ended the command, not if it returned 130; and for systemd a service
        // that ended by the signal that stopped it has not failed, as it would have with 143.
        signal::end_with(signal);
    }
    Ok(how.code())
}

/// Whose flag it is, the guard's or the command's, cannot be known.
fn misplaced(flag: &str, command: &[String]) -> Failure {
    let program = command.first().map_or("COMMAND", String::as_str);
    let failure = Failure::new(Exit::Usage, anyhow!("{flag} after {program}: options of guard come before COMMAND"));
    failure.hint(format!("if {flag} is the command's own, write -- before it: headroom guard … -- {program} …"))
}

/// Says that the OOM killer ended it, and why.
fn told(started: &Started) {
    let Some(kill) = &started.kill else { return };
    say(format_args!("{}", kill.sentence));
    if let Some(id) = &kill.incident {
        say(format_args!("more: headroom explain {id}"));
    }
}

/// Splits a command line as a shell does, without expanding anything.
fn words(line: &str) -> Result<Vec<String>, Failure> {
    let words = shlex::split(line).filter(|words| !words.is_empty());
    words.ok_or_else(|| {
        Failure::new(Exit::Usage, anyhow!("--smaller {line:?}: expected a command line, with quotes in pairs"))
    })
}

struct Guard<'a> {
    args: &'a GuardArgs,
    effective: &'a Effective,
    client: &'a Client,
}

impl Guard<'_> {
    /// Runs one command, from its claim to its release.
    fn attempt(&self, command: &[String]) -> Result<Started, Failure> {
        let args = self.args;
        let unit = args.unit.clone().unwrap_or_else(|| unit::name(command));
        let (need, unknown) = self.need(command)?;
        let claim = Claim {
            need,
            priority: args.priority,
            unit: Some(unit.clone()),
            gpus: Environment::of(command).gpus(),
            key: Some(key("guard")),
            work: work(&args.wants, command).map(Box::new),
            ..Claim::default()
        };
        let claimed = claim::claim(self.client, &claim, args.wait, |why| {
            self.note(format_args!("waiting for room: {why}"));
        })?;
        if let Some(why) = unknown {
            let lesson = if let Claimed::Granted(granted) = &claimed { granted.verdict.learned.as_ref() } else { None };
            match lesson.map(|lesson| lesson.sentences()).filter(|said| !said.is_empty()) {
                Some(said) => self.note(format_args!("when it ran here before: {}", said.join("; "))),
                None => self.note(format_args!("what it needs is not known, so nothing is kept free for it: {why}")),
            }
        }
        let lease = match claimed {
            Claimed::Granted(granted) if args.strict && granted.verdict.verdict == Decision::Tight => {
                let _ = claim::give_back(self.client, granted.id);
                return Err(refusal(Exit::Late, &granted.verdict));
            }
            Claimed::Granted(granted) => Some(granted),
            Claimed::Refused(verdict) if verdict.verdict == Decision::Unknown => {
                return Err(refusal(Exit::Failed, &verdict));
            }
            Claimed::Refused(verdict) => return Err(refusal(Exit::Late, &verdict)),
            Claimed::Later(why) => return Err(Failure::new(Exit::Late, why)),
            Claimed::NoAgent(error) => {
                without_agent(args.no_agent, self.effective, error, "the command runs unguarded")?;
                None
            }
        };
        start::run(self.client, lease.as_deref(), command, &unit, args.no_scope, &|text| self.note(text))
    }

    /// What the command needs, and why that is not known: then nothing is kept free unless it was learned, and that is said.
    fn need(&self, command: &[String]) -> Result<(Need, Option<String>), Failure> {
        let wants = &self.args.wants;
        let declares = declares(wants);
        // What is declared wrongly is wrong, whatever the command is.
        let own = Own::none();
        let declared = if declares { wanted(wants, &[], &own, self.effective)? } else { Need::default() };
        match wanted(wants, command, &own, self.effective) {
            Ok(need) => Ok((need.for_agent(), None)),
            Err(_) if declares => Ok((declared, None)),
            Err(failure) => Ok((declared, Some(format!("{:#}", failure.error)))),
        }
    }

    fn note(&self, text: std::fmt::Arguments<'_>) {
        if !self.args.quiet {
            say(text);
        }
    }
}

fn declares(wants: &Wants) -> bool {
    let one = [&wants.memory, &wants.vram, &wants.cpu, &wants.network].into_iter().any(Option::is_some);
    one || !wants.disk.is_empty() || !wants.slot.is_empty()
}

/// That nothing may start, and what would make room.
pub(super) fn refusal(exit: Exit, verdict: &Verdict) -> Failure {
    let failure = Failure::new(exit, anyhow!("{}: {}", verdict.verdict.label(), verdict.reason));
    match verdict.room.first() {
        Some(way) => failure.hint(way.sentence.clone()),
        None => failure,
    }
}

/// What to do where nobody could be asked.
///
/// # Errors
/// If that is to fail.
pub(super) fn without_agent(
    policy: Option<NoAgent>,
    effective: &Effective,
    error: anyhow::Error,
    then: &str,
) -> Result<(), Failure> {
    let configured = || NoAgent::from_str(&effective.config.guard.no_agent, true).unwrap_or(NoAgent::Deny);
    match policy.unwrap_or_else(configured) {
        NoAgent::Allow => {
            say(format_args!("warning: {error:#}: {then}"));
            Ok(())
        }
        NoAgent::Deny => {
            Err(Failure::new(Exit::Failed, error)
                .hint("guard.no_agent is deny: start the agent, or use --no-agent allow"))
        }
    }
}

/// Names one claim, so that it can be repeated: nothing else has this process's number at this time.
pub(super) fn key(verb: &str) -> String {
    format!("{verb}-{}-{}", std::process::id(), clock::boot_ns())
}

/// Writes a line to stderr, which is the command's too.
pub(super) fn say(text: std::fmt::Arguments<'_>) {
    // If stderr is closed there is nowhere to report it.
    let _ = writeln!(stderr(), "headroom: {}", shown_lines(&text.to_string()));
}
