//! What was said of one side of a pair against what happened in the other, by the kernel's count and by what the agent recorded of it.

use collector_core::engine::Engine;
use collector_core::incident::Incident;
use collector_core::sample::{Reading, Sample};
use collector_core::signal::cgroup;
use collector_core::signal::reclaim;
use collector_core::statistic::workload::Statistic::MemoryCurrent;
use collector_core::what_if::{Change, Fate, Report, WhatIf};

use super::pair::Pair;
use super::row::Row;
use crate::record;

/// As `headroom replay --what-if` does.
pub fn suppose(change: Change, samples: &[Sample]) -> Report {
    let mut judge = WhatIf::new(change);
    let [mut engine, mut other] = [Engine::new(), Engine::new()];
    for sample in samples {
        let otherwise = judge.alter(sample).map(|altered| other.apply(&altered)).unwrap_or_default();
        let told = engine.apply(sample);
        judge.see(sample, engine.view(), &told, &otherwise);
    }
    let told = engine.finish();
    judge.told(engine.view(), &told);
    judge.finish(engine.view())
}

/// One side, as it happened.
pub struct Side {
    /// The path of its own cgroup, when it began and ended, and the kernel's count of kills.
    pub root: String,
    pub begun: u64,
    pub ended: u64,
    pub kills: u64,
}

/// What there is a size of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Size {
    /// Seconds from the begin to the first kill.
    Killed(f64),
    /// The most memory, in bytes.
    Peak(f64),
    /// Seconds of waiting less than without the change.
    Waited(f64),
}

const STALLED: f64 = 0.2;

/// What was recorded, and the incidents of it.
pub struct Recorded {
    pub samples: Vec<Sample>,
    incidents: Vec<Incident>,
}

impl Recorded {
    pub fn of(samples: Vec<Sample>) -> Recorded {
        Recorded { incidents: record::incidents(&samples), samples }
    }
}

pub fn judge(pair: &Pair, was: &Side, would: &Side, report: &Report, recorded: &Recorded) -> Row {
    let ((was, would), said, direction, size) = match pair.waits {
        true => waited(pair, was, would, report, &recorded.samples),
        false => killed(pair, was, would, report, recorded),
    };
    // Whoever says the wrong thing has no size right.
    let size = size.map(|(said, truth)| direction && is_near(said, truth));
    Row { was, would, said, direction, size, ..pair.row() }
}

type Judged = ((String, String), String, bool, Option<(Option<Size>, Size)>);

fn killed(pair: &Pair, was: &Side, would: &Side, report: &Report, recorded: &Recorded) -> Judged {
    let inside = |name: &Option<String>| name.as_ref().is_some_and(|name| name.starts_with(&was.root));
    let window = would.ended.saturating_sub(would.begun) as f64 / 1e9;
    let after = |time: u64| time.saturating_sub(was.begun) as f64 / 1e9;
    let mut said: Vec<f64> = report.caused.iter().filter(|it| inside(&it.workload)).map(|it| after(it.time)).collect();
    let mut open = false;
    for kill in report.kills.iter().filter(|kill| inside(&kill.workload)) {
        match (kill.fate, kill.later_seconds) {
            (Fate::Avoided, _) => {}
            (Fate::Same, earlier) => said.push(after(kill.time) + earlier.unwrap_or(0.0)),
            (Fate::Later, Some(later)) if after(kill.time) + later <= window => said.push(after(kill.time) + later),
            (Fate::Later, _) => {}
            (Fate::NotKnown, _) => open = true,
        }
    }
    said.sort_by(f64::total_cmp);
    let direction = !open && (said.is_empty() == (would.kills == 0));
    let text = |kills: u64| if kills == 0 { "no kill".to_owned() } else { format!("{kills} killed") };
    let told = match (open, said.first()) {
        (true, _) => "not known".to_owned(),
        (false, None) => "no kill".to_owned(),
        (false, Some(first)) => format!("a kill after {first:.1} s"),
    };
    let truth = match would.kills {
        0 => Size::Peak(peak(would, pair.measured, &recorded.samples)),
        _ => Size::Killed(first_kill(would, &recorded.incidents)),
    };
    let size = match truth {
        Size::Killed(_) => said.first().map(|first| Size::Killed(*first)),
        // Without a kill only what the changed one holds is said.
        _ => report.peak.map(|peak| Size::Peak(peak as f64)),
    };
    let shown = match truth {
        Size::Killed(time) => format!("{} after {time:.1} s", text(would.kills)),
        Size::Peak(bytes) => format!("no kill, at most {:.0} MiB", bytes / f64::from(1 << 20)),
        Size::Waited(_) => String::new(),
    };
    let told = match (size, would.kills) {
        (Some(Size::Peak(bytes)), 0) => format!("{told}, at most {:.0} MiB", bytes / f64::from(1 << 20)),
        _ => told,
    };
    ((text(was.kills), shown), told, direction, Some((size, truth)))
}

