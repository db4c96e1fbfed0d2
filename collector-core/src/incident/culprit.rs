//! Puts who caused an incident as data, if it was another workload than the one that suffered.

use super::Incident;
use crate::view::incident::{Culprit, Shared};

/// Causes that another workload is, and what the two share.
const BY_ANOTHER: [(&str, Shared); 5] = [
    ("cpu_contended", Shared::Cpu),
    ("io_by_neighbour", Shared::Io),
    ("io_by_one", Shared::Io),
    ("grown_by_another", Shared::Limit),
    ("host_exhausted_by_another", Shared::Memory),
];

impl Culprit {
    pub fn of(incident: &Incident) -> Option<Culprit> {
        let (_, shared) = *BY_ANOTHER.iter().find(|(rule, _)| *rule == incident.cause.rule)?;
        let evidence = &incident.evidence;
        let slow = evidence.slow.as_ref();
        let victim =
            slow.and_then(|slow| slow.workload.as_deref()).or(incident.labels.get("workload").map(String::as_str))?;
        let neighbours = slow.map(|slow| &slow.neighbours[..]).unwrap_or_default();
        let consumers = || evidence.consumers.iter().chain(&evidence.within).filter(|it| !it.left);
        let names = consumers().map(|it| &*it.workload).chain(neighbours.iter().map(|it| &*it.workload));
        // The cause's sentence names who did it. The longest: `/a/b` is not `/a`.
        let named = names.filter(|name| *name != victim && *name != "/" && says(&incident.cause.sentence, name));
        let by = named.max_by_key(|name| name.len())?;
        let neighbour = neighbours.iter().find(|it| it.workload == by);
        let consumer = consumers().find(|it| it.workload == by);
        let used = match shared {
            Shared::Cpu => neighbour.and_then(|it| it.cpus),
            Shared::Io => neighbour.and_then(|it| it.io_bytes_per_second),
            Shared::Limit | Shared::Memory => consumer.and_then(|it| it.memory_bytes).map(|bytes| bytes as f64),
        };
        let waited =
            consumers().find(|it| it.workload == victim).and_then(|it| it.waiting_seconds.or(it.stall_seconds));
        Some(Culprit {
            rule: incident.cause.rule.clone(),
            shared,
            victim: victim.to_owned(),
            by: by.to_owned(),
            used,
            disk: slow.and_then(|slow| slow.disk.clone()).filter(|_| shared == Shared::Io),
            waited,
            kills: evidence.killed,
        })
    }
}

/// Whether a sentence has the name as a whole.
fn says(sentence: &str, name: &str) -> bool {
    let part = |c: char| !c.is_whitespace() && !matches!(c, ',' | ';' | ':' | '(' | ')');
    sentence.match_indices(name).any(|(at, _)| {
        let (before, after) = (sentence[..at].chars().next_back(), sentence[at + name.len()..].chars().next());
        !name.is_empty() && !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Cause, Kind, Neighbour, Slow};

    fn incident(rule: &str, sentence: &str) -> Incident {
        let neighbour = |workload: &str, io: f64| Neighbour {
            workload: workload.to_owned(),
            io_bytes_per_second: Some(io),
            ..Neighbour::default()
        };
        let neighbours =
            vec![neighbour("backup.service", 5e8), neighbour("backup", 1.0), neighbour("vllm.service", 1.0)];
        let slow = Slow {
            workload: Some("vllm.service".to_owned()),
            disk: Some("vda".to_owned()),
            neighbours,
            ..Slow::default()
        };
        let mut incident = Incident::new(Kind::Latency, "1".to_owned(), 5);
        incident.cause = Cause { rule: rule.to_owned(), sentence: sentence.to_owned(), ..Cause::default() };
        incident.evidence.slow = Some(slow);
        incident
    }

    #[test]
    fn the_neighbour_of_the_sentence_is_the_culprit() {
        let text = "backup.service floods the disk that vllm.service needs: it reads and writes 477 MiB/s";
        let culprit = Culprit::of(&incident("io_by_neighbour", text)).unwrap();
        assert_eq!((&*culprit.by, &*culprit.victim, culprit.used), ("backup.service", "vllm.service", Some(5e8)));
        assert_eq!((culprit.shared, culprit.disk.as_deref()), (Shared::Io, Some("vda")));
        assert_eq!(Culprit::of(&incident("slow_disk", text)), None, "nobody did it");
        assert_eq!(Culprit::of(&incident("io_by_neighbour", "backup-2 floods the disk")), None, "no whole name");
    }

    #[test]
    fn causes_that_another_workload_is_exist() {
        for (rule, _) in BY_ANOTHER {
            assert!(crate::incident::cause::RULES.iter().any(|known| known.name == rule), "{rule}");
        }
    }
}
