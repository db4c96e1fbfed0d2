//! Facts that several cause rules derive from the evidence.

use crate::amount::{bytes, seconds};
use crate::incident::shape::{self, Shape};
use crate::incident::{Consumer, Evidence, Figures, Incident, Limit, Source, Victim, What};
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
    pub workload: &'a str,
}

impl<'a> Facts<'a> {
    pub fn of(incident: &'a Incident) -> Facts<'a> {
        Facts { incident, evidence: &incident.evidence }
    }

    /// The process that was killed first.
    pub fn victim(&self) -> Option<&'a Victim> {
        self.evidence.kills.first()
    }

    /// The name of the victim's workload.
    pub fn workload(&self) -> Option<&'a str> {
        self.victim()?.workload.as_deref()
    }

    pub fn hit(&self) -> Option<Hit<'a>> {
        let limit = self.evidence.limit.as_ref().filter(|limit| limit.source != Source::Unknown)?;
        let known = self.evidence.scope == Some(Scope::Memcg);
        known.then_some(Hit { limit, bytes: limit.bytes?, workload: limit.workload.as_deref()? })
    }

    /// The limit that was hit, if it is that of the victim's own workload.
    pub fn own(&self) -> Option<Hit<'a>> {
        self.hit().filter(|hit| hit.limit.own)
    }

    pub fn is_host(&self) -> bool {
        self.evidence.scope == Some(Scope::Host)
    }

    pub fn figures(&self) -> Option<&'a Figures> {
        self.evidence.workload.as_ref()
    }

    /// The known points of a series of the workload: seconds before the incident, and value. Oldest first.
    pub fn points(&self, series: Series) -> Vec<(f64, f64)> {
        let history = &self.evidence.history;
        let line = history.workload.get(series.name()).map(Vec::as_slice).unwrap_or_default();
        history.ago.iter().zip(line).filter_map(|(ago, value)| Some((*ago, (*value)?))).collect()
    }

    /// How the workload's memory reached its limit. A point at the limit is added for the moment of the kill, and one at zero
    /// for the start of the workload, if that is within the history.
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

    /// Page cache of the workload that is dropped and read repeatedly: cache without shared memory is at least [`CACHE`] of its
    /// memory, and more than that was read from block devices within the history. `None` also if the parts of its memory are
    /// older than [`FRESH_NS`].
    pub fn reread(&self) -> Option<Reread> {
        let figures = self.figures()?;
        let age = self.incident.time.saturating_sub(figures.parts_read?);
        let memory = figures.memory_bytes.filter(|memory| *memory > 0)?;
        let cache = figures.file_bytes?.saturating_sub(figures.shmem_bytes?).min(memory);
        let share = cache as f64 / memory as f64;
        let read = total(&self.points(Series::Read))?;
        (age <= FRESH_NS && share >= CACHE && read > cache).then_some(Reread { cache, share, read })
    }

    /// Length of the history, in seconds.
    pub fn span(&self) -> Option<f64> {
        let ago = &self.evidence.history.ago;
        Some(ago.first()? - ago.last()?).filter(|span| *span > 0.0)
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
/// Figures about the parts of memory that are older than this are not used.
const FRESH_NS: u64 = 30_000_000_000;

/// The integral of a rate: each value times the seconds since the point before.
fn total(points: &[(f64, f64)]) -> Option<u64> {
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
