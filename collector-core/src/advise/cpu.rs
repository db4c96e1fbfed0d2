//! CPU quotas that throttle, threads that a quota does not carry, and weights of servers that wait for CPUs.

use super::change::cpu_weight;
use super::draft::draft;
use super::{Given, Judged, Rule};
use crate::action::{Action, Object, Risk, Setting, Target, by_hand};
use crate::advice::{Advice, Confidence, Evidence, Saves, Unit};
use crate::amount::{duration, fixed, percent};
use crate::identity::Kind;
use crate::program::Program;
use crate::statistic::contention;
use crate::statistic::host::Statistic as OfHost;
use crate::statistic::model;
use crate::statistic::workload::Statistic;
use crate::target;
use crate::view::slow::Fact;
use crate::view::workload::Workload;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: QUOTA,
        when: "A workload's own CPU quota throttled it in 5 % of the periods in which it ran, and still does, while the host had a CPU or more to spare at its busiest.",
        needs: "an hour in which it ran under the quota, its quota (read of workloads that serve models or hold GPU memory), and six hours of the host's CPU use",
        judge: quota,
    },
    Rule {
        name: THREADS,
        when: "A llama.cpp server is throttled like that, and the host has no CPU to spare: with more threads than its quota has CPUs, all of them stop until the next period.",
        needs: "the same",
        judge: threads,
    },
    Rule {
        name: WEIGHT,
        when: "A model server's tasks waited for a CPU in a fifth of the time in which they could run, in the last three minutes and in the half hour before, while the host's CPUs were busy for 90 % of the time; no quota explains it.",
        needs: "a quarter of an hour of its tasks' waits (schedstat)",
        judge: weight,
    },
];

const QUOTA: &str = "cpu_quota_raise";
const THREADS: &str = "cpu_threads_lower";
const WEIGHT: &str = "cpu_weight_raise";

/// Periods of a quota, of 0.1 s each: an hour, and a day.
const PERIODS: u64 = 36_000;
const MANY_PERIODS: u64 = 24 * PERIODS;
const PERIOD_SECONDS: f64 = 0.1;
/// It is throttled from this share of its periods.
const THROTTLED: f64 = 0.05;
/// It works as ever if it uses this share of the CPU time that it used before.
const AS_EVER: f64 = 0.75;
/// Seconds of which the host's CPU use must be known.
const HOST_SECONDS: u64 = 6 * 3600;
/// CPUs that are free when the host is busiest.
const SPARE: f64 = 1.0;
/// Days that count.
const DAYS: usize = 7;
/// The time that is judged, in nanoseconds.
const NOW_NS: u64 = 180_000_000_000;
const KNOWN_NS: u64 = 900_000_000_000;
/// Waiting for CPUs.
const WAITED: f64 = 0.2;
const BUSY: f64 = 0.9;
/// The weight that is advised; usual is 100.
const MORE: u64 = 500;

/// A workload that its own quota throttles.
struct Throttled<'a> {
    workload: &'a Workload,
    target: Target,
    share: f64,
    periods: u64,
    /// CPUs.
    quota: f64,
    /// The host's CPUs, and the most that were in use.
    host: [f64; 2],
    /// In the last minutes, if it is watched.
    now: Option<f64>,
}

fn quota(given: &Given<'_>, judged: &mut Judged) {
    for found in throttled(given, QUOTA, judged) {
        let [cpus, most] = found.host;
        let spare = cpus - most;
        // At most twice as much, and a fifth of what is free stays free.
        let to = round_down(found.quota + (0.8 * spare).min(found.quota));
        if spare < SPARE || to < 1.2 * found.quota {
            continue;
        }
        let name = &found.workload.name;
        let actions = [found.target.cpu_max(Some(to)), fewer(given, &found)].into_iter().flatten().collect();
        let title = format!("Raise the CPU quota of {name} from {} to {} CPUs.", shown(found.quota), shown(to));
        let why = format!(
            "It was throttled in {} of the periods in which it ran, while the host had {} of its {} CPUs free at its busiest.",
            percent(found.share),
            shown(spare),
            shown(cpus),
        );
        let object = Object::Workload(name.to_string());
        judged.advice.push(found.complete(draft(QUOTA, object, actions, title, why)));
    }
}

fn threads(given: &Given<'_>, judged: &mut Judged) {
    for found in throttled(given, THREADS, &mut Judged::default()) {
        let [cpus, most] = found.host;
        let Some(action) = fewer(given, &found).filter(|_| cpus - most < SPARE) else { continue };
        let name = &found.workload.name;
        let count = found.quota.floor().max(1.0);
        let title = format!("Let the server in {name} run {count} threads, as its CPU quota has CPUs.");
        let why = format!(
            "It was throttled in {} of the periods in which it ran, and the host has no CPU to spare for a higher quota of {} CPUs: with more \
             threads, all of them stop until the next period.",
            percent(found.share),
            shown(found.quota),
        );
        let object = Object::Workload(name.to_string());
        judged.advice.push(found.complete(draft(THREADS, object, vec![action], title, why)));
    }
}

