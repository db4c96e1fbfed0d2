//! `headroom act`: changes a cgroup or ends a process, through the actuator; and the actuator itself. `headroom actions`: what was changed.

mod ask;
mod follow;
mod list;
mod object;
mod page;

use std::path::PathBuf;
use std::time::Duration;

use collector_core::act::Request;
use collector_core::action::Kind;

pub use follow::{Follow, follow};
pub use list::{ActionsArgs, actions};

use crate::act;
use crate::cli::log;
use crate::config::Config;
use crate::exit::{Exit, Failure};

/// Where the actuator listens.
const SOCKET: &str = "/run/headroom/act.sock";
const POLICY: &str = "/etc/headroom/act.toml";
const JOURNAL: &str = "/var/lib/headroom-act";

/// Change a limit or a weight of a workload, freeze it, reclaim its memory, or end it: through the actuator
///
/// The actuator (`headroom act serve`, headroom-act.service) is a process of its own, off by default. It does only what its policy
/// allows, /etc/headroom/act.toml, which root writes: without a rule it refuses everything, to root as well. It writes each change down
/// before it makes it, reads it back, and undoes it after the time that --for names, if nobody else changed the same since.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_long_help = "A workload is the path of its cgroup (/system.slice/vllm.service), or a name that `headroom workloads` shows.

Examples:
  Let a service use 20 GiB for ten minutes, and see first what that would do:
    headroom act set /system.slice/vllm.service memory.max 20GiB --for 10m --dry-run
    headroom act set /system.slice/vllm.service memory.max 20GiB --for 10m --why 'load test'
  See what was changed, and take a change back:
    headroom actions
    headroom actions --undo 12
  Stop a job for a minute, and let it go on by itself:
    headroom act freeze /mine/batch --for 1m
  Switch the actuator on:
    cp /usr/share/doc/headroom/act.toml /etc/headroom/act.toml; editor /etc/headroom/act.toml
    systemctl enable --now headroom-act.socket

Exit status: 24 if the policy or a check refuses it, 25 if somebody else changed it meanwhile, 1 if it failed.
"
)]
pub struct ActArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum Command {
    Set(SetArgs),
    Freeze(FreezeArgs),
    Thaw(ThawArgs),
    Reclaim(ReclaimArgs),
    Terminate(TerminateArgs),
    Kill(KillArgs),
    Serve(ServeArgs),
}

/// How a change is asked for.
#[derive(clap::Args, Clone, Debug)]
struct Terms {
    /// Why, for the journal
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Do it although a check says that it is dangerous; no policy gives way to that
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    way: Way,
}

/// How the actuator is reached, and what is printed.
#[derive(clap::Args, Clone, Debug)]
struct Way {
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    /// Socket of the actuator
    #[arg(long, value_name = "FILE", default_value = SOCKET)]
    act_socket: PathBuf,
}

/// When a change ends.
#[derive(clap::Args, Clone, Debug)]
struct Ends {
    /// Undo it after so long, unless somebody else changed it meanwhile
    #[arg(long = "for", value_name = "DURATION", value_parser = humantime::parse_duration)]
    time: Option<Duration>,
}

/// Set a limit or a weight of a workload
#[derive(clap::Args, Clone, Debug)]
#[command(after_long_help = "Examples:
  headroom act set /system.slice/vllm.service memory.max 20GiB --for 10m
  headroom act set /mine/batch cpu.max 2.5 --why 'leave CPUs to the server'
  headroom act set /mine/batch cpu.weight 50
  headroom act set /mine/batch memory.max max

Names are those of cgroup v2; on cgroup v1 the file that does the same is written, and what has none is `unsupported here`.
")]
struct SetArgs {
    /// Path of its cgroup, or a name of `headroom workloads`
    workload: String,
    /// What is set
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(KEYS.map(|(name, _)| name)))]
    key: String,
    /// Bytes (20GiB), CPUs (2.5), a weight (1 to 10000, usual is 100), a list of CPUs (0-3,8), or max
    value: String,
    #[command(flatten)]
    ends: Ends,
    #[command(flatten)]
    terms: Terms,
}

const KEYS: [(&str, Kind); 9] = [
    ("memory.max", Kind::MemoryMax),
    ("memory.high", Kind::MemoryHigh),
    ("memory.low", Kind::MemoryLow),
    ("memory.min", Kind::MemoryMin),
    ("memory.swap.max", Kind::SwapMax),
    ("cpu.weight", Kind::CpuWeight),
    ("cpu.max", Kind::CpuMax),
    ("cpuset.cpus", Kind::Cpuset),
    ("io.weight", Kind::IoWeight),
];

