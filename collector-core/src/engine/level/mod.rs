//! Which level the host and each GPU have, from the view, once a tick. Knows neither settings nor who asks.

mod hold;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::identity::Names;
use crate::level::{Change, Level, Limits, State};
use crate::series::Series;
use crate::statistic::gpu::Statistic::{MemoryFree, MemoryUsed, Mig};
use crate::statistic::host::Statistic::Cpus;
use crate::view::View;
use crate::view::gpu::Gpu;
use crate::view::host::used_ratio;
use crate::view::level::{CPU_NS, GpuLevel, Levels, STALLED_CRITICAL, STALLED_NS, STALLED_RAISES, Standing};
use crate::view::workload::{OTHER, Workload, Workloads};
use hold::Hold;

/// A mean of less time than this says nothing.
const LEAST_NS: u64 = 10_000_000_000;
/// How long after its start a container may still be without its names.
const NAMES_NS: u64 = 5_000_000_000;
/// A level that has been unknown for this long is reported.
const UNKNOWN_NS: u64 = 30_000_000_000;

/// The levels over time.
#[derive(Clone, Debug, Default)]
pub struct Fold {
    host: Track,
    gpus: BTreeMap<Arc<str>, Track>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Track {
    hold: Hold,
    /// The level last reported; a first level of 0 is not reported.
    told: Level,
    /// It was ever known.
    known: bool,
    /// The level was last reported as unknown.
    unknown: bool,
    /// Since when it is not known, in nanoseconds since the Unix epoch.
    missing: Option<u64>,
}

/// What the numbers of one moment amount to.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    level: Level,
    /// Something is missing without which the level is not known.
    partial: bool,
}

/// At a tick. Returns the changes, which are few.
pub fn tick(fold: &mut Fold, view: &mut View, time: u64) -> Vec<Change> {
    let limits = view.level.limits.clone();
    let mut changes = Vec::new();
    measure(view, &limits, time);
    let wanted = host(&view.level);
    if let Some(told) = fold.host.step(time, wanted, &mut view.level.host) {
        changes.push(change(time, None, told, &view.level.host, &view.level.why()));
    }
    let Fold { gpus, .. } = fold;
    let View { level, gpus: cards, workloads, .. } = view;
    gpus.retain(|uuid, _| cards.get(uuid).is_some_and(is_whole));
    level.gpus.retain(|uuid, _| cards.get(uuid).is_some_and(is_whole));
    for card in cards.iter().filter(|card| is_whole(card)) {
        let uuid = &card.device.uuid;
        if !gpus.contains_key(uuid) {
            gpus.insert(uuid.clone(), Track::default());
            level.gpus.insert(uuid.clone(), GpuLevel::default());
        }
        let (Some(track), Some(gpu)) = (gpus.get_mut(uuid), level.gpus.get_mut(uuid)) else { continue };
        look(gpu, card, workloads, &limits, time);
        let level = gpu.used.map(|used| Level::of(used / limits.gpu));
        let wanted = Wanted { level: level.unwrap_or_default(), partial: level.is_none() };
        if let Some(told) = track.step(time, wanted, &mut gpu.standing) {
            changes.push(change(time, Some((&gpu.gpu, uuid)), told, &gpu.standing, &gpu.why(&limits)));
        }
    }
    changes
}

/// Reads the numbers of the host.
fn measure(view: &mut View, limits: &Limits, time: u64) {
    let cpus = view.host.statistics.get(Cpus).filter(|cpus| *cpus > 0);
    let long = time.saturating_sub(view.started) >= LEAST_NS;
    let busy = view.history.mean(Series::Cpu, CPU_NS).filter(|_| long);
    view.level.cpu = busy.zip(cpus).map(|(busy, cpus)| (busy / cpus as f64).min(1.0));
    view.level.memory = view.host.memory().map(|memory| memory.used_ratio());
    let stalled = view.history.mean(Series::MemoryStalled, STALLED_NS);
    // A cgroup that waits at its own limit makes an idle host wait too.
    let own = view.host.reclaims_since(time.saturating_sub(STALLED_NS));
    view.level.stalled = stalled.map(|stalled| if own { stalled } else { 0.0 });
    let View { level, host, .. } = view;
    level.filesystems.resize(limits.filesystems.len(), None);
    for (used, mountpoint) in level.filesystems.iter_mut().zip(&limits.filesystems) {
        *used = host.filesystems.get(mountpoint).and_then(|it| it.values.as_ref()).and_then(used_ratio);
    }
}

