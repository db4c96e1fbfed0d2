//! `headroom reserve`, `release` and `touch`: a lease by hand.

use std::time::Duration;
use std::{env, fs};

use anyhow::{Context as _, anyhow};
use collector_core::lease::{Claim, Mark, OwnerName};
use collector_core::text::shown_json;

use super::at::At;
use super::{Terms, exit, gpus, page};
use crate::cli::claim::{self, Claimed, claim};
use crate::cli::need::{Own, Wants};
use crate::cli::settings::Settings;
use crate::cli::terminal::{colour, room};
use crate::cli::work::need_and_work;
use crate::client::Client;
use crate::clock;
use crate::config::load::Effective;
use crate::exit::{Exit, Failure};
use crate::source::cgroup;

/// The process that systemd started for a unit (systemd.exec(5)).
const FIRST: &str = "SYSTEMD_EXEC_PID";

/// Keep room free for something that starts soon, until it uses it
///
/// Prints the number of the reservation. It belongs to its owner: what the owner uses from then on is taken from it, and it ends
/// when the owner does. Unless --pid or --cgroup says otherwise that is the process that runs this command, such as a shell;
/// for a service manager (ExecStartPre=), and for a script that it runs, it is the cgroup of the unit, until it was empty for 30 seconds.
///
/// Options of reserve come before MODEL, flags of its engine after it.
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Exit codes: 0 reserved, 21 wait, 22 no, 23 unknown.

Examples:
  For what this shell starts next:
    headroom reserve --memory 18G --vram 20G
  Wait for room, five minutes at most:
    headroom reserve --vram 20G --wait 5m
  Every working day from a quarter to eight on, for what root starts then with `headroom guard --unit chat -- …` (root's crontab):
    40 7 * * 1-5  headroom reserve --at 07:45 --for 2h --unit chat --vram 20G
    (or a table [[reservation]] in headroom.toml: the agent then makes it a day ahead)
  In a unit of systemd:
    ExecStartPre=headroom reserve --vram 20G --wait 2m
")]
pub struct ReserveArgs {
    #[command(flatten)]
    pub wants: Wants,
    #[command(flatten)]
    pub terms: Terms,
    /// The process that it is for, with all that it starts
    #[arg(long, value_name = "PID", conflicts_with = "cgroup")]
    pub pid: Option<u32>,
    /// The cgroup that it is for, such as /system.slice/vllm.service
    #[arg(long, value_name = "PATH")]
    pub cgroup: Option<String>,
    /// End it after this time in any case
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub lasts: Option<Duration>,
    /// Make it ahead, which only root may, to begin at a time of day (07:45, or 07:45Z in UTC), a moment (2026-11-20T07:45), or in
    /// so long (8h); with --for and --unit. It belongs to no process: the first reservation or guard of the same user and unit takes it up, and
    /// an hour after its begin it ends if nobody came
    #[arg(long, value_name = "TIME", requires = "lasts", requires = "unit", conflicts_with_all = ["pid", "cgroup", "wait"])]
    pub at: Option<At>,
    /// Wait this long for room
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "0s")]
    pub wait: Duration,
    /// It may be given up for something more important of the same user, as a cached model may: its owner is asked to (`headroom events
    /// --follow --exec`); with =anyone, which root may say, for anybody's
    #[arg(long, value_name = "FOR", num_args = 0..=1, require_equals = true, default_value = "nobody", default_missing_value = "own")]
    pub evictable: For,
    /// Print JSON: the answer of POST /api/v1/reservations
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub settings: Settings,
    /// A model with flags of its server; after `--` a whole command, which is not run
    #[arg(value_name = "MODEL", trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// For whose claims the owner of a reservation may be asked to give it up.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    Nobody,
    /// More important ones of the same user.
    Own,
    /// Those of any user that are as important.
    Anyone,
}

/// Say whether the owner of a reservation may be asked to give it up for something else
#[derive(clap::Args, Clone, Debug)]
pub struct EvictableArgs {
    /// Its number, as `headroom reservations` shows it
    pub id: u64,
    /// For whom: nobody, own (something more important of the same user), or anyone, which root may say
    #[arg(value_name = "FOR", default_value = "own")]
    pub whom: For,
    #[command(flatten)]
    pub settings: Settings,
}

/// Give a reservation back
#[derive(clap::Args, Clone, Debug)]
pub struct ReleaseArgs {
    /// Its number, as `headroom reservations` shows it
    pub id: u64,
    #[command(flatten)]
    pub settings: Settings,
}

/// Say that what a reservation holds is in use
#[derive(clap::Args, Clone, Debug)]
pub struct TouchArgs {
    /// Its number, as `headroom reservations` shows it
    pub id: u64,
    #[command(flatten)]
    pub settings: Settings,
}

