//! Writes the history: at every tick, a point of each track. Does not know what the numbers mean.

use super::{APART_NS, CAPACITY, History, NOTHING, Point, Points, Track, UNKNOWN, place};
use crate::series::{COUNT, Kind, Series};

/// The state of writing one tick, for the host's track and the tracks of workloads.
pub(crate) struct Write {
    place: usize,
    begun: u64,
    /// Whether a new point begins, so that growth is counted from the numbers of the point before.
    fresh: bool,
    /// When the point before was completed; none at the first point.
    since: Option<u64>,
    /// Seconds since then.
    seconds: Option<f64>,
    /// Sums over the workloads.
    sums: [f64; COUNT],
    known: [bool; COUNT],
}

impl History {
    /// Time of the last tick.
    pub(crate) fn last(&self) -> Option<u64> {
        (self.begun > self.first).then(|| self.times[place(self.begun - 1)])
    }

    /// Begins a tick. If the clock was set back, the times of all earlier points are invalid.
    pub(crate) fn begin(&mut self, time: u64) -> Write {
        let mut last = self.last();
        if last.is_some_and(|last| time < last) {
            (self.begun, self.done, last) = (self.begun + CAPACITY as u64, true, None);
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
            since: self.since,
            seconds: elapsed.filter(|elapsed| *elapsed > 0).map(|elapsed| elapsed as f64 / 1e9),
            sums: [0.0; COUNT],
            known: [false; COUNT],
        }
    }

    /// Ends the tick with the host's point.
    pub(crate) fn end(&mut self, write: Write, numbers: [u64; COUNT]) {
        let (sums, known) = (write.sums, write.known);
        let point = write.put(&mut self.host, numbers, &[UNKNOWN; COUNT]);
        // A series that no file gives for the host is the sum over the workloads.
        for series in [Series::Read, Series::Write, Series::HostToDevice, Series::DeviceToHost, Series::Pinned] {
            let value = &mut point[series as usize];
            if value.is_nan() && known[series as usize] {
                *value = sums[series as usize] as f32;
            }
        }
    }
}

impl Write {
    /// When the point before was completed.
    pub(crate) fn since(&self) -> Option<u64> {
        self.since
    }

    /// Writes a workload's point. `origin` has the first numbers of a new track.
    pub(crate) fn workload(&mut self, track: &mut Track, numbers: [u64; COUNT], origin: &[u64; COUNT]) {
        let point = *self.put(track, numbers, origin);
        for ((sum, known), value) in self.sums.iter_mut().zip(&mut self.known).zip(point) {
            if !value.is_nan() {
                *sum += f64::from(value);
                *known = true;
            }
        }
    }

    /// Writes a point. The numbers of a new track have grown from `origin`, where that is known.
    fn put<'t>(&self, track: &'t mut Track, numbers: [u64; COUNT], origin: &[u64; COUNT]) -> &'t mut Point {
        let points = track.0.get_or_insert_with(|| {
            let first = self.begun - 1;
            Box::new(Points { points: [NOTHING; CAPACITY], first, before: *origin, now: *origin })
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
                // Not `min`, which would turn NaN into a number.
                Kind::Share => (growth() / 1e9).clamp(0.0, 1.0) as f32,
            };
        }
        point
    }
}
