//! Carries out what was decided: writes the steps of a change and reads them back, sends signals, and waits for the effect. Knows no policy and
//! no journal.

use std::thread::sleep;
use std::time::{Duration, Instant};

use collector_core::act::{Step, canonical, is_frozen, same};
use rustix::io::Errno;

use super::cgroup::Cgroup;
use super::process::{Held, hold};
use super::tree::Tree;

/// How long an effect is waited for: that a cgroup stands still, that a process has ended.
const EFFECT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(5);
/// How often the processes of a cgroup are looked up again while it is killed: those that came meanwhile.
const ROUNDS: usize = 1000;

/// What came of it.
#[derive(Debug)]
pub struct Made {
    /// What the kernel shows for each step.
    pub read_back: Vec<String>,
    pub note: Option<String>,
}

/// What the kernel shows for each step; `None` where the cgroup is gone or another one has its place.
pub fn look(tree: &Tree, path: &str, steps: &[Step]) -> Vec<Option<String>> {
    let one = |step: &Step| {
        let directory = tree.open(&step.controller, path).ok().filter(|it| it.id == step.cgroup)?;
        Some(canonical(&step.file, &directory.read(shown(&step.file)).ok()?))
    };
    steps.iter().map(one).collect()
}

/// Where the effect of a file is seen.
fn shown(file: &str) -> &str {
    if file == "memory.reclaim" { "memory.current" } else { file }
}

/// Writes all steps, or none: if one fails, those before it are written back.
pub fn change(cgroup: &Cgroup<'_>, steps: &[Step], page: u64) -> Result<Made, String> {
    let mut read_back = Vec::new();
    let mut notes = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        match write(cgroup, step, &step.after, page) {
            Ok((value, note)) => {
                read_back.push(value);
                notes.extend(note);
            }
            Err(why) => {
                let undone = steps[..at].iter().rev().map(|step| write(cgroup, step, &step.before, page));
                let lost: Vec<_> = undone.filter_map(Result::err).collect();
                return Err(match lost.is_empty() {
                    true => why,
                    false => {
                        format!("{why}; what was written before it could not be written back: {}", lost.join("; "))
                    }
                });
            }
        }
    }
    Ok(Made { read_back, note: Some(notes.join("; ")).filter(|note| !note.is_empty()) })
}

/// Writes back the steps with these numbers, in this order.
pub fn restore(cgroup: &Cgroup<'_>, steps: &[Step], order: &[usize], page: u64) -> Result<(), String> {
    for step in order.iter().filter_map(|at| steps.get(*at)) {
        write(cgroup, step, &step.before, page)?;
    }
    Ok(())
}

/// Writes a value, and gives what the kernel shows then, with what there is to say about it.
fn write(cgroup: &Cgroup<'_>, step: &Step, value: &str, page: u64) -> Result<(String, Option<String>), String> {
    let directory = cgroup.directory(&step.controller)?;
    if directory.id != step.cgroup {
        return Err(format!("{} is another cgroup by now", cgroup.path));
    }
    let file = &*step.file;
    let read = || {
        let content = directory.read(shown(file)).map_err(|error| format!("read {file} back: {error}"))?;
        Ok::<_, String>(canonical(file, &content))
    };
    let before = read()?;
    let written = directory.write(file, value);
    if file == "memory.reclaim" {
        let now = read()?;
        let freed = before.parse::<u64>().unwrap_or(0).saturating_sub(now.parse().unwrap_or(0));
        let freed = format!("{} less are in use", collector_core::amount::bytes(freed));
        return match written {
            Ok(()) => Ok((now, Some(freed))),
            Err(Errno::AGAIN) => Ok((now, Some(format!("less than asked for could be freed: {freed}")))),
            Err(error) => Err(format!("write {file}: {error}")),
        };
    }
    written.map_err(|error| format!("write {value:?} to {file}: {}", explained(error)))?;
    let mut now = read()?;
    let freezes = matches!(file, "freezer.state" | "cgroup.freeze");
    if !freezes {
        return match same(file, value, &now, page) {
            true => Ok((now, None)),
            false => Err(format!("{file} is {now} after {value} was written: the kernel took another value")),
        };
    }
    let wanted = is_frozen(value);
    let stands = || match directory.read("cgroup.events") {
        Ok(events) => events.lines().any(|line| line == "frozen 1"),
        // On cgroup v1 the file itself says it.
        Err(_) => directory.read(file).is_ok_and(|state| state.trim() == "FROZEN"),
    };
    let deadline = Instant::now() + EFFECT;
    while stands() != wanted && Instant::now() < deadline {
        sleep(PAUSE);
    }
    now = if stands() == wanted { read()? } else { now };
    let late = (stands() != wanted).then(|| match wanted {
        true => format!("not all of it stands still after {EFFECT:?}: a process waits in the kernel"),
        false => "it does not run yet: a cgroup above it is frozen, perhaps".to_owned(),
    });
    Ok((now, late))
}

fn explained(error: Errno) -> String {
    match error {
        Errno::BUSY => "the kernel could not make room for that (EBUSY): more is in use than it can reclaim".to_owned(),
        Errno::INVAL => "the kernel does not take that value here (EINVAL)".to_owned(),
        Errno::NODEV => "the cgroup is gone".to_owned(),
        Errno::NOSPC => "there would be no CPU left for its processes (ENOSPC)".to_owned(),
        error => error.to_string(),
    }
}

/// Sends a signal to a process.
pub fn end(held: &Held, kill: bool) -> Result<Made, String> {
    held.signal(kill).map_err(|error| format!("signal process {}: {error}", held.process.pid))?;
    let note = match held.ends_within(EFFECT) {
        true => "it has ended".to_owned(),
        false => format!("it has not ended within {EFFECT:?}"),
    };
    Ok(Made { read_back: Vec::new(), note: Some(note) })
}

/// The same to all processes of a cgroup and of those below.
pub fn end_all(tree: &Tree, cgroup: &Cgroup<'_>, kill: bool) -> Result<Made, String> {
    let directory = cgroup.directory("memory")?;
    // All at once, where the kernel can (5.14 and newer): none can fork away.
    let at_once = kill && directory.has("cgroup.kill");
    let mut reached = cgroup.pids("memory")?.len();
    if at_once {
        directory.write("cgroup.kill", "1").map_err(|error| format!("write cgroup.kill: {error}"))?;
    } else {
        reached = signal_all(tree, cgroup, kill)?;
    }
    let deadline = Instant::now() + EFFECT;
    let mut left = cgroup.pids("memory")?.len();
    for _ in 0..ROUNDS {
        if left == 0 || Instant::now() >= deadline {
            break;
        }
        sleep(PAUSE);
        if kill && !at_once {
            reached += signal_all(tree, cgroup, true).unwrap_or(0);
        }
        left = cgroup.pids("memory")?.len();
    }
    let sent = format!("{} {reached} processes", if kill { "killed" } else { "asked to end:" });
    let note = if left == 0 { sent } else { format!("{sent}; {left} have not ended within {EFFECT:?}") };
    Ok(Made { read_back: Vec::new(), note: Some(note) })
}

/// To each that is in it when it is held; how many got it.
fn signal_all(tree: &Tree, cgroup: &Cgroup<'_>, kill: bool) -> Result<usize, String> {
    let mut reached = 0;
    for pid in cgroup.pids("memory")? {
        let Ok(held) = hold(tree, pid, None) else { continue };
        // Its number may be somebody else's by now, or it was moved.
        if collector_core::cgroup::contains(&cgroup.path, &held.process.path) && held.signal(kill).is_ok() {
            reached += 1;
        }
    }
    Ok(reached)
}
