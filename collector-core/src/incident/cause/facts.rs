//! Facts that several cause rules derive from the evidence.

use crate::amount::{bytes, seconds};
use crate::count::sum;
use crate::incident::{Consumer, Evidence, Figures, Incident, Limit, Lines, Source, Task, Victim};
use crate::series::Series;
use crate::signal::oom::Scope;

pub(super) struct Facts<'a> {
    pub incident: &'a Incident,
    pub evidence: &'a Evidence,
}

/// A memory limit that was hit, where its owner and size are known.
pub(super) struct Hit<'a> {
    pub limit: &'a Limit,
    pub bytes: u64,
    /// The workload that is judged: the victim's, if the limit is its own or it held nearly all of it; else the one that has
    /// the limit.
    pub workload: &'a str,
    /// The workload that has the limit.
    pub owner: &'a str,
}

impl Hit<'_> {
    /// The limit, as the object of a sentence about the workload: `its own limit of 1 GiB`.
    pub fn named(&self) -> String {
        match self.limit.own {
            true => format!("its own limit of {}", bytes(self.bytes)),
            false => format!("the limit of {} of {}, nearly all of which it held", bytes(self.bytes), self.owner),
        }
    }

    /// The limit, as the object of an advice.
    pub fn advised(&self) -> String {
        match (self.limit.own, &self.limit.pod) {
            (true, None) => "the limit".to_owned(),
            (true, Some(_)) => "the limit of the container".to_owned(),
            (false, _) => format!("the limit of {}", self.owner),
        }
    }
}

impl<'a> Facts<'a> {
    pub fn of(incident: &'a Incident) -> Facts<'a> {
        Facts { incident, evidence: &incident.evidence }
    }

    /// The process that was killed first.
    pub fn victim(&self) -> Option<&'a Victim> {
        self.evidence.kills.first()
    }

    /// Whether processes were killed, but nobody saw which.
    pub fn is_unseen(&self) -> bool {
        self.evidence.kills.is_empty() && self.evidence.killed > 0
    }