fn waited(pair: &Pair, was: &Side, would: &Side, report: &Report, samples: &[Sample]) -> Judged {
    let [before, after] = [was, would].map(|side| stalls(side, pair.measured, samples));
    let subject = format!("{}/{}", was.root, pair.measured);
    let stall = report.stalls.iter().find(|stall| stall.workload == subject);
    let fewer = before - after;
    let said = stall.and_then(|stall| stall.avoided_seconds);
    let fate = stall.map(|stall| stall.fate);
    // Less waiting is what the pair stages.
    let direction = (fewer > STALLED) == (fate == Some(Fate::Avoided));
    let text = |seconds: f64| format!("waited {seconds:.1} s");
    let told = match (fate, said) {
        (Some(Fate::Avoided), Some(said)) => format!("{said:.1} s less"),
        (Some(fate), _) => format!("{fate:?}"),
        (None, _) => "nothing".to_owned(),
    };
    ((text(before), text(after)), told, direction, Some((said.map(Size::Waited), Size::Waited(fewer))))
}

/// Within a factor of two.
fn is_near(said: Option<Size>, truth: Size) -> bool {
    let number = |size| match size {
        Size::Killed(it) | Size::Peak(it) | Size::Waited(it) => it,
    };
    said.is_some_and(|said| {
        let (said, truth) = (number(said), number(truth));
        said <= 2.0 * truth && truth <= 2.0 * said
    })
}

fn path(side: &Side, group: &str) -> String {
    if group.is_empty() { side.root.clone() } else { format!("{}/{group}", side.root) }
}

fn id(path: &str, samples: &[Sample]) -> Vec<collector_core::cgroup::Id> {
    let born = |sample: &Sample| match &sample.reading {
        Reading::Cgroup(cgroup::Reading::Born { id, path: at }) if &**at == path => Some(*id),
        _ => None,
    };
    samples.iter().filter_map(born).collect()
}

fn peak(side: &Side, group: &str, samples: &[Sample]) -> f64 {
    let ids = id(&path(side, group), samples);
    let bytes = samples.iter().filter_map(|sample| match &sample.reading {
        Reading::Statistics(it) if ids.contains(&it.cgroup) => it.values.get(MemoryCurrent),
        _ => None,
    });
    bytes.max().unwrap_or(0) as f64
}

/// Time that tasks of a cgroup waited, in seconds.
fn stalls(side: &Side, group: &str, samples: &[Sample]) -> f64 {
    let ids = id(&path(side, group), samples);
    let waited = samples.iter().filter_map(|sample| match &sample.reading {
        Reading::Reclaim(reclaim::Reading::Counts { cgroup: Some(cgroup), ns, .. }) if ids.contains(cgroup) => {
            Some(*ns)
        }
        _ => None,
    });
    waited.sum::<u64>() as f64 / 1e9
}

fn first_kill(side: &Side, incidents: &[Incident]) -> f64 {
    let ours = |name: &String| name.starts_with(&side.root);
    let ours = incidents.iter().filter(|it| it.kind.name() == "oom" && it.labels.get("workload").is_some_and(ours));
    ours.map(|it| it.time.saturating_sub(side.begun) as f64 / 1e9).next().unwrap_or(f64::NAN)
}
