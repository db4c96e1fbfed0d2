//! Logs outcomes: a message for people, fields for machines. A storm about one owner of workloads becomes a count.

use std::collections::BTreeMap;

use collector_core::level::{self, Level};
use collector_core::outcome::Outcome;
use collector_core::pressure::{Kind, Resource, Trigger};
use collector_core::rate::{Bucket, Rates};
use collector_core::signal::oom::{SIGKILL, Scope};
use collector_core::standing::{Standing, State};
use collector_core::statistic::gpu::Held;

const UNKNOWN: &str = "(unknown)";

/// Lines about one owner, of frequent outcomes and of others: 60 each after a quiet time, then one a second.
const LINES: Bucket = Bucket::new(1.0, 60.0);
/// How often the lines that were left out are told, in nanoseconds.
const INTERVAL_NS: u64 = 60_000_000_000;
/// Limit on owners whose lines are counted apart.
const MAX_OWNERS: usize = 1024;

/// The log of outcomes.
pub struct Log {
    rates: [Rates; 2],
    /// Lines that were left out, by owner.
    omitted: BTreeMap<String, u64>,
    /// When they were told last, in nanoseconds since the Unix epoch.
    told: u64,
}

impl Default for Log {
    fn default() -> Log {
        Log { rates: [Rates::new(LINES), Rates::new(LINES)], omitted: BTreeMap::new(), told: 0 }
    }
}

impl Log {
    /// Logs an outcome at this time, in nanoseconds since the Unix epoch, unless there were too many of its workload's owner.
    pub fn outcome(&mut self, time: u64, owner: Option<&str>, outcome: &Outcome) {
        let rates = &mut self.rates[usize::from(outcome.is_frequent())];
        match owner.filter(|owner| !rates.allows(owner, time)) {
            None => write(outcome),
            Some(owner) => self.omit(owner),
        }
    }

    /// At a tick: tells what was left out.
    pub fn tick(&mut self, time: u64) {
        if self.omitted.is_empty() || time.abs_diff(self.told) < INTERVAL_NS {
            return;
        }
        self.told = time;
        for (owner, lines) in std::mem::take(&mut self.omitted) {
            tracing::warn!(
                workload = owner,
                lines,
                "{lines} more lines about {owner} were not logged: headroom events"
            );
        }
    }

    fn omit(&mut self, owner: &str) {
        if let Some(lines) = self.omitted.get_mut(owner) {
            *lines += 1;
        } else if self.omitted.len() < MAX_OWNERS {
            self.omitted.insert(owner.to_owned(), 1);
        }
    }
}

