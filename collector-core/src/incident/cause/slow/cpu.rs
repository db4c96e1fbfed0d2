//! Slow for want of CPU time: a quota, the hypervisor, or others who run.

use super::{BOTH, both, numbers, shown};
use crate::amount::{fixed, percent};
use crate::incident::cause::{Finding, Rule};
use crate::view::slow::Fact;

/// A quota explains slowness from this share of its periods.
const THROTTLED_BY: f64 = 0.05;
/// Steal explains it from this share of the host's CPU time.
const STOLEN_BY: f64 = 0.05;
/// Waiting for a CPU explains it from this share of the time that its tasks ran or waited.
const WAITED_BY: f64 = 0.1;
/// … and if it waited longer than before by this factor: who runs less waits for the same share of less.
const RISEN: f64 = 1.1;
/// Tasks that wait for fewer seconds in each second, together, are not slow for it: those of a server …
const WAITED_LEAST: f64 = WAITED_BY / 2.0;
/// … and those that feed a GPU.
const STARVED_LEAST: f64 = 0.2;
/// Tasks that wait for IO or memory in so much more of the time than before are slow for that …
const INSTEAD: f64 = 0.3;
/// … if it is so many times as much as what they wait more for CPUs, …
const TIMES: f64 = 2.0;
/// … or if the host's CPUs are busy for less than this: then hardly anybody is in their way, and tasks that wake up on the CPU of the
/// disk's interrupts wait for each other.
const ROOMY: f64 = 0.5;

pub(in crate::incident::cause) const THROTTLED: Rule = Rule {
    name: "cpu_throttled",
    kinds: BOTH,
    when: "Its CPU quota, or one above it, throttled it in 5 % more of its periods than before, and half as often again.",
    find: |facts| {
        let worse = facts.worse(Fact::CpuThrottled, THROTTLED_BY)?;
        let quota = facts.now(Fact::CpuQuota).map_or(String::new(), |quota| format!(" of {} CPUs", fixed(quota, 2)));
        let lowered = facts.usual(Fact::CpuQuota).zip(facts.now(Fact::CpuQuota)).filter(|(before, now)| now < before);
        let lowered = match (lowered, facts.usual(Fact::CpuQuota)) {
            (Some((before, _)), _) => format!(", which was {} CPUs before", fixed(before, 2)),
            (None, None) if facts.now(Fact::CpuQuota).is_some() => ", which was not there before".to_owned(),
            _ => String::new(),
        };
        Some(Finding {
            sentence: format!(
                "{} is held back by its CPU quota{quota}{lowered}: throttled in {} of its periods",
                facts.slowed(),
                both(Fact::CpuThrottled, worse),
            ),
            next: "Raise the quota (cpu.max, CPUQuota=, a container's CPU limit), or let it run fewer threads than the quota has CPUs: with more, all of them stop until the next period.".to_owned(),
            numbers: numbers(facts, &[Fact::CpuThrottled, Fact::CpuQuota, Fact::Cpu, Fact::Tasks]),
        })
    },
};

pub(in crate::incident::cause) const STEAL: Rule = Rule {
    name: "cpu_steal",
    kinds: BOTH,
    when: "The hypervisor gave 5 % more of the host's CPU time to others than before, and half as much again; and a job with a GPU asks for as much CPU as before.",
    find: |facts| {
        let worse = facts.worse(Fact::HostSteal, STOLEN_BY).filter(|_| !facts.is_starved() || facts.asks())?;
        Some(Finding {
            sentence: format!(
                "The hypervisor gives this host less CPU time: {} of it went to other machines, so {} runs later",
                both(Fact::HostSteal, worse),
                facts.slowed(),
            ),
            next: "Ask whoever runs the hypervisor: the machine beneath is overcommitted. Nothing on this host changes that; dedicated CPUs, or another machine do.".to_owned(),
            numbers: numbers(facts, &[Fact::HostSteal, Fact::HostCpuBusy]),
        })
    },
};

