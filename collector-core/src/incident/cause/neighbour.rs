//! Causes of OOM kills at a limit that several workloads share.

use super::facts::{Facts, Hit, grown, resident};
use super::oom::KINDS;
use super::{Finding, Rule};
use crate::amount::{bytes, percent};
use crate::incident::{Consumer, Limit, What};

/// A workload counts as grown from this share of the limit, or of the host's memory.
pub(super) const GREW: f64 = 0.1;
/// Memory that is protected, or left by cgroups that are gone, is named as a cause from this share of the limit.
const PART: f64 = 0.25;

/// What a workload holds without the page cache that the kernel drops before it kills.
pub(super) fn holds(consumer: &Consumer) -> u64 {
    let protected = consumer.protected_bytes.unwrap_or(0);
    let droppable = consumer.cache_bytes.unwrap_or(0).saturating_sub(protected);
    consumer.memory_bytes.unwrap_or(0).saturating_sub(droppable)
}

/// By how much a workload grew, at most by what it holds. For the victims' own the kill itself shows what the last reading did
/// not.
pub(super) fn growth(facts: &Facts<'_>, consumer: &Consumer) -> i64 {
    let held = facts.killed(&consumer.workload, |victim| Some(victim.charged()));
    let unseen = held.saturating_sub(consumer.memory_bytes.unwrap_or(0));
    let seen = consumer.growth_bytes.unwrap_or(0).min(holds(consumer) as i64);
    seen.saturating_add_unsigned(unseen.min(i64::MAX as u64))
}

/// The workload that filled the limit instead of the victim's, and the victim's: another that holds more and grew by a tenth of
/// the limit or more and at least twice as much as the victim's, or that holds nearly all. Only numbers as new as the kill
/// count.
fn other<'a>(facts: &Facts<'a>, among: &'a [Consumer], whole: u64) -> Option<(&'a Consumer, Option<&'a Consumer>)> {
    let workload = facts.workload().filter(|_| facts.is_fresh())?;
    let own = among.iter().find(|it| it.workload == workload);
    let own_growth = own.map_or(0, |own| growth(facts, own)).max(0);
    let own_holds = own.map_or(0, holds).max(facts.killed(workload, resident));
    let others = || among.iter().filter(|it| it.workload != workload && !it.left && holds(it) > own_holds);
    let grew = |it: &&Consumer| {
        let growth = growth(facts, it);
        growth as f64 >= GREW * whole as f64 && growth >= own_growth.saturating_mul(2)
    };
    let grown = others().max_by_key(|it| growth(facts, it)).filter(grew);
    let all = |it: &&Consumer| holds(it) as f64 >= Limit::NEARLY_ALL * whole as f64;
    Some((grown.or_else(|| others().max_by_key(|it| holds(it)).filter(all))?, own))
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

pub(super) const LEFT_BEHIND: Rule = Rule {
    name: "left_behind",
    kinds: KINDS,
    when: "A cgroup above the victim's workload hit its limit, and no process is in that cgroup itself. A quarter or more of that belongs to no cgroup below it that still exists: it was left by cgroups that are gone.",
    find: |facts| {
        let hit = facts.shared()?;
        let within = &facts.evidence.within;
        let left = within.iter().find(|it| it.left && it.workload == hit.owner)?;
        let amount = holds(left);
        let more = within.iter().filter(|it| !it.left).all(|it| holds(it) <= amount);
        if (amount as f64) < PART * hit.bytes as f64 || !more {
            return None;
        }
        let gone = facts.evidence.changes.iter().filter(|change| change.what == What::Went);
        let gone = gone.filter(|change| change.time <= facts.incident.time).max_by_key(|change| change.time);
        let gone = gone.map_or(String::new(), |gone| format!(" ({} ended last)", gone.of));
        let what = if is_pod(&hit) { "containers" } else { "cgroups" };
        Some(Finding {
            sentence: format!(
                "{} of the limit of {} of {} are memory that {what} which are gone have left behind{gone}, such as files in tmpfs; {} was killed for it",
                bytes(amount), bytes(hit.bytes), hit.owner, facts.workload().unwrap_or("the victim"),
            ),
            next: "Remove the files that nobody needs any more (df -t tmpfs, /dev/shm, memory-backed volumes). Let services clean up when they end (RemoveIPC=, PrivateTmp=, RuntimeDirectory=).".to_owned(),
            numbers: vec![("limit_bytes", Some(hit.bytes as f64)), ("left_bytes", Some(amount as f64))],
        })
    },
};

