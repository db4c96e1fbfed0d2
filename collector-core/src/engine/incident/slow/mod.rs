//! Gathers why something is slow: facts of the time that is judged beside what was usual, and who else used the host.

use std::collections::BTreeMap;

use crate::cgroup::contains;
use crate::incident::{Incident, Neighbour, Pair, Slow, What};
use crate::series::Series;
use crate::statistic::gpu::{POWER_CAPPED, REASONS, Statistic as OfGpu, THROTTLED};
use crate::statistic::host::Statistic as OfHost;
use crate::view::View;
use crate::view::history::Window;
use crate::view::slow::{Fact, Of, Trail, busiest_disk, busiest_link, holds, is_of, is_shared};
use crate::view::workload::Workload;

/// At most so much of the time since it began is judged, in nanoseconds: the last of it.
const JUDGED_NS: u64 = 60_000_000_000;
/// Errors of GPUs count from this long before, in nanoseconds.
const ERRORS_NS: u64 = 60_000_000_000;
/// How many neighbours are listed for each of CPU, IO, growth and its GPUs.
const LISTED: usize = 4;
/// Use below this is none: CPUs, bytes per second, and bytes of growth.
const LITTLE_CPU: f64 = 0.02;
const LITTLE_IO: f64 = 64e3;
const LITTLE_GROWTH: f64 = 1e6;

/// What is slow, and since when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub workload: &'a str,
    /// A model server and the model, if it is about one.
    pub server: Option<(&'a str, &'a str)>,
    /// When it began, as far as that is known, in nanoseconds since the Unix epoch: what was before is usual.
    pub since: u64,
}

/// What is known of it now.
pub(crate) fn evidence(view: &View, subject: Subject<'_>, time: u64) -> Slow {
    let from = subject.since.max(time.saturating_sub(JUDGED_NS));
    let mut slow = Slow {
        workload: Some(subject.workload.to_owned()).filter(|name| !name.is_empty()),
        server: subject.server.map(|(server, _)| server.to_owned()),
        model: subject.server.map(|(_, model)| model.to_owned()).filter(|model| !model.is_empty()),
        from,
        until: time,
        cpus: view.host.statistics.get(OfHost::Cpus),
        disk: busiest_disk(view).map(|(name, _)| name.to_owned()),
        link: busiest_link(view).map(|(name, _)| name.to_owned()),
        ..Slow::default()
    };
    let own = view.slow.workload(subject.workload);
    let model = subject.server.and_then(|(server, model)| view.slow.model(server, model));
    for (of, trail) in [(Of::Workload, own), (Of::Model, model), (Of::Host, view.slow.host())] {
        trail.iter().for_each(|trail| slow.add(of, trail, subject.since));
    }
    if let Some(workload) = view.workloads.find(subject.workload) {
        gpus(view, workload, subject.since, &mut slow);
    }
    slow.neighbours = neighbours(view, subject, time);
    slow
}

impl Slow {
    /// Facts of one subject. What happened between `since` and the time that is judged is neither usual nor judged.
    fn add(&mut self, of: Of, trail: &Trail, since: u64) {
        for fact in Fact::all(of) {
            let Some(now) = trail.means(*fact, self.from, self.until) else { continue };
            let before = match since < self.from {
                true => trail.means(*fact, since, self.until).and_then(|means| means.before),
                false => now.before,
            };
            self.facts.insert(fact.name().to_owned(), Pair { now: round(now.now), before: before.map(round) });
        }
        self.usual_seconds = self.usual_seconds.max(round(trail.known_before(since) as f64 / 1e9));
    }
}

/// Four digits, which is more than anybody reads.
fn round(number: f64) -> f64 {
    if number == 0.0 || !number.is_finite() {
        return 0.0;
    }
    let scale = 10f64.powf(3.0 - number.abs().log10().floor());
    let round = (number * scale).round() / scale;
    if round.is_finite() { round } else { number }
}

