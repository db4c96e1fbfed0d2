//! Causes of kills by others than the OOM killer: the evidence names the sender.

use super::facts::Facts;
use super::{Finding, Rule};
use crate::amount::{bytes, percent};
use crate::incident::Kind;
use crate::signal::kill::Shortage;

pub(super) const BY_A_PROCESS: Rule = Rule {
    name: "killed_by_a_process",
    kinds: &[Kind::Killed],
    when: "A process of another workload sent SIGKILL or SIGTERM while memory was short: the OOM killer had found the process dying, the workload or one above it used 90 % of its limit or more (without page cache), less than 10 % of the host's memory was available, or its tasks (or all tasks of the host) waited for memory for 10 % of the time.",
    find: |facts| {
        let victim = facts.victim()?;
        let sender = &victim.trigger;
        let of = sender.workload.as_deref().map_or(String::new(), |workload| format!(" of {workload}"));
        let signal = victim.signal.as_deref()?;
        let owner = facts.workload().unwrap_or("an unknown workload");
        let effect = if victim.survives { "which handles it" } else { "which ended it" };
        let status = match signal {
            _ if victim.survives => String::new(),
            "SIGKILL" => ": exit status 137 comes from this signal".to_owned(),
            _ => ": exit status 143 comes from this signal".to_owned(),
        };
        let (short, numbers) = shortage(facts);
        Some(Finding {
            sentence: format!(
                "{} ({}){of} sent {signal} to {} ({}) of {owner}, {effect}{short}",
                sender.comm, sender.pid, victim.comm, victim.pid,
            ),
            next: format!(
                "Read in the log of {} why it chose {owner}. The OOM killer did not kill it{status}.",
                sender.workload.as_deref().unwrap_or(&sender.comm),
            ),
            numbers,
        })
    },
};

/// Where memory was short, as the end of a sentence.
fn shortage(facts: &Facts<'_>) -> (String, Vec<(&'static str, Option<f64>)>) {
    let number = |bytes: &u64| Some(*bytes as f64);
    match &facts.evidence.shortage {
        None => (String::new(), Vec::new()),
        Some(Shortage::Marked) => (", while the OOM killer was looking for a victim".to_owned(), Vec::new()),
        Some(Shortage::Limit { workload, memory_bytes, limit_bytes, read_after }) => (
            format!(
                ", while {workload} held {} of its limit of {}{}",
                bytes(*memory_bytes),
                bytes(*limit_bytes),
                if *read_after { " (read just after)" } else { "" },
            ),
            vec![("memory_bytes", number(memory_bytes)), ("limit_bytes", number(limit_bytes))],
        ),
        Some(Shortage::Host { available_bytes, total_bytes }) => (
            format!(
                ", while {} of the host's {} of memory was available",
                bytes(*available_bytes),
                bytes(*total_bytes)
            ),
            vec![("available_bytes", number(available_bytes)), ("total_bytes", number(total_bytes))],
        ),
        Some(Shortage::Waiting { workload, ratio }) => {
            let who = workload.as_ref().map_or("all tasks of the host".to_owned(), |name| format!("tasks of {name}"));
            (
                format!(", while {who} waited for memory for {} of the time", percent(*ratio)),
                vec![("waiting_ratio", Some(*ratio))],
            )
        }
    }
}

pub(super) fn unknown(_facts: &Facts<'_>) -> Finding {
    Finding {
        sentence: "Nothing shows who sent the signal".to_owned(),
        next: "Look for a process that kills to free memory, such as earlyoom or systemd-oomd.".to_owned(),
        numbers: Vec::new(),
    }
}