pub fn reserve(args: &ReserveArgs, effective: &Effective) -> Result<u8, Failure> {
    let own = Own::of::<ReserveArgs>("reserve");
    let (need, work) = need_and_work(&args.wants, &args.command, &own, effective)?;
    let Terms { priority, unit, on_gpu } = args.terms.clone();
    let owner = match (args.pid, &args.cgroup) {
        (Some(pid), _) => OwnerName::Pid(pid),
        (None, Some(path)) => OwnerName::Cgroup(path.clone()),
        (None, None) => parent()?,
    };
    let gpus = gpus(on_gpu, &args.command);
    let wanted = Claim {
        need,
        priority,
        unit,
        gpus,
        owner: Some(owner),
        begins_in_seconds: args.at.map(|at| at.ahead(clock::unix_ns())).transpose()?,
        seconds: args.lasts.map(|time| time.as_secs().max(1)),
        wait_seconds: None,
        evictable: args.evictable != For::Nobody,
        anyone: args.evictable == For::Anyone,
        key: Some(key()),
        work,
    };
    wanted.check().map_err(|why| Failure::new(Exit::Usage, anyhow!(why)))?;
    match claim(&Client::of(effective)?, &wanted, args.wait, |_| {})? {
        Claimed::Granted(granted) if args.json => {
            let json = serde_json::to_string_pretty(&granted).context("write JSON")?;
            crate::cli::print(&(shown_json(&json).into_owned() + "\n"))?;
            Ok(Exit::Success.code())
        }
        Claimed::Granted(granted) => {
            let gpus = match &granted.gpus[..] {
                [] => String::new(),
                gpus => format!(" on GPU {}", gpus.join(", ")),
            };
            let ahead = if args.at.is_some() { " ahead" } else { "" };
            eprintln!("reserved{ahead}{gpus}: headroom release {} gives it back", granted.id);
            crate::cli::print(&format!("{}\n", granted.id))?;
            Ok(Exit::Success.code())
        }
        Claimed::Later(why) | Claimed::NoAgent(why) => Err(why.into()),
        Claimed::Refused(verdict) => {
            match args.json {
                true => {
                    let json = serde_json::to_string_pretty(&verdict).context("write JSON")?;
                    crate::cli::print(&(shown_json(&json).into_owned() + "\n"))?;
                }
                false => eprint!("{}", page::verdict(&verdict, room(), colour())),
            }
            let short = match exit(verdict.verdict, false) {
                Exit::Success => Exit::Wait,
                other => other,
            };
            Ok(short.code())
        }
    }
}

/// Who runs this command.
fn parent() -> Result<OwnerName, Failure> {
    let pid = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    let pid = u32::try_from(pid).unwrap_or(0);
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let first = env::var(FIRST).ok().and_then(|pid| pid.parse().ok());
    let owner = owner(pid, name.trim(), first, cgroup::own_path());
    owner.ok_or_else(|| Failure::new(Exit::Usage, anyhow!("it is not known whom this is for: name --pid or --cgroup")))
}

/// The process that runs this command. If that is a service manager, or a script that one has started for a unit (`first`) and that may end
/// before the unit does: the cgroup of the unit.
fn owner(parent: u32, name: &str, first: Option<u32>, cgroup: Option<String>) -> Option<OwnerName> {
    let manager = parent <= 1 || matches!(name, "systemd" | "(sd-executor)");
    if !manager && first != Some(parent) {
        return Some(OwnerName::Pid(parent));
    }
    let cgroup = cgroup?;
    // With Delegate= what is not the main process runs in a cgroup of its own, which is empty soon.
    let unit = cgroup.strip_suffix("/.control").unwrap_or(&cgroup);
    Some(OwnerName::Cgroup(unit.to_owned())).filter(|_| unit.len() > 1)
}

/// Different for each run of a program.
fn key() -> String {
    format!("{}-{}", std::process::id(), crate::clock::unix_ns())
}

pub fn release(args: &ReleaseArgs, effective: &Effective) -> Result<(), Failure> {
    Ok(claim::release(&Client::of(effective)?, args.id)?)
}

pub fn evictable(args: &EvictableArgs, effective: &Effective) -> Result<(), Failure> {
    let mark = Mark { evictable: args.whom != For::Nobody, anyone: args.whom == For::Anyone };
    Ok(claim::mark(&Client::of(effective)?, args.id, &mark)?)
}

pub fn touch(args: &TouchArgs, effective: &Effective) -> Result<(), Failure> {
    Ok(claim::touch(&Client::of(effective)?, args.id)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn for_a_service_manager_it_is_the_units_and_for_others_their_own() {
        let unit = "/system.slice/vllm.service";
        let of = |parent, name: &str, first, cgroup: &str| owner(parent, name, first, Some(cgroup.to_owned()));
        let units = Some(OwnerName::Cgroup(unit.to_owned()));
        assert_eq!(of(1, "systemd", Some(70), unit), units);
        assert_eq!(of(1200, "systemd", Some(70), unit), units, "a user's manager");
        assert_eq!(of(1, "systemd", Some(70), &format!("{unit}/.control")), units, "with Delegate=");
        assert_eq!(of(70, "sh", Some(70), unit), units, "a script before the start");
        assert_eq!(of(71, "sh", Some(70), unit), Some(OwnerName::Pid(71)), "what a terminal's service has started");
        assert_eq!(of(71, "bash", None, "/user.slice/user-0.slice/session-1.scope"), Some(OwnerName::Pid(71)));
        assert_eq!(of(1, "systemd", None, "/"), None);
        assert_eq!(owner(0, "", None, None), None);
    }
}
