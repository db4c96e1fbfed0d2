//! Plays a scenario: creates its cgroups and files, does what it says in order, and keeps what the kernel and waitpid say.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use collector::clock;

use super::control;
use super::interrupt::{pause, until};
use super::scenario::{Act, Actor, Group, Scenario};
use super::script::Scale;
use crate::cached;
use crate::cgroup::Cgroup;
use crate::mount::Mount;
use crate::process::Killed;
use crate::scratch::{Scratch, scratch};
use crate::swap::Swap;

/// How long a process may take for what it does.
const PATIENCE: Duration = Duration::from_secs(150);
/// How long a process may live after the kernel killed another one in its stead.
const SPARED: Duration = Duration::from_secs(5);
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A scenario that was played, with the kernel's word about it.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// When it began, in nanoseconds since the Unix epoch.
    pub begun: u64,
    /// Path of each cgroup.
    pub paths: BTreeMap<String, String>,
    /// For each process that was killed, in order: seconds from the start of its last step that allocates to its end.
    pub grew: Vec<f64>,
    /// Growth of the kernel's count of OOM kills in all cgroups.
    pub kills: u64,
}

/// What exists while it is played. When dropped, everything is removed.
struct Stage<'a> {
    program: &'a str,
    scale: &'a Scale,
    root: String,
    actors: Vec<Running>,
    groups: Vec<(&'static str, Cgroup)>,
    shm: Option<Mount>,
    disk: Scratch,
    played: Played,
}

struct Running {
    name: &'static str,
    child: Killed,
    ended: Option<ExitStatus>,
}

/// Plays it, then calls `after` while the cgroups still exist.
///
/// # Errors
/// If something did not happen as the scenario says: then it shows nothing about the agent.
pub fn play(program: &str, scenario: &Scenario, scale: &Scale, after: impl FnOnce(&Played)) -> Result<Played, String> {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let end = if scenario.slice { ".slice" } else { "" };
    let root = format!("/headroom-stage-{}-{number}-{}{end}", std::process::id(), scenario.name);
    let uses =
        |folder: &str| scenario.acts.iter().any(|act| matches!(act, Act::Run(actor) if actor.script.contains(folder)));
    let shm = uses("shm/").then(|| Mount::tmpfs(&format!("size={}", scale.bytes(400.0)))).transpose()?;
    // Dropped after the stage, which may have pages there.
    let _swap = scenario.swap.then(|| Swap::compressed(scale.bytes(400.0)));
    let played = Played { begun: clock::unix_ns(), ..Played::default() };
    let (actors, groups) = (Vec::new(), Vec::new());
    let mut stage = Stage { program, scale, root, actors, groups, shm, disk: scratch(), played };
    for (name, percent) in &scenario.files {
        stage.make(name, *percent)?;
    }
    scenario.groups.iter().try_for_each(|group| stage.create(group))?;
    scenario.acts.iter().try_for_each(|act| stage.act(act))?;
    stage.count();
    after(&stage.played);
    stage.close();
    Ok(std::mem::take(&mut stage.played))
}