/// Stop all processes of a workload where they are; thaw lets them go on
#[derive(clap::Args, Clone, Debug)]
struct FreezeArgs {
    /// Path of its cgroup, or a name of `headroom workloads`
    workload: String,
    #[command(flatten)]
    ends: Ends,
    #[command(flatten)]
    terms: Terms,
}

/// Let a frozen workload go on
#[derive(clap::Args, Clone, Debug)]
struct ThawArgs {
    /// Path of its cgroup, or a name of `headroom workloads`
    workload: String,
    #[command(flatten)]
    terms: Terms,
}

/// Have the kernel free an amount of a workload's memory (cgroup v2, Linux 5.19 and newer)
#[derive(clap::Args, Clone, Debug)]
struct ReclaimArgs {
    /// Path of its cgroup, or a name of `headroom workloads`
    workload: String,
    /// How much: 512MiB
    bytes: String,
    #[command(flatten)]
    terms: Terms,
}

/// Ask a process, or all of a workload, to end (SIGTERM)
#[derive(clap::Args, Clone, Debug)]
struct TerminateArgs {
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    terms: Terms,
}

/// Kill a process, or all of a workload (SIGKILL): what they have in memory is lost
#[derive(clap::Args, Clone, Debug)]
struct KillArgs {
    #[command(flatten)]
    whom: Whom,
    #[command(flatten)]
    terms: Terms,
}

#[derive(clap::Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct Whom {
    /// Path of its cgroup, or a name of `headroom workloads`
    workload: Option<String>,
    /// One process, by its number
    #[arg(long)]
    pid: Option<u32>,
}

/// Run the actuator: carry out what its policy allows
///
/// Listens on a Unix socket that root may connect to; the user of the agent as well, for changes of low risk, and a group, if the policy
/// names them. systemd may pass the socket on (headroom-act.socket). Reads the policy again for each request. Ends with SIGTERM, and
/// undoes nothing then: what ends at a time ends after the next start.
#[derive(clap::Args, Clone, Debug)]
struct ServeArgs {
    /// Socket to listen on, if systemd passes none
    #[arg(long, value_name = "FILE", default_value = SOCKET)]
    act_socket: PathBuf,
    /// What it may do; refused unless root alone may write it
    #[arg(long, value_name = "FILE", default_value = POLICY)]
    policy: PathBuf,
    /// Folder of the journal of changes
    #[arg(long, value_name = "DIR", default_value = JOURNAL)]
    journal: PathBuf,
}

pub fn run(args: &ActArgs) -> Result<Exit, Failure> {
    let ask = |kind, object, value: Option<&str>, ends: Option<&Ends>, terms: &Terms| {
        let for_seconds = ends.and_then(|ends| ends.time).map(|time| time.as_secs().max(1));
        let (value, why) = (value.map(str::to_owned), terms.why.clone());
        let (force, dry_run) = (terms.force, terms.way.dry_run);
        let request = Request { value, for_seconds, why, force, dry_run, ..Request::new(kind, object) };
        ask::change(&terms.way, &request)
    };
    let workload = |name: &str| object::workload(name);
    let whom = |whom: &Whom| match (&whom.workload, whom.pid) {
        (Some(name), _) => object::workload(name),
        (None, Some(pid)) => object::process(pid),
        (None, None) => Err(Failure::new(Exit::Usage, anyhow::anyhow!("name a workload, or --pid"))),
    };
    match &args.command {
        Command::Set(SetArgs { workload: name, key, value, ends, terms }) => {
            let kind = KEYS.iter().find(|(name, _)| name == key).map_or(Kind::MemoryMax, |(_, kind)| *kind);
            ask(kind, workload(name)?, Some(value), Some(ends), terms)
        }
        Command::Freeze(FreezeArgs { workload: name, ends, terms }) => {
            ask(Kind::Freeze, workload(name)?, None, Some(ends), terms)
        }
        Command::Thaw(ThawArgs { workload: name, terms }) => ask(Kind::Thaw, workload(name)?, None, None, terms),
        Command::Reclaim(ReclaimArgs { workload: name, bytes, terms }) => {
            ask(Kind::Reclaim, workload(name)?, Some(bytes), None, terms)
        }
        Command::Terminate(TerminateArgs { whom: of, terms }) => ask(Kind::Terminate, whom(of)?, None, None, terms),
        Command::Kill(KillArgs { whom: of, terms }) => ask(Kind::Kill, whom(of)?, None, None, terms),
        Command::Serve(ServeArgs { act_socket, policy, journal }) => {
            log::start(&Config::default())?;
            let [socket, policy, journal] = [act_socket, policy, journal].map(Clone::clone);
            act::serve(&act::Options { socket, policy, journal }).map(|()| Exit::Success)
        }
    }
}