fn write(outcome: &Outcome) {
    match outcome {
        Outcome::OomKill(kill) => {
            let workload = kill.workload.as_deref().unwrap_or(UNKNOWN);
            let scope = match kill.kill.scope {
                Scope::Memcg => "a memory cgroup was at its limit",
                Scope::Host => "the host was out of memory",
                Scope::Unknown => "it is unknown which limit was hit",
            };
            tracing::warn!(
                workload,
                cgroup = kill.path.as_deref(),
                container_id = kill.container_id.as_deref(),
                limit_bytes = kill.limit_bytes,
                pid = kill.kill.pid,
                comm = kill.kill.comm,
                uid = kill.kill.uid,
                oom_score_adj = kill.kill.score_adj,
                anon_bytes = kill.kill.anon_bytes,
                file_bytes = kill.kill.file_bytes,
                shmem_bytes = kill.kill.shmem_bytes,
                swap_bytes = kill.kill.swap_bytes,
                peak_bytes = kill.kill.peak_bytes,
                trigger_workload = kill.trigger_workload.as_deref(),
                trigger_pid = kill.kill.trigger_pid,
                trigger_comm = kill.kill.trigger_comm,
                limited_workload = kill.limited_workload.as_deref(),
                gpus = (!kill.gpus.is_empty()).then(|| gpus(&kill.gpus)),
                "OOM kill of {} ({}) in {workload}: {scope}",
                kill.kill.comm,
                kill.kill.pid,
            );
        }
        Outcome::Dying(found) => {
            let kill = &found.kill;
            let how = match (kill.exit_code, kill.signal) {
                (Some(code), _) => format!("it was ending with exit code {code}"),
                (None, Some(SIGKILL)) => "somebody else had sent it SIGKILL".to_owned(),
                (None, Some(signal)) => format!("signal {signal} was ending it"),
                (None, None) => "how it ends is not known".to_owned(),
            };
            tracing::info!(
                workload = found.workload.as_deref(),
                pid = kill.pid,
                comm = kill.comm,
                exit_code = kill.exit_code,
                signal = kill.signal,
                trigger_pid = kill.trigger_pid,
                trigger_comm = kill.trigger_comm,
                "the OOM killer did not kill {} ({}), which was dying already: {how}",
                kill.comm,
                kill.pid,
            );
        }
        Outcome::Signal(named) => {
            let sent = &named.sent;
            let what = if sent.fatal { "killed" } else { "asked to end" };
            tracing::info!(
                workload = named.workload.as_deref(),
                pid = sent.pid,
                comm = sent.comm,
                sender_workload = named.sender_workload.as_deref(),
                sender_pid = sent.sender_pid,
                sender_comm = sent.sender_comm,
                signal = sent.signal.label(),
                "{} ({}) was {what} by {} ({}) with {} while memory was short",
                sent.comm,
                sent.pid,
                sent.sender_comm,
                sent.sender_pid,
                sent.signal.label(),
            );
        }
        Outcome::ReclaimStall(stall) => tracing::info!(
            workload = stall.workload.as_deref(),
            pid = stall.fact.pid,
            comm = stall.fact.comm,
            kind = stall.fact.kind.label(),
            seconds = seconds(stall.fact.ns),
            reclaimed_bytes = stall.fact.bytes,
            "reclaim stall",
        ),
        Outcome::CompactionStall(stall) => tracing::info!(
            workload = stall.workload.as_deref(),
            pid = stall.fact.pid,
            comm = stall.fact.comm,
            seconds = seconds(stall.fact.ns),
            "compaction stall",
        ),
        Outcome::SlowIo(io) => tracing::info!(
            workload = io.workload.as_deref(),
            device = &*io.fact.device,
            operation = io.fact.io.operation.label(),
            bytes = io.fact.io.bytes,
            queue_seconds = seconds(io.fact.io.queue_ns),
            service_seconds = seconds(io.fact.io.service_ns),
            "slow IO",
        ),
        Outcome::FailedIo(io) => tracing::warn!(
            workload = io.workload.as_deref(),
            device = &*io.fact.device,
            operation = io.fact.io.operation.label(),
            bytes = io.fact.io.bytes,
            status = io.fact.io.status,
            "IO failed",
        ),
        Outcome::AllocationRefused(refusal) => tracing::info!(
            workload = refusal.workload.as_deref(),
            pid = refusal.fact.pid,
            comm = refusal.fact.comm,
            memory = refusal.fact.memory.label(),
            bytes = refusal.fact.bytes,
            code = refusal.fact.code,
            "the CUDA driver rejected an allocation",
        ),
        // No event.
        Outcome::Lease(change) => tracing::info!(
            workload = change.workload.as_deref(),
            reservation = change.lease.id,
            step = change.step.label(),
            uid = change.lease.uid,
            unit = change.lease.unit.as_deref(),
            priority = change.lease.priority.label(),
            "{}",
            change.sentence,
        ),
        Outcome::LeaseSum(sum) => {
            let steps: Vec<_> = sum.steps.iter().map(|(step, count)| format!("{count} {step}")).collect();
            tracing::info!(uid = sum.uid, "further changes of reservations of user {}: {}", sum.uid, steps.join(", "));
        }
        Outcome::History(_) | Outcome::Learned(_) | Outcome::Unit(_) | Outcome::Answer(_) => {}
        Outcome::Pressure(stall) => {
            let Trigger { resource, kind, threshold_ns, window_ns } = stall.trigger;
            let who = match kind {
                Kind::Waiting => "some tasks",
                Kind::Stalled => "all tasks",
            };
            let what = match resource {
                Resource::Cpu => "a CPU",
                Resource::Memory => "memory",
                Resource::Io => "IO",
            };
            tracing::warn!(
                resource = resource.label(),
                kind = kind.label(),
                threshold_seconds = seconds(threshold_ns),
                window_seconds = seconds(window_ns),
                total_seconds = stall.total_ns.map(seconds),
                "pressure: {who} on the host waited for {what} for at least {:.3} s within {:.3} s",
                seconds(threshold_ns),
                seconds(window_ns),
            );
        }
        Outcome::Level(change) => {
            let (gpu, level, from) = (change.gpu.as_deref(), change.to.number(), change.from.number());
            match change.to > Level::Moderate || change.state == level::State::Unknown {
                true => tracing::warn!(gpu, level, from, known = change.known, "{}", change.summary),
                false => tracing::info!(gpu, level, from, known = change.known, "{}", change.summary),
            }
        }
        Outcome::Advice(standing) => {
            let Standing { advice, state, .. } = &**standing;
            let state = match state {
                State::Holds => "advice".to_owned(),
                State::Followed { value, .. } => format!("advice that was followed, with {}", advice.shown(value)),
                State::Gone { .. } => "advice that holds no longer".to_owned(),
            };
            tracing::info!(advice = advice.id, "{state}: {}", advice.title);
        }
        Outcome::Incident(incident) => {
            let (id, state) = (&incident.id, if incident.complete { " is complete" } else { "" });
            let (kind, cause) = (incident.kind.name(), &incident.cause);
            let workload = incident.labels.get("workload").map(String::as_str);
            tracing::info!(
                workload,
                incident = id,
                kind,
                cause = cause.rule,
                "incident {id}{state}: {}",
                cause.sentence
            );
        }
        Outcome::Alert(alert) => tracing::warn!(
            workload = alert.labels.get("workload").map(|workload| &**workload),
            alert = &*alert.alert,
            severity = alert.severity.label(),
            state = ?alert.state,
            value = alert.value,
            incident = alert.incident,
            "{}",
            alert.summary,
        ),
    }
}

