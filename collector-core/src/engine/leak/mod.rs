//! Finds memory that leaks: reads what each workload holds once in ten seconds, and judges it at the end of each window. Does not know
//! what follows.

#[cfg(test)]
mod hours;
mod track;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::identity;
use crate::statistic::gpu::Statistic::{MemoryTotal, MemoryUsed};
use crate::statistic::workload::Statistic as Of;
use crate::trend::{Settings, exhaustion};
use crate::view::View;
use crate::view::leak::{Kind, Told};
use crate::view::number::{Known, Number};
use crate::view::workload::{OTHER, Workload};
use track::Track;

const INTERVAL_NS: u64 = 10_000_000_000;
/// Of shorter windows each has so many readings.
const READINGS: u64 = 16;
/// Who holds less than this share of what there is does not fill it soon.
const LEAST: f64 = 0.01;

/// By workload, then by kind.
#[derive(Clone, Debug, Default)]
pub struct Leaks {
    tracks: BTreeMap<Arc<str>, Tracks>,
    /// When it read last.
    read: u64,
    settings: Settings,
    /// A window was over: who rises may be somebody else.
    judged: bool,
}

#[derive(Clone, Debug, Default)]
struct Tracks {
    kinds: [Option<Box<Track>>; Kind::ALL.len()],
    /// When the workload was last there.
    seen: u64,
    /// When it began, if that was seen.
    born: Option<u64>,
}

/// At a tick.
pub fn tick(leaks: &mut Leaks, view: &mut View, time: u64) {
    if time >= leaks.read && time - leaks.read < INTERVAL_NS.min(leaks.settings.window / READINGS) {
        return;
    }
    leaks.read = time;
    let total = view.host.memory().map(|memory| memory.total as f64);
    let known = Known::of(&view.coverage);
    // Nothing is allocated while nothing leaks.
    let mut found = Vec::new();
    for workload in view.workloads.iter().filter(|workload| is_judged(workload)) {
        for kind in Kind::ALL {
            let Some(held) = held(view, workload, kind, known, total) else { continue };
            if let Some(told) = leaks.read_one(time, workload, kind, &held) {
                found.push((workload.name.clone(), kind, told));
            }
        }
    }
    leaks.tracks.retain(|_, tracks| {
        for track in &mut tracks.kinds {
            // It holds none of this kind any more.
            if track.as_ref().is_some_and(|track| time.saturating_sub(track.time) > leaks.settings.window) {
                *track = None;
            }
        }
        tracks.seen == time
    });
    if std::mem::take(&mut leaks.judged) {
        let rises = |tracks: &Tracks| tracks.kinds.iter().flatten().any(|track| track.rises || track.leak.is_some());
        let rising: Vec<&Arc<str>> =
            leaks.tracks.iter().filter(|(_, tracks)| rises(tracks)).map(|(name, _)| name).collect();
        let View { rising: watched, workloads, gpus, .. } = view;
        watched.watch(time, &rising, workloads, gpus);
    }
    for (name, kind, told) in found {
        view.leaks.0.entry(name).or_default()[kind as usize] = Some(told);
    }
    // Who started again, or holds none of it any more, leaks no more.
    view.leaks.0.retain(|name, kinds| {
        let Some(tracks) = leaks.tracks.get(name) else { return false };
        for (told, track) in kinds.iter_mut().zip(&tracks.kinds) {
            if track.as_ref().is_none_or(|track| track.leak.is_none()) {
                *told = None;
            }
        }
        kinds.iter().any(Option::is_some)
    });
}

impl Leaks {
    /// The source started.
    pub fn start(&mut self, settings: Option<Settings>) {
        self.settings = settings.unwrap_or_default();
    }

