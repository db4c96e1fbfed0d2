//! What was learned, beside what was estimated or declared for the next start: which of them counts, and why.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::book::Entry;
use super::peak::Peak;
use crate::amount;
use crate::need::{Memory, Need, Origin, Part, Resource, remark};

/// What is added to a peak, as a percentage of it: the fewer runs were seen, the more the next may differ.
const MARGINS: [(u64, u64); 3] = [(4, 5), (2, 10), (0, 20)];
/// And at least so much, in bytes.
const LEAST: u64 = 32 << 20;

/// What earlier runs of the same work of the same user needed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = VerdictLesson)]
pub struct Lesson {
    /// Its number, as `headroom learned` shows it.
    pub id: u64,
    /// Runs that were measured.
    pub times: u64,
    /// Seconds until it had started, at most.
    pub settled_seconds: u64,
    /// The OOM killer ended the last run, so nothing of this counts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub killed: bool,
    /// A line for each resource.
    pub resources: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = VerdictLessonLine)]
pub struct Line {
    /// `host memory` or `VRAM`.
    pub resource: String,
    /// Which GPU, counted among those of the need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u32>,
    /// The most that was measured, in bytes.
    pub most: u64,
    /// The most once it had started.
    pub running: u64,
    /// What was estimated or declared for this start, and the error that it stated; absent if nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    #[serde(default)]
    pub error: u64,
    /// Whose number counts.
    pub counts: Origin,
    /// What counts, with a margin if it was learned.
    pub amount: u64,
}

/// The need with what was learned in its place where that is to be trusted more, and what to tell about it.
///
/// What a person declares for this start stands. Less than half of an estimate is shown and does not count: it may not have had the
/// work for which the estimate has room, such as a cache that fills later. Pinned memory stays estimated, because the kernel does not
/// count all of it by process; so do files that are mapped, because how much of them stays depends on what is free.
pub fn taught(need: &Need, entry: &Entry, declared: &[String]) -> (Need, Lesson) {
    let mut taught = need.clone();
    let mut resources = Vec::new();
    let mut lines = vec![(Resource::Host { memory: Memory::Anonymous }, entry.peaks.hard)];
    let of_need = need.parts.iter().filter_map(|part| match part.resource {
        Resource::Vram { gpu } => Some(gpu),
        _ => None,
    });
    let gpus: BTreeSet<u32> = of_need.chain(entry.peaks.vram.keys().copied()).collect();
    let peak = |gpu| entry.peaks.vram.get(&gpu).copied().unwrap_or_default();
    lines.extend(gpus.into_iter().map(|gpu| (Resource::Vram { gpu }, peak(gpu))));
    for (resource, peak) in lines.into_iter().filter(|(_, peak)| peak.most() > 0) {
        let own = |part: &Part| match (&resource, &part.resource) {
            (Resource::Host { .. }, Resource::Host { memory }) => matches!(memory, Memory::Anonymous | Memory::Locked),
            (one, other) => one == other,
        };
        let parts = || need.parts.iter().filter(|part| own(part));
        let expected = parts().fold(0_u64, |sum, part| sum.saturating_add(part.amount));
        let by_hand = declared.iter().any(|kind| kind == resource.kind());
        let uses = !by_hand && !entry.killed && peak.most() >= expected.div_ceil(2);
        let amount = if uses { with_margin(peak.most(), entry.times) } else { expected };
        let of = if let Resource::Vram { gpu } = resource { Some(gpu) } else { None };
        let stated =
            if by_hand { Origin::Declared } else { parts().map(|part| part.origin).max().unwrap_or(Origin::Estimated) };
        resources.push(Line {
            resource: resource.kind().to_owned(),
            of,
            most: peak.most(),
            running: peak.running,
            expected: parts().next().map(|_| expected),
            error: parts().fold(0, |sum, part| sum.saturating_add(part.error)),
            counts: if uses { Origin::Learned } else { stated },
            amount,
        });
        if uses {
            taught.parts.retain(|part| !own(part));
            taught.shares.retain(|share| Some(share.gpu) != of);
            taught.parts.extend(learned(&resource, peak, entry.times));
        }
    }
    taught.upper_bound &= taught.parts.iter().any(|part| part.origin == Origin::Estimated);
    let learned = resources.iter().any(|line| line.counts == Origin::Learned);
    // What was not known of an amount is in what was measured.
    let of_gpu = |part: &&Part| matches!(part.resource, Resource::Vram { .. });
    let estimated = taught.parts.iter().filter(of_gpu).any(|part| part.origin != Origin::Learned);
    // What is not known of GPUs may be about one that was not measured.
    let counts = |part: &&Part| part.origin == Origin::Learned && !(estimated && of_gpu(part));
    let measured = taught.parts.iter().filter(counts).cloned().collect();
    remark::retain(&mut taught.not_known, &Need { parts: measured, ..Need::default() });
    // Of a program that is not known nobody said more than that. It may need a GPU that was not looked at.
    if learned && need.unknown && (entry.peaks.cards || !entry.peaks.vram.is_empty()) {
        taught.not_known.clear();
        taught.unknown = false;
    }
    let settled_seconds = entry.settled_ns.div_ceil(1_000_000_000);
    (taught, Lesson { id: entry.id, times: entry.times, settled_seconds, killed: entry.killed, resources })
}