/// What the host's numbers amount to.
fn host(levels: &Levels) -> Wanted {
    let level = levels.uses().filter_map(|it| it.level()).max().unwrap_or_default();
    Wanted {
        level: match levels.stalled {
            Some(stalled) if stalled > STALLED_CRITICAL => Level::Critical,
            Some(stalled) if stalled > STALLED_RAISES => level.raised(),
            _ => level,
        },
        partial: levels.uses().any(|it| it.is_essential() && it.used.is_none()),
    }
}

/// Nothing starts on a GPU that is divided into MIG devices, and who holds its memory is known of these alone.
fn is_whole(card: &Gpu) -> bool {
    card.values.get(Mig) != Some(1)
}

/// Reads the memory of a GPU.
fn look(gpu: &mut GpuLevel, card: &Gpu, workloads: &Workloads, limits: &Limits, time: u64) {
    if gpu.gpu != card.device.gpu {
        gpu.gpu = card.device.gpu.clone();
    }
    let (used, free) = (card.values.get(MemoryUsed), card.values.get(MemoryFree));
    let sizes = used.zip(free).map(|(used, free)| (used, used.saturating_add(free))).filter(|(_, all)| *all > 0);
    (gpu.used, gpu.intended, gpu.is_partial, gpu.is_unnamed) = (None, None, false, false);
    let Some((used, all)) = sizes else { return };
    let mut intended = 0_u64;
    for holder in card.processes() {
        let Some(workload) = holder.cgroup.and_then(|id| workloads.of(id)) else { continue };
        // The names below a user's own cgroup are the user's choice.
        let own = workload.identity.owner.is_none() && &*workload.name != OTHER;
        if own && limits.model_servers.matches(&workload.name) {
            intended = intended.saturating_add(holder.bytes.unwrap_or(0));
            gpu.is_partial |= holder.bytes.is_none();
        } else if own && is_unnamed(workload, time) {
            gpu.is_unnamed = true;
        }
    }
    if gpu.is_unnamed {
        return;
    }
    let intended = intended.min(used);
    gpu.intended = Some(intended as f64 / all as f64);
    gpu.used = Some((used - intended) as f64 / all as f64);
}

/// Whether it may be a model server whose name has not come yet. Without this each start of the agent would raise the level for a while.
fn is_unnamed(workload: &Workload, time: u64) -> bool {
    workload.identity.has_names()
        && workload.names == Names::default()
        && time.saturating_sub(workload.created) < NAMES_NS
}

impl Track {
    /// Returns what is to be told: what happened, and the level before.
    fn step(&mut self, time: u64, wanted: Wanted, shown: &mut Standing) -> Option<(State, Level)> {
        self.hold.step(time, wanted.level);
        let at_least = self.hold.level();
        let known = !wanted.partial || at_least == Level::Critical;
        *shown = Standing {
            level: known.then_some(at_least),
            at_least,
            since: self.hold.since(),
            now: wanted.level,
            hold_ns: self.hold.hold_ns(),
        };
        // A clock that was set back starts the wait again.
        let since = self.missing.unwrap_or(time).min(time);
        self.missing = (!known).then_some(since);
        self.known |= known;
        let state = match at_least.cmp(&self.told) {
            Ordering::Greater => State::Raised,
            Ordering::Less => State::Lowered,
            Ordering::Equal if known && self.unknown => State::Known,
            Ordering::Equal if !known && self.known && !self.unknown && time - since >= UNKNOWN_NS => State::Unknown,
            Ordering::Equal => return None,
        };
        match state {
            State::Unknown => self.unknown = true,
            _ if known => self.unknown = false,
            _ => {}
        }
        Some((state, std::mem::replace(&mut self.told, at_least)))
    }
}

fn change(
    time: u64,
    gpu: Option<(&Arc<str>, &Arc<str>)>,
    told: (State, Level),
    now: &Standing,
    why: &[String],
) -> Change {
    let of = gpu.map_or("the level of the host".to_owned(), |(gpu, _)| format!("the level of GPU {gpu}"));
    let (state, from) = told;
    let (to, known) = (now.at_least, now.level.is_some());
    let what = match state {
        State::Unknown => format!("{of} is not known any more: it is {to} or higher"),
        State::Known => format!("{of} is known again: {to}"),
        State::Raised | State::Lowered if !known => format!("{of} is {to} or higher"),
        State::Raised => format!("{of} is {to}"),
        State::Lowered => format!("{of} is down to {to}"),
    };
    let summary = if why.is_empty() { what } else { format!("{what}; {}", why.join("; ")) };
    Change { time, gpu: gpu.map(|it| it.0.clone()), uuid: gpu.map(|it| it.1.clone()), state, from, to, known, summary }
}