    /// A leak, if one was judged to be there now.
    fn read_one(&mut self, time: u64, workload: &Workload, kind: Kind, held: &Held) -> Option<Told> {
        let Held { bytes: held, scale, left } = *held;
        let settings = self.settings;
        let known = self.tracks.contains_key(&workload.name);
        if !known && held < LEAST * scale {
            return None;
        }
        if !known {
            self.tracks.insert(workload.name.clone(), Tracks::default());
        }
        let tracks = self.tracks.get_mut(&workload.name)?;
        tracks.seen = time;
        if tracks.born != workload.recent.born {
            *tracks = Tracks { born: workload.recent.born, seen: time, ..Tracks::default() };
        }
        let track = &mut tracks.kinds[kind as usize];
        if track.is_none() && held < LEAST * scale {
            return None;
        }
        let since = workload.recent.born;
        let track = track.get_or_insert_with(|| Box::new(Track::new(settings, since.unwrap_or(time), since.is_some())));
        let judged = track.read(time, held, scale, workload.statistics.get(Of::CpuUsage));
        self.judged |= judged;
        let line = track.leak.filter(|_| judged)?;
        let since = track.since().unwrap_or(time);
        let (exhaustion, steady) = (exhaustion(&line, scale - left, scale), track.steady);
        Some(Told { line, exhaustion, time, since, held, scale, left, steady })
    }
}

/// Slices hold what is in them.
fn is_judged(workload: &Workload) -> bool {
    use identity::Kind;
    workload.is_shown()
        && !matches!(workload.identity.kind, Kind::Other | Kind::Root | Kind::Slice)
        && &*workload.name != OTHER
}

/// What a workload holds of one kind, in bytes.
struct Held {
    bytes: f64,
    /// Of how many.
    scale: f64,
    /// What is left of these to all who share them.
    left: f64,
}

fn held(view: &View, workload: &Workload, kind: Kind, known: Known, total: Option<f64>) -> Option<Held> {
    let of = |number: Number| number.of(workload, known).map(|bytes| bytes as f64);
    let bytes = of(match kind {
        Kind::Anon => Number::Anon,
        Kind::Shared => Number::Shmem,
        Kind::Kernel => Number::Kernel,
        Kind::Pinned => Number::Pinned,
        Kind::Vram => Number::Vram,
    })?;
    let available = view.host.memory().map(|memory| memory.available as f64);
    let limit = workload.statistics.get(Of::MemoryLimit).map(|limit| limit as f64);
    let (scale, left) = match kind {
        Kind::Vram => vram(view, workload)?,
        Kind::Pinned => (total?, available?),
        Kind::Anon | Kind::Shared | Kind::Kernel => {
            // Page cache gives way.
            let own: f64 = [Number::Anon, Number::Shmem, Number::Kernel].into_iter().filter_map(of).sum();
            let below = limit.map(|limit| limit - own);
            (limit.into_iter().chain(total).reduce(f64::min)?, below.into_iter().chain(available).reduce(f64::min)?)
        }
    };
    (scale > 0.0).then_some(Held { bytes, scale, left })
}