/// A peak as parts of a need: what it has once it runs, and what it has only until then.
fn learned(resource: &Resource, peak: Peak, times: u64) -> impl Iterator<Item = Part> {
    let part = |amount: u64, loading: bool| Part {
        what: "the most that it ever had here".to_owned(),
        resource: resource.clone(),
        amount,
        error: with_margin(peak.most(), times) - peak.most(),
        origin: Origin::Learned,
        loading,
    };
    let running = with_margin(peak.running, times);
    let rest = with_margin(peak.most(), times).saturating_sub(running);
    [part(running, false), part(rest, true)].into_iter().filter(|part| part.amount > 0)
}

fn with_margin(amount: u64, times: u64) -> u64 {
    let percent = MARGINS.iter().find(|(least, _)| times >= *least).map_or(0, |(_, percent)| *percent);
    amount.saturating_add((amount / 100).saturating_mul(percent).max(LEAST))
}

impl Lesson {
    /// What a person reads: a sentence for each resource.
    pub fn sentences(&self) -> Vec<String> {
        let times = if self.times == 1 { "once".to_owned() } else { format!("{} times", self.times) };
        let sentence = |line: &Line| {
            let what = match line.of {
                Some(gpu) => format!("memory of GPU {gpu} of its own"),
                None => line.resource.clone(),
            };
            let most = amount::bytes(line.most);
            format!("seen {times}, at most {most} of {what}{}: {}", line.compared(), self.why(line))
        };
        self.resources.iter().map(sentence).collect()
    }

    fn why(&self, line: &Line) -> String {
        match line.counts {
            Origin::Learned => format!("that counts, with a margin ({})", amount::bytes(line.amount)),
            Origin::Declared => "what is declared counts".to_owned(),
            Origin::Estimated if self.killed => {
                "it does not count, because the OOM killer ended the last run".to_owned()
            }
            Origin::Estimated => "it does not count, because it is less than half of the estimate".to_owned(),
        }
    }
}

