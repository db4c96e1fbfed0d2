//! One run of a command under a lease: its process, its place and its owner, in that order, and then its end. Decides nothing about room.

use std::env;
use std::fmt::Arguments;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, anyhow};
use collector_core::circuit::Cause;
use collector_core::lease::{Ended, Granted, Owner, OwnerName};

use super::child::{End, How, attend};
use super::gate::Gated;
use super::killed::{self, Count, Kill};
use super::scope;
use super::signal::Signals;
use super::spare::Spared;
use super::tree::Tree;
use crate::cli::claim;
use crate::cli::need::{Environment, VISIBLE};
use crate::client::Client;
use crate::clock;
use crate::exit::{Exit, Failure};

/// GPUs that a process may use, by number or uuid; and that the numbers are those of NVML.
const ORDER: (&str, &str) = ("CUDA_DEVICE_ORDER", "PCI_BUS_ID");

/// A command that was started and ended.
#[derive(Debug)]
pub struct Started {
    pub end: End,
    /// By the OOM killer.
    pub kill: Option<Kill>,
}

/// Checks that there is such a command, before anything waits for it.
///
/// # Errors
/// As a shell tells it.
pub fn find(command: &[String]) -> Result<(), Failure> {
    let Some(program) = command.first() else { return Err(Failure::new(Exit::Usage, anyhow!("there is no command"))) };
    let files: Vec<PathBuf> = match program.contains('/') {
        true => vec![program.into()],
        // Without a PATH the kernel's search has its own.
        false => match env::var_os("PATH") {
            Some(path) => env::split_paths(&path).map(|folder| folder.join(program)).collect(),
            None => return Ok(()),
        },
    };
    let runs = |file: &Path| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok() && !file.is_dir();
    match files.iter().find(|file| file.exists()) {
        _ if files.iter().any(|file| runs(file)) => Ok(()),
        Some(file) => Err(Failure::new(Exit::NotExecutable, anyhow!("{} cannot be executed", file.display()))),
        None => Err(Failure::new(Exit::NotFound, anyhow!("there is no command {program}"))),
    }
}