pub(super) const PROTECTED: Rule = Rule {
    name: "protected_neighbour",
    kinds: KINDS,
    when: "A cgroup above the victim's workload hit its limit, or the host was out of memory. Page cache of another workload, a quarter or more of that, could not be taken because memory.min protects it.",
    find: |facts| {
        let hit = facts.shared();
        let (whole, among) = match &hit {
            Some(hit) => (hit.bytes, &facts.evidence.within),
            None if facts.is_host() => (facts.evidence.host.total_bytes?, &facts.evidence.consumers),
            None => return None,
        };
        let workload = facts.workload()?;
        let kept = |it: &&Consumer| it.protected_bytes.unwrap_or(0).min(it.cache_bytes.unwrap_or(0));
        let other = among.iter().filter(|it| it.workload != workload).max_by_key(kept)?;
        let amount = kept(&other);
        if (amount as f64) < PART * whole as f64 {
            return None;
        }
        let of = match &hit {
            Some(hit) => format!("the limit of {} of {}", bytes(whole), hit.owner),
            None => format!("the host's memory of {}", bytes(whole)),
        };
        Some(Finding {
            sentence: format!(
                "{} of {of} are page cache of {} that memory.min protects, so the kernel killed {workload} rather than drop it",
                bytes(amount),
                other.workload,
            ),
            next: format!(
                "Lower memory.min of {} (MemoryMin=) to what it must not lose, or use memory.low (MemoryLow=), which gives way before the kernel kills.",
                other.workload
            ),
            numbers: vec![("whole_bytes", Some(whole as f64)), ("protected_bytes", Some(amount as f64))],
        })
    },
};

