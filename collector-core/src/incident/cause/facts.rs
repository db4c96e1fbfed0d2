//! What several rules ask of the evidence.

use crate::amount::{bytes, seconds};
use crate::incident::shape::{self, Shape};
use crate::incident::{Consumer, Evidence, Figures, Incident, Limit, Source, Victim, What};
use crate::series::Series;
use crate::signal::oom::Scope;

/// An incident, as the rules look at it.
pub(super) struct Facts<'a> {
    pub incident: &'a Incident,
    pub evidence: &'a Evidence,
}

/// A limit of a memory cgroup that is known, and was hit.
pub(super) struct Hit<'a> {
    pub limit: &'a Limit,
    pub bytes: u64,
    pub workload: &'a str,
}

impl<'a> Facts<'a> {
    pub fn of(incident: &'a Incident) -> Facts<'a> {
        Facts { incident, evidence: &incident.evidence }
    }

    /// The first that was killed.
    pub fn victim(&self) -> Option<&'a Victim> {
        self.evidence.kills.first()
    }

    /// Its workload's name.
    pub fn whose(&self) -> Option<&'a str> {
        self.victim()?.workload.as_deref()
    }

    /// The limit that was hit, with whose it is and how much.
    pub fn hit(&self) -> Option<Hit<'a>> {
        let limit = self.evidence.limit.as_ref().filter(|limit| limit.source != Source::Unknown)?;
        let known = self.evidence.scope == Some(Scope::Memcg);
        known.then_some(Hit { limit, bytes: limit.bytes?, workload: limit.workload.as_deref()? })
    }

    /// The same, if it is the victim's own workload's.
    pub fn own(&self) -> Option<Hit<'a>> {
        self.hit().filter(|hit| hit.limit.own)
    }

    pub fn is_host(&self) -> bool {
        self.evidence.scope == Some(Scope::Host)
    }

    /// The workload's figures.
    pub fn figures(&self) -> Option<&'a Figures> {
        self.evidence.workload.as_ref()
    }

    /// A series of the workload, without what is not known: how many seconds before the end each point is, and how much.
    pub fn points(&self, series: Series) -> Vec<(f64, f64)> {
        let history = &self.evidence.history;
        let line = history.workload.get(series.name()).map(Vec::as_slice).unwrap_or_default();
        history.ago.iter().zip(line).filter_map(|(ago, value)| Some((*ago, (*value)?))).collect()
    }

    /// How the workload's memory came to be at its limit: there it was at the moment of the kill, whenever it was read last;
    /// and nowhere before it came.
    pub fn shape(&self, limit: u64) -> Shape {
        let mut points = self.points(Series::Memory);
        let came = self.evidence.changes.iter().rev().find(|change| {
            change.what == What::Came && Some(change.of.as_str()) == self.figures().map(|it| it.workload.as_str())
        });
        if let Some(came) = came {
            let ago = self.incident.time.saturating_sub(came.time) as f64 / 1e9;
            if points.first().is_none_or(|(first, _)| *first < ago) {
                points.insert(0, (ago, 0.0));
            }
        }
        points.push((0.0, limit as f64));
        shape::of(&points)
    }

    /// What of the workload's memory is page cache that it drops and reads again and again: cache, shared memory not counted,
    /// is half of it or more, and more than that was read from block devices within the history. Absent too if the parts are
    /// not fresh enough to say it.
    pub fn reread(&self) -> Option<Reread> {
        let figures = self.figures()?;
        let age = self.incident.time.saturating_sub(figures.parts_read?);
        let memory = figures.memory_bytes.filter(|memory| *memory > 0)?;
        let cache = figures.file_bytes?.saturating_sub(figures.shmem_bytes?).min(memory);
        let share = cache as f64 / memory as f64;
        let read = total(&self.points(Series::Read))?;
        (age <= FRESH_NS && share >= CACHE && read > cache).then_some(Reread { cache, share, read })
    }

    /// How long the history is, in seconds.
    pub fn span(&self) -> Option<f64> {
        let ago = &self.evidence.history.ago;
        Some(ago.first()? - ago.last()?).filter(|span| *span > 0.0)
    }
}

/// Page cache that does not stay.
pub(super) struct Reread {
    /// Bytes of it.
    pub cache: u64,
    /// What it makes of the workload's memory.
    pub share: f64,
    /// Bytes read within the history.
    pub read: u64,
}

/// Cache is most of a workload's memory from here on.
const CACHE: f64 = 0.5;
/// Parts of memory that were read longer ago than this say nothing about a moment.
const FRESH_NS: u64 = 30_000_000_000;

/// What rates make together: each over the time since the point before.
fn total(points: &[(f64, f64)]) -> Option<u64> {
    let spans = points.windows(2).map(|pair| pair[1].1 * (pair[0].0 - pair[1].0));
    (points.len() > 1).then(|| spans.sum::<f64>() as u64)
}

/// `, having grown by 5 GiB in the last 20 s`, or nothing.
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