impl Line {
    /// How far what was expected is from what was measured.
    fn compared(&self) -> String {
        let Some(expected) = self.expected else { return String::new() };
        let stated = if self.error > 0 { format!(" ± {}", amount::bytes(self.error)) } else { String::new() };
        let apart = expected.abs_diff(self.most);
        let percent = u128::from(apart) * 100 / u128::from(self.most.max(1));
        let than = match expected.cmp(&self.most) {
            std::cmp::Ordering::Less => format!(", {percent} % less"),
            std::cmp::Ordering::Equal => String::new(),
            std::cmp::Ordering::Greater => format!(", {percent} % more"),
        };
        let verb = if self.counts == Origin::Declared { "declared" } else { "expected" };
        format!(" ({verb}: {}{stated}{than})", amount::bytes(expected))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::{Peaks, Work};
    use crate::need::remark::Remark;

    const GIB: u64 = 1 << 30;

    fn entry(times: u64, loading: u64, running: u64) -> Entry {
        Entry {
            id: 3,
            uid: 7,
            work: Work::default(),
            gpu: None,
            times,
            peaks: Peaks { hard: Peak { loading, running }, ..Peaks::default() },
            settled_ns: 1,
            first: 0,
            last: 0,
            killed: false,
        }
    }

    fn part(resource: Resource, amount: u64, origin: Origin) -> Part {
        Part { what: "x".into(), resource, amount, error: GIB, origin, loading: false }
    }

    fn host(memory: Memory, amount: u64) -> Part {
        part(Resource::Host { memory }, amount, Origin::Estimated)
    }

    #[test]
    fn a_peak_with_a_margin_stands_in_place_of_an_estimate() {
        let mut need = Need { upper_bound: true, ..Need::default() };
        need.add(host(Memory::Anonymous, 12 * GIB));
        need.add(host(Memory::Locked, 2 * GIB));
        need.add(host(Memory::Pinned, GIB));
        need.add(host(Memory::Mapped, 5 * GIB));
        let (taught, lesson) = taught(&need, &entry(4, 10 * GIB, 8 * GIB), &[]);
        let total = taught.total();
        let with = |amount: u64| amount + amount / 100 * 5;
        assert_eq!(total.host_hard, with(8 * GIB) + GIB, "pinned memory stays estimated");
        assert_eq!((total.host_load_peak, total.host_soft), (with(10 * GIB) + GIB, 5 * GIB));
        assert!(taught.upper_bound, "the rest is one still");
        assert_eq!(
            lesson.sentences(),
            [
                "seen 4 times, at most 10.0 GiB of host memory (expected: 14.0 GiB ± 2.00 GiB, 40 % more): that counts, with a \
              margin (10.5 GiB)"
            ]
        );
    }

    #[test]
    fn less_than_half_of_an_estimate_what_is_declared_and_a_run_that_was_killed_are_shown_and_do_not_count() {
        let mut need = Need::default();
        need.add(host(Memory::Anonymous, 20 * GIB));
        let says = |need: &Need, entry: &Entry, declared: &[String]| {
            let (taught, lesson) = taught(need, entry, declared);
            assert_eq!(&taught, need);
            lesson.sentences().remove(0)
        };
        assert!(says(&need, &entry(9, GIB, 10 * GIB - 1), &[]).ends_with("less than half of the estimate"));
        let killed = Entry { killed: true, ..entry(9, 19 * GIB, 0) };
        assert!(says(&need, &killed, &[]).ends_with("the OOM killer ended the last run"));
        let by_hand = ["host memory".to_owned()];
        assert!(says(&need, &entry(1, 30 * GIB, 0), &by_hand).ends_with("what is declared counts"));
        let half = super::taught(&need, &entry(9, GIB, 10 * GIB), &[]).1;
        assert_eq!(half.resources[0].counts, Origin::Learned);
    }

    #[test]
    fn what_nobody_knows_is_what_was_learned() {
        let unknown = Need::unknown("a: not known");
        let partly = super::taught(&unknown, &entry(1, GIB, GIB), &[]).0;
        assert!(partly.unknown && partly.total().host_hard > GIB, "nobody looked at the GPUs");
        let mut entry_ = entry(1, GIB, GIB);
        entry_.peaks.cards = true;
        let (taught, lesson) = taught(&unknown, &entry_, &[]);
        assert_eq!((taught.missing(), taught.total().host_hard), (Vec::new(), GIB + GIB / 100 * 20));
        assert_eq!(lesson.resources[0].expected, None);
        let nothing = super::taught(&unknown, &entry(1, 0, 0), &[]).0;
        assert_eq!(nothing, unknown, "nothing was measured");
        let about = |remark: Remark| {
            let mut partly = Need { not_known: vec![remark], ..Need::default() };
            partly.add(host(Memory::Anonymous, GIB));
            super::taught(&partly, &entry(1, GIB, GIB), &[]).0.not_known.len()
        };
        let says = "how long its context is";
        assert_eq!((about(Remark::whatever(says)), about(Remark::vram(says)), about(Remark::host(says))), (1, 1, 0));
    }

    #[test]
    fn each_gpu_has_its_own_peak() {
        let mut need = Need::default();
        let vram = |gpu, amount| part(Resource::Vram { gpu }, amount, Origin::Estimated);
        need.add(vram(0, 10 * GIB));
        need.add(vram(1, 10 * GIB));
        let mut seen = entry(4, 0, 0);
        seen.peaks.gpu(0, 12 * GIB, true);
        seen.peaks.gpu(1, GIB, true);
        let (taught, lesson) = taught(&need, &seen, &[]);
        assert_eq!(taught.total().vram[&0], 12 * GIB + 12 * GIB / 100 * 5);
        assert_eq!(taught.total().vram[&1], 10 * GIB, "that of the other is less than half");
        assert_eq!(
            lesson.resources.iter().map(|line| line.counts).collect::<Vec<_>>(),
            [Origin::Learned, Origin::Estimated]
        );
    }
}
