//! OOM kills because a limit was lowered at run time.

use super::facts::Facts;
use super::oom::KINDS;
use super::{Finding, Rule};
use crate::amount::{bytes, seconds};
use crate::incident::shape::BAND;
use crate::incident::{Change, What};
use crate::series::Series;

/// A limit that was lowered at most this long before a kill, in nanoseconds, can be its cause.
const RECENT_NS: u64 = 60_000_000_000;
/// The limit was lowered onto the memory in use, if that was this share of the new limit or more: as near as a series is to
/// where it stays.
const REACHED: f64 = 1.0 - BAND;

pub(super) const LOWERED: Rule = Rule {
    name: "limit_lowered",
    kinds: KINDS,
    when: "The limit that was hit had been lowered within the minute before, and 85 % of it or more was in use then; or the kill happened in the very call that lowered it.",
    find: |facts| {
        let hit = facts.hit()?;
        let change = lowered(facts, hit.owner, hit.bytes);
        let writer = hit.limit.writer.as_ref();
        if writer.is_none() && change.is_none() {
            return None;
        }
        let from =
            change.and_then(|change| change.before).map_or(String::new(), |before| format!(" from {}", bytes(before)));
        let when = change.map_or(" just then".to_owned(), |change| when(facts, change));
        let by = writer.map_or(String::new(), |writer| format!(", by {} ({})", writer.comm, writer.pid));
        let used = used(facts, change).or(hit.limit.used_bytes);
        let use_text = used.map_or(String::new(), |used| format!(", while it used {}", bytes(used)));
        let whose = if hit.limit.own { "its own limit".to_owned() } else { format!("the limit of {}", hit.owner) };
        let subject = facts.workload().unwrap_or("the workload");
        Some(Finding {
            sentence: format!(
                "The limit of {} was lowered{from} to {}{when}{by}{use_text}; {subject} was killed at {whose}",
                hit.owner, bytes(hit.bytes),
            ),
            next: "Find out who lowered the limit (systemctl set-property, docker update, a change of the pod, an autoscaler), and raise it again if that was not intended. Lower it only below what is in use if the rest can be dropped.".to_owned(),
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("limit_before_bytes", change.and_then(|change| change.before).map(|bytes| bytes as f64)),
                ("used_bytes", used.map(|bytes| bytes as f64)),
            ],
        })
    },
};

/// The change that lowered the limit onto the memory in use.
fn lowered<'a>(facts: &Facts<'a>, owner: &str, limit: u64) -> Option<&'a Change> {
    let time = facts.incident.time;
    let recent = |change: &&Change| {
        let lower = change.after == Some(limit) && change.before.is_none_or(|before| before > limit);
        let earliest = change.since.unwrap_or(change.time).min(change.time);
        let near = change.time.saturating_add(RECENT_NS) >= time && earliest <= time;
        change.what == What::Limit && change.of == owner && lower && near
    };
    let change = facts.evidence.changes.iter().filter(recent).max_by_key(|change| change.time)?;
    let used = used(facts, Some(change))?;
    let onto = used as f64 >= REACHED * limit as f64;
    // What was read only after the kill may have changed after it: then the old limit was reached.
    let before = change.before.is_none_or(|before| (used as f64) < REACHED * before as f64);
    (onto && (change.time <= time || before)).then_some(change)
}

/// Memory that the workload with the limit used before the limit changed.
fn used(facts: &Facts<'_>, change: Option<&Change>) -> Option<u64> {
    let change = change?;
    let limit = facts.evidence.limit.as_ref()?;
    let history = &facts.evidence.history;
    let lines = if limit.own { &history.workload } else { &history.limited };
    let until = (facts.incident.time as f64 - change.time.min(facts.incident.time) as f64) / 1e9;
    let before = history.points(lines, Series::Memory).rfind(|(ago, _)| *ago >= until);
    before.map(|(_, used)| used as u64)
}

/// When the limit changed, relative to the kill.
fn when(facts: &Facts<'_>, change: &Change) -> String {
    let ago = |time: u64| facts.incident.time.saturating_sub(time) as f64 / 1e9;
    let latest = ago(change.time);
    match change.since.map(ago) {
        Some(earliest) if earliest > latest + 2.0 => format!(" within the {} before", seconds(earliest)),
        _ if latest == 0.0 => " just then".to_owned(),
        _ => format!(" {} before", seconds(latest)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GIB, MIB, NOW, SECOND, because, kill, line, minute};
    use super::*;
    use crate::incident::{Incident, Task};

    /// 900 MiB in use, and a limit that went from 2 GiB to 1 GiB.
    fn lowered_at(time: u64, since: u64) -> Incident {
        let mut incident = kill();
        line(&mut incident, Series::Memory, minute(|_| (950 * MIB) as f64));
        let of = "/a/b".to_owned();
        let (before, after) = (Some(2 * GIB), Some(GIB));
        incident.evidence.changes = vec![Change { time, since: Some(since), what: What::Limit, of, before, after }];
        incident
    }

    #[test]
    fn a_limit_lowered_onto_the_memory_in_use() {
        let words = ["The limit of /a/b was lowered from 2.00 GiB to 1.00 GiB 2.0 s before", "used 950 MiB"];
        let cause = because(&lowered_at(NOW - 2 * SECOND, NOW - 3 * SECOND), "limit_lowered", &words);
        assert_eq!(cause.numbers["limit_before_bytes"], (2 * GIB) as f64);
        let read_late = lowered_at(NOW + SECOND, NOW - 8 * SECOND);
        because(&read_late, "limit_lowered", &["from 2.00 GiB to 1.00 GiB within the 8.0 s before"]);
    }

    #[test]
    fn a_limit_lowered_to_just_above_the_memory_in_use() {
        for (used, lowered) in [(900, true), (860, false)] {
            let mut incident = lowered_at(NOW - 3 * SECOND, NOW - 4 * SECOND);
            line(&mut incident, Series::Memory, minute(|_| (used * MIB) as f64));
            assert_eq!(super::super::find(&incident).rule == "limit_lowered", lowered, "{used}");
        }
    }

    #[test]
    fn a_limit_that_memory_reached_later_was_not_the_cause() {
        let mut incident = lowered_at(NOW - 50 * SECOND, NOW - 51 * SECOND);
        line(&mut incident, Series::Memory, minute(|second| (200.0 + 13.0 * second) * MIB as f64));
        assert_ne!(super::super::find(&incident).rule, "limit_lowered");
        let mut raised = lowered_at(NOW - 2 * SECOND, NOW - 3 * SECOND);
        raised.evidence.changes[0].before = Some(GIB / 2);
        assert_ne!(super::super::find(&raised).rule, "limit_lowered");
        // Read after the kill, and the old limit was reached.
        let mut late = lowered_at(NOW + SECOND, NOW - 8 * SECOND);
        late.evidence.changes[0].before = Some(GIB + MIB);
        assert_ne!(super::super::find(&late).rule, "limit_lowered");
    }

    #[test]
    fn who_lowers_a_limit_kills_in_the_same_call() {
        let mut incident = kill();
        let writer = Task { pid: 1, comm: "systemd".to_owned(), workload: None };
        incident.evidence.limit.as_mut().unwrap().writer = Some(writer);
        because(&incident, "limit_lowered", &["was lowered to 1.00 GiB just then, by systemd (1)"]);
    }
}