fn gpus(view: &View, workload: &Workload, since: u64, slow: &mut Slow) {
    let mut reasons = 0;
    let mut others: BTreeMap<&str, u64> = BTreeMap::new();
    for gpu in view.gpus.iter().filter(|gpu| holds(view, gpu, workload)) {
        slow.gpus.push(gpu.device.gpu.to_string());
        reasons |= gpu.values.get(OfGpu::Throttle).unwrap_or(0) & (THROTTLED | POWER_CAPPED);
        for holder in gpu.processes().iter().filter(|holder| !is_of(view, holder, workload)) {
            if let Some(other) = holder.cgroup.and_then(|id| view.workloads.of(id)) {
                let bytes = others.entry(&other.name).or_default();
                *bytes = bytes.saturating_add(holder.bytes.unwrap_or(0));
            }
        }
    }
    let mut others: Vec<(&str, u64)> = others.into_iter().collect();
    others.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    slow.gpu_others = others.into_iter().take(LISTED).map(|(name, _)| name.to_owned()).collect();
    let named = REASONS.iter().filter(|(bit, _)| reasons & bit != 0);
    slow.clock_reasons = named.map(|(_, name)| (*name).to_owned()).collect();
    let recent = |time: u64| time.saturating_add(ERRORS_NS) >= since && time <= slow.until;
    let ours = |of: &String| slow.gpus.contains(of);
    let errors = view.changes.iter().filter(|it| it.what == What::Xid && recent(it.time) && ours(&it.of));
    let mut codes: Vec<u64> = errors.filter_map(|change| change.after).collect();
    codes.dedup();
    slow.xids = codes;
}

/// Those that used most CPU, did most IO, or grew most. A workload that contains the one that is slow, or is in it, is none.
fn neighbours(view: &View, subject: Subject<'_>, time: u64) -> Vec<Neighbour> {
    let since = subject.since.max(time.saturating_sub(JUDGED_NS));
    let now = view.history.window(time).judged(since, time, time);
    let before = view.history.window(subject.since);
    let own = view.workloads.find(subject.workload).map(|workload| &*workload.identity.top);
    let related = |workload: &Workload| {
        let top = &*workload.identity.top;
        own.is_some_and(|own| contains(own, top) || contains(top, own))
    };
    let others = view.workloads.iter().filter(|workload| !is_shared(workload) && !related(workload));
    let all: Vec<Neighbour> = others.filter_map(|workload| neighbour(workload, &now, &before)).collect();
    let scores: [fn(&Neighbour) -> f64; 3] = [
        |it| it.cpus.unwrap_or(0.0) - LITTLE_CPU,
        |it| it.io_bytes_per_second.unwrap_or(0.0) - LITTLE_IO,
        |it| it.growth_bytes.unwrap_or(0) as f64 - LITTLE_GROWTH,
    ];
    let mut chosen: Vec<usize> = Vec::new();
    for score in scores {
        let mut places: Vec<usize> = (0..all.len()).filter(|place| score(&all[*place]) > 0.0).collect();
        places.sort_by(|one, two| score(&all[*two]).total_cmp(&score(&all[*one])));
        chosen.extend(places.into_iter().take(LISTED));
    }
    chosen.sort_unstable();
    chosen.dedup();
    let mut listed: Vec<Neighbour> = chosen.into_iter().map(|place| all[place].clone()).collect();
    listed.sort_by(|one, two| two.cpus.unwrap_or(0.0).total_cmp(&one.cpus.unwrap_or(0.0)));
    listed
}

fn neighbour(workload: &Workload, now: &Window, before: &Window) -> Option<Neighbour> {
    let track = &workload.track;
    let pace = |window: &Window, series: &[Series]| {
        let (from, until) = window.period()?;
        let seconds = (until.checked_sub(from).filter(|ns| *ns > 0)?) as f64 / 1e9;
        let totals = series.iter().filter_map(|series| window.total(track, *series));
        totals.reduce(|one, two| one + two).map(|total| round(total / seconds))
    };
    const IO: [Series; 2] = [Series::Read, Series::Write];
    let cpus = pace(now, &[Series::Cpu]);
    Some(Neighbour {
        workload: workload.name.to_string(),
        cpus,
        cpus_before: pace(before, &[Series::Cpu]),
        io_bytes_per_second: pace(now, &IO),
        io_before: pace(before, &IO),
        growth_bytes: now.growth(track, Series::Memory).map(|growth| growth as i64),
        memory_bytes: now.newest(track, Series::Memory).map(|memory| memory as u64),
    })
}

/// What is slow, where nobody says it better.
pub(super) fn title(incident: &Incident) -> String {
    let label = ["server", "workload"].into_iter().find_map(|label| incident.labels.get(label));
    format!("{} is slower than usual", label.map_or("A workload", String::as_str))
}

#[cfg(test)]
mod tests;
