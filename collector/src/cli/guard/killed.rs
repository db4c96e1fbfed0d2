//! Whether the OOM killer ended a command: by the kernel's count of its cgroup, and by what the agent saw. Decides from these; knows no
//! lease.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use collector_core::api::incidents::{Explained, Incidents};
use collector_core::incident::{Incident, Victim};

use super::child::How;
use super::tree::Tree;
use crate::cli::claim;
use crate::client::Client;
use crate::source::cgroup::{Controller, Hierarchies};
use crate::source::root::Root;

/// How long the agent may take to report a kill, which it does once a tick.
const PATIENCE: Duration = Duration::from_secs(4);
const PAUSE: Duration = Duration::from_millis(100);

/// The kernel's count of OOM kills in a cgroup.
#[derive(Debug)]
pub struct Count {
    path: String,
    /// Nobody else's processes are in it.
    own: bool,
    file: Option<PathBuf>,
    before: Option<u64>,
    /// As last read: a scope is gone soon after its last process.
    last: Option<u64>,
}

/// A kill by the OOM killer.
#[derive(Debug)]
pub struct Kill {
    /// What happened, and why if that is known.
    pub sentence: String,
    /// To explain.
    pub incident: Option<String>,
}

impl Count {
    /// That of the cgroup in which a process is.
    pub fn of(pid: u32, own: bool) -> Count {
        let found = Hierarchies::find(&Root::default()).ok().and_then(|hierarchies| {
            let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
            let hierarchy = hierarchies.of(Controller::Memory)?;
            let path = path(&text)?;
            let name = if hierarchy.id == 0 { "memory.events" } else { "memory.oom_control" };
            Some((path.to_owned(), hierarchy.root.join(path.trim_start_matches('/')).join(name)))
        });
        let (path, file) = found.map_or((String::new(), None), |(path, file)| (path, Some(file)));
        let mut count = Count { path, own, file, before: None, last: None };
        count.look();
        count.before = count.last;
        count
    }

    /// Reads it. What was read before stays if it is gone.
    pub fn look(&mut self) {
        self.last = self.read().or(self.last);
    }

    fn read(&self) -> Option<u64> {
        kills(&fs::read_to_string(self.file.as_ref()?).ok()?)
    }

    /// Whether it grew; `None` if that is not known. Call it as soon as the command has ended.
    pub fn grew(&self) -> Option<bool> {
        match (self.read(), self.last, self.before?) {
            (Some(now), _, before) => Some(now > before),
            // Between the last look and the end there may have been another.
            (None, last, before) => last.map(|last| last > before).filter(|grew| *grew),
        }
    }

    /// The name of the scope, if it has one of its own.
    fn scope(&self) -> Option<&str> {
        self.path.rsplit('/').next().filter(|name| self.own && name.ends_with(".scope"))
    }
}

/// The path in the memory controller's hierarchy.
fn path(text: &str) -> Option<&str> {
    let lines = || {
        text.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            Some((parts.next()?, parts.next()?))
        })
    };
    let memory = lines().find(|(names, _)| names.split(',').any(|name| name == "memory"));
    memory.or_else(|| lines().find(|(names, _)| names.is_empty())).map(|(_, path)| path)
}

fn kills(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill "))?.trim().parse().ok()
}

/// Whether the OOM killer killed a process of the command. `grew` is what the count said at once when the command had ended.
///
/// In a shared cgroup a count that grew may be another's: then the command itself must have ended by SIGKILL, or with the code that
/// a shell gives for one.
pub fn find(
    client: Option<&Client>,
    how: How,
    since: u64,
    (count, grew): (&Count, Option<bool>),
    tree: &Tree,
) -> Option<Kill> {
    let like_one = matches!(how, How::Killed(libc::SIGKILL) | How::Exited(137));
    // Nobody else's count grows for a command that ended well. Where systemd has removed the scope before its count could be read, the
    // agent knows.
    if how == How::Exited(0) || grew == Some(false) || grew.is_none() && !like_one && !count.own {
        return None;
    }
    let in_scope = |victim: &Victim| {
        let names = count.scope().zip(victim.workload.as_deref());
        names.is_some_and(|(scope, workload)| workload.ends_with(scope))
    };
    let deadline = Instant::now() + PATIENCE;
    while let Some(client) = client {
        match kill(client, since, |victim| tree.has(victim.pid) || in_scope(victim)) {
            Ok(Some(incident)) => return Some(told(&incident)),
            Ok(None) if Instant::now() < deadline => sleep(PAUSE),
            Ok(None) | Err(_) => break,
        }
    }
    let sentence = format!("the OOM killer killed a process in {} (by the kernel's count)", count.path);
    (grew == Some(true) && (like_one || count.own)).then_some(Kill { sentence, incident: None })
}

