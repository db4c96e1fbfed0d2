//! How a series changes over a window: points of it, and the times of the points, which all series of a rule share. Times are
//! elapsed nanoseconds that never go backwards, whatever the host's clock does.

use super::{Change, Side, Threshold};

/// Points that are kept per window.
const STEPS: u64 = 8;
/// [`STEPS`], one before the window, and one for the step that is not over.
const POINTS: usize = STEPS as usize + 2;

/// The ticks at which a point of each series is kept: the first one in each step of the window. They are the same for all
/// series of a rule, so those of a series that nobody looked at are known later: its number was the same at all of them.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    /// The time of each of the last ones, by its number modulo [`POINTS`].
    times: [u64; POINTS],
    count: u64,
    /// The step that the last one is in.
    step: u64,
}

impl Grid {
    /// Begins a tick.
    pub fn tick(&mut self, change: Change, now: u64) {
        // Rounded up, so that the last ones reach back over the whole window.
        let step = now / change.window().div_ceil(STEPS).max(1);
        if self.count == 0 || step > self.step {
            self.times[self.count as usize % POINTS] = now;
            (self.count, self.step) = (self.count + 1, step);
        }
    }

    /// The time of the point with this number, which is one of the last.
    fn time(&self, point: u64) -> u64 {
        self.times[point as usize % POINTS]
    }
}

/// The recent points of a series.
#[derive(Clone, Debug)]
pub struct Window {
    /// The number at each of the grid's last ticks, by the tick's number modulo [`POINTS`].
    numbers: [f64; POINTS],
    /// How many ticks the grid had when the series was last looked at.
    count: u64,
    /// When it began, with which number, and from what it has grown.
    begun: u64,
    first: f64,
    origin: f64,
    /// The last raw number, and the sum of all growth, which a counter reset does not reduce.
    last: f64,
    total: f64,
}

impl Window {
    /// Starts with this number. A `fresh` series began at zero.
    pub fn new(grid: &Grid, now: u64, number: f64, fresh: bool) -> Window {
        let origin = if fresh { 0.0 } else { number };
        let numbers = [number; POINTS];
        Window { numbers, count: grid.count, begun: now, first: number, origin, last: number, total: number }
    }

    /// Adds the current number and returns the change per second, and whether the window is full. The number before was the same
    /// at all ticks since.
    pub fn change(&mut self, grid: &Grid, change: Change, now: u64, number: f64) -> Option<(f64, bool)> {
        for point in self.count.max(grid.count.saturating_sub(POINTS as u64))..grid.count {
            self.numbers[point as usize % POINTS] = self.total;
        }
        self.count = grid.count;
        self.total = match change {
            // Like Prometheus: a counter that fell was reset to zero.
            Change::Rate(_) => self.total + if number >= self.last { number - self.last } else { number },
            Change::Slope(_) => number,
        };
        self.last = number;
        let latest = grid.count.saturating_sub(1);
        if grid.time(latest) == now {
            self.numbers[latest as usize % POINTS] = self.total;
        }
        let first = self.oldest(grid, change, now);
        let age = now.saturating_sub(first.0);
        let full = age >= change.window();
        match change {
            // A partial window counts as a whole one, so that a new series does not look fast.
            Change::Rate(window) => Some(((self.total - first.1) / seconds(age.max(window)), full)),
            Change::Slope(_) => full.then(|| (self.slope(grid, first, now), true)),
        }
    }

    /// Whether an idle rule on a rate can only begin to hold when the number moves. The rate itself goes up and down a little
    /// meanwhile, because the oldest point is as old as the window or a step older.
    pub fn rests(&self, grid: &Grid, threshold: &Threshold, now: u64) -> bool {
        match threshold.change {
            Some(change @ Change::Rate(window)) if threshold.side == Side::Above => {
                let (_, oldest) = self.oldest(grid, change, now);
                !threshold.holds((self.total - oldest) / seconds(window))
            }
            _ => false,
        }
    }

    /// The newest point that is as old as the window, else where the series began.
    fn oldest(&self, grid: &Grid, change: Change, now: u64) -> (u64, f64) {
        let old = |time: u64| now.saturating_sub(time) >= change.window();
        let mut points = self.points(grid).rev();
        let first = if old(self.begun) { self.first } else { self.origin };
        points.find(|(time, _)| old(*time)).unwrap_or((self.begun, first))
    }

    /// The points since the series began.
    fn points(&self, grid: &Grid) -> impl DoubleEndedIterator<Item = (u64, f64)> + Clone {
        let all = grid.count.saturating_sub(POINTS as u64)..grid.count;
        let points = all.map(|point| (grid.time(point), self.numbers[point as usize % POINTS]));
        points.filter(|(time, _)| *time >= self.begun)
    }