impl Throttled<'_> {
    fn complete(&self, advice: Advice) -> Advice {
        let [cpus, most] = self.host;
        let held = self.workload.statistics.get(Statistic::CpuThrottled).map(|ns| ns as f64 / 1e9);
        let ran = self.periods as f64 * PERIOD_SECONDS;
        let mut evidence = vec![
            Evidence::measured("share of its periods in which it was throttled", self.share, Unit::Ratio),
            Evidence::measured("time in which it ran under the quota", ran, Unit::Seconds),
            Evidence::configured("CPU quota", self.quota, Unit::Cpus),
            Evidence::measured("CPUs of the host in use at most", most, Unit::Cpus),
            Evidence::measured("CPUs of the host", cpus, Unit::Cpus),
        ];
        evidence.extend(
            self.now.map(|now| Evidence::measured("the same share in the last three minutes", now, Unit::Ratio)),
        );
        let saves = held.map(|held| Saves {
            over_seconds: ran as u64,
            stall_seconds: Some(held),
            assuming: "all of the time for which it was held back, added up over CPUs, is the quota's: it would have run instead".to_owned(),
            ..Saves::default()
        });
        let (confidence, because) = match (self.now, self.periods >= MANY_PERIODS) {
            (Some(_), true) => {
                (Confidence::High, "It ran for a day or more under this quota, and is throttled now.".to_owned())
            }
            (Some(_), false) => {
                (Confidence::Medium, format!("It is throttled now, but ran for only {} under a quota.", duration(ran)))
            }
            (None, _) => (Confidence::Low, "Whether it is throttled at this moment is not known.".to_owned()),
        };
        Advice { evidence, saves, confidence, because, ..advice }
    }
}

/// Workloads that their own quota throttles.
fn throttled<'a>(given: &Given<'a>, rule: &str, judged: &mut Judged) -> Vec<Throttled<'a>> {
    let view = given.view;
    let mut found = Vec::new();
    for workload in
        view.workloads.iter().filter(|it| it.is_alive() && !matches!(it.identity.kind, Kind::Other | Kind::Root))
    {
        let get = |statistic| workload.statistics.get(statistic);
        let Some((periods, count)) = get(Statistic::CpuPeriods).zip(get(Statistic::CpuThrottledPeriods)) else {
            continue;
        };
        let share = if periods > 0 { count as f64 / periods as f64 } else { 0.0 };
        if share < THROTTLED {
            continue;
        }
        let trail = view.slow.workload(&workload.name);
        let means = |fact| trail.and_then(|trail| trail.means(fact, view.time.saturating_sub(NOW_NS), view.time));
        let now = means(Fact::CpuThrottled).map(|throttled| {
            // One that rests is throttled again when it works. One that works as ever, and is not, has another quota than before.
            let works = means(Fact::Cpu).is_some_and(|cpu| cpu.now >= AS_EVER * cpu.before.unwrap_or(cpu.now));
            match works && throttled.now < THROTTLED / 2.0 {
                true => throttled.now,
                false => throttled.now.max(throttled.before.unwrap_or(0.0)),
            }
        });
        if now.is_some_and(|now| now < THROTTLED) {
            continue;
        }
        let object = Object::Workload(workload.name.to_string());
        let mut lack = |missing: String| judged.lacks(rule, object.clone(), missing);
        if periods < PERIODS {
            lack(format!(
                "an hour in which it ran under its CPU quota: there are {}",
                duration(periods as f64 * PERIOD_SECONDS)
            ));
            continue;
        }
        let close = view.slow.close(&workload.name).and_then(|close| close.get(contention::Statistic::CpuQuota));
        let Some(quota) = close.map(|quota| quota as f64 / 1000.0).filter(|quota| *quota > 0.0) else {
            lack("its CPU quota, which is read only of workloads that serve models or hold GPU memory".to_owned());
            continue;
        };
        let Some(host) = host(given) else {
            lack(format!("six hours of the host's CPU use: there are {}", duration(given.past.host.seconds() as f64)));
            continue;
        };
        let Some(target) = target::of(view, &workload.name) else { continue };
        found.push(Throttled { workload, target, share, periods, quota, host, now });
    }
    found
}

/// The host's CPUs, and the most that were in use in the last days.
fn host(given: &Given<'_>) -> Option<[f64; 2]> {
    let cpus = given.view.host.statistics.get(OfHost::Cpus)? as f64;
    let days = &given.past.host.days;
    let last = &days[days.len().saturating_sub(DAYS)..];
    let known: u64 = last.iter().filter(|day| day.cpus.is_some()).map(|day| u64::from(day.seconds)).sum();
    let most = last.iter().filter_map(|day| day.cpus).map(|[_, most]| most).reduce(f64::max)?;
    (known >= HOST_SECONDS).then_some([cpus, most])
}

