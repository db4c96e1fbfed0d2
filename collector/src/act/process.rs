//! Processes by pidfd: one that is held is the one that was asked for, whoever has its number later. Reads /proc.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use collector_core::act::Process;
use collector_core::text::escape;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::tree::Tree;
use crate::source::cgroup::path_in;
use crate::source::model::process::{stat, user};

const PROC: &str = "/proc";

/// A process that cannot become another.
pub struct Held {
    fd: OwnedFd,
    pub process: Process,
}

/// The process with this number that started then; without a start the one that there is now.
pub fn hold(tree: &Tree, pid: u32, started: Option<u64>) -> Result<Held, String> {
    let gone = || format!("there is no process {pid}");
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(gone)?;
    // First of all: what is read afterwards is about this one, or about none that has the start.
    let fd = pidfd_open(number, PidfdFlags::empty()).map_err(|_| gone())?;
    let proc = Path::new(PROC);
    let found = stat(proc, pid).ok_or_else(gone)?;
    if started.is_some_and(|started| started != found.started) {
        return Err(format!("process {pid} is another one by now: that which was asked for has ended"));
    }
    let hierarchy = tree.hierarchy("memory")?;
    let text = std::fs::read(proc.join(pid.to_string()).join("cgroup")).map_err(|_| gone())?;
    let path = path_in(&text, hierarchy.id).map(|path| path.into_owned()).unwrap_or_default();
    let uid = user(proc, pid).ok_or_else(gone)?;
    let process = Process {
        pid,
        uid,
        comm: escape(&found.comm).into_owned(),
        rooted: tree.is_rooted(&path),
        path,
        kernel: found.kernel,
        own: pid == std::process::id(),
    };
    Ok(Held { fd, process })
}

/// Whether the process still runs.
pub fn is_alive(pid: u32, started: u64) -> bool {
    stat(Path::new(PROC), pid).is_some_and(|found| found.started == started) && !is_zombie(pid)
}

/// It has ended, and whoever started it has not yet asked how.
fn is_zombie(pid: u32) -> bool {
    let text = std::fs::read_to_string(Path::new(PROC).join(pid.to_string()).join("stat")).unwrap_or_default();
    text.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// The name of a process.
pub fn comm(pid: u32) -> String {
    let found = stat(Path::new(PROC), pid).map(|found| escape(&found.comm).into_owned());
    found.unwrap_or_else(|| "unknown".to_owned())
}

impl Held {
    pub fn signal(&self, kill: bool) -> rustix::io::Result<()> {
        pidfd_send_signal(&self.fd, if kill { Signal::KILL } else { Signal::TERM })
    }

    /// Waits for its end; whether it came.
    pub fn ends_within(&self, time: Duration) -> bool {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let limit = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        poll(&mut fds, Some(&limit)).is_ok_and(|ready| ready > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_number_with_another_start_is_another_process() {
        let tree = Tree::find().unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let started = stat(Path::new(PROC), child.id()).unwrap().started;
        assert!(is_alive(child.id(), started) && !is_alive(child.id(), started + 1));
        assert!(hold(&tree, child.id(), Some(started + 1)).is_err());
        let held = hold(&tree, child.id(), Some(started)).unwrap();
        assert_eq!((held.process.pid, held.process.kernel, held.process.own), (child.id(), false, false));
        held.signal(false).unwrap();
        assert!(held.ends_within(Duration::from_secs(60)));
        assert!(!is_alive(child.id(), started), "a zombie has ended");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&child.wait().unwrap()), Some(15));
        assert!(hold(&tree, child.id(), Some(started)).is_err() && held.signal(true).is_err());
    }
}
