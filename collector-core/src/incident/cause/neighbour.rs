//! Causes of OOM kills at a limit that several workloads share.

use super::facts::{Facts, grown};
use super::oom::KINDS;
use super::{Finding, Rule};
use crate::amount::bytes;
use crate::incident::Consumer;

/// A workload counts as grown from this share of the limit, or of the host's memory.
pub(super) const GREW: f64 = 0.1;

/// The other workload within the limit that grew most, if it grew at least twice as much as the victim's and holds more;
/// and the victim's.
fn other<'a>(facts: &Facts<'a>, among: &'a [Consumer], whole: u64) -> Option<(&'a Consumer, Option<&'a Consumer>)> {
    let workload = facts.workload()?;
    let growth = |consumer: &Consumer| consumer.growth_bytes.unwrap_or(0);
    let other = among.iter().filter(|it| it.workload != workload).max_by_key(|it| growth(it))?;
    let own = among.iter().find(|it| it.workload == workload);
    let own_growth = own.map_or(0, growth).max(0);
    let more = other.memory_bytes > own.and_then(|own| own.memory_bytes);
    (growth(other) as f64 >= GREW * whole as f64 && growth(other) >= 2 * own_growth && more).then_some((other, own))
}

/// What the victim's workload held, and why the kernel picked it nevertheless.
pub(super) fn held(facts: &Facts<'_>, own: Option<&Consumer>) -> String {
    let Some(victim) = facts.victim() else { return String::new() };
    let held = own.and_then(|own| own.memory_bytes).map_or(String::new(), |held| format!(" held {}", bytes(held)));
    let chosen = match victim.score_adj {
        adj if adj > 0 => format!("; the kernel picked {}, whose oom_score_adj is {adj}", victim.comm),
        _ => String::new(),
    };
    match held.is_empty() {
        true => chosen,
        false => format!(", while {}{held}{chosen}", facts.workload().unwrap_or("the victim's workload")),
    }
}

pub(super) const GROWN_BY_ANOTHER: Rule = Rule {
    name: "grown_by_another",
    kinds: KINDS,
    when: "A cgroup above the victim's workload hit its limit. Another workload below that cgroup holds more memory than the victim's, and grew in the last minute by a tenth of the limit or more, and at least twice as much as the victim's.",
    find: |facts| {
        let hit = facts.hit().filter(|hit| !hit.limit.own)?;
        let (other, own) = other(facts, &facts.evidence.within, hit.bytes)?;
        let grown = grown(other, facts.span());
        Some(Finding {
            sentence: format!(
                "{} filled the limit of {} that all workloads in {} share: it held {}{grown}{}",
                other.workload,
                bytes(hit.bytes),
                hit.workload,
                bytes(other.memory_bytes.unwrap_or(0)),
                held(facts, own),
            ),
            next: format!(
                "Give {} a limit of its own, below that of {}, or find out why it grew. The victim did nothing wrong.",
                other.workload, hit.workload,
            ),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("other_bytes", other.memory_bytes.map(|bytes| bytes as f64)),
                ("other_growth_bytes", other.growth_bytes.map(|bytes| bytes as f64)),
                ("victim_workload_bytes", own.and_then(|own| own.memory_bytes).map(|bytes| bytes as f64)),
            ],
        })
    },
};

pub(super) const PARENTS_LIMIT: Rule = Rule {
    name: "parents_limit",
    kinds: KINDS,
    when: "A cgroup above the victim's workload hit its limit.",
    find: |facts| {
        let hit = facts.hit().filter(|hit| !hit.limit.own)?;
        let workload = facts.workload().unwrap_or("the victim's workload");
        let top = facts.evidence.within.first().filter(|top| top.memory_bytes.is_some());
        let most = match top {
            Some(top) => {
                let held = bytes(top.memory_bytes.unwrap_or(0));
                format!("; {} held most of it when last read: {held}{}", top.workload, grown(top, facts.span()))
            }
            None => "; the workloads in it were not read before the kill".to_owned(),
        };
        Some(Finding {
            sentence: format!(
                "The limit of {} was hit, not that of {workload} itself: all workloads in it share {}{most}",
                hit.workload,
                bytes(hit.bytes)
            ),
            next: format!(
                "Raise the limit of {}, or give each workload in it a limit, so that the sum fits.",
                hit.workload
            ),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("used_bytes", hit.limit.used_bytes.map(|bytes| bytes as f64)),
                ("top_bytes", top.and_then(|top| top.memory_bytes).map(|bytes| bytes as f64)),
            ],
        })
    },
};