/// As many threads as the quota has CPUs, of the one llama.cpp server that runs in it.
fn fewer(given: &Given<'_>, found: &Throttled<'_>) -> Option<Action> {
    let workloads = &given.view.workloads;
    let own = |it: &crate::view::model::Told| {
        it.workload(workloads).is_some_and(|workload| workload.name == found.workload.name)
    };
    let mut servers = given.view.models.servers.values().filter(|told| own(told));
    let (server, more) = (servers.next()?, servers.next());
    let is_llama =
        server.server.kind == Some(model::Kind::LlamaCpp) && server.server.parent.is_none() && more.is_none();
    let threads = found.quota.floor().max(1.0);
    let settings = [Setting::new("--threads", threads)];
    is_llama.then(|| found.target.configure(Program::LlamaCpp, &settings, &server.server.flags)).flatten()
}

fn weight(given: &Given<'_>, judged: &mut Judged) {
    let view = given.view;
    let mut seen: Vec<&str> = Vec::new();
    for workload in view.models.servers.values().filter_map(|told| told.workload(&view.workloads)) {
        let Some(trail) = view.slow.workload(&workload.name).filter(|_| !seen.contains(&&*workload.name)) else {
            continue;
        };
        seen.push(&workload.name);
        let since = view.time.saturating_sub(NOW_NS);
        let means = |fact| trail.means(fact, since, view.time);
        let host = |fact| view.slow.host().and_then(|trail| trail.means(fact, since, view.time));
        let Some((wait, ran)) = means(Fact::CpuWait).zip(means(Fact::Cpu)) else { continue };
        let share = |wait: f64, ran: f64| if wait + ran > 0.0 { wait / (wait + ran) } else { 0.0 };
        let now = share(wait.now, ran.now);
        let busy = host(Fact::HostCpuBusy);
        let throttled = means(Fact::CpuThrottled).is_some_and(|means| means.now >= THROTTLED);
        if now < WAITED || wait.now < WAITED || throttled || busy.is_none_or(|busy| busy.now < BUSY) {
            continue;
        }
        let object = Object::Workload(workload.name.to_string());
        let known = trail.known_before(since);
        let before = wait.before.zip(ran.before).map(|(wait, ran)| share(wait, ran));
        let Some(before) = before.filter(|_| known >= KNOWN_NS) else {
            let missing = format!("a quarter of an hour of waits for CPUs: there are {}", duration(known as f64 / 1e9));
            judged.lacks(WEIGHT, object, missing);
            continue;
        };
        let busy_before = busy.and_then(|busy| busy.before).unwrap_or(0.0);
        if before < WAITED || busy_before < BUSY - 0.1 {
            continue;
        }
        let Some(target) = target::of(view, &workload.name) else { continue };
        let (title, action) = match cpu_weight(&target, MORE) {
            Some(action) => (
                format!("Give {} a CPU weight of {MORE}, unless it has more already: usual is 100.", workload.name),
                action,
            ),
            None => (
                format!("Give {} more weight than the others that use the CPUs.", workload.name),
                by_hand(
                    object.clone(),
                    "a larger request for CPUs than it has: its weight follows".to_owned(),
                    Risk::High,
                ),
            ),
        };
        let why = format!(
            "Its tasks waited for a CPU in {} of the time in which they could run (in the half hour before: {}), while the host's CPUs were busy.",
            percent(now),
            percent(before),
        );
        let evidence = vec![
            Evidence::measured("share of the time in which its tasks waited for a CPU", now, Unit::Ratio),
            Evidence::measured("the same in the half hour before", before, Unit::Ratio),
            Evidence::measured(
                "share of the time in which the host's CPUs were busy",
                busy.map_or(0.0, |busy| busy.now),
                Unit::Ratio,
            ),
        ];
        let because =
            "Its present weight is not known, and a weight acts only against what is beside it in the tree of cgroups."
                .to_owned();
        let advice = draft(WEIGHT, object, vec![action], title, why);
        judged.advice.push(Advice { evidence, confidence: Confidence::Medium, because, ..advice });
    }
}

/// To whole halves of a CPU; below one, to tenths.
fn round_down(cpus: f64) -> f64 {
    let parts = if cpus < 1.0 { 10.0 } else { 2.0 };
    // Twice 0.15 is not quite 0.3.
    (cpus * parts + 1e-9).floor() / parts
}

/// CPUs with as few digits as they need.
fn shown(cpus: f64) -> String {
    let text = fixed(cpus, 2);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
