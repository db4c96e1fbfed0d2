//! Who waits because of whom, by the causes of the last days' incidents.

use std::collections::BTreeMap;

use super::change::cpu_weight;
use super::disk::recent;
use super::draft::draft;
use super::limit::{Sizes, Verdict};
use super::{Given, Judged, Rule};
use crate::action::{Action, Object, Risk, Target, by_hand};
use crate::advice::{Advice, Confidence, Evidence, Saves, Unit};
use crate::amount::{bytes, duration, fixed};
use crate::isolation::weight::{self, number};
use crate::statistic::workload::Statistic;
use crate::target;
use crate::view::incident::{Culprit, Shared};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: CPU,
        when: "In the last seven days a workload used the CPUs that others waited for, in two incidents or more.",
        needs: NEEDS,
        judge: cpu,
    },
    Rule { name: IO, when: "The same with the IO of a disk.", needs: NEEDS, judge: io },
    Rule {
        name: MEMORY,
        when: "In the last seven days a workload filled the memory of the host, or a limit above it and others, so that a process of another was killed.",
        needs: NEEDS,
        judge: memory,
    },
];

const CPU: &str = "neighbour_cpu";
const IO: &str = "neighbour_io";
const MEMORY: &str = "neighbour_memory";
const NEEDS: &str = "incidents whose cause names the neighbour";

const WEEK_SECONDS: u64 = 7 * 86_400;
/// So many incidents without a kill are no accident, and so many are surely none.
const OFTEN: usize = 2;
const SURELY: usize = 3;
/// Weights for who waits and for who makes others wait; usual is 100.
const MORE: u64 = 500;
const LESS: u64 = 20;
/// What it may use afterwards, as a share of what it used.
const PART: f64 = 0.5;
/// A limit is the usual day's peak and so much more.
const ROOM: f64 = 1.15;
/// Days that a limit needs.
const DAYS: usize = 3;

/// What one workload did to others, of one resource.
#[derive(Default)]
struct Done<'a> {
    culprits: Vec<&'a Culprit>,
    victims: BTreeMap<&'a str, usize>,
    kills: u64,
    waited: f64,
}

fn cpu(given: &Given<'_>, judged: &mut Judged) {
    each(given, judged, CPU, &[Shared::Cpu], |by, victim, done| {
        let less = done.used().map(|cpus| (2.0 * PART * cpus).round().max(1.0) / 2.0);
        let own = [cpu_weight(by, LESS), less.and_then(|less| by.cpu_max(Some(less)))];
        own.into_iter().chain([victim.and_then(|victim| cpu_weight(victim, MORE))]).flatten().collect()
    });
}

fn io(given: &Given<'_>, judged: &mut Judged) {
    let view = given.view;
    each(given, judged, IO, &[Shared::Io], |by, _, done| {
        let disk = done.culprits.iter().find_map(|culprit| culprit.disk.as_deref());
        let weighs = disk.and_then(|disk| weight::on(view, disk)).flatten();
        let weight = by.io_weight(LESS).filter(|_| weighs.is_some_and(|heeds| heeds.acts()));
        let rate = done.used().map(|rate| (PART * rate) as u64).filter(|rate| *rate > 0);
        let limit = disk.and_then(|disk| number(view, disk)).zip(rate);
        let limit = limit.and_then(|(number, rate)| by.io_max(&number, Some(rate), Some(rate)));
        [weight, limit].into_iter().flatten().collect()
    });
}

fn memory(given: &Given<'_>, judged: &mut Judged) {
    let view = given.view;
    let sizes = Sizes::of(given);
    each(given, judged, MEMORY, &[Shared::Limit, Shared::Memory], |by, victim, done| {
        let limit = limit(&sizes, by, done.used()).and_then(|limit| by.memory_max(Some(limit)));
        let keep = victim.and_then(|victim| {
            let workload = view.workloads.find(&victim.name)?;
            let held = workload.statistics.get(Statistic::MemoryWorkingSet).or(victim.known.memory)?;
            victim.memory_low(held.next_multiple_of(1 << 20))
        });
        [limit, keep].into_iter().flatten().collect()
    });
}

/// A limit that would have helped: below what it held then and below the one that it has, where nothing of what it holds now would be
/// killed. If the rules for limits say one, it is theirs; if they say that it needs more, it is none.
fn limit(sizes: &Sizes<'_>, by: &Target, held: Option<f64>) -> Option<u64> {
    let given = sizes.given;
    let workload = given.view.workloads.find(&by.name)?;
    let limit = match sizes.judge(workload) {
        Verdict::Raise { .. } => return None,
        Verdict::Lower { to, .. } | Verdict::Missing { to, .. } => to,
        Verdict::Fits | Verdict::Lacking(_) => {
            // What it usually needs in a day; if that is no less than what it held, a limit there would not have helped.
            let usual = usual(&given.past.workloads.get(&by.name)?.days)?;
            ((ROOM * usual) as u64).next_multiple_of(1 << 20)
        }
    };
    let get = |statistic| workload.statistics.get(statistic);
    let now = get(Statistic::MemoryWithoutCache).or_else(|| get(Statistic::MemoryCurrent))? as f64;
    let less = get(Statistic::MemoryLimit).is_none_or(|set| limit < set);
    (less && held.is_none_or(|held| (limit as f64) < held) && limit as f64 >= ROOM * now).then_some(limit)
}