/// Memory of all GPUs of which it holds some, and what of that is free.
fn vram(view: &View, workload: &Workload) -> Option<(f64, f64)> {
    let holds = |cgroup: crate::cgroup::Id| view.workloads.of(cgroup).is_some_and(|of| of.name == workload.name);
    let of = view.gpus.iter().filter(|gpu| gpu.processes().iter().filter_map(|holder| holder.cgroup).any(holds));
    let sizes = of.filter_map(|gpu| Some((gpu.values.get(MemoryTotal)?, gpu.values.get(MemoryUsed)?)));
    let sum = |(all, left): (f64, f64), (total, used): (u64, u64)| {
        (all + total as f64, left + total.saturating_sub(used) as f64)
    };
    Some(sizes.fold((0.0, 0.0), sum)).filter(|(total, _)| *total > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;
    use crate::engine::test::{ID, engine};
    use crate::metric::leak::{EXHAUSTION, PACE};
    use crate::metric::visit::{Part, visit};
    use crate::outcome::Outcome;
    use crate::sample::{Reading, Sample, Statistics};
    use crate::statistic::{host, workload};

    const SECOND: u64 = 1_000_000_000;
    const HOUR: u64 = 3600 * SECOND;
    const GIB: f64 = (1u64 << 30) as f64;

    /// Seconds of an engine in which `/a`, limited to 10 GiB, holds what two functions of the hours say: heap and shared memory. Returns
    /// the alerts that fired.
    fn run(engine: &mut Engine, hours: f64, heap: impl Fn(f64) -> f64, shared: impl Fn(f64) -> f64) -> Vec<String> {
        let mut fired = Vec::new();
        let from = engine.view().time.max(100 * HOUR);
        for at in (0..(hours * 3600.0) as u64).step_by(5) {
            let (time, hour) = (from + at * SECOND, at as f64 / 3600.0);
            let mut values = workload::Values::new();
            values.set(Of::MemoryAnon, (heap(hour) * GIB) as u64);
            if shared(hour) > 0.0 {
                values.set(Of::MemoryShmem, (shared(hour) * GIB) as u64);
            }
            values.set(Of::MemoryCurrent, ((heap(hour) + shared(hour)) * GIB) as u64);
            values.set(Of::MemoryLimit, 10 << 30);
            values.set(Of::CpuUsage, at * SECOND / 10);
            let total = host::Values::from_iter([
                (host::Statistic::MemoryTotal, 64 << 30),
                (host::Statistic::MemoryAvailable, 32 << 30),
            ]);
            let statistics = Statistics { cgroup: ID, values, turn: true };
            for reading in [Reading::Host(total), Reading::Statistics(statistics), Reading::Tick] {
                let outcomes = engine.apply(&Sample { time, reading });
                fired.extend(outcomes.into_iter().filter_map(|outcome| match outcome {
                    Outcome::Alert(alert) if alert.alert.contains("Leak") => Some(alert.alert.to_string()),
                    _ => None,
                }));
            }
        }
        fired
    }

    fn series(engine: &Engine, metric: &'static crate::metric::row::Metric) -> Vec<(String, f64)> {
        let mut found = Vec::new();
        visit(engine.view(), metric, Part::Whole, &mut |labels, number, _| found.push((labels.join(","), number)));
        found
    }

    #[test]
    fn a_leak_is_told_by_its_kind_with_the_time_that_is_left_and_has_an_alert_until_it_is_over() {
        let mut engine = engine();
        engine.replace_rules(std::sync::Arc::new(crate::rule::Rules::new(&[]).unwrap()));
        let fired = run(&mut engine, 2.6, |_| 2.0, |hour| 1.0 + hour);
        assert_eq!(fired, ["WorkloadMemoryLeak"]);
        let pace = series(&engine, &PACE);
        assert!(pace.len() == 1 && pace[0].0.ends_with("/a,,,,shared"), "{pace:?}");
        assert!((pace[0].1 * 3600.0 / GIB - 1.0).abs() < 0.05, "{pace:?}");
        let left = series(&engine, &EXHAUSTION)[0].1 / 3600.0;
        // Of 10 GiB, 2 and 3.6 are held.
        assert!((left - 4.4).abs() < 0.4, "{left}");
        // It stopped, and an hour later that is seen.
        assert_eq!(run(&mut engine, 1.0, |_| 2.0, |_| 3.6), ["WorkloadMemoryLeak"], "resolved");
        assert_eq!(series(&engine, &PACE), []);
    }

    #[test]
    fn a_kind_that_is_not_held_any_more_leaks_no_more() {
        let mut engine = engine();
        engine.replace_rules(std::sync::Arc::new(crate::rule::Rules::new(&[]).unwrap()));
        run(&mut engine, 2.6, |_| 2.0, |hour| 1.0 + hour);
        assert_eq!(series(&engine, &PACE).len(), 1);
        assert_eq!(run(&mut engine, 0.3, |_| 2.0, |_| 0.0), ["WorkloadMemoryLeak"], "resolved");
        assert_eq!(series(&engine, &PACE), []);
        // What holds it started again.
        let mut engine = super::super::test::engine();
        run(&mut engine, 2.6, |_| 2.0, |hour| 1.0 + hour);
        run(&mut engine, 0.1, |_| 2.0, |_| 0.5);
        assert_eq!(series(&engine, &PACE), []);
    }
}