/// The newest incident since `since` (nanoseconds since the Unix epoch) in which the OOM killer killed one of these processes.
fn kill(client: &Client, since: u64, is_ours: impl Fn(&Victim) -> bool) -> Result<Option<Incident>> {
    let list: Incidents =
        serde_json::from_slice(&client.page(&claim::path("incidents"))?).context("read the incidents")?;
    for line in list.incidents.iter().filter(|line| line.kind == "oom" && line.time >= since) {
        let page = client.page(&claim::path(&format!("incidents/{}", line.id)))?;
        let Explained { incident, .. } = serde_json::from_slice(&page).context("read the incident")?;
        if incident.evidence.kills.iter().any(&is_ours) {
            return Ok(Some(incident));
        }
    }
    Ok(None)
}

fn told(incident: &Incident) -> Kill {
    let sentence = match incident.cause.sentence.as_str() {
        "" => incident.title.clone(),
        cause => format!("{}: {cause}", incident.title),
    };
    Kill { sentence, incident: Some(incident.id.clone()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_controllers_path_is_found_on_v1_hybrid_and_v2() {
        assert_eq!(path("0::/a/b\n"), Some("/a/b"));
        assert_eq!(path("4:memory:/a:b\n1:name=systemd:/c\n0::/d\n"), Some("/a:b"));
        assert_eq!(path("4:cpu,memory:/a\n0::/d\n"), Some("/a"));
        assert_eq!(path("1:name=systemd:/c\n"), None);
    }

    #[test]
    fn kills_are_counted_on_v1_and_v2() {
        assert_eq!(kills("low 0\nhigh 0\nmax 5\noom 2\noom_kill 3\noom_group_kill 1\n"), Some(3));
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(kills("oom_kill_disable 0\n"), None);
    }

    #[test]
    fn a_kill_without_an_agent_needs_the_kernels_count_and_the_right_end() {
        let folder = std::env::temp_dir().join(format!("headroom-killed-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("memory.events");
        let tree = Tree::new(1);
        let look = |own, before, now: &str, how| {
            fs::write(&file, now).unwrap();
            let count = Count { path: "/a".to_owned(), own, file: Some(file.clone()), before, last: before };
            find(None, how, 0, (&count, count.grew()), &tree).map(|kill| kill.sentence)
        };
        let found = |before, now: &str, how| look(false, before, now, how);
        let said = "the OOM killer killed a process in /a (by the kernel's count)".to_owned();
        for how in [How::Killed(9), How::Exited(137)] {
            assert_eq!(found(Some(2), "oom_kill 3\n", how), Some(said.clone()));
            assert_eq!(found(Some(3), "oom_kill 3\n", how), None);
            assert_eq!(found(None, "oom_kill 3\n", how), None, "not known");
        }
        for how in [How::Killed(15), How::Exited(1), How::Exited(0)] {
            assert_eq!(found(Some(2), "oom_kill 3\n", how), None, "{how:?}");
        }
        assert_eq!(look(true, Some(2), "oom_kill 3\n", How::Exited(1)), Some(said), "in a cgroup of its own");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_scope_that_is_gone_is_known_by_what_was_read_before() {
        let count = |before, last| {
            let file = Some(PathBuf::from("/nowhere/memory.events"));
            Count { path: "/u/headroom-a-7.scope".to_owned(), own: true, file, before, last }
        };
        assert_eq!(count(Some(2), Some(3)).grew(), Some(true));
        assert_eq!(count(Some(2), Some(2)).grew(), None, "it may have grown since");
        assert_eq!(count(None, None).grew(), None);
        assert_eq!(count(None, None).scope(), Some("headroom-a-7.scope"));
    }
}