impl Stage<'_> {
    /// A file on the disk, none of it in the page cache.
    fn make(&self, name: &str, percent: f64) -> Result<(), String> {
        let made = cached::make(&self.disk.join(name), self.scale.bytes(percent));
        made.map_err(|error| format!("make {name}: {error}"))
    }

    fn create(&mut self, group: &Group) -> Result<(), String> {
        let path = match group.name {
            "" => self.root.clone(),
            name => format!("{}/{}", self.root, self.scale.name(name)),
        };
        let parent = path.rsplit_once('/').map(|(parent, _)| parent.to_owned());
        if let Some((_, above)) = self.groups.iter().find(|(_, it)| Some(&it.path) == parent.as_ref()) {
            // If one is missing, the knob that needs it fails.
            ["memory", "io", "cpu"].iter().for_each(|controller| drop(above.delegate(controller)));
        }
        let cgroup = Cgroup::everywhere_at(&path);
        for knob in &group.knobs {
            control::set(&cgroup, *knob, self.scale).map_err(|error| format!("{knob:?} of {path}: {error}"))?;
        }
        self.played.paths.insert(group.name.to_owned(), path);
        self.groups.push((group.name, cgroup));
        Ok(())
    }

    fn group(&self, name: &str) -> Result<&Cgroup, String> {
        let found = self.groups.iter().find(|(it, _)| *it == name);
        found.map(|(_, cgroup)| cgroup).ok_or_else(|| format!("the scenario has no cgroup {name:?}"))
    }

    fn act(&mut self, act: &Act) -> Result<(), String> {
        match act {
            Act::Run(actor) => self.run(actor),
            Act::Ready(name) => self.ready(name),
            Act::Pause(seconds) => pause(self.scale.time(*seconds)),
            Act::Set(name, knob) => {
                // On v1 the kernel refuses a limit below what it cannot reclaim; before that it killed.
                let _ = control::set(self.group(name)?, *knob, self.scale);
                Ok(())
            }
            Act::Signal(name, signal) => {
                let pid = self.actor(name)?.child.0.id();
                // SAFETY: no preconditions.
                match unsafe { libc::kill(pid as i32, *signal) } {
                    0 => Ok(()),
                    _ => Err(format!("signal {name}: {}", std::io::Error::last_os_error())),
                }
            }
            Act::Dies(name) => match self.end(name, true)?.signal() {
                Some(libc::SIGKILL) => Ok(()),
                other => Err(format!("{name} was not killed, but ended by signal {other:?}")),
            },
            Act::Ends(name) => match self.end(name, false)?.success() {
                true => Ok(()),
                false => Err(format!("{name} failed")),
            },
            Act::Remove(name) => {
                let place = self.groups.iter().position(|(it, _)| it == name).ok_or(*name)?;
                let (_, cgroup) = self.groups.remove(place);
                self.played.kills += cgroup.kills();
                drop(cgroup);
                Ok(())
            }
            Act::Create(group) => self.create(group),
        }
    }

    fn run(&mut self, actor: &Actor) -> Result<(), String> {
        let shm = self.shm.as_ref().map_or(std::path::Path::new("/nowhere"), |mount| &mount.0);
        let mut command = Command::new(self.program);
        command.arg("act").arg(format!("comm={}", actor.name));
        command.args(actor.score.map(|score| format!("score={score}")));
        command.args(self.scale.steps(actor.script, shm, &self.disk));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let child = self.group(actor.group)?.spawn(&mut command);
        self.actors.push(Running { name: actor.name, child: Killed(child), ended: None });
        Ok(())
    }

    fn actor(&mut self, name: &str) -> Result<&mut Running, String> {
        let found = self.actors.iter_mut().rfind(|it| it.name == name);
        found.ok_or_else(|| format!("the scenario has no process {name:?}"))
    }

    fn ready(&mut self, name: &str) -> Result<(), String> {
        let output = self.actor(name)?.child.0.stdout.take().ok_or("it was ready before")?;
        let mut lines = BufReader::new(output).lines().map_while(Result::ok);
        match lines.any(|line| line == "ready") {
            true => Ok(()),
            false => Err(format!("{name} ended before it was ready")),
        }
    }

    fn end(&mut self, name: &str, killed: bool) -> Result<ExitStatus, String> {
        let before = self.actors.iter().filter(|it| it.ended.is_some()).count() as u64;
        let mut spared: Option<Instant> = None;
        let status = until(&format!("the end of {name}"), PATIENCE, || {
            let actor = self.actors.iter_mut().rfind(|it| it.name == name);
            let Some(actor) = actor else { return Some(Err(format!("the scenario has no process {name:?}"))) };
            if let Ok(Some(status)) = actor.child.0.try_wait() {
                return Some(Ok(status));
            }
            if killed && self.groups.iter().map(|(_, cgroup)| cgroup.kills()).sum::<u64>() > before {
                let since = *spared.get_or_insert_with(Instant::now);
                return (since.elapsed() > SPARED).then(|| Err(format!("another one was killed instead of {name}")));
            }
            None
        })??;
        let now = clock::unix_ns() / 1_000_000;
        let actor = self.actor(name)?;
        actor.ended = Some(status);
        // Children of a process that ended by itself may still have its output open.
        let output = actor.child.0.stdout.take().filter(|_| killed);
        let lines = output.into_iter().flat_map(|output| BufReader::new(output).lines().map_while(Result::ok));
        let since = lines.filter_map(|line| line.strip_prefix("since ")?.parse::<u64>().ok()).last();
        self.played.grew.extend(since.map(|since| now.saturating_sub(since) as f64 / 1e3));
        Ok(status)
    }

    /// What the kernel counted.
    fn count(&mut self) {
        self.played.kills += self.groups.iter().map(|(_, cgroup)| cgroup.kills()).sum::<u64>();
    }

    /// Ends what still runs, and removes cgroups, the inner ones first.
    fn close(&mut self) {
        self.actors.clear();
        while let Some((_, cgroup)) = self.groups.pop() {
            drop(cgroup);
        }
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.close();
    }
}
