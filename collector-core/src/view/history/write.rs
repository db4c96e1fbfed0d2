//! Writing the history: at every tick, a point of each track. Whose numbers these are is not known here.

use super::{APART_NS, History, KEPT, NOTHING, Point, Points, Track, UNKNOWN, place};
use crate::series::{COUNT, Kind, Series};

/// One tick's writing: to the host's track, and to that of each workload.
pub(crate) struct Write {
    place: usize,
    begun: u64,
    /// Whether the point before is done with, so that the numbers then are what growth is counted from.
    fresh: bool,
    /// Seconds since then; none at the first point.
    seconds: Option<f64>,
    /// What the workloads make together.
    sums: [f64; COUNT],
    known: [bool; COUNT],
}

impl History {
    /// When the last tick was.
    pub(crate) fn last(&self) -> Option<u64> {
        (self.begun > self.first).then(|| self.times[place(self.begun - 1)])
    }

    /// Begins a tick. When the clock was set back, nobody knows any more when all the rest was.
    pub(crate) fn begin(&mut self, time: u64) -> Write {
        let mut last = self.last();
        if last.is_some_and(|last| time < last) {
            (self.begun, self.done, last) = (self.begun + KEPT as u64, true, None);
            self.first = self.begun;
        }
        let fresh = self.done;
        if fresh {
            self.since = last;
            self.begun += 1;
        }
        let place = place(self.begun - 1);
        self.times[place] = time;
        let elapsed = self.since.map(|since| time.saturating_sub(since));
        self.done = elapsed.is_none_or(|elapsed| elapsed >= APART_NS);
        Write {
            place,
            begun: self.begun,
            fresh,
            seconds: elapsed.filter(|elapsed| *elapsed > 0).map(|elapsed| elapsed as f64 / 1e9),
            sums: [0.0; COUNT],
            known: [false; COUNT],
        }
    }

    /// Ends it with the host's point.
    pub(crate) fn end(&mut self, write: Write, numbers: [u64; COUNT]) {
        let (sums, known) = (write.sums, write.known);
        let point = write.put(&mut self.host, numbers, &[UNKNOWN; COUNT]);
        // What no file says of the host as a whole is what the workloads did.
        for series in [Series::Read, Series::Write, Series::HostToDevice, Series::DeviceToHost, Series::Pinned] {
            let value = &mut point[series as usize];
            if value.is_nan() && known[series as usize] {
                *value = sums[series as usize] as f32;
            }
        }
    }
}

impl Write {
    /// Writes a workload's point: its numbers, and where they begin if it is new.
    pub(crate) fn workload(&mut self, track: &mut Track, numbers: [u64; COUNT], origin: &[u64; COUNT]) {
        let point = *self.put(track, numbers, origin);
        for ((sum, known), value) in self.sums.iter_mut().zip(&mut self.known).zip(point) {
            if !value.is_nan() {
                *sum += f64::from(value);
                *known = true;
            }
        }
    }

    /// Writes a point. The numbers of a new track grew from `origin`, where that is known.
    fn put<'t>(&self, track: &'t mut Track, numbers: [u64; COUNT], origin: &[u64; COUNT]) -> &'t mut Point {
        let points = track.0.get_or_insert_with(|| {
            let first = self.begun - 1;
            Box::new(Points { points: [NOTHING; KEPT], first, before: *origin, now: *origin })
        });
        if self.fresh {
            points.before = points.now;
        }
        points.now = numbers;
        let point = &mut points.points[self.place];
        for (index, series) in Series::ALL.into_iter().enumerate() {
            let (now, before) = (numbers[index], points.before[index]);
            let growth = || {
                let known = now != UNKNOWN && before != UNKNOWN && now >= before;
                self.seconds.filter(|_| known).map_or(f64::NAN, |seconds| (now - before) as f64 / seconds)
            };
            point[index] = match series.kind() {
                Kind::Gauge if now == UNKNOWN => f32::NAN,
                Kind::Gauge => now as f32,
                Kind::Rate(unit) => (growth() * unit) as f32,
                // Not `min`, which prefers a number to none.
                Kind::Share => (growth() / 1e9).clamp(0.0, 1.0) as f32,
            };
        }
        point
    }
}
