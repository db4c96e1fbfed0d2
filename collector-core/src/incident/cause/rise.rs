//! How the memory of the affected workload came to its limit: by its shape since it was started or lost a process, and by what
//! cannot be dropped rather than by page cache that makes room.

use super::facts::Facts;
use super::parts::{Part, RECENT, both};
use crate::incident::What;
use crate::incident::shape::{self, Point, Shape};
use crate::series::Series;

/// A life that is shorter than this, in seconds, begins within the history.
const YOUNG: f64 = 60.0;
/// A killed process needs about this many seconds to let go of its memory.
const EXIT: f64 = 2.0;
/// Page cache matters for the shape from this share of the limit …
const CACHE: f64 = 0.1;
/// … and what cannot be dropped filled it only from this share on.
const FILLED: f64 = 0.5;
/// Fewer points do not show how memory without page cache rose.
const LEAST: usize = 3;

impl Facts<'_> {
    /// How the workload's memory, with what is swapped out, reached its limit. A point at the limit is added for the moment of
    /// the kill.
    pub fn shape(&self, limit: u64) -> Shape {
        if let Some(rise @ (Shape::Spike { .. } | Shape::Growth { .. })) = self.kept(limit).map(|it| self.shape_of(&it))
        {
            return rise;
        }
        let points = self.charged(limit);
        match (self.shape_of(&points), self.age()) {
            // A cgroup begins with nothing.
            (Shape::Unknown, Some(seconds)) if seconds <= shape::SUDDEN => {
                Shape::Spike { growth: points.last().map_or(0.0, |(_, end)| *end), seconds }
            }
            // The rest of a crash loop says more than the last seconds of it.
            (Shape::Unknown, _) => shape::of(&points, false),
            (shape, _) => shape,
        }
    }

    /// The shape of points since the workload was started, or a process in it was killed before.
    fn shape_of(&self, points: &[Point]) -> Shape {
        let killed = self.figures().and_then(|figures| figures.killed_before).map(|killed| self.ago(killed) - EXIT);
        let life = self.age().into_iter().chain(killed).fold(f64::INFINITY, f64::min);
        let first = points.iter().position(|(ago, _)| *ago <= life).unwrap_or(0);
        shape::of(&points[first..], life <= YOUNG)
    }

    /// Everything that was charged, and swap.
    fn charged(&self, limit: u64) -> Vec<Point> {
        let memory = self.points(Series::Memory);
        let mut points = both(memory.clone(), self.points(Series::Swap), |memory, swap| memory + swap);
        if points.is_empty() {
            points = memory;
        }
        points.push((0.0, limit as f64 + self.swap()));
        points
    }

    /// The same without page cache that can be dropped; `None` if there is little of it, or if nothing else is known to have
    /// filled the limit.
    fn kept(&self, limit: u64) -> Option<Vec<Point>> {
        let caches = self.part(Part::Cache);
        let most = caches.iter().map(|(_, cache)| *cache).fold(0.0, f64::max);
        let recent = caches.last().filter(|(ago, _)| *ago <= RECENT);
        // What is known of the other parts, or what the page cache had left for them.
        let known = (self.composition(limit).without_cache() as f64).min(limit as f64);
        let end = recent.map_or(known, |(_, cache)| known.max(limit as f64 - cache));
        if end < FILLED * limit as f64 || most < CACHE * limit as f64 || caches.len() < LEAST {
            return None;
        }
        let mut points = self.charged(limit);
        points.pop();
        let mut points = both(points, caches, |charged, cache| charged - cache);
        points.push((0.0, end + self.swap()));
        Some(points)
    }

    /// Swap used when last read, in bytes.
    fn swap(&self) -> f64 {
        self.points(Series::Swap).last().map_or(0.0, |(_, swap)| *swap)
    }

    /// Seconds since the workload started, if that is known.
    fn age(&self) -> Option<f64> {
        let figures = self.figures()?;
        let came = self.evidence.changes.iter().rev();
        let came = came.filter(|change| change.what == What::Came && change.of == figures.workload).map(|it| it.time);
        figures.born.or(came.max()).map(|born| self.ago(born))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{MIB, NOW, SECOND, because, kill, line, minute};
    use crate::incident::{Change, Figures, Incident, What};
    use crate::series::Series;

    /// Lines of the parts of memory, in MiB, of a workload that is full.
    fn parts(incident: &mut Incident, anon: impl Fn(f64) -> f64, cache: impl Fn(f64) -> f64) {
        line(incident, Series::Anon, minute(|second| anon(second) * MIB as f64));
        line(incident, Series::File, minute(|second| cache(second) * MIB as f64));
        line(incident, Series::Shmem, minute(|_| 0.0));
        let figures = incident.evidence.workload.as_mut().unwrap();
        (figures.anon_bytes, figures.file_bytes) = (Some(anon(59.0) as u64 * MIB), Some(cache(59.0) as u64 * MIB));
        figures.parts_read = Some(NOW - SECOND / 2);
    }

    #[test]
    fn a_heap_that_grows_under_a_full_page_cache_is_seen() {
        let mut incident = kill();
        because(&incident, "limit_too_low", &[]);
        // All is full all the time; the page cache gives way.
        let anon = |second: f64| 300.0 + 11.5 * second;
        parts(&mut incident, anon, |second| 1023.0 - anon(second));
        let cause = because(&incident, "steady_growth", &["in the last 60 s", "(mostly anonymous memory)"]);
        assert!((11.0..12.0).contains(&(cause.numbers["growth_bytes_per_second"] / MIB as f64)), "{cause:?}");
        // Late, and at once.
        let anon = |second: f64| if second < 57.0 { 300.0 } else { 900.0 };
        parts(&mut incident, anon, |second| 1023.0 - anon(second));
        because(&incident, "sudden_spike", &["601 MiB within 3.5 s (mostly anonymous memory)"]);
        // Neither: page cache that is full and a heap that stays.
        parts(&mut incident, |_| 800.0, |_| 223.0);
        incident.evidence.kills[0].anon_bytes = Some(780 * MIB);
        because(&incident, "limit_too_low", &[]);
    }

    #[test]
    fn what_the_victim_held_counts_more_than_parts_of_long_ago() {
        let mut incident = kill();
        line(&mut incident, Series::Read, minute(|_| 100.0 * MIB as f64));
        let figures = incident.evidence.workload.as_mut().unwrap();
        (figures.anon_bytes, figures.file_bytes) = (Some(150 * MIB), Some(850 * MIB));
        figures.parts_read = Some(NOW - 8 * SECOND);
        because(&incident, "page_cache", &["83 %"]);
        incident.evidence.kills[0].anon_bytes = Some(1016 * MIB);
        because(&incident, "limit_too_low", &[]);
        // What was left after the kill says the same of memory of many processes.
        incident.evidence.kills[0].anon_bytes = Some(10 * MIB);
        let left = Figures {
            anon_bytes: Some(900 * MIB),
            file_bytes: Some(90 * MIB),
            shmem_bytes: Some(0),
            ..Figures::default()
        };
        incident.evidence.after = Some(Figures { parts_read: Some(NOW + SECOND), ..left });
        assert_ne!(super::super::find(&incident).rule, "page_cache");
    }

    #[test]
    fn a_young_workload_may_have_a_limit_that_is_too_low() {
        let mut incident = kill();
        let came = Change { time: NOW - 40 * SECOND, ..change(What::Came) };
        incident.evidence.changes = vec![came];
        let mut memory = minute(|second| if second < 22.0 { 500.0 } else { 1000.0 } * MIB as f64);
        memory[..20].fill(None);
        line(&mut incident, Series::Memory, memory.clone());
        because(&incident, "limit_too_low", &["for the last 38 s"]);
        // A life of seconds that was never read.
        memory.fill(None);
        line(&mut incident, Series::Memory, memory);
        incident.evidence.workload.as_mut().unwrap().born = Some(NOW - 4 * SECOND);
        because(&incident, "sudden_spike", &["grew by 1.00 GiB within 4.0 s"]);
    }

    fn change(what: What) -> Change {
        Change { time: NOW, since: None, what, of: "/a/b".to_owned(), before: None, after: None }
    }

    #[test]
    fn what_was_before_a_restart_or_a_kill_is_another_life() {
        let mut incident = kill();
        // It fills its limit every thirty seconds, and starts again.
        line(&mut incident, Series::Memory, minute(|second| (100.0 + 31.0 * (second % 30.0)) * MIB as f64));
        because(&incident, "own_limit", &[]);
        let at = |seconds: u64| Some(NOW - seconds * SECOND);
        let mut killed = incident.clone();
        killed.evidence.workload.as_mut().unwrap().killed_before = at(31);
        because(&killed, "steady_growth", &[]);
        incident.evidence.workload.as_mut().unwrap().born = at(30);
        because(&incident, "steady_growth", &[]);
    }

    #[test]
    fn what_is_swapped_out_is_memory_that_grew() {
        let mut incident = kill();
        line(&mut incident, Series::Swap, minute(|second| 10.0 * second * MIB as f64));
        because(&incident, "steady_growth", &["591 MiB"]);
    }

    #[test]
    fn parts_that_were_never_read_leave_the_shape_of_the_whole() {
        let mut incident = kill();
        line(&mut incident, Series::Memory, minute(|second| (400.0 + 10.5 * second) * MIB as f64));
        let cause = because(&incident, "steady_growth", &[]);
        assert!(!cause.sentence.contains("mostly"), "{cause:?}");
        let old = Figures { parts_read: Some(NOW - 40 * SECOND), ..incident.evidence.workload.take().unwrap() };
        incident.evidence.workload = Some(old);
        because(&incident, "steady_growth", &["GiB"]);
    }
}