    /// Slope per second of the least-squares line.
    fn slope(&self, grid: &Grid, first: (u64, f64), now: u64) -> f64 {
        let between = self.points(grid).filter(|(time, _)| *time > first.0 && *time < now);
        let points = std::iter::once(first).chain(between).chain([(now, self.total)]);
        let points = points.map(|(time, number)| (-seconds(now.saturating_sub(time)), number));
        let (mut count, mut x, mut y) = (0.0, 0.0, 0.0);
        for point in points.clone() {
            (count, x, y) = (count + 1.0, x + point.0, y + point.1);
        }
        // Centred on the mean, because squares of large, close numbers would cancel.
        let (x, y) = (x / count, y / count);
        let (mut over, mut under) = (0.0, 0.0);
        for point in points {
            over += (point.0 - x) * (point.1 - y);
            under += (point.0 - x) * (point.0 - x);
        }
        if under > 0.0 { over / under } else { 0.0 }
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: u64 = 1_000_000_000;

    /// A series whose number is looked at in each tick.
    struct Looked(Grid, Change, Window);

    impl Looked {
        fn new(change: Change, number: f64, fresh: bool) -> Looked {
            let mut grid = Grid::default();
            grid.tick(change, 0);
            let window = Window::new(&grid, 0, number, fresh);
            Looked(grid, change, window)
        }

        fn at(&mut self, now: u64, number: f64) -> Option<(f64, bool)> {
            let Looked(grid, change, window) = self;
            grid.tick(*change, now);
            window.change(grid, *change, now, number)
        }
    }

    #[test]
    fn a_rate_is_the_growth_per_second_over_the_window() {
        let rate = Change::Rate(10 * S);
        let mut series = Looked::new(rate, 100.0, false);
        assert_eq!(series.at(0, 100.0), Some((0.0, false)));
        assert_eq!(series.at(5 * S, 150.0), Some((5.0, false)), "half a window counts as a whole one");
        assert_eq!(series.at(10 * S, 200.0), Some((10.0, true)));
        // The counter is reset.
        assert_eq!(series.at(15 * S, 30.0), Some((8.0, true)));
        assert_eq!(series.at(25 * S, 30.0), Some((0.0, true)));
        let mut fresh = Looked::new(rate, 1.0, true);
        assert_eq!(fresh.at(0, 1.0), Some((0.1, false)), "a fresh series has grown from zero");
        assert_eq!(fresh.at(10 * S, 1.0), Some((0.0, true)), "which is over after a window");
    }

    #[test]
    fn a_slope_is_known_once_the_window_is_full() {
        let mut series = Looked::new(Change::Slope(10 * S), 5.0, false);
        for second in 1..10 {
            assert_eq!(series.at(second * S, 5.0 + 3.0 * second as f64), None);
        }
        let (slope, full) = series.at(10 * S, 35.0).unwrap();
        assert!(full && (slope - 3.0).abs() < 1e-9, "{slope}");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A rate and a slope find steady growth, however long the ticks are.
        #[test]
        fn steady_growth_is_found_whatever_the_ticks(
            ticks in proptest::collection::vec(1u64..30_000_000_000, 40..80), window in 1u64..100, speed in 0.0f64..1e9, base in 0.0f64..1e12
        ) {
            for change in [Change::Rate(window * S), Change::Slope(window * S)] {
                let mut series = Looked::new(change, base, false);
                let mut now = 0;
                for tick in &ticks {
                    now += tick;
                    if let Some((found, true)) = series.at(now, base + speed * seconds(now)) {
                        prop_assert!((found - speed).abs() <= 1e-6 * speed + 1e-3, "{} {} {:?}", found, speed, change);
                    }
                }
            }
        }

        /// The oldest point that a rate uses is at least as old as the window, and at most two steps or ticks older.
        #[test]
        fn a_rate_is_over_little_more_than_its_window(
            ticks in proptest::collection::vec(1u64..3_000, 40..200), window in 1u64..10_000
        ) {
            let change = Change::Rate(window);
            let Looked(mut grid, ..) = Looked::new(change, 0.0, false);
            let series = Window::new(&grid, 0, 0.0, false);
            let mut now = 0;
            for tick in &ticks {
                now += tick;
                grid.tick(change, now);
                let age = now - series.oldest(&grid, change, now).0;
                prop_assert!(age >= window.min(now) && age <= window + 2 * window.div_ceil(STEPS).max(3_000), "{} {}", age, window);
            }
        }

        /// A series that was not looked at while its number stayed has the rates of one that was, to the last bit.
        #[test]
        fn who_was_not_looked_at_catches_up(
            ticks in proptest::collection::vec((1u64..3_000, proptest::option::weighted(0.2, 0u32..1000)), 1..200), window in 1u64..20_000
        ) {
            let change = Change::Rate(window);
            let mut looked = Looked::new(change, 0.0, true);
            let Looked(mut grid, _, mut left) = Looked::new(change, 0.0, true);
            let (mut now, mut number) = (0, 0.0);
            for (tick, moved) in &ticks {
                now += tick;
                number = moved.map_or(number, f64::from);
                grid.tick(change, now);
                let rate = looked.at(now, number);
                if moved.is_some() {
                    prop_assert_eq!(left.change(&grid, change, now, number), rate);
                }
            }
        }

        /// The rate of a counter is never negative, and never exceeds its growth.
        #[test]
        fn a_counter_reset_is_not_growth(numbers in proptest::collection::vec(0u32..1000, 1..60)) {
            let mut series = Looked::new(Change::Rate(10 * S), numbers[0].into(), false);
            let mut grown = 0.0;
            let mut last = numbers[0];
            for (second, number) in numbers.iter().enumerate() {
                grown += f64::from(if *number >= last { number - last } else { *number });
                last = *number;
                let (rate, _) = series.at(second as u64 * S, (*number).into()).unwrap();
                prop_assert!(rate >= 0.0 && rate * 10.0 <= grown + 1e-9, "{} {}", rate, grown);
            }
        }
    }
}
