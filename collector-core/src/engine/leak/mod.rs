//! Finds memory that leaks: reads what each workload holds once in ten seconds, and judges it at the end of each window. Does not know
//! what follows.

mod track;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::identity;
use crate::statistic::gpu::Statistic::MemoryTotal;
use crate::statistic::workload::Statistic as Of;
use crate::trend::exhaustion;
use crate::view::View;
use crate::view::leak::{Kind, Told};
use crate::view::number::{Known, Number};
use crate::view::workload::{OTHER, Workload};
use track::Track;

const INTERVAL_NS: u64 = 10_000_000_000;
/// Who holds less than this share of what there is does not fill it soon.
const LEAST: f64 = 0.01;

/// By workload, then by kind.
#[derive(Clone, Debug, Default)]
pub struct Leaks {
    tracks: BTreeMap<Arc<str>, Tracks>,
    /// When it read last.
    read: u64,
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
    if time >= leaks.read && time - leaks.read < INTERVAL_NS {
        return;
    }
    leaks.read = time;
    let total = view.host.memory().map(|memory| memory.total as f64);
    let known = Known::of(&view.coverage);
    let mut changed = Vec::new();
    for workload in view.workloads.iter().filter(|workload| is_judged(workload)) {
        for kind in Kind::ALL {
            let Some((held, scale)) = held(view, workload, kind, known, total) else { continue };
            let judged = leaks.read_one(time, workload, kind, held, scale);
            // Nothing is allocated while nothing leaks.
            if let Some(told) = judged.filter(|told| told.is_some() || view.leaks.0.contains_key(&workload.name)) {
                changed.push((workload.name.clone(), kind, told));
            }
        }
    }
    leaks.tracks.retain(|_, tracks| tracks.seen == time);
    view.leaks.0.retain(|name, _| leaks.tracks.contains_key(name));
    for (name, kind, told) in changed {
        view.leaks.0.entry(name.clone()).or_default()[kind as usize] = told;
        if view.leaks.0.get(&name).is_some_and(|kinds| kinds.iter().all(Option::is_none)) {
            view.leaks.0.remove(&name);
        }
    }
}

impl Leaks {
    /// What is to be told now, if it was judged.
    fn read_one(&mut self, time: u64, workload: &Workload, kind: Kind, held: f64, scale: f64) -> Option<Option<Told>> {
        let known = self.tracks.contains_key(&workload.name);
        if !known && held < LEAST * scale {
            return None;
        }
        if !known {
            self.tracks.insert(workload.name.clone(), Tracks::default());
        }
        let tracks = self.tracks.get_mut(&workload.name)?;
        tracks.seen = time;
        let again = tracks.born != workload.recent.born;
        if again {
            *tracks = Tracks { born: workload.recent.born, seen: time, ..Tracks::default() };
        }
        let track = &mut tracks.kinds[kind as usize];
        if track.is_none() && held < LEAST * scale {
            return None;
        }
        let since = workload.recent.born;
        let track = track.get_or_insert_with(|| Box::new(Track::new(since.unwrap_or(time), since.is_some())));
        if !track.read(time, held, scale, workload.statistics.get(Of::CpuUsage)) {
            return again.then_some(None);
        }
        Some(track.leak.map(|leak| Told { leak, limit: scale, exhaustion: exhaustion(&leak.line, held, scale), time }))
    }
}

/// Slices hold what is in them.
fn is_judged(workload: &Workload) -> bool {
    use identity::Kind;
    workload.is_shown()
        && !matches!(workload.identity.kind, Kind::Other | Kind::Root | Kind::Slice)
        && &*workload.name != OTHER
}

/// Bytes of one kind that a workload holds, and of how many.
fn held(view: &View, workload: &Workload, kind: Kind, known: Known, total: Option<f64>) -> Option<(f64, f64)> {
    let number = match kind {
        Kind::Anon => Number::Anon,
        Kind::Shared => Number::Shmem,
        Kind::Kernel => Number::Kernel,
        Kind::Pinned => Number::Pinned,
        Kind::Vram => Number::Vram,
    };
    let bytes = number.of(workload, known)? as f64;
    let limit = workload.statistics.get(Of::MemoryLimit).map(|limit| limit as f64);
    let scale = match kind {
        Kind::Vram => vram(view, workload)?,
        Kind::Pinned => total?,
        _ => limit.into_iter().chain(total).reduce(f64::min)?,
    };
    (scale > 0.0).then_some((bytes, scale))
}

/// Memory of all GPUs of which it holds some.
fn vram(view: &View, workload: &Workload) -> Option<f64> {
    let holds = |cgroup: crate::cgroup::Id| view.workloads.of(cgroup).is_some_and(|of| of.name == workload.name);
    let of = view.gpus.iter().filter(|gpu| gpu.processes().iter().filter_map(|holder| holder.cgroup).any(holds));
    let totals = of.filter_map(|gpu| gpu.values.get(MemoryTotal));
    Some(totals.fold(0.0, |sum, total| sum + total as f64)).filter(|sum| *sum > 0.0)
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
            values.set(Of::MemoryShmem, (shared(hour) * GIB) as u64);
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
        assert!((left - 6.4).abs() < 0.4, "{left}");
        // It stopped, and an hour later that is seen.
        assert_eq!(run(&mut engine, 1.0, |_| 2.0, |_| 3.6), ["WorkloadMemoryLeak"], "resolved");
        assert_eq!(series(&engine, &PACE), []);
    }
}