/// Runs the command and waits for its end. Reports that, and releases the lease.
///
/// # Errors
/// If the command cannot be run.
pub fn run(
    client: &Client,
    lease: Option<&Granted>,
    command: &[String],
    unit: &str,
    no_scope: bool,
    note: &dyn Fn(Arguments<'_>),
) -> Result<Started, Failure> {
    let ended = started(client, lease, command, unit, no_scope, note);
    if let Some(lease) = lease {
        let cause = match &ended {
            Ok(started) => cause(started),
            Err(failure) => Some(Some(Cause::Exit(failure.exit.code()))),
        };
        if let Some(cause) = cause {
            let report = Ended { unit: unit.to_owned(), cause, reservation: Some(lease.id) };
            told(note, "report how it ended", claim::ended(client, &report));
        }
        told(note, "release the lease", claim::give_back(client, lease.id));
    }
    ended
}

fn told(note: &dyn Fn(Arguments<'_>), what: &str, done: anyhow::Result<()>) {
    if let Err(error) = done {
        note(format_args!("could not {what}: {error:#}"));
    }
}

fn started(
    client: &Client,
    lease: Option<&Granted>,
    command: &[String],
    unit: &str,
    no_scope: bool,
    note: &dyn Fn(Arguments<'_>),
) -> Result<Started, Failure> {
    let Some((program, arguments)) = command.split_first() else { return Err(anyhow!("there is no command").into()) };
    let mut process = Command::new(program);
    process.args(arguments);
    if let Some(gpus) =
        lease.map(|lease| &lease.gpus).filter(|gpus| numbers(gpus) && Environment::of(command).get(VISIBLE).is_none())
    {
        process.env(VISIBLE, gpus.join(",")).env(ORDER.0, ORDER.1);
    }
    // From here on a signal is the command's.
    let signals = Signals::take().context("take the signals")?;
    let since = clock::unix_ns();
    let spared = Spared::new();
    let gated = Gated::new(process, signals.before(), spared.restore()).map_err(|error| unrunnable(program, error))?;
    let pid = gated.pid();
    let scope = match no_scope {
        true => None,
        false => place(unit, pid).map_err(|why| unplaced(lease, &why, note)).ok(),
    };
    let (scoped, shares_pids) = (scope.is_some(), lease.is_none_or(shares_pids));
    // In another pid namespace the guard stays the owner, with all that it starts.
    if let Some(lease) = lease.filter(|_| shares_pids) {
        let of_process = || claim::own(client, lease.id, &OwnerName::Pid(pid));
        let owned = match scope {
            Some(path) => claim::own(client, lease.id, &OwnerName::Cgroup(path)).or_else(|_| of_process()),
            None => of_process(),
        };
        told(note, "make the command the owner of the lease", owned);
    }
    let mut count = Count::of(pid, scoped);
    let child = gated.open().map_err(|error| unrunnable(program, error))?;
    let mut tree = Tree::new(pid);
    let look = || {
        tree.look();
        count.look();
    };
    let end = attend(&child, &signals, look).context("wait for the command")?;
    let grew = count.grew();
    // The command has ended: what comes now is the guard's.
    drop((signals, spared));
    let kill = killed::find(shares_pids.then_some(client), end.how, since, (&count, grew), &tree);
    Ok(Started { end, kill })
}

/// Without a lease it makes no difference.
fn unplaced(lease: Option<&Granted>, why: &str, note: &dyn Fn(Arguments<'_>)) {
    if lease.is_some() {
        note(format_args!("no scope of its own: {why}. Its process owns the lease, with all that it starts"));
    }
}

/// Whether this process has the same number for the agent: else the agent's pids are not ours.
fn shares_pids(lease: &Granted) -> bool {
    matches!(lease.owner, Owner::Process { pid, .. } if pid == std::process::id())
}

/// Gives the process a scope of its own. Returns its cgroup.
fn place(unit: &str, pid: u32) -> Result<String, String> {
    let cgroup = scope::cgroup(pid);
    let place = scope::place(cgroup.as_deref(), rustix::process::geteuid().as_raw()).map_err(str::to_owned)?;
    let directory = Path::new("/sys/fs/cgroup").join(cgroup.unwrap_or_default().trim_start_matches('/'));
    if !directory.is_dir() || scope::is_limited(&directory) {
        return Err("its session has limits of its own, which a scope would lift".to_owned());
    }
    scope::enter(&place, &scope::name(unit, pid), pid).map_err(|error| format!("{error:#}"))
}

fn numbers(gpus: &[String]) -> bool {
    !gpus.is_empty() && gpus.iter().all(|gpu| gpu.parse::<u32>().is_ok())
}

fn unrunnable(program: &str, error: io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::NotFound => Exit::NotFound,
        io::ErrorKind::PermissionDenied => Exit::NotExecutable,
        _ if error.raw_os_error() == Some(libc::ENOEXEC) => Exit::NotExecutable,
        _ => Exit::Failed,
    };
    Failure::new(exit, anyhow::Error::from(error).context(format!("run {program}")))
}

/// Why it failed: `Some(None)` if it ended well, `None` if its end says nothing because somebody asked for it.
fn cause(started: &Started) -> Option<Option<Cause>> {
    match (&started.kill, started.end) {
        (Some(_), _) => Some(Some(Cause::Oom)),
        (None, End { asked: true, .. }) => None,
        (None, End { how: How::Exited(0), .. }) => Some(None),
        (None, End { how: How::Exited(code), .. }) => Some(Some(Cause::Exit(code))),
        (None, End { how: How::Killed(signal), .. }) => Some(Some(Cause::Signal(signal.try_into().unwrap_or(u8::MAX)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(how: How, asked: bool, kill: bool) -> Option<Option<Cause>> {
        let kill = kill.then(|| Kill { sentence: String::new(), incident: None });
        cause(&Started { end: End { how, asked }, kill })
    }

    #[test]
    fn who_was_asked_to_end_did_not_fail_and_a_kill_is_one_whatever_the_shell_makes_of_it() {
        assert_eq!(ended(How::Exited(0), false, false), Some(None));
        assert_eq!(ended(How::Exited(3), false, false), Some(Some(Cause::Exit(3))));
        assert_eq!(ended(How::Exited(137), false, true), Some(Some(Cause::Oom)));
        assert_eq!(ended(How::Killed(11), false, false), Some(Some(Cause::Signal(11))));
        assert_eq!(ended(How::Killed(15), true, false), None);
        assert_eq!(ended(How::Exited(0), true, false), None);
    }

    #[test]
    fn a_command_is_looked_for_as_a_shell_does() {
        let exit = |program: &str| find(&[program.to_owned()]).err().map(|failure| failure.exit);
        assert_eq!(exit("sh"), None);
        assert_eq!(exit("no-such-command-of-headroom"), Some(Exit::NotFound));
        assert_eq!(exit("/nowhere/x"), Some(Exit::NotFound));
        assert_eq!(exit("/etc/passwd"), Some(Exit::NotExecutable));
        assert_eq!(exit("/etc"), Some(Exit::NotExecutable));
    }
}
