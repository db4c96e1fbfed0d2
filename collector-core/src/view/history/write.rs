//! Writes the history: at every tick, a point of each track. Does not know what the numbers mean.

use std::sync::Arc;

use super::steps::Turn;
use super::still::Written;
use super::sums::Sums;
use super::value::ROWS;
use super::{APART_NS, CHUNKS, Detail, History, NOTHING, Point, Points, SHORT, Track, UNKNOWN, place};
use crate::series::{COUNT, Kind, Series};

/// The longest time that one point stands for, in seconds. What happened in a longer gap, nobody saw.
const LONGEST: f32 = 60.0;

/// The state of writing one tick, for the host's track and the tracks of workloads.
pub(crate) struct Write {
    point: u64,
    /// How far all was written before.
    before: Written,
    /// Whether a new point begins, so that growth is counted from the numbers of the point before.
    fresh: bool,
    /// Whether this tick completes the point.
    complete: bool,
    /// When the point before was completed; none at the first point.
    since: Option<u64>,
    /// Seconds since then.
    seconds: Option<f64>,
    /// What becomes of the open periods of each coarse tier, and of the disk's.
    turns: [Turn; 3],
    /// When the period began of which all that is known goes to the disk.
    quarter: Option<u64>,
    /// Those in which nothing changed are left out.
    left_out: bool,
    /// The first rows of the coarse tiers of a new track, if it has them.
    detail: Option<[u64; 2]>,
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
            (self.done, last, self.first) = (true, None, self.begun);
        }
        let fresh = self.done;
        if fresh {
            self.since = last;
            self.begun += 1;
        }
        let point = self.begun - 1;
        let before = Written { point: point.saturating_sub(1), clock: self.clock };
        self.times[place(point)] = time;
        let elapsed = self.since.map(|since| time.saturating_sub(since));
        self.done = elapsed.is_none_or(|elapsed| elapsed >= APART_NS);
        let turns = std::array::from_fn(|tier| self.steps[tier].begin(time));
        Write {
            point,
            before,
            fresh,
            complete: self.done,
            since: self.since,
            seconds: elapsed.filter(|elapsed| *elapsed > 0).map(|elapsed| elapsed as f64 / 1e9),
            turns,
            quarter: self.quarter(&turns),
            left_out: false,
            detail: self.used.is_roomy.then(|| self.rows()),
            sums: [0.0; COUNT],
            known: [false; COUNT],
        }
    }

    /// The period of the disk's tier that goes there now: one that is over; and the first minute at once, so that an agent that is
    /// killed again and again leaves something.
    fn quarter(&self, [_, minute, quarter]: &[Turn; 3]) -> Option<u64> {
        match (quarter, minute) {
            (Turn::Over(_, begin), _) => Some(*begin),
            (Turn::Same, Turn::Over(0, _)) => self.steps[2].open,
            _ => None,
        }
    }

    /// The open rows of the coarse tiers.
    pub(super) fn rows(&self) -> [u64; 2] {
        [self.steps[0].over, self.steps[1].over]
    }

    /// Ends the tick with the host's point. Returns what of the host goes to the disk.
    pub(crate) fn end(&mut self, write: Write, numbers: [u64; COUNT]) -> Option<Sums> {
        let rows = self.rows();
        let points = self
            .host
            .0
            .get_or_insert_with(|| Box::new(Points::new(write.point, &[UNKNOWN; COUNT], Some(Detail::new(rows)))));
        if !write.left_out {
            self.known = write.known;
        }
        self.clock = write.clock();
        let mut point = write.point(points, numbers);
        // A series that no file gives for the host is the sum over the workloads. Those in which nothing changes add nothing.
        for series in [Series::Read, Series::Write, Series::HostToDevice, Series::DeviceToHost, Series::Pinned] {
            let value = &mut point[series as usize];
            if value.is_nan() && (write.known[series as usize] || self.known[series as usize]) {
                *value = write.sums[series as usize] as f32;
            }
        }
        write.keep(points, &point)
    }
}

impl Write {
    /// When the point before was completed.
    pub(crate) fn since(&self) -> Option<u64> {
        self.since
    }

    /// When the period began that goes to the disk.
    pub(crate) fn outgoing(&self) -> Option<u64> {
        self.quarter
    }

    /// Whether the clock was set back beyond what the open quarter of an hour has.
    pub(crate) fn is_back(&self) -> bool {
        self.turns[2] == Turn::Back
    }

    /// Whether a period of ten seconds is over.
    pub(crate) fn is_turn(&self) -> bool {
        self.turns[0] != Turn::Same
    }

    /// Whether a point is the same as the one before where nothing has changed since: it has a point of its own, and rates are known.
    pub(crate) fn is_whole(&self) -> bool {
        self.fresh && self.complete && self.seconds.is_some()
    }

    /// Whether those where nothing has changed can be left out. They cannot where a chunk or a period begins.
    pub(crate) fn may_leave_out(&self) -> bool {
        self.is_whole() && !self.point.is_multiple_of(ROWS) && !self.is_turning() && self.quarter.is_none()
    }

    /// Whether a period of any length is over, or the clock was set back.
    fn is_turning(&self) -> bool {
        self.turns.iter().any(|turn| *turn != Turn::Same)
    }

    /// From here on only workloads in which something changed are written.
    pub(crate) fn leave_out(&mut self) {
        self.left_out = true;
    }

    /// For how long a complete point stands, in seconds.
    fn length(&self) -> Option<f32> {
        self.complete.then(|| self.seconds.map_or(1.0, |seconds| (seconds as f32).min(LONGEST)))
    }

    /// [`History::clock`] after this tick.
    fn clock(&self) -> f64 {
        self.before.clock + f64::from(self.length().unwrap_or(0.0))
    }

    /// Writes a workload's point. `origin` has the first numbers of a new track. Returns what of it goes to the disk.
    pub(crate) fn workload(&mut self, track: &mut Track, numbers: [u64; COUNT], origin: &[u64; COUNT]) -> Option<Sums> {
        // The numbers of a new track have grown from `origin`, where that is known.
        let points =
            track.0.get_or_insert_with(|| Box::new(Points::new(self.point, origin, self.detail.map(Detail::new))));
        points.catch_up(self.before);
        let point = self.point(points, numbers);
        for ((sum, known), value) in self.sums.iter_mut().zip(&mut self.known).zip(point) {
            if !value.is_nan() {
                *sum += f64::from(value);
                *known = true;
            }
        }
        self.keep(points, &point)
    }

    fn point(&self, points: &mut Points, numbers: [u64; COUNT]) -> Point {
        if self.fresh {
            points.before = points.now;
        }
        points.now = numbers;
        let mut point = NOTHING;
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

    /// Keeps a point in each tier. What is over comes before what begins.
    fn keep(&self, points: &mut Points, point: &Point) -> Option<Sums> {
        points.columns.begin(self.point, if points.short { SHORT } else { CHUNKS });
        points.columns.write(self.point, point);
        for tier in 0..2 {
            match self.turns[tier] {
                Turn::Same => {}
                Turn::Back => points.sums[tier] = Sums::default(),
                Turn::Over(row, _) => {
                    let over = points.sums[tier].take();
                    if let Some(detail) = &mut points.detail {
                        Arc::make_mut(detail).write(tier, row, &over);
                    }
                    points.sums[tier + 1].extend(&over);
                }
            }
        }
        if self.turns[2] == Turn::Back {
            points.sums[2] = Sums::default();
        }
        let outgoing = self.quarter.map(|_| points.sums[2].take());
        points.sums[0].add(point, self.length());
        points.clock = self.clock();
        outgoing
    }
}