/// The middle of the daily peaks.
fn usual(days: &[crate::past::Day]) -> Option<f64> {
    let mut peaks: Vec<f64> = days.iter().filter_map(|day| day.memory.map(|[_, _, most]| most)).collect();
    peaks.sort_unstable_by(f64::total_cmp);
    (peaks.len() >= DAYS).then(|| peaks[peaks.len() / 2])
}

impl Done<'_> {
    /// The most that it used in one of these.
    fn used(&self) -> Option<f64> {
        self.culprits.iter().filter_map(|culprit| culprit.used).reduce(f64::max)
    }
}

fn each(
    given: &Given<'_>,
    judged: &mut Judged,
    rule: &'static str,
    shared: &[Shared],
    actions: impl Fn(&Target, Option<&Target>, &Done<'_>) -> Vec<Action>,
) {
    let mut all: BTreeMap<&str, Done<'_>> = BTreeMap::new();
    for culprit in recent(given.view).filter(|culprit| shared.contains(&culprit.shared)) {
        let done = all.entry(&culprit.by).or_default();
        *done.victims.entry(&culprit.victim).or_default() += 1;
        done.kills += culprit.kills;
        done.waited += culprit.waited.unwrap_or(0.0);
        done.culprits.push(culprit);
    }
    for (name, done) in all {
        let object = Object::Workload(name.to_owned());
        let count = done.culprits.len();
        if count < OFTEN && done.kills == 0 {
            let missing = "a second incident within seven days: one may be an accident";
            judged.lacks(rule, object, missing);
            continue;
        }
        let Some((victim, _)) = done.victims.iter().max_by_key(|(_, count)| **count) else { continue };
        // Else it is gone.
        let Some(by) = target::of(given.view, name) else { continue };
        let mut actions = actions(&by, target::of(given.view, victim).as_ref(), &done);
        if actions.is_empty() {
            let what = "run it elsewhere or at another time: no setting of this host prevents it".to_owned();
            actions.push(by_hand(object.clone(), what, Risk::Medium));
        }
        let (what, used) = done.words();
        let others = match done.victims.len() {
            1 => String::new(),
            more => format!(" and {} others", more - 1),
        };
        let title = format!("Keep {name} from taking {what} that {victim}{others} needs.");
        let ended = match done.kills {
            0 => format!("they waited for {}", duration(done.waited)),
            1 => "a process was killed".to_owned(),
            kills => format!("{kills} processes were killed"),
        };
        let why = format!(
            "In {count} incident{} of the last 7 days it was the cause: {used}, and {ended}.",
            if count == 1 { "" } else { "s" }
        );
        let mut evidence = vec![Evidence::measured("incidents in 7 days", count as f64, Unit::Count)];
        let unit = match shared[0] {
            Shared::Cpu => Unit::Cpus,
            Shared::Io => Unit::BytesPerSecond,
            Shared::Limit | Shared::Memory => Unit::Bytes,
        };
        evidence.extend(done.used().map(|used| Evidence::measured("what it used at most then", used, unit)));
        evidence.extend(
            (done.waited > 0.0).then(|| Evidence::measured("for how long others waited", done.waited, Unit::Seconds)),
        );
        let saves = (done.kills > 0 || done.waited > 0.0).then(|| Saves {
            over_seconds: WEEK_SECONDS,
            stall_seconds: Some(done.waited).filter(|waited| *waited > 0.0),
            kills: Some(done.kills as f64).filter(|kills| *kills > 0.0),
            assuming: "without it the others would not have waited, and nobody would have been killed".to_owned(),
            ..Saves::default()
        });
        let (confidence, because) = match count {
            count if count >= SURELY => {
                (Confidence::High, format!("It was the cause {count} times, each by what was measured then."))
            }
            OFTEN => (Confidence::Medium, "It was the cause twice.".to_owned()),
            _ => (Confidence::Medium, "It was the cause once, and that ended in a kill.".to_owned()),
        };
        judged.advice.push(Advice { evidence, saves, confidence, because, ..draft(rule, object, actions, title, why) });
    }
}

impl Done<'_> {
    /// What is taken, and how much of it was used.
    fn words(&self) -> (&'static str, String) {
        let shared = self.culprits.first().map(|culprit| culprit.shared);
        let used = self.used();
        match shared {
            Some(Shared::Io) => {
                let disk = self.culprits.iter().find_map(|culprit| culprit.disk.as_deref()).unwrap_or("the disk");
                let much = used.map_or_else(|| "much".to_owned(), |rate| format!("up to {}/s", bytes(rate as u64)));
                ("the disk", format!("it read and wrote {much} on {disk}"))
            }
            Some(Shared::Limit | Shared::Memory) => {
                let much = used
                    .map_or_else(|| "most of the memory".to_owned(), |held| format!("up to {}", bytes(held as u64)));
                ("the memory", format!("it held {much}"))
            }
            Some(Shared::Cpu) | None => {
                let much = used.map_or_else(|| "the CPUs".to_owned(), |cpus| format!("up to {} CPUs", fixed(cpus, 1)));
                ("the CPUs", format!("it used {much}"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