pub(super) const GROWN_BY_ANOTHER: Rule = Rule {
    name: "grown_by_another",
    kinds: KINDS,
    when: "A cgroup above the victim's workload hit its limit. Another workload below that cgroup holds more memory than the victim's (without page cache that can be dropped), and grew in the last minute by a tenth of the limit or more, and at least twice as much as the victim's; or it holds nine tenths of the limit.",
    find: |facts| {
        let hit = facts.shared()?;
        let (other, own) = other(facts, &facts.evidence.within, hit.bytes)?;
        let grown = grown(other, facts.span());
        // Processes in the cgroup that has the limit cannot be given another one there.
        let (who, limit) = match other.workload == hit.owner {
            true => (
                format!("Processes of {} that are in no workload below it", hit.owner),
                "Move them into a workload of their own that can be limited".to_owned(),
            ),
            false => (
                other.workload.clone(),
                format!("Give {} a limit of its own, below that of {}", other.workload, hit.owner),
            ),
        };
        Some(Finding {
            sentence: format!(
                "{who} filled the limit of {} that all workloads in {} share: it held {}{grown}{}{}",
                bytes(hit.bytes),
                hit.owner,
                bytes(other.memory_bytes.unwrap_or(0)),
                held(facts, own),
                facts.asked(),
            ),
            next: format!("{limit}, or find out why it grew. The victim did nothing wrong."),
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
        let hit = facts.shared()?;
        let workload = facts.workload().unwrap_or("the victim's workload");
        let top = facts.evidence.within.first().filter(|top| top.memory_bytes.is_some());
        let most = match top {
            Some(top) => {
                let held = top.memory_bytes.unwrap_or(0);
                let share = percent(held as f64 / hit.bytes.max(1) as f64);
                let grown = grown(top, facts.span());
                format!("; {} held most of it when last read: {} ({share}){grown}", top.workload, bytes(held))
            }
            None => "; the workloads in it were not read before the kill".to_owned(),
        };
        let (what, next) = match is_pod(&hit) {
            true => (
                format!(
                    "The limit of the pod {} itself was hit, not that of a container: all its containers, and what belongs to none of them (memory-backed volumes), share",
                    hit.owner
                ),
                format!(
                    "Raise the memory limits of the containers of {}, whose sum is that of the pod, or shrink its memory-backed volumes.",
                    hit.owner
                ),
            ),
            false => (
                format!("The limit of {} was hit, not that of {workload} itself: all workloads in it share", hit.owner),
                format!("Raise the limit of {}, or give each workload in it a limit, so that the sum fits.", hit.owner),
            ),
        };
        Some(Finding {
            sentence: format!("{what} {}{most}{}", bytes(hit.bytes), facts.asked()),
            next,
            numbers: vec![
                ("limit_bytes", Some(hit.bytes as f64)),
                ("used_bytes", hit.limit.used_bytes.map(|bytes| bytes as f64)),
                ("top_bytes", top.and_then(|top| top.memory_bytes).map(|bytes| bytes as f64)),
            ],
        })
    },
};

fn is_pod(hit: &Hit<'_>) -> bool {
    hit.limit.kind == crate::identity::Kind::Pod.label()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GIB, MIB, because, consumer, host, parents};
    use super::super::{NOT_KNOWN, find};
    use crate::incident::{Change, Consumer, Task, What};

    #[test]
    fn a_neighbour_is_not_blamed_for_cache_that_can_be_dropped() {
        let cached = Consumer { cache_bytes: Some(750 * MIB), ..consumer("/a/c", 800 * MIB, 600 * MIB as i64) };
        let own = || consumer("/a/b", 100 * MIB, MIB as i64);
        because(&parents(&[cached, own()]), "parents_limit", &[]);
        let some = Consumer { cache_bytes: Some(100 * MIB), ..consumer("/a/c", 800 * MIB, 600 * MIB as i64) };
        because(&parents(&[some, own()]), "grown_by_another", &[]);
        let cached = Consumer { cache_bytes: Some(9 * GIB), ..consumer("/d", 10 * GIB, 0) };
        because(&host(&[cached, own()]), NOT_KNOWN, &[]);
    }

    #[test]
    fn a_neighbour_is_blamed_only_by_numbers_as_new_as_the_kill() {
        let within = [consumer("/a/c", 800 * MIB, 600 * MIB as i64), consumer("/a/b", 100 * MIB, MIB as i64)];
        let mut incident = parents(&within);
        incident.evidence.history.ago.iter_mut().for_each(|ago| *ago += 5.0);
        because(&incident, "parents_limit", &[]);
        // The victim itself grew since the last reading: the kill shows it.
        let mut incident = parents(&within);
        incident.evidence.kills[0].anon_bytes = Some(500 * MIB);
        because(&incident, "parents_limit", &[]);
    }

    #[test]
    fn one_that_holds_nearly_all_need_not_have_grown() {
        let within = [consumer("/a/c", 960 * MIB, 0), consumer("/a/b", 20 * MIB, MIB as i64)];
        because(&parents(&within), "grown_by_another", &["/a/c filled the limit of 1.00 GiB", "held 960 MiB"]);
    }

    #[test]
    fn processes_beside_all_workloads_are_not_given_a_limit() {
        let within = [consumer("/a", 800 * MIB, 600 * MIB as i64), consumer("/a/b", 100 * MIB, MIB as i64)];
        let cause =
            because(&parents(&within), "grown_by_another", &["Processes of /a that are in no workload below it"]);
        assert!(!cause.next.contains("Give /a a limit"), "{cause:?}");
        let root = [consumer("/", 9 * GIB, 5 * GIB as i64), consumer("/a/b", GIB, 0)];
        let cause = because(&host(&root), "host_exhausted_by_another", &["outside of all services and containers"]);
        assert!(!cause.next.contains("Limit the memory of /"), "{cause:?}");
        let own = because(&host(&[consumer("/a/b", 9 * GIB, 0)]), "host_exhausted", &[]);
        assert!(!own.next.contains("Limit the memory of /a/b"), "{own:?}");
    }

    #[test]
    fn memory_of_cgroups_that_are_gone() {
        let left = Consumer { left: true, ..consumer("/a", 600 * MIB, 0) };
        let mut incident = parents(&[left, consumer("/a/b", 300 * MIB, 200 * MIB as i64)]);
        let went = Change { time: 5, since: None, what: What::Went, of: "/a/old".into(), before: None, after: None };
        incident.evidence.changes = vec![went];
        let words = ["600 MiB of the limit of 1.00 GiB of /a", "gone have left behind (/a/old ended last)"];
        because(&incident, "left_behind", &words);
        incident.evidence.within[0].memory_bytes = Some(200 * MIB);
        assert_ne!(find(&incident).rule, "left_behind", "a fifth");
    }

    #[test]
    fn a_neighbour_whose_cache_is_protected() {
        let kept = |protected: u64| Consumer {
            cache_bytes: Some(500 * MIB),
            protected_bytes: Some(protected),
            ..consumer("/a/c", 520 * MIB, 0)
        };
        let own = || consumer("/a/b", 480 * MIB, 100 * MIB as i64);
        let words = ["400 MiB of the limit of 1.00 GiB of /a", "page cache of /a/c that memory.min protects", "/a/b"];
        because(&parents(&[kept(400 * MIB), own()]), "protected_neighbour", &words);
        assert_ne!(find(&parents(&[kept(100 * MIB), own()])).rule, "protected_neighbour");
    }

    #[test]
    fn who_asked_is_named_if_it_was_not_killed() {
        let within = [consumer("/a/b", 700 * MIB, 0), consumer("/a/c", 300 * MIB, 0)];
        let mut incident = parents(&within);
        let asker = Task { pid: 99, comm: "asker".into(), workload: Some("/a/c".into()) };
        incident.evidence.kills[0].trigger = asker;
        because(&incident, "parents_limit", &["asker (99) in /a/c asked for the memory"]);
        incident.evidence.kills[0].trigger.pid = 7;
        assert!(!find(&incident).sentence.contains("asked"), "the victim did");
    }
}
