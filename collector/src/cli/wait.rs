//! `headroom wait`: waits until there is room for something, and keeps nothing of it. A claim that is given back at once, so that it
//! waits in the same order as those that keep it.

use std::time::Duration;

use collector_core::lease::ask::LONGEST_WAIT;
use collector_core::lease::{Claim, Decision, Priority};

use super::claim::{self, Claimed};
use super::guard::{NoAgent, duration, key, refusal, say, without_agent};
use super::need::{Environment, Own, Wants};
use super::settings::Settings;
use super::work::need_and_work;
use crate::client::Client;
use crate::exit::{Exit, Failure};

/// Wait until there is room for something, and start nothing
///
/// For a Slurm prolog, ExecStartPre= or a script. Waits in the same order as headroom guard and headroom reserve, and keeps nothing:
/// who comes next may take the room. headroom reserve keeps it. Options of wait come before MODEL, flags of its engine after it.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Exit status:
   0  there is room
  20  there is, but tightly, and --strict is given
  21  there was none in time, but what is in the way will end
  22  there was none in time
  23  that could not be found out
   1  headroom failed

Examples:
  Wait until a model fits, for ten minutes at most:
    headroom wait --timeout 10m -- llama-server -m model.gguf -ngl 99
  Only ask:
    headroom wait --timeout 0s --memory 18G --vram 20G
  In a unit of systemd:
    ExecStartPre=headroom wait --timeout 1m --vram 20G
")]
pub struct WaitArgs {
    #[command(flatten)]
    pub wants: Wants,
    /// How much it matters: background, low, normal, high, critical, or 0 to 4
    #[arg(long, value_name = "PRIORITY", default_value_t = Priority::Normal)]
    pub priority: Priority,
    /// Wait for so long at most, such as 5m [default: for as long as it takes]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// What failures and starts are counted by
    #[arg(long, value_name = "NAME")]
    pub unit: Option<String>,
    /// Whether to succeed if no agent answers [default: guard.no_agent]
    #[arg(long, value_enum, value_name = "POLICY")]
    pub no_agent: Option<NoAgent>,
    /// Exit with 20 if it fits tightly: what is mapped would be read again and again
    #[arg(long)]
    pub strict: bool,
    /// Say only what is wrong
    #[arg(long)]
    pub quiet: bool,
    #[command(flatten)]
    pub settings: Settings,
    /// A model and flags of its server; after `--` a whole command, which is not run
    #[arg(value_name = "MODEL", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

pub fn run(args: &WaitArgs) -> Result<(), Failure> {
    let effective = args.settings.load()?;
    let client = Client::of(&effective)?;
    let (need, work) = need_and_work(&args.wants, &args.command, &Own::of::<WaitArgs>("wait"), &effective)?;
    let claim = Claim {
        need,
        priority: args.priority,
        unit: args.unit.clone(),
        gpus: Environment::of(&args.command).gpus(),
        key: Some(key("wait")),
        work,
        ..Claim::default()
    };
    let timeout = args.timeout.unwrap_or(Duration::from_secs(LONGEST_WAIT));
    let claimed = claim::claim(&client, &claim, timeout, |why| {
        if !args.quiet {
            say(format_args!("waiting for room: {why}"));
        }
    })?;
    match claimed {
        Claimed::Granted(granted) => {
            // It ends with this process, too.
            if let Err(error) = claim::give_back(&client, granted.id) {
                say(format_args!("could not release the lease: {error:#}"));
            }
            match granted.verdict.verdict {
                Decision::Tight if args.strict => Err(refusal(Exit::Tight, &granted.verdict)),
                _ => Ok(()),
            }
        }
        Claimed::Refused(verdict) => Err(refusal(
            match verdict.verdict {
                Decision::Wait | Decision::Yes | Decision::Tight => Exit::Wait,
                Decision::No => Exit::No,
                Decision::Unknown => Exit::Unknown,
            },
            &verdict,
        )),
        Claimed::Later(why) => Err(Failure::new(Exit::Wait, why)),
        Claimed::NoAgent(error) => without_agent(args.no_agent, &effective, error, "there may be no room")
            .map_err(|failure| Failure { exit: Exit::Unknown, ..failure }),
    }
}