pub(in crate::incident::cause) const RUN_QUEUE: Rule = Rule {
    name: "cpu_contended",
    kinds: BOTH,
    when: "Of the time in which its tasks ran or were ready to run, they waited for a CPU in a tenth more than before, and half as much again, or in the rest of it they ran a third less (schedstat; else by PSI of its cgroup). The tasks of a job with a GPU waited for 0.2 s in each second at least, and it asks for as much CPU as before. Not where its tasks wait for IO or memory in 30 % more of the time than before, if that is twice as much, or the host's CPUs are busy for less than half of the time.",
    find: |facts| {
        let others = [Fact::IoWaiting, Fact::MemoryWaiting].into_iter().filter_map(|fact| facts.worse(fact, INSTEAD));
        let instead = others.map(|worse| worse.now - worse.before).reduce(f64::max);
        if instead.is_some() && facts.now(Fact::HostCpuBusy).is_some_and(|busy| busy < ROOMY) {
            return None;
        }
        let share = |wait: f64, ran: f64| if wait + ran > 0.0 { wait / (wait + ran) } else { 0.0 };
        let of = |wait: Option<f64>, ran: Option<f64>| Some(share(wait?, ran?));
        let now = of(facts.now(Fact::CpuWait), facts.now(Fact::Cpu));
        let waits = now.zip(of(facts.usual(Fact::CpuWait), facts.usual(Fact::Cpu)));
        // On a host that is always busy they wait for most of the time: then it is the rest that shrinks. That is weak evidence beside
        // tasks that wait for IO or memory.
        let worse = |now: f64, before: f64| {
            now >= super::WORSE * before || instead.is_none() && (1.0 - before) >= super::WORSE * (1.0 - now)
        };
        let waits = waits.filter(|(now, before)| now - before >= WAITED_BY && worse(*now, *before));
        let more = facts.now(Fact::CpuWait).zip(facts.usual(Fact::CpuWait)).map_or(0.0, |(now, before)| now - before);
        let waits = waits.filter(|_| instead.is_none_or(|instead| instead < TIMES * more));
        let waits = waits.filter(|_| !facts.is_starved() || facts.asks());
        // Few tasks that wait little are not slow for it, whatever their share.
        let least = if facts.is_starved() { STARVED_LEAST } else { WAITED_LEAST };
        let much = facts.worse(Fact::CpuWait, least).or_else(|| {
            let (now, before) = facts.now(Fact::CpuWait).zip(facts.usual(Fact::CpuWait))?;
            (now >= least && now >= RISEN * before).then_some(super::Worse { now, before })
        });
        let by_tasks = waits.zip(much).map(|((now, before), wait)| {
            let (now, before) = (percent(now), percent(before));
            let cpus = shown(Fact::CpuWait, wait.now);
            format!("its tasks waited for a CPU in {now} of the time in which they could run (before: {before}), {cpus} s in each second")
        });
        let by_pressure = || {
            let worse = facts.worse(Fact::CpuWaiting, WAITED_BY).filter(|_| facts.now(Fact::CpuWait).is_none())?;
            Some(format!("some task of it waited for a CPU in {} of the time", both(Fact::CpuWaiting, worse)))
        };
        let text = by_tasks.or_else(by_pressure)?;
        let who = facts.most_of(|it| it.cpus, |it| it.cpus_before).map(|(it, _)| it);
        let name = who.map(|it| {
            let (now, before) = (it.cpus.unwrap_or(0.0), it.cpus_before.unwrap_or(0.0));
            format!("; {} uses {} CPUs (before: {})", it.workload, fixed(now, 2), fixed(before, 2))
        });
        let busy = facts
            .now(Fact::HostCpuBusy)
            .map_or(String::new(), |busy| format!("; the host's CPUs are busy for {}", percent(busy)));
        let next = match who {
            Some(who) => format!(
                "Give {} more weight than {} (cpu.weight, CPUWeight=), limit {} to fewer CPUs (cpu.max, AllowedCPUs=), or move it.",
                facts.slowed(),
                who.workload,
                who.workload,
            ),
            None => format!(
                "Check who runs (headroom top), give {} more weight (cpu.weight, CPUWeight=), or CPUs of its own (AllowedCPUs=, cpuset).",
                facts.slowed()
            ),
        };
        Some(Finding {
            sentence: format!(
                "{} waits for CPUs that others use: {text}{}{busy}",
                facts.slowed(),
                name.unwrap_or_default()
            ),
            next,
            numbers: [
                numbers(facts, &[Fact::CpuWait, Fact::CpuWaiting, Fact::Cpu, Fact::HostCpuBusy, Fact::HostCpuWaiting]),
                vec![("neighbour_cpus", who.and_then(|it| it.cpus))],
            ]
            .concat(),
        })
    },
};
