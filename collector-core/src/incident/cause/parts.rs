//! What the memory of the affected workload consisted of at the incident, and which part of it had grown: from the history, from
//! what the killed processes held, and from what was left after them.

use super::facts::Facts;
use crate::incident::Figures;
use crate::incident::shape::Point;
use crate::series::Series;

/// A kind of memory that is charged to a workload. No byte is of two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Anon,
    /// Shared memory and tmpfs.
    Shared,
    Kernel,
    /// Page cache of files, which can be dropped unless it is locked or must be written.
    Cache,
}

/// Bytes of each part; absent if not known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Composition {
    pub anon: Option<u64>,
    pub shared: Option<u64>,
    pub kernel: Option<u64>,
    pub cache: Option<u64>,
}

/// Parts that were read no longer than this before a kill, in seconds, are as they were then, or less.
pub(super) const RECENT: f64 = 2.5;
/// Parts that were read longer before it than this, in seconds, are not used.
const FRESH: f64 = 30.0;

impl Part {
    pub const ALL: [Part; 4] = [Part::Anon, Part::Shared, Part::Kernel, Part::Cache];

    /// As a sentence names it.
    pub const fn label(self) -> &'static str {
        match self {
            Part::Anon => "anonymous memory",
            Part::Shared => "shared memory and tmpfs",
            Part::Kernel => "kernel memory",
            Part::Cache => "page cache",
        }
    }
}

impl Composition {
    fn get(&self, part: Part) -> Option<u64> {
        match part {
            Part::Anon => self.anon,
            Part::Shared => self.shared,
            Part::Kernel => self.kernel,
            Part::Cache => self.cache,
        }
    }

    fn of(figures: &Figures) -> Composition {
        let Figures { anon_bytes, shmem_bytes, kernel_bytes, .. } = figures;
        Composition { anon: *anon_bytes, shared: *shmem_bytes, kernel: *kernel_bytes, cache: figures.cache() }
    }

    /// The larger of each part; but the smaller page cache, because that makes room for the others.
    fn most(self, other: Composition) -> Composition {
        Composition {
            anon: self.anon.max(other.anon),
            shared: self.shared.max(other.shared),
            kernel: self.kernel.max(other.kernel),
            cache: self.cache.into_iter().chain(other.cache).min(),
        }
    }

    /// The known parts that cannot be dropped.
    pub fn without_cache(&self) -> u64 {
        [self.anon, self.shared, self.kernel].into_iter().flatten().fold(0, u64::saturating_add)
    }

    /// No part is more than the whole, and page cache no more than the other parts leave.
    fn within(self, whole: u64) -> Composition {
        let part = |bytes: Option<u64>| bytes.map(|bytes| bytes.min(whole));
        let [anon, shared, kernel] = [self.anon, self.shared, self.kernel].map(part);
        let rest = Composition { anon, shared, kernel, cache: None };
        let cache = self.cache.map(|cache| cache.min(whole.saturating_sub(rest.without_cache())));
        Composition { cache, ..rest }
    }
}

/// A function of two series of the same history, at the points at which both are known.
pub(super) fn both(one: Vec<Point>, two: Vec<Point>, of: impl Fn(f64, f64) -> f64) -> Vec<Point> {
    let mut two = two.into_iter().peekable();
    let pair = |(ago, one): Point| {
        while two.next_if(|(other, _)| *other > ago).is_some() {}
        let (_, two) = two.next_if(|(other, _)| *other == ago)?;
        Some((ago, of(one, two)))
    };
    one.into_iter().filter_map(pair).collect()
}

impl Facts<'_> {
    /// The figures of the workload before the kill, unless they are old, and after it.
    fn readings(&self) -> [Option<&Figures>; 2] {
        let fresh = |figures: &&Figures| self.was_read(figures, FRESH);
        [self.figures().filter(fresh), self.evidence.after.as_ref()]
    }

    /// The larger amount of the two readings: of what a kill does not free, or not all.
    pub fn read(&self, of: fn(&Figures) -> Option<u64>) -> Option<u64> {
        self.readings().into_iter().filter_map(|figures| of(figures?)).max()
    }

    /// Whether figures were read no longer than this many seconds before the incident.
    fn was_read(&self, figures: &Figures, seconds: f64) -> bool {
        figures.parts_read.is_some_and(|read| self.ago(read) <= seconds)
    }

    /// What the workload's memory consisted of when this much was charged to it. A kill's own numbers and what was left after it
    /// count, and what was read before it only if that was shortly before, or if nothing else is known. But a kill frees no
    /// files in tmpfs, and only some of the kernel's memory: there the larger counts.
    pub fn composition(&self, whole: u64) -> Composition {
        let [before, after] = self.readings();
        let recent = after.is_none() || before.is_some_and(|figures| self.was_read(figures, RECENT));
        let [before, after] = [before, after].map(|figures| figures.map(Composition::of));
        let lasting = |it: Composition| if recent { it } else { Composition { anon: None, cache: None, ..it } };
        let before = before.map(lasting);
        let Some(workload) = self.workload() else { return before.unwrap_or_default().within(whole) };
        let killed = self.killed(workload, |victim| victim.anon_bytes);
        let own = self.evidence.kills.iter().filter(|kill| kill.workload.as_deref() == Some(workload));
        // Processes share it, so it does not add up.
        let shared = own.filter_map(|victim| victim.shmem_bytes).max();
        let gone = Composition { anon: Some(killed).filter(|anon| *anon > 0), shared, ..Composition::default() };
        let after = after.map(|left| Composition { anon: left.anon.map(|anon| anon.saturating_add(killed)), ..left });
        before.into_iter().chain(after).fold(gone, Composition::most).within(whole)
    }

    /// Anonymous memory of the workload's processes that were not killed.
    pub fn others(&self) -> Option<u64> {
        let killed = self.killed(self.workload()?, |victim| victim.anon_bytes);
        let [before, after] = self.readings().map(|figures| figures?.anon_bytes);
        before.map(|anon| anon.saturating_sub(killed)).into_iter().chain(after).min()
    }

    /// The known points of a part of the workload's memory, oldest first.
    pub fn part(&self, part: Part) -> Vec<Point> {
        match part {
            Part::Anon => self.points(Series::Anon),
            Part::Shared => self.points(Series::Shmem),
            Part::Kernel => self.points(Series::Kernel),
            Part::Cache => both(self.points(Series::File), self.points(Series::Shmem), |file, shared| file - shared),
        }
    }

    /// ` (mostly anonymous memory)`: the part that made up more than half of the growth of all in the last seconds before the
    /// incident, when `whole` was charged. Empty if not known.
    pub fn mostly(&self, whole: u64, seconds: f64) -> String {
        self.grew(whole, seconds).map_or(String::new(), |part| format!(" (mostly {})", part.label()))
    }

    fn grew(&self, whole: u64, seconds: f64) -> Option<Part> {
        let now = self.composition(whole);
        let growth = |part: Part| {
            let points = self.part(part);
            // The newest point that is old enough; parts are not read at every tick.
            let from = points.iter().rposition(|(ago, _)| *ago >= seconds - 0.01).unwrap_or(0);
            Some((part, (now.get(part)? as f64 - points.get(from)?.1).max(0.0)))
        };
        let growths: Vec<(Part, f64)> = Part::ALL.into_iter().filter_map(growth).collect();
        let all: f64 = growths.iter().map(|(_, growth)| growth).sum();
        growths.into_iter().find(|(_, growth)| *growth > all / 2.0).map(|(part, _)| part)
    }
}
