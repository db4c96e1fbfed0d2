//! Causes of slowness, of model servers and of work that a GPU waits for: what is worse than it was before, and who made it worse. What
//! is only high, and always was, is no cause.

pub(super) mod cpu;
pub(super) mod disk;
pub(super) mod gpu;
pub(super) mod memory;
pub(super) mod network;
pub(super) mod node;
pub(super) mod server;
pub(super) mod starved;
#[cfg(test)]
mod tests;

use super::Finding;
use super::facts::Facts;
use crate::amount::{bytes, fixed, percent, seconds};
use crate::incident::{Kind, Neighbour, Slow};
use crate::view::slow::{Fact, FactKind};

/// For both kinds of incidents.
const BOTH: &[Kind] = &[Kind::Latency, Kind::GpuStarved];
const LATENCY: &[Kind] = &[Kind::Latency];

/// What is worse by this factor is worse than usual.
const WORSE: f64 = 1.5;
/// Whoever runs and waits for CPUs for this share of the time of before asks for as much.
const ASKS: f64 = 0.8;
/// One workload explains what many do from this share of it.
const MOST: f64 = 0.5;

/// A fact that is worse than usual.
#[derive(Clone, Copy, Debug)]
struct Worse {
    now: f64,
    before: f64,
}

impl<'a> Facts<'a> {
    fn slow(&self) -> Option<&'a Slow> {
        self.evidence.slow.as_ref()
    }

    /// The workload that is slow, or the server where no workload is known.
    fn slowed(&self) -> &'a str {
        let slow = self.slow();
        let name = slow.and_then(|slow| slow.workload.as_deref().or(slow.server.as_deref()));
        name.unwrap_or("The workload")
    }

    /// A model server as it is named, where the incident is about one.
    fn server(&self) -> Option<&'a str> {
        self.slow()?.server.as_deref()
    }

    fn now(&self, fact: Fact) -> Option<f64> {
        self.slow()?.now(fact)
    }

    fn usual(&self, fact: Fact) -> Option<f64> {
        self.slow()?.pair(fact)?.before
    }

    /// The fact, if it is worse than usual by this much at least, and half as much again.
    fn worse(&self, fact: Fact, by: f64) -> Option<Worse> {
        let pair = self.slow()?.pair(fact)?;
        let (now, before) = (pair.now, pair.before?);
        (now - before >= by && now >= WORSE * before).then_some(Worse { now, before })
    }

    /// Whether a job, as far as is known, asks for as much CPU as before: whoever asks for less stopped by itself, or waits for something
    /// else.
    fn asks(&self) -> bool {
        let asked = |wait: Option<f64>, ran: Option<f64>| Some(wait? + ran?);
        let now = asked(self.now(Fact::CpuWait), self.now(Fact::Cpu));
        let before = asked(self.usual(Fact::CpuWait), self.usual(Fact::Cpu));
        now.zip(before).is_none_or(|(now, before)| now >= ASKS * before)
    }

    fn is_starved(&self) -> bool {
        self.incident.kind == Kind::GpuStarved
    }

    /// Whether the workload does work: what rises because of more work is then no cause. It made fewer tokens, or its GPUs did less.
    fn fell(&self, fact: Fact) -> bool {
        let pair = self.slow().and_then(|slow| slow.pair(fact));
        pair.is_some_and(|pair| pair.before.is_some_and(|before| pair.now < 0.8 * before))
    }

    /// The neighbour for whom a number rose most, if it is most of what all of them have now.
    fn most_of(
        &self,
        number: fn(&Neighbour) -> Option<f64>,
        before: fn(&Neighbour) -> Option<f64>,
    ) -> Option<(&'a Neighbour, f64)> {
        let neighbours = &self.slow()?.neighbours;
        let all: f64 = neighbours.iter().filter_map(number).sum();
        let grew = |it: &Neighbour| number(it).unwrap_or(0.0) - before(it).unwrap_or(0.0);
        let most = neighbours.iter().max_by(|one, two| grew(one).total_cmp(&grew(two)))?;
        let share = number(most)? / all;
        (grew(most) > 0.0 && share >= MOST).then_some((most, share))
    }
}

/// The value of a fact for people.
fn shown(fact: Fact, value: f64) -> String {
    let name = fact.name();
    match fact.kind() {
        _ if name.ends_with("bytes_per_second") => format!("{}/s", bytes(value.max(0.0) as u64)),
        _ if name.ends_with("bytes") => bytes(value.max(0.0) as u64),
        _ if name.ends_with("seconds_per_second") => fixed(value, 2),
        _ if name.ends_with("seconds_per_io") => seconds(value),
        _ if name.ends_with("ratio") => percent(value),
        FactKind::Level | FactKind::Setting => fixed(value, 1),
        _ => format!("{}/s", fixed(value, 1)),
    }
}

/// `61 % (before: 2 %)`.
fn both(fact: Fact, worse: Worse) -> String {
    format!("{} (before: {})", shown(fact, worse.now), shown(fact, worse.before))
}

/// The numbers of a cause: some facts, with what was usual.
fn numbers(facts: &Facts<'_>, of: &[Fact]) -> Vec<(&'static str, Option<f64>)> {
    of.iter().map(|fact| (fact.name(), facts.now(*fact))).collect()
}

/// The finding if no rule applies: what is not known.
pub(super) fn unknown(facts: &Facts<'_>) -> Finding {
    let slow = facts.slow();
    let absent = |fact: Fact| slow.is_none_or(|slow| slow.pair(fact).is_none());
    let wanted = [
        (Fact::CpuWait, "how long its tasks wait for a CPU"),
        (Fact::RefaultFile, "what of its files is read again"),
        (Fact::Reclaim, "its time in reclaim"),
        (Fact::DiskBusy, "how busy the disks are"),
        (Fact::NetworkUsed, "how much of its links the host uses"),
    ];
    let mut missing: Vec<&str> = wanted.iter().filter(|(fact, _)| absent(*fact)).map(|(_, what)| *what).collect();
    if facts.server().is_some() && absent(Fact::KvUsed) {
        missing.push("how full its KV cache is");
    }
    if slow.is_some_and(|slow| !slow.gpus.is_empty()) && absent(Fact::PcieUsed) {
        missing.push("what its PCIe link carries");
    }
    if slow.is_none_or(|slow| slow.usual_seconds <= 0.0) {
        missing.push("what was usual before");
    }
    let missing = match missing.is_empty() {
        true => String::new(),
        false => format!(". Not known: {}", missing.join("; ")),
    };
    Finding {
        sentence: format!("Nothing that Headroom reads of {} or of the host is worse than before{missing}", facts.slowed()),
        next: match facts.incident.kind {
            Kind::Latency => "Check what clients ask for (longer prompts or answers, other models, another client), and the server's own log. headroom doctor says what cannot be read on this host.",
            _ => "Check the job itself: evaluation, checkpoints, smaller batches. headroom doctor says what cannot be read on this host.",
        }
        .to_owned(),
        numbers: numbers(facts, &[Fact::Cpu, Fact::HostCpuBusy, Fact::DiskBusy, Fact::HostAvailable]),
    }
}