/// GPU memory held before a kill: `0: 1024 bytes, 4096 bytes of the workload`.
fn gpus(held: &[Held]) -> String {
    let known = |bytes: Option<u64>| bytes.map_or("unknown".to_owned(), |bytes| format!("{bytes} bytes"));
    let one = |held: &Held| match held.process_bytes {
        Some(_) => {
            format!("{}: {}, {} of the workload", held.gpu, known(held.process_bytes), known(held.workload_bytes))
        }
        None => format!("{}: {} of the workload", held.gpu, known(held.workload_bytes)),
    };
    held.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use collector_core::incident::{self, Incident};
    use collector_core::outcome::Named;
    use collector_core::signal::reclaim;

    const SECOND: u64 = 1_000_000_000;

    fn about(workload: &str) -> Outcome {
        let incident = Incident::new(incident::Kind::Oom, "1".to_owned(), 5);
        let labels = [("workload".to_owned(), workload.to_owned())].into();
        Outcome::Incident(Box::new(Incident { labels, ..incident }))
    }

    #[test]
    fn a_storm_of_one_user_is_counted_and_told_in_a_line() {
        let mut log = Log::default();
        for number in 0..1000 {
            log.outcome(100 * SECOND, Some("user-1000"), &about(&format!("user-1000/app{number}")));
        }
        log.outcome(100 * SECOND, Some("prod/ledger"), &about("prod/ledger"));
        assert_eq!(log.omitted, BTreeMap::from([("user-1000".to_owned(), 940)]));
        log.tick(101 * SECOND);
        assert!(log.omitted.is_empty(), "told at once");
        log.outcome(101 * SECOND, Some("user-1000"), &about("user-1000/x"));
        log.outcome(101 * SECOND, Some("user-1000"), &about("user-1000/x"));
        log.tick(102 * SECOND);
        assert_eq!(log.omitted.values().sum::<u64>(), 1, "and then once a minute");
    }

    #[test]
    fn a_storm_of_stalls_leaves_room_for_a_kill() {
        let mut log = Log::default();
        let (kind, comm) = (reclaim::Kind::Memcg, "x".into());
        let stall = reclaim::Stall { cgroup: None, kind, ns: 1, bytes: 1, order: 0, pid: 1, tid: 1, comm };
        for _ in 0..1000 {
            let named = Named { time: 0, workload: Some("a".into()), fact: stall.clone() };
            log.outcome(100 * SECOND, Some("a"), &Outcome::ReclaimStall(Box::new(named)));
        }
        log.outcome(100 * SECOND, Some("a"), &about("a"));
        assert_eq!(log.omitted, BTreeMap::from([("a".to_owned(), 940)]));
    }
}
