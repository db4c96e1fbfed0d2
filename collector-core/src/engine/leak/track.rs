//! [`Track`]: one kind of memory of one workload over two hours, in windows. Knows neither the workload nor the kind.

use std::collections::VecDeque;

use crate::trend::{self, Line, SPAN, Settings, Window};

/// A fall to half, by this share of the scale, is a new start of what held it.
const FALL: f64 = 0.1;
/// A window with fewer readings is left out: half of those at the longest tick, a minute, in nanoseconds.
const LONGEST_TICK: u64 = 60_000_000_000;
/// A leak is over after so many windows that show none.
const CALM: u8 = 2;

#[derive(Clone, Debug)]
pub struct Track {
    /// Complete ones, the last [`SPAN`].
    windows: VecDeque<Window>,
    open: Option<Open>,
    last: f64,
    /// The highest low of all windows before these.
    held: Option<f64>,
    /// Readings before this time are left out, in nanoseconds since the Unix epoch.
    from: u64,
    pub leak: Option<Line>,
    /// Whether its work stayed the same meanwhile, if that is known.
    pub steady: Option<bool>,
    calm: u8,
    /// What it holds rose over the last windows, and may become a leak.
    pub rises: bool,
    settings: Settings,
    /// When it was read last, in nanoseconds since the Unix epoch.
    pub time: u64,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    /// When it began, in nanoseconds since the Unix epoch.
    time: u64,
    low: f64,
    count: u32,
    /// The counter of work at its begin.
    work: Option<u64>,
}

impl Track {
    /// From a moment on; `started` if that is when the program started.
    pub fn new(settings: Settings, time: u64, started: bool) -> Track {
        let from = if started { time.saturating_add(settings.warm()) } else { time };
        Track {
            windows: VecDeque::new(),
            open: None,
            last: 0.0,
            held: None,
            from,
            leak: None,
            steady: None,
            calm: 0,
            rises: false,
            settings,
            time,
        }
    }

    /// When the oldest window that is judged began.
    pub fn since(&self) -> Option<u64> {
        self.windows.front().map(|window| window.time)
    }

    /// A reading: how much is held, of how much, and a counter of the work done, if it is known. Returns whether it judged.
    pub fn read(&mut self, time: u64, value: f64, scale: f64, work: Option<u64>) -> bool {
        let fell = self.last - value >= FALL * scale && value < self.last / 2.0;
        let back = self.open.is_some_and(|open| time < open.time);
        if fell || back {
            *self = Track::new(self.settings, time, fell);
        }
        self.last = value;
        self.time = time;
        if time < self.from {
            // The clock was set back: it need not come to where it was.
            self.from = self.from.min(time.saturating_add(self.settings.warm()));
            return false;
        }
        let over = self.open.filter(|open| time - open.time >= self.settings.window);
        let judged = over.is_some_and(|open| self.close(open, scale, work));
        let open = self.open.get_or_insert(Open { time, low: value, count: 0, work });
        (open.count, open.low) = (open.count + 1, open.low.min(value));
        judged
    }

    fn close(&mut self, open: Open, scale: f64, work: Option<u64>) -> bool {
        self.open = None;
        if u64::from(open.count) < self.settings.window / LONGEST_TICK / 2 {
            return false;
        }
        let work = open.work.zip(work).and_then(|(before, now)| now.checked_sub(before)).map(|work| work as f64);
        if self.windows.len() == SPAN {
            let old = self.windows.pop_front().map(|window| window.low);
            self.held = [self.held, old].into_iter().flatten().reduce(f64::max);
        }
        self.windows.push_back(Window { time: open.time, low: open.low, work });
        let windows = &*self.windows.make_contiguous();
        let found = trend::leak(self.held, windows, scale);
        self.rises = trend::rises(windows, scale);
        self.calm = if found.is_some() { 0 } else { self.calm.saturating_add(1) };
        if found.is_some() || self.calm >= CALM {
            self.leak = found;
        }
        if found.is_some() {
            self.steady = trend::is_steady(windows);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::leak::INTERVAL_NS;

    const HOUR: u64 = 3_600_000_000_000;
    const START: u64 = 500 * HOUR;

    /// Reads what a function of the hours says, until some hours are over.
    fn track(hours: f64, work: impl Fn(f64) -> f64, value: impl Fn(f64) -> f64) -> Track {
        let mut track = Track::new(Settings::default(), START, true);
        let mut done = 0.0;
        for at in (0..(hours * HOUR as f64) as u64).step_by(INTERVAL_NS as usize) {
            let hour = at as f64 / HOUR as f64;
            done += work(hour);
            track.read(START + at, value(hour), 1000.0, Some(done as u64));
        }
        track
    }

    #[test]
    fn what_rises_though_the_work_does_not_is_a_leak_until_it_stops() {
        let leak = track(2.5, |_| 100.0, |hour| 300.0 + 60.0 * hour).leak.unwrap();
        assert!((leak.slope - 60.0).abs() < 1.0, "{leak:?}");
        assert_eq!(track(2.5, |_| 100.0, |hour| 300.0 + 60.0 * hour).steady, Some(true));
        assert_eq!(track(2.5, |hour| 100.0 + 100.0 * hour, |hour| 300.0 + 60.0 * hour).leak, None, "so does the work");
        assert_eq!(track(1.4, |_| 100.0, |hour| 300.0 + 60.0 * hour).leak, None, "too early");
        assert_eq!(track(5.0, |_| 100.0, |hour| 300.0 + 60.0 * hour.min(2.5)).leak, None, "it stopped");
        let again = track(3.0, |_| 100.0, |hour| if hour < 2.2 { 300.0 + 60.0 * hour } else { 100.0 });
        assert_eq!((again.leak, again.windows.len()), (None, 1), "it was started again");
    }

    #[test]
    fn a_clock_that_was_set_back_while_it_starts_makes_it_wait_once_more_only() {
        let settings = Settings::default();
        let mut track = Track::new(settings, START, true);
        track.read(START, 300.0, 1000.0, None);
        let back = START / 2;
        track.read(back, 300.0, 1000.0, None);
        track.read(back + settings.warm(), 300.0, 1000.0, None);
        assert!(track.open.is_some());
    }

    #[test]
    fn what_comes_back_to_where_it_was_is_none() {
        let wave = |hour: f64| 500.0 - 300.0 * (hour / 12.0 * std::f64::consts::TAU).cos();
        let track = track(23.0, |_| 100.0, wave);
        assert_eq!(track.leak, None);
    }
}