    /// The name of the victim's workload.
    pub fn workload(&self) -> Option<&'a str> {
        match self.victim() {
            Some(victim) => victim.workload.as_deref(),
            None if self.is_unseen() => self.incident.labels.get("workload").map(String::as_str),
            None => None,
        }
    }

    pub fn hit(&self) -> Option<Hit<'a>> {
        let limit = self.evidence.limit.as_ref().filter(|limit| limit.source != Source::Unknown)?;
        let known = self.evidence.scope == Some(Scope::Memcg);
        let owner = limit.workload.as_deref()?;
        known.then_some(Hit { limit, bytes: limit.bytes?, workload: owner, owner })
    }

    /// The limit that was hit, if it is that of the victim's own workload, or if that held nearly all of it.
    pub fn own(&self) -> Option<Hit<'a>> {
        let hit = self.hit()?;
        if hit.limit.own {
            return Some(hit);
        }
        let workload = self.workload().filter(|workload| hit.limit.holder.as_deref() == Some(workload))?;
        Some(Hit { workload, ..hit })
    }

    /// The limit that was hit, if several workloads share it.
    pub fn shared(&self) -> Option<Hit<'a>> {
        if self.own().is_some() { None } else { self.hit() }
    }

    pub fn is_host(&self) -> bool {
        self.evidence.scope == Some(Scope::Host)
    }

    pub fn figures(&self) -> Option<&'a Figures> {
        self.evidence.workload.as_ref()
    }

    /// What the killed processes of a workload held. The kernel counted that at the kill itself.
    pub fn killed(&self, workload: &str, of: fn(&Victim) -> Option<u64>) -> u64 {
        let kills = self.evidence.kills.iter().filter(|kill| kill.workload.as_deref() == Some(workload));
        sum(kills.filter_map(of))
    }

    /// `; hog (7) asked for the memory`, if it is not one of the victims that did.
    pub fn asked(&self) -> String {
        let evidence = self.evidence;
        let lowered = evidence.limit.as_ref().is_some_and(|limit| limit.writer.is_some());
        let other = |task: &&'a Task| {
            task.pid > 0 && !task.comm.is_empty() && evidence.kills.iter().all(|kill| kill.pid != task.pid)
        };
        let task = self.victim().map(|victim| &victim.trigger).filter(other);
        let Some(task) = task.filter(|_| !lowered) else { return String::new() };
        let of = task.workload.as_deref().filter(|of| Some(*of) != self.workload());
        let of = of.map_or(String::new(), |of| format!(" in {of}"));
        format!("; {} ({}){of} asked for the memory", task.comm, task.pid)
    }

    /// The known points of a series of the workload: seconds before the incident, and value. Oldest first. Of a storm, only those
    /// of its own duration.
    pub fn points(&self, series: Series) -> Vec<(f64, f64)> {
        self.known(&self.evidence.history.workload, series)
    }

    /// The same of the host.
    pub fn host_points(&self, series: Series) -> Vec<(f64, f64)> {
        self.known(&self.evidence.history.host, series)
    }

    fn known(&self, lines: &Lines, series: Series) -> Vec<(f64, f64)> {
        self.evidence.history.points(lines, series).filter(|(ago, _)| self.is_judged(*ago)).collect()
    }

    /// Whether a point of the history, this many seconds before the incident, is within the storm, if it is one.
    fn is_judged(&self, ago: f64) -> bool {
        // Seconds in the history are rounded.
        const ROUNDED: f64 = 0.002;
        let ago_of = |time: u64| (self.incident.time as f64 - time as f64) / 1e9;
        let Some((from, until)) = self.evidence.storm.as_ref().and_then(|storm| storm.from.zip(storm.until)) else {
            return true;
        };
        ago <= ago_of(from) + ROUNDED && ago >= ago_of(until) - ROUNDED
    }

    /// Page cache of the workload that is dropped and read repeatedly: cache without shared memory is at least [`CACHE`] of its
    /// memory, and more than that was read from block devices within the history. `None` also if its parts are not known.
    pub fn reread(&self) -> Option<Reread> {
        let memory = self.figures()?.memory_bytes.filter(|memory| *memory > 0)?;
        let whole = self.own().map_or(memory, |hit| hit.bytes);
        let cache = self.composition(whole).cache?;
        let share = cache as f64 / whole as f64;
        let read = total(&self.points(Series::Read))?;
        (share >= CACHE && read > cache).then_some(Reread { cache, share, read })
    }

    /// How many seconds before the incident that was.
    pub fn ago(&self, time: u64) -> f64 {
        self.incident.time.saturating_sub(time) as f64 / 1e9
    }

    /// Length of the history, or of the part of it in a storm, in seconds.
    pub fn span(&self) -> Option<f64> {
        let mut judged = self.evidence.history.ago.iter().filter(|ago| self.is_judged(**ago));
        let first = judged.next()?;
        Some(first - judged.next_back()?).filter(|span| *span > 0.0)
    }

    /// Whether the newest point of the history is as new as the incident, so that it shows who grew before it.
    pub fn is_fresh(&self) -> bool {
        let ago = &self.evidence.history.ago;
        // Ticks may be longer than a second.
        let tick = ago.windows(2).map(|pair| pair[0] - pair[1]).fold(1.0, f64::max);
        ago.last().is_some_and(|last| *last <= 2.0 * tick)
    }
}

/// Page cache that is dropped and read repeatedly.
pub(super) struct Reread {
    /// Bytes of page cache.
    pub cache: u64,
    /// Its share of the workload's memory, 0 to 1.
    pub share: f64,
    /// Bytes read from block devices within the history.
    pub read: u64,
}

/// Page cache dominates a workload's memory from this share.
const CACHE: f64 = 0.5;

/// Resident memory of a victim.
pub(super) fn resident(victim: &Victim) -> Option<u64> {
    let parts = [victim.anon_bytes, victim.file_bytes, victim.shmem_bytes];
    parts.iter().any(Option::is_some).then(|| sum(parts.into_iter().flatten()))
}

/// The integral of a rate: each value times the seconds since the point before.
pub(super) fn total(points: &[(f64, f64)]) -> Option<u64> {
    let spans = points.windows(2).map(|pair| pair[1].1 * (pair[0].0 - pair[1].0));
    (points.len() > 1).then(|| spans.sum::<f64>() as u64)
}

/// `, having grown by 5 GiB in the last 20 s`; empty if growth is unknown or below 2 %.
pub(super) fn grown(consumer: &Consumer, span: Option<f64>) -> String {
    match (consumer.growth_bytes, span) {
        (Some(growth), Some(span))
            if growth > 0 && (growth as u64).saturating_mul(50) >= consumer.memory_bytes.unwrap_or(0) =>
        {
            format!(", having grown by {} in the last {}", bytes(growth as u64), seconds(span))
        }
        _ => String::new(),
    }
}
