//! What had run out of memory when a process was killed: a limit, the host, or only the part of the host that it may use.

use super::shape::Point;
use super::{Evidence, Incident, Victim};
use crate::count::sum;
use crate::series::Series;
use crate::signal::oom::{Constraint, Scope};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RanOut {
    /// A memory limit was hit.
    Limit,
    Host,
    /// The memory nodes that the allocation could use; `None` if that only follows from the memory that the host had available.
    Nodes(Option<Constraint>),
    /// Nothing: somebody asked for the kill.
    Nothing,
    Unknown,
}

/// A host with this share of its memory available has not run out of memory as a whole.
const PLENTY: f64 = 0.1;
/// Seconds over which the fastest fall of available memory is looked for.
const FALL: f64 = 5.0;

pub fn of(incident: &Incident) -> RanOut {
    let evidence = &incident.evidence;
    match (evidence.scope, evidence.constraint) {
        (Some(Scope::Memcg), _) => RanOut::Limit,
        (Some(Scope::Host), _) if evidence.requested => RanOut::Nothing,
        (Some(Scope::Host), Some(of @ (Constraint::Cpuset | Constraint::MemoryPolicy))) => RanOut::Nodes(Some(of)),
        (Some(Scope::Host), None) if plenty(incident) => RanOut::Nodes(None),
        (Some(Scope::Host), _) => RanOut::Host,
        _ => RanOut::Unknown,
    }
}

/// Whether much of the host's memory must have been available at the kill itself: by the last reading, less what the memory
/// can have fallen since then, and less what the victims are known to have taken since then.
fn plenty(incident: &Incident) -> bool {
    let evidence = &incident.evidence;
    let known = || {
        let (total, available) = (evidence.host.total_bytes?, evidence.host.available_bytes?);
        let age = incident.time.saturating_sub(evidence.read?) as f64 / 1e9;
        let left = available as f64 - fall(evidence) * (age + 1.0) - unseen(evidence) as f64;
        Some(left >= PLENTY * total as f64)
    };
    known().unwrap_or(false)
}

/// How fast the host's available memory fell recently at most, in bytes per second.
fn fall(evidence: &Evidence) -> f64 {
    let history = &evidence.history;
    let points: Vec<Point> = history.points(&history.host, Series::Memory).collect();
    let last = points.last().map_or(0.0, |(ago, _)| *ago);
    let recent = points.windows(2).filter(|pair| pair[1].0 <= last + FALL && pair[0].0 > pair[1].0);
    recent.map(|pair| (pair[1].1 - pair[0].1) / (pair[0].0 - pair[1].0)).fold(0.0, f64::max)
}

/// What the victims held beyond what was known of their workload.
fn unseen(evidence: &Evidence) -> u64 {
    let known = evidence.workload.as_ref().and_then(|figures| figures.memory_bytes).unwrap_or(0);
    sum(evidence.kills.iter().map(Victim::charged)).saturating_sub(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::incident::{Figures, Host, Kind};

    const GIB: u64 = 1 << 30;

    /// A kill on a host of 64 GiB, half a second after the last reading.
    fn kill(available: u64, victim: u64, seen: u64) -> Incident {
        let mut incident = Incident::new(Kind::Oom, "1".to_owned(), 10_500_000_000);
        let evidence = &mut incident.evidence;
        evidence.scope = Some(Scope::Host);
        evidence.read = Some(10_000_000_000);
        evidence.host = Host { total_bytes: Some(64 * GIB), available_bytes: Some(available), ..Host::default() };
        evidence.kills = vec![Victim { anon_bytes: Some(victim), ..Victim::default() }];
        evidence.workload = Some(Figures { memory_bytes: Some(seen), ..Figures::default() });
        incident
    }

    #[test]
    fn a_host_with_plenty_available_was_not_out_of_memory() {
        assert_eq!(of(&kill(30 * GIB, 20 * GIB, 20 * GIB)), RanOut::Nodes(None));
        assert_eq!(of(&kill(GIB, 20 * GIB, 20 * GIB)), RanOut::Host);
        assert_eq!(of(&kill(30 * GIB, 40 * GIB, 5 * GIB)), RanOut::Host, "it filled the host since the last reading");
    }

    #[test]
    fn memory_that_falls_fast_may_have_run_out_since_the_last_reading() {
        let mut incident = kill(30 * GIB, GIB, GIB);
        incident.evidence.history.ago = vec![2.5, 1.5, 0.5];
        let used = |falls: u64| [34 - 2 * falls, 34 - falls, 34].map(|used| Some((used * GIB) as f64)).to_vec();
        incident.evidence.history.host.insert(Series::Memory.name().to_owned(), used(17));
        assert_eq!(of(&incident), RanOut::Host);
        incident.evidence.history.host.insert(Series::Memory.name().to_owned(), used(5));
        assert_eq!(of(&incident), RanOut::Nodes(None));
        incident.evidence.read = None;
        assert_eq!(of(&incident), RanOut::Host, "a reading of an unknown age proves nothing");
    }

    #[test]
    fn what_the_kernel_says_comes_first() {
        let mut incident = kill(GIB, GIB, GIB);
        incident.evidence.constraint = Some(Constraint::Cpuset);
        assert_eq!(of(&incident), RanOut::Nodes(Some(Constraint::Cpuset)));
        incident.evidence.requested = true;
        assert_eq!(of(&incident), RanOut::Nothing);
        let mut incident = kill(60 * GIB, GIB, GIB);
        incident.evidence.constraint = Some(Constraint::None);
        assert_eq!(of(&incident), RanOut::Host);
        incident.evidence.scope = Some(Scope::Memcg);
        assert_eq!(of(&incident), RanOut::Limit);
        incident.evidence.scope = None;
        assert_eq!(of(&incident), RanOut::Unknown);
    }
}
